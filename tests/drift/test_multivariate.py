"""The domain classifier and the sentence of the shallow tree."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from sklearn.metrics import roc_auc_score

from core.drift.explain import explain
from core.drift.multivariate import delong, domain_classifier
from core.drift.univariate import measure_drift
from core.errors import NotEnoughRows
from core.records import Feature, FeatureSchema

SCHEMA = FeatureSchema(
    task="binary",
    target="y",
    features=(
        Feature(name="temperature", kind="numeric"),
        Feature(name="site", kind="categorical"),
        Feature(name="noise", kind="numeric"),
    ),
)


def rows(rng: np.random.Generator, n: int = 600) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "temperature": rng.normal(24, 3, n),
            "site": pd.Series(rng.choice(["east", "west"], n), dtype="str"),
            "noise": rng.normal(size=n),
        }
    )


def hot(rng: np.random.Generator, n: int = 600) -> pd.DataFrame:
    frame = rows(rng, n)
    frame.loc[rng.random(n) < 0.4, "temperature"] += 15
    return frame


def test_auc_is_sklearns_ties_included() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.4, 1, 300).round(1), rng.normal(size=200).round(1)
    auc, spread = delong(a, b)
    assert auc == pytest.approx(roc_auc_score(np.r_[np.ones(300), np.zeros(200)], np.r_[a, b]))
    again = [delong(rng.normal(0.4, 1, 300), rng.normal(size=200))[0] for _ in range(300)]
    assert spread == pytest.approx(np.std(again), rel=0.2)


def test_a_moved_feature_is_found_and_named() -> None:
    rng = np.random.default_rng(1)
    found = domain_classifier(rows(rng), hot(rng), SCHEMA)
    assert found["drifted"] and found["low"] > 0.6 and found["low"] < found["auc"] < found["high"]
    assert next(iter(found["features"])) == "temperature"


def test_the_same_seed_gives_the_same_answer() -> None:
    a, b = rows(np.random.default_rng(4)), hot(np.random.default_rng(5))
    assert domain_classifier(a, b, SCHEMA, seed=7) == domain_classifier(a, b, SCHEMA, seed=7)
    assert explain(a, b, SCHEMA, seed=7) == explain(a, b, SCHEMA, seed=7)


def test_what_no_single_feature_shows_is_found() -> None:
    rng = np.random.default_rng(6)
    a, b = rows(rng, 1_500), rows(rng, 1_500)
    a["noise"] = (a["temperature"] - 24) / 3 + rng.normal(0, 0.2, 1_500)
    b["noise"] = -(b["temperature"] - 24) / 3 + rng.normal(0, 0.2, 1_500)
    assert measure_drift(a, b, SCHEMA).drifted == ()
    assert domain_classifier(a, b, SCHEMA)["auc"] > 0.9


def test_equal_windows_are_told_apart_no_more_often_than_alpha() -> None:
    rng = np.random.default_rng(7)
    seeds = 25
    alarms = sum(domain_classifier(rows(rng, 150), rows(rng, 150), SCHEMA)["drifted"] for _ in range(seeds))
    # One-sided: the lower end of a 95 % interval is above 0.5 in at most 2.5 % of all cases.
    assert alarms <= binom.ppf(1 - 1e-4, seeds, 0.025)


def test_missing_cells_and_new_categories_are_seen() -> None:
    rng = np.random.default_rng(8)
    a, b = rows(rng), rows(rng)
    b["temperature"] = b["temperature"].mask(rng.random(600) < 0.5)
    assert "temperature" in domain_classifier(a, b, SCHEMA)["features"]
    assert re.fullmatch(
        r"100 % of the change is temperature is missing: 0 % → \d+ % of rows", explain(a, b, SCHEMA) or ""
    )
    c = rows(rng)
    c["site"] = c["site"].mask(rng.random(600) < 0.4, "moon")
    assert "site" in domain_classifier(a, c, SCHEMA)["features"]
    assert re.fullmatch(r"100 % of the change is site = moon: 0 % → \d+ % of rows", explain(a, c, SCHEMA) or "")


def test_too_few_rows_are_an_error_with_their_number() -> None:
    rng = np.random.default_rng(9)
    with pytest.raises(NotEnoughRows, match="needs 100 rows, found 40"):
        domain_classifier(rows(rng, 40), rows(rng), SCHEMA)
    assert explain(rows(rng, 40), rows(rng), SCHEMA) is None


def test_the_sentence_tells_the_shares_of_the_rows() -> None:
    rng = np.random.default_rng(10)
    a, b = rows(rng, 3_000), hot(rng, 3_000)
    text = explain(a, b, SCHEMA) or ""
    match = re.fullmatch(r"(\d+) % of the change is temperature > ([\d.]+): (?:< )?(\d+) % → (\d+) % of rows", text)
    assert match is not None, text
    part, cut, before, after = (float(v) for v in match.groups())
    assert part > 85 and 29 < cut < 35
    assert before == pytest.approx(100 * (a["temperature"] > cut).mean(), abs=3)
    assert after == pytest.approx(100 * (b["temperature"] > cut).mean(), abs=4)


def test_equal_windows_have_no_explanation() -> None:
    rng = np.random.default_rng(11)
    assert [explain(rows(rng, 300), rows(rng, 300), SCHEMA, seed=s) for s in range(20)] == [None] * 20


def test_columns_without_values_or_without_variety_do_no_harm() -> None:
    rng = np.random.default_rng(12)
    a, b = rows(rng, 200), rows(rng, 200)
    for frame in (a, b):
        frame["noise"] = np.nan
        frame["site"] = pd.Series([None] * 200, dtype="str")
    assert not domain_classifier(a, b, SCHEMA)["drifted"] and explain(a, b, SCHEMA) is None
    for frame in (a, b):
        frame["temperature"] = 3.0
    assert domain_classifier(a, b, SCHEMA)["auc"] == 0.5 and explain(a, b, SCHEMA) is None
    b["temperature"] = 4.0
    assert domain_classifier(a, b, SCHEMA)["auc"] == 1.0
    assert explain(a, b, SCHEMA) == "100 % of the change is temperature > 3.50: 0 % → 100 % of rows"
