"""The segment that holds most of a change: found, recognised in other rows, dated and described."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.drift.explain import Segment, explain, find_segment, in_segment, located, since
from core.errors import BadInput
from core.records import Feature, FeatureSchema
from core.text.reasons import sentence

MAY = datetime(2026, 5, 3, 14, 5, tzinfo=UTC)

SCHEMA = FeatureSchema(
    task="binary",
    target="y",
    features=(
        Feature(name="temperature", kind="numeric"),
        Feature(name="site", kind="categorical"),
        Feature(name="noise", kind="numeric"),
    ),
)
HOT = Segment(rule="temperature > 31", conditions=(("temperature", ">", 31.0),), part=0.71, before=0.0102, after=0.3779)


def rows(rng: np.random.Generator, n: int = 800) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "temperature": rng.normal(24, 3, n),
            "site": pd.Series(rng.choice(["east", "west", "north"], n), dtype="str"),
            "noise": rng.normal(size=n),
        }
    )


def hot(rng: np.random.Generator, n: int = 800) -> pd.DataFrame:
    frame = rows(rng, n)
    frame.loc[rng.random(n) < 0.4, "temperature"] += 15
    return frame


def test_a_change_is_found_reported_and_recognised() -> None:
    rng = np.random.default_rng(1)
    reference, current = rows(rng, 3_000), hot(rng, 3_000)
    segment = find_segment(reference, current, SCHEMA, seed=0)
    assert segment is not None
    ((feature, op, value),) = segment.conditions
    assert (feature, op) == ("temperature", ">") and 29 < value < 35 and segment.part > 0.85
    assert in_segment(reference, segment).mean() == pytest.approx(segment.before, abs=0.02)
    assert in_segment(current, segment).mean() == pytest.approx(segment.after, abs=0.03)
    text = text_of(segment, since=MAY, score_inside=0.83, score_outside=0.871, n_inside=412)
    assert text.endswith("of rows); new since 3 May, 14:05 UTC; accuracy there is 4.1 points lower (n = 412)")
    whole = explain(reference, current, SCHEMA, seed=0)
    assert whole is not None and sentence(whole).startswith(
        text.split(" of it")[0] + f" of the change is {segment.rule}: "
    )


def text_of(segment: Segment, **known: Any) -> str:
    return sentence(located(segment, **known))


def test_the_sentence_has_only_the_clauses_that_are_known() -> None:
    assert text_of(HOT) == "71 % of it is temperature > 31 (1 % → 38 % of rows)"
    assert text_of(HOT, since=MAY).endswith("; new since 3 May, 14:05 UTC")
    few = text_of(HOT, score_inside=0.5, score_outside=0.9, n_inside=12)
    assert few.endswith("; accuracy there not evaluated (n = 12, too few)") and "0.5" not in few
    assert text_of(HOT, score_outside=0.9).endswith("(n = 0, too few)")
    assert text_of(HOT, score_inside=0.5, n_inside=100) == text_of(HOT)


def test_losses_are_reported_in_points_for_shares_and_as_they_are_for_errors() -> None:
    def ending(**of: float | int | str) -> str:
        return text_of(HOT, n_inside=1_412, **of).split("; ")[1]

    assert ending(score_inside=0.83, score_outside=0.871) == "accuracy there is 4.1 points lower (n = 1,412)"
    assert ending(score_inside=0.9, score_outside=0.8) == "accuracy there is 10.0 points higher (n = 1,412)"
    assert ending(score_inside=0.8, score_outside=0.8) == "accuracy there is the same (n = 1,412)"
    assert ending(score_inside=1.52, score_outside=1.11, metric="mae") == "mean error there is 0.410 higher (n = 1,412)"
    assert ending(score_inside=0.7, score_outside=0.6, metric="log_loss").startswith("log loss there is 0.100 higher")
    with pytest.raises(BadInput, match="expected numbers"):
        ending(score_inside=float("nan"), score_outside=0.8)


def test_a_batch_is_new_when_its_share_and_all_later_ones_are_above_chance() -> None:
    calm, hot_one = ("calm", 0.012, 500), ("hot", 0.3, 500)
    assert since([calm, calm, hot_one, hot_one], reference=0.01) == 2
    # A batch that went back to normal: what came before it is another story.
    assert since([hot_one, calm, hot_one], reference=0.01) == 2
    assert since([hot_one, calm], reference=0.01) is None
    assert since([], reference=0.01) is None
    assert since([hot_one, ("empty", float("nan"), 0), hot_one], reference=0.01) == 0
    # One row of 20 is no news, whatever the reference: five are.
    assert since([("small", 1 / 20, 20)], reference=0.0) is None
    assert since([("small", 5 / 20, 20)], reference=0.0) == 0


def test_calm_batches_are_seldom_new() -> None:
    rng = np.random.default_rng(2)
    alarms = sum(since([("b", rng.binomial(400, 0.1) / 400, 400)], reference=0.1) is not None for _ in range(2_000))
    # P(binomial(400, 0.1) > 58) = 0.0017: 3.4 expected, 14 or more have a chance below 1e-4.
    assert alarms < 14


def test_every_kind_of_condition_is_found_and_recognised() -> None:
    rng = np.random.default_rng(3)
    base = rows(rng, 2_000)
    cases = {
        "cold": (lambda f: f.assign(temperature=f["temperature"] - 20 * (rng.random(2_000) < 0.4)), "<="),
        "missing": (lambda f: f.assign(temperature=f["temperature"].mask(rng.random(2_000) < 0.4)), "missing"),
        "moon": (lambda f: f.assign(site=f["site"].mask(rng.random(2_000) < 0.4, "moon")), "="),
    }
    for change, op in cases.values():
        current = change(rows(rng, 2_000))
        segment = find_segment(base, current, SCHEMA, seed=1)
        assert segment is not None and segment.conditions[0][1] == op
        assert in_segment(current, segment).mean() == pytest.approx(segment.after, abs=0.04)
        assert in_segment(base, segment).mean() == pytest.approx(segment.before, abs=0.03)
    back = find_segment(cases["missing"][0](base), base, SCHEMA, seed=1)
    assert back is not None and back.conditions == (("temperature", "not missing", None),)
    gone = find_segment(base.assign(site=base["site"].mask(rng.random(2_000) < 0.6, "moon")), base, SCHEMA, seed=1)
    assert gone is not None and gone.conditions == (("site", "!=", "moon"),)


def test_a_category_among_many_is_named() -> None:
    rng = np.random.default_rng(4)
    many = [f"s{i}" for i in range(400)]
    a = rows(rng, 4_000).assign(site=rng.choice(many, 4_000))
    b = rows(rng, 4_000).assign(site=rng.choice(many, 4_000))
    b.loc[rng.random(4_000) < 0.08, "site"] = "s399"
    segment = find_segment(a, b, SCHEMA, seed=0)
    assert segment is not None and segment.rule == "site = s399"


def test_two_conditions_are_both_asked_for() -> None:
    rng = np.random.default_rng(5)
    a, b = rows(rng, 4_000), rows(rng, 4_000)
    moved = (b["site"] == "east") & (rng.random(4_000) < 0.9)
    b.loc[moved, "temperature"] = rng.normal(30, 1, int(moved.sum()))
    segment = find_segment(a, b, SCHEMA, seed=0)
    assert segment is not None
    inside = in_segment(b, segment)
    one_by_one = [
        in_segment(b, Segment(rule="", conditions=(c,), part=1.0, before=0.0, after=0.0)) for c in segment.conditions
    ]
    assert (inside == np.logical_and.reduce(one_by_one)).all() and segment.after > segment.before + 0.15


def test_rows_that_cannot_be_compared_are_in_no_numeric_segment() -> None:
    frame = pd.DataFrame({"temperature": [40.0, 20.0, np.nan, np.inf, -np.inf]})
    assert in_segment(frame, HOT).tolist() == [True, False, False, False, False]
    mixed = pd.DataFrame({"temperature": [40, "35", "hot", None, [1]]}, dtype=object)
    assert in_segment(mixed, HOT).tolist() == [True, True, False, False, False]

    def of(op: str, value: str | None = None) -> Segment:
        return Segment(rule="", conditions=(("site", op, value),), part=1.0, before=0.0, after=1.0)

    sites = pd.DataFrame({"site": ["east", None, "never seen"]})
    assert in_segment(sites, of("=", "east")).tolist() == [True, False, False]
    assert in_segment(sites, of("!=", "east")).tolist() == [False, True, True]
    assert in_segment(sites, of("missing")).tolist() == [False, True, False]
    assert in_segment(sites, of("not missing")).tolist() == [True, False, True]
    assert in_segment(sites.iloc[:0], of("missing")).shape == (0,)
    with pytest.raises(BadInput, match="no column 'temperature'"):
        in_segment(sites, HOT)


def test_thresholds_are_rounded_only_where_no_row_changes_sides() -> None:
    rng = np.random.default_rng(6)
    # Instants in seconds: neighbouring values are alike to single precision and to a few digits.
    a = rows(rng, 1_000).assign(noise=1.7e9 + rng.integers(0, 50, 1_000))
    b = rows(rng, 1_000).assign(noise=1.7e9 + rng.integers(50, 100, 1_000))
    segment = find_segment(a, b, SCHEMA, seed=0)
    assert segment is not None and segment.conditions[0][0] == "noise"
    assert in_segment(b, segment).mean() > 0.99 and in_segment(a, segment).mean() < 0.01
    tiny = find_segment(a.assign(noise=a["noise"] * 1e-300), b.assign(noise=b["noise"] * 1e-300), SCHEMA, seed=0)
    assert tiny is not None and tiny.after > 0.99


def test_equal_windows_have_no_segment() -> None:
    rng = np.random.default_rng(7)
    assert [find_segment(rows(rng, 300), rows(rng, 300), SCHEMA, seed=s) for s in range(30)] == [None] * 30


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": np.nan, "site": None, "noise": np.nan},
        {"temperature": 1.0, "site": "east", "noise": 0.0},
        {"temperature": np.inf, "noise": -np.inf},
        {"temperature": 1e308, "noise": -1e308},
        {"site": "never seen"},
        {"temperature": "text"},
    ],
)
def test_columns_of_any_content_are_answered(change: dict) -> None:
    rng = np.random.default_rng(8)
    a, b = rows(rng, 200), rows(rng, 200).assign(**change)
    for pair in ((a, b), (b, a), (b, b)):
        segment = find_segment(*pair, SCHEMA, seed=0)
        assert segment is None or (0 < segment.part <= 1 and in_segment(pair[1], segment).shape == (200,))
    assert find_segment(a, b.iloc[:1], SCHEMA, seed=0) is None
    assert find_segment(b, b, SCHEMA, seed=0) is None


def test_mixed_types_in_one_column_are_answered() -> None:
    rng = np.random.default_rng(9)
    cells = np.array([1, "1", True, 2.5, None, "x", (1, 2), [3]], dtype=object)
    a = rows(rng, 300).assign(site=cells[rng.integers(0, 8, 300)], noise=cells[rng.integers(0, 8, 300)])
    b = rows(rng, 300).assign(site=cells[rng.integers(0, 8, 300)], noise=cells[rng.integers(0, 8, 300)])
    assert find_segment(a, b, SCHEMA, seed=0) is None
    b["site"] = "x"
    segment = find_segment(a, b, SCHEMA, seed=0)
    assert segment is not None and segment.rule == "site = x" and segment.after == 1.0
