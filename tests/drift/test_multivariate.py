"""The domain classifier, the reconstruction from principal components, and the sentence of the shallow tree."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from sklearn.metrics import roc_auc_score

from core.drift.explain import explain
from core.drift.multivariate import delong, domain_classifier, pca_reconstruction
from core.drift.univariate import measure_drift
from core.errors import BadInput, NotEnoughRows
from core.records import Feature, FeatureSchema
from core.text.reasons import sentence

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


def said(reference: pd.DataFrame, current: pd.DataFrame) -> str:
    """The sentence on where the change is; "" where there is none."""
    found = explain(reference, current, SCHEMA)
    return sentence(found) if found is not None else ""


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
    assert found.drifted and found.low > 0.6 and found.low < found.auc < found.high
    assert next(iter(found.features)) == "temperature"


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
    assert domain_classifier(a, b, SCHEMA).auc > 0.9


@pytest.mark.slow
def test_equal_windows_are_distinguished_no_more_often_than_alpha() -> None:
    rng = np.random.default_rng(7)
    seeds = 25
    alarms = sum(domain_classifier(rows(rng, 150), rows(rng, 150), SCHEMA).drifted for _ in range(seeds))
    # One-sided: the lower end of a 95 % interval is above 0.5 in at most 2.5 % of all cases.
    assert alarms <= binom.ppf(1 - 1e-4, seeds, 0.025)


def test_missing_cells_and_new_categories_are_seen() -> None:
    rng = np.random.default_rng(8)
    a, b = rows(rng), rows(rng)
    b["temperature"] = b["temperature"].mask(rng.random(600) < 0.5)
    assert "temperature" in domain_classifier(a, b, SCHEMA).features
    assert re.fullmatch(r"100 % of the change is temperature is missing: 0 % → \d+ % of rows", said(a, b))
    c = rows(rng)
    c["site"] = c["site"].mask(rng.random(600) < 0.4, "moon")
    assert "site" in domain_classifier(a, c, SCHEMA).features
    assert re.fullmatch(r"100 % of the change is site = moon: 0 % → \d+ % of rows", said(a, c))


def test_too_few_rows_are_an_error_with_their_number() -> None:
    rng = np.random.default_rng(9)
    with pytest.raises(NotEnoughRows, match="needs 100 rows, found 40"):
        domain_classifier(rows(rng, 40), rows(rng), SCHEMA)
    assert explain(rows(rng, 40), rows(rng), SCHEMA) is None


def test_the_sentence_shows_the_shares_of_the_rows() -> None:
    rng = np.random.default_rng(10)
    a, b = rows(rng, 3_000), hot(rng, 3_000)
    text = said(a, b)
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
    assert not domain_classifier(a, b, SCHEMA).drifted and explain(a, b, SCHEMA) is None
    for frame in (a, b):
        frame["temperature"] = 3.0
    assert domain_classifier(a, b, SCHEMA).auc == 0.5 and explain(a, b, SCHEMA) is None
    b["temperature"] = 4.0
    assert domain_classifier(a, b, SCHEMA).auc == 1.0
    assert said(a, b) == "100 % of the change is temperature > 3.50: 0 % → 100 % of rows"


def normal(rng: np.random.Generator, n: int, features: int, correlation: float = 0.0) -> pd.DataFrame:
    """Standard normal columns; the first two go together."""
    x = rng.normal(size=(n, features))
    x[:, 1] = correlation * x[:, 0] + np.sqrt(1 - correlation**2) * x[:, 1]
    return pd.DataFrame(x, columns=[f"x{j}" for j in range(features)])


def numeric(features: int) -> FeatureSchema:
    return FeatureSchema(
        task="binary", target="y", features=tuple(Feature(name=f"x{j}", kind="numeric") for j in range(features))
    )


@pytest.mark.slow
@pytest.mark.parametrize(("features", "seeds"), [(2, 12), (30, 3)])
def test_a_new_correlation_is_found_among_5000_rows(features: int, seeds: int) -> None:
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        a, b = normal(rng, 5_000, features), normal(rng, 5_000, features, 0.6)
        found = domain_classifier(a, b, numeric(features), seed=seed)
        # The best possible AUC is 0.66; the gate is 0.55 and its standard error 0.007.
        assert found.drifted and found.auc > 0.6 and set(list(found.features)[:2]) == {"x0", "x1"}


@pytest.mark.slow
def test_equal_windows_of_5000_rows_are_not_distinguished() -> None:
    rng = np.random.default_rng(13)
    # The gate is 7 standard errors away.
    assert not any(
        domain_classifier(normal(rng, 5_000, 3, 0.6), normal(rng, 5_000, 3, 0.6), numeric(3), seed=s).drifted
        for s in range(12)
    )


def structured(rng: np.random.Generator, n: int, sign: float = 1.0) -> pd.DataFrame:
    """Six columns of two sources, and a category of the first one."""
    hidden = rng.normal(size=(n, 2))
    x = hidden @ np.array([[1, 2, 1, -1, 0, 0.5], [0, 1, -1, 1, 2, 1.0]]) + 0.5 * rng.normal(size=(n, 6))
    frame = pd.DataFrame(x, columns=[f"x{j}" for j in range(6)])
    frame["x1"] *= sign
    frame["site"] = pd.Series(np.where(hidden[:, 0] > 0.5, "east", "west"), dtype="str")
    return frame


STRUCTURE = FeatureSchema(
    task="binary", target="y", features=(*numeric(6).features, Feature(name="site", kind="categorical"))
)


def test_rows_that_the_old_structure_does_not_fit_are_found() -> None:
    rng = np.random.default_rng(14)
    a = structured(rng, 2_000)
    found = pca_reconstruction(a, structured(rng, 1_000, -1.0), STRUCTURE, seed=0)
    assert found.drifted and found.error_current > found.high > found.error_reference > found.low
    assert 1 <= found.components < 7
    assert sentence(found.reason).startswith("the relations between the features changed: reconstruction error")
    calm = pca_reconstruction(a, structured(rng, 1_000), STRUCTURE, seed=0)
    assert not calm.drifted and calm.low <= calm.error_current <= calm.high
    tight = structured(rng, 1_000)
    tight[[f"x{j}" for j in range(6)]] *= 0.3
    assert "more strongly related" in sentence(pca_reconstruction(a, tight, STRUCTURE, seed=0).reason)


def test_equal_structure_is_seldom_called_drift() -> None:
    rng = np.random.default_rng(15)
    alarms = sum(
        pca_reconstruction(structured(rng, 600), structured(rng, 400), STRUCTURE, seed=s).drifted for s in range(150)
    )
    # Three standard errors: 0.27 % of normal means; the chunks' deviation is uncertain, so 1 % is granted.
    assert alarms <= binom.ppf(1 - 1e-4, 150, 0.01)


def test_what_the_reconstruction_cannot_judge_it_says() -> None:
    rng = np.random.default_rng(16)
    a = structured(rng, 200)
    few = pca_reconstruction(a, a.head(37), STRUCTURE, seed=0)
    assert sentence(few.reason) == "not tested: 37 rows; needs 100 in each window" and not few.drifted
    assert [getattr(few, k) for k in ("error_reference", "error_current", "low", "high", "components")] == [None] * 5
    flat = a.assign(**{name: 1.0 for name in a if name != "x0"}).assign(site="east")
    assert (
        sentence(pca_reconstruction(flat, a, STRUCTURE).reason)
        == "not tested: 1 feature with more than one value; needs 2"
    )
    with pytest.raises(BadInput, match="chunks is 2"):
        pca_reconstruction(a, a, STRUCTURE, chunks=2)


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": np.nan, "site": None},
        {"temperature": np.inf, "noise": -np.inf},
        {"temperature": 1e308, "noise": -1e308},
        {"noise": 5e-324},
        {"site": "never seen"},
        {"temperature": "text", "site": 3.5},
        {"temperature": True},
    ],
)
def test_columns_of_any_content_are_answered(change: dict) -> None:
    rng = np.random.default_rng(17)
    a, b = rows(rng, 200), rows(rng, 200).assign(**change)
    for pair in ((a, b), (b, a), (b, b)):
        reported, fits = domain_classifier(*pair, SCHEMA), pca_reconstruction(*pair, SCHEMA)
        assert 0 <= reported.low <= reported.auc <= reported.high <= 1
        assert fits.reason and (fits.low is None or fits.low <= fits.high < np.inf)
    assert not reported.drifted and not fits.drifted


def test_wild_cells_are_answered() -> None:
    rng = np.random.default_rng(18)
    cells = np.array([1, "1", True, 2.5, None, "x", (1, 2), [3], np.inf], dtype=object)
    a = rows(rng, 300).assign(site=cells[rng.integers(0, 9, 300)], noise=cells[rng.integers(0, 9, 300)])
    b = rows(rng, 300).assign(site=cells[rng.integers(0, 9, 300)], noise=cells[rng.integers(0, 9, 300)])
    assert not domain_classifier(a, b, SCHEMA).drifted and not pca_reconstruction(a, b, SCHEMA).drifted
    b.loc[0, "temperature"] = 1e308
    assert not pca_reconstruction(a, b, SCHEMA).drifted
    assert not domain_classifier(a, b.drop(columns="site"), SCHEMA).drifted


def test_ids_with_100000_values_do_no_harm() -> None:
    rng = np.random.default_rng(19)
    a, b = rows(rng, 100_000), rows(rng, 100_000)
    for same, n in ((True, 100_000), (False, 100_000), (False, 500)):
        a, b = a.head(n), b.head(n)
        a["site"] = [f"a{i}" for i in range(n)]
        b["site"] = a["site"] if same else [f"b{i}" for i in range(n)]
        assert not domain_classifier(a, b, SCHEMA).drifted and not pca_reconstruction(a, b, SCHEMA).drifted
        assert explain(a, b, SCHEMA) is None


def test_a_feature_of_many_categories_is_used() -> None:
    rng = np.random.default_rng(20)
    many = np.array([f"s{i}" for i in range(300)])
    a = rows(rng, 4_000).assign(site=many[rng.integers(0, 200, 4_000)])
    b = rows(rng, 4_000).assign(site=many[rng.integers(100, 300, 4_000)])
    found = domain_classifier(a, b, SCHEMA)
    assert found.drifted and found.auc > 0.7 and list(found.features) == ["site"]


def test_one_row_is_too_few() -> None:
    rng = np.random.default_rng(21)
    with pytest.raises(NotEnoughRows, match="found 1"):
        domain_classifier(rows(rng).head(1), rows(rng), SCHEMA)


def test_columns_that_no_tree_cuts_at_are_left_out_and_would_have_lost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying every column gives the same result to the last bit."""
    from core.drift import multivariate

    rng = np.random.default_rng(5)
    names = [f"x{j}" for j in range(60)]
    before = pd.DataFrame(rng.normal(size=(400, 60)), columns=names)
    after = pd.DataFrame(rng.normal(size=(400, 60)), columns=names)
    after["x1"] = after["x0"] + 0.1 * after["x1"]
    after["x2"] += 2.0
    known = FeatureSchema(
        task="binary", target="y", classes=(0, 1), features=tuple(Feature(name=n, kind="numeric") for n in names)
    )
    cut: list[int] = []
    real = multivariate._columns_cut_at

    def counted(*given: Any) -> set[int]:
        found = real(*given)
        cut.append(len(found))
        return found

    monkeypatch.setattr(multivariate, "_columns_cut_at", counted)
    quick = domain_classifier(before, after, known)
    assert len(cut) == 2 and all(0 < n <= 60 for n in cut)
    monkeypatch.setattr(multivariate, "_columns_cut_at", lambda model, products, columns: set(range(columns)))
    assert domain_classifier(before, after, known) == quick
    assert "x2" in quick.features
