"""Two gates over every feature; every entry of UNIVARIATE_TESTS goes through the same checks."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from core.drift.rules import ALPHA, DriftRules, Targets
from core.drift.univariate import UNIVARIATE_TESTS, headline, measure_drift
from core.errors import BadInput
from core.records import (
    NO_REASON,
    DriftReport,
    DriftScore,
    Feature,
    FeatureKind,
    FeatureSchema,
    Reason,
    Window,
    as_written,
    because,
    to_document,
)
from core.text.reasons import sentence

ENTRIES = [
    (key, kind)
    for key, test in UNIVARIATE_TESTS.items()
    for kind, function in (("numeric", test.numeric), ("categorical", test.categories))
    if function is not None
]


def schema_of(**kinds: FeatureKind) -> FeatureSchema:
    return FeatureSchema(
        task="binary", target="y", features=tuple(Feature(name=n, kind=k) for n, k in kinds.items()), classes=("a", "b")
    )


def texts(values: Any) -> pd.Series:
    return pd.Series(list(values), dtype="str")


def sample(kind: str, rng: np.random.Generator, n: int = 400, moved: bool = False) -> pd.Series:
    if kind == "numeric":
        return pd.Series(rng.normal(1.5 if moved else 0.0, 1.0, n))
    return texts(rng.choice(["east", "west", "north"], n, p=[0.15, 0.15, 0.7] if moved else [0.5, 0.3, 0.2]))


def one(key: str, kind: str, reference: Any, current: Any, **options: Any) -> DriftScore:
    """The verdict of one test on one column."""
    which = {"numeric_test": key} if kind == "numeric" else {"category_test": key}
    schema = schema_of(x=kind)  # type: ignore[arg-type]
    frames = [pd.DataFrame({"x": pd.Series(v)}) for v in (reference, current)]
    (score,) = measure_drift(*frames, schema, rules=DriftRules(**which, **options)).scores  # type: ignore[arg-type]
    json.dumps(to_document(score), allow_nan=False)
    for figure in (score.statistic, score.p_value, score.effect, score.miss_rate_reference, score.miss_rate_current):
        assert figure is None or math.isfinite(figure)
    return score


def test_demo_two_of_three_features_drifted() -> None:
    rng = np.random.default_rng(0)
    before = pd.DataFrame(
        {"temperature": rng.normal(24, 3, 500), "humidity": rng.normal(50, 9, 500), "site": sample("c", rng, 500)}
    )
    after = pd.DataFrame(
        {
            "temperature": rng.normal(30, 3, 500),
            "humidity": rng.normal(50, 9, 500),
            "site": texts(["east"] * 300 + ["south"] * 200),
        }
    )
    report = measure_drift(before, after, schema_of(temperature="numeric", humidity="numeric", site="categorical"))
    assert report.drifted == ("temperature", "site")
    assert report.share_drifted == pytest.approx(2 / 3)
    assert headline(report) == "2 of 3 features drifted: temperature and site."
    by_name = {s.name: s for s in report.scores}
    assert "above the minimum effect 0.02 (p < 0.001 after Holm over 11 tests); median 23.8 → 29.8" in sentence(
        by_name["temperature"].reason
    )
    assert "new: 'south' (40 % of rows); gone: 'west' (29 % of rows), 'north'" in sentence(
        by_name["site"].reason
    ).replace(" and ", ", ")
    assert sentence(by_name["humidity"].reason).startswith("KS distance 0.0")


# --- the same checks for every entry ------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "kind"), ENTRIES)
class TestEveryEntry:
    def test_equal_samples_do_not_drift(self, key: str, kind: str) -> None:
        column = sample(kind, np.random.default_rng(1))
        score = one(key, kind, column, column)
        assert score.judged and not score.drifted
        assert score.effect == pytest.approx(0.0, abs=1e-9) and score.p_value == pytest.approx(1.0, abs=1e-6)

    def test_a_shift_drifts(self, key: str, kind: str) -> None:
        rng = np.random.default_rng(2)
        score = one(key, kind, sample(kind, rng), sample(kind, rng, moved=True))
        assert score.drifted and score.judged
        assert score.effect is not None and score.effect > 0.1
        assert score.p_value is not None and score.p_value < 1e-6
        assert score.test == UNIVARIATE_TESTS[key].label
        assert "above the minimum effect" in sentence(score.reason)

    def test_a_small_significant_change_stays_within_the_gate(self, key: str, kind: str) -> None:
        rng = np.random.default_rng(3)
        n = 200_000
        before = sample(kind, rng, n)
        after = before + 0.02 if kind == "numeric" else before.mask(rng.random(n) < 0.02, "east")
        score = one(key, kind, before, after)
        assert not score.drifted and score.p_value is not None and score.p_value < 0.05
        assert "not above the minimum effect" in sentence(score.reason)

    def test_chance_alone_alarms_no_more_often_than_alpha(self, key: str, kind: str) -> None:
        seeds, alpha = 200, 0.05
        rng = np.random.default_rng(4)
        alarms = sum(
            one(key, kind, sample(kind, rng, 150), sample(kind, rng, 180), gate=0.0, alpha=alpha).drifted
            for _ in range(seeds)
        )
        # More alarms than this has a chance of 1 in 10,000 at a true rate of alpha.
        assert alarms <= binom.ppf(1 - 1e-4, seeds, alpha)

    def test_a_constant_column_is_not_judged(self, key: str, kind: str) -> None:
        value: Any = 3.5 if kind == "numeric" else "east"
        score = one(key, kind, pd.Series([value] * 50), pd.Series([value] * 60))
        assert not score.judged and not score.drifted
        assert sentence(score.reason).startswith("not tested: constant") and str(value) in sentence(score.reason)

    def test_another_constant_is_a_drift(self, key: str, kind: str) -> None:
        a, b = (1.0, 2.0) if kind == "numeric" else ("east", "west")
        score = one(key, kind, pd.Series([a] * 200), pd.Series([b] * 200))
        assert score.drifted

    def test_too_few_rows_are_named(self, key: str, kind: str) -> None:
        rng = np.random.default_rng(5)
        score = one(key, kind, sample(kind, rng, 29), sample(kind, rng, 400))
        assert not score.judged and sentence(score.reason) == "not tested: 29 and 400 rows; needs 30 in each window"
        empty = sample(kind, rng, 400).iloc[:0]
        score = one(key, kind, sample(kind, rng, 400), empty)
        assert not score.judged and "400 and 0 rows" in sentence(score.reason)

    def test_all_missing_is_named(self, key: str, kind: str) -> None:
        nothing = pd.Series([np.nan] * 80) if kind == "numeric" else texts([None] * 80)
        score = one(key, kind, nothing, nothing)
        assert not score.judged and sentence(score.reason) == "not tested: every value is missing in both windows"
        assert score.miss_rate_reference == score.miss_rate_current == 1.0

    def test_some_missing_cells_change_nothing_by_themselves(self, key: str, kind: str) -> None:
        rng = np.random.default_rng(6)
        holes = [sample(kind, rng).mask(rng.random(400) < 0.2) for _ in range(2)]
        score = one(key, kind, *holes)
        assert score.judged and not score.drifted
        assert score.miss_rate_reference == pytest.approx(0.2, abs=0.06)

    def test_more_missing_cells_are_drift(self, key: str, kind: str) -> None:
        rng = np.random.default_rng(7)
        before, after = sample(kind, rng), sample(kind, rng)
        score = one(key, kind, before, after.mask(rng.random(400) < 0.4))
        assert score.drifted and score.judged
        assert score.test == "two proportions" and score.effect == pytest.approx(0.4, abs=0.08)
        assert "missing in 0 % → 4" in sentence(score.reason) or "missing in 0 % → 3" in sentence(score.reason)

    def test_a_column_that_vanishes_is_drift_although_its_values_cannot_be_judged(self, key: str, kind: str) -> None:
        before = sample(kind, np.random.default_rng(8))
        after = before.mask(np.ones(400, dtype=bool))
        score = one(key, kind, before, after)
        assert score.drifted and score.judged and score.statistic is None and score.effect == 1.0
        assert "missing in 0 % → 100 %" in sentence(score.reason) and "values not tested: 400 and 0 values" in sentence(
            score.reason
        )


# --- categories ---------------------------------------------------------------------------------------------------


def test_unseen_categories_are_named() -> None:
    before = texts(["east"] * 200 + ["west"] * 100)
    after = texts(["east"] * 200 + ["moon"] * 90 + ["west"] * 10)
    score = one("chi_square", "categorical", before, after)
    assert score.drifted and "new: 'moon' (30 % of rows)" in sentence(score.reason)


def test_a_column_of_ids_is_not_judged() -> None:
    ids = texts(f"id {i}" for i in range(600))
    score = one("chi_square", "categorical", ids[:300], ids[300:].reset_index(drop=True))
    assert not score.judged and sentence(score.reason) == "not tested: none of its 600 categories has enough rows"


def test_a_moved_share_is_named() -> None:
    score = one("chi_square", "categorical", texts(["a"] * 150 + ["b"] * 150), texts(["a"] * 60 + ["b"] * 240))
    assert score.drifted and sentence(score.reason).endswith("'b' 50 % → 80 %")
    assert score.statistic == pytest.approx(0.3)


def test_an_effect_next_to_the_gate_does_not_read_as_the_gate() -> None:
    before, after = texts(["a"] * 5_000 + ["b"] * 5_000), texts(["a"] * 3_980 + ["b"] * 6_020)
    score = one("chi_square", "categorical", before, after, gate=0.1)
    assert score.drifted and sentence(score.reason).startswith("total variation 0.1020, above the minimum effect 0.1")


# --- over all features --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_family_of_features_alarms_no_more_often_than_alpha() -> None:
    rng = np.random.default_rng(9)
    kinds: dict[str, FeatureKind] = {**{f"n{i}": "numeric" for i in range(8)}, "c0": "categorical", "c1": "categorical"}
    schema = schema_of(**kinds)

    def frame() -> pd.DataFrame:
        return pd.DataFrame({n: sample(k, rng, 120).mask(rng.random(120) < 0.1) for n, k in kinds.items()})

    seeds = 200
    alarms = sum(
        bool(measure_drift(frame(), frame(), schema, rules=DriftRules(gate=0.0)).drifted) for _ in range(seeds)
    )
    assert alarms <= binom.ppf(1 - 1e-4, seeds, ALPHA)


def test_columns_that_were_not_judged_do_not_count_in_the_share() -> None:
    rng = np.random.default_rng(10)
    frames = [pd.DataFrame({"x": rng.normal(m, 1, 200), "flat": np.ones(200)}) for m in (0, 2)]
    report = measure_drift(*frames, schema_of(x="numeric", flat="numeric"))
    assert report.share_drifted == 1.0
    assert headline(report) == "1 of 1 feature drifted: x. 1 feature not tested."


def test_predictions_and_labels_are_scores_of_their_own() -> None:
    rng = np.random.default_rng(11)
    frames = [pd.DataFrame({"x": rng.normal(size=300)}) for _ in range(2)]
    report = measure_drift(
        *frames,
        schema_of(x="numeric"),
        targets=Targets(
            predictions=(["a"] * 150 + ["b"] * 150, ("a",) * 60 + ("b",) * 240),
            labels=tuple(
                np.array(labels, dtype=object) for labels in (["a", "b"] * 150, ["a", "b"] * 100 + [None] * 100)
            ),
        ),
    )
    assert report.prediction is not None and report.prediction.drifted and report.prediction.kind == "prediction"
    assert report.prediction.effect == pytest.approx(0.3)
    assert report.label is not None and report.label.judged and not report.label.drifted
    assert headline(report) == "x is steady. The predictions moved."


def test_labels_that_have_not_come_yet_are_not_judged() -> None:
    frame = pd.DataFrame({"x": np.arange(100.0)})
    report = measure_drift(frame, frame, schema_of(x="numeric"), targets=Targets(labels=(["a"] * 100, [None] * 100)))
    assert report.label is not None and not report.label.judged and "100 and 0 rows" in sentence(report.label.reason)
    assert report.prediction is None


def test_predictions_of_a_regression_are_numbers() -> None:
    rng = np.random.default_rng(12)
    frame = pd.DataFrame({"x": rng.normal(size=200)})
    schema = FeatureSchema(task="regression", target="y", features=(Feature(name="x", kind="numeric"),))
    report = measure_drift(
        frame, frame, schema, targets=Targets(predictions=(rng.normal(0, 1, 200), rng.normal(2, 1, 200)))
    )
    assert report.prediction is not None and report.prediction.drifted
    assert report.prediction.test == "Kolmogorov-Smirnov"


def test_values_at_the_ends_of_double_precision_are_compared() -> None:
    rng = np.random.default_rng(13)
    before, after = pd.Series(rng.choice([-1.7e308, 0.0, 1.7e308], 200)), pd.Series(rng.normal(size=200))
    assert one("kolmogorov_smirnov", "numeric", before, after).drifted


def test_windows_are_kept_or_counted() -> None:
    frame = pd.DataFrame({"x": np.arange(50.0)})
    mine = Window(name="reference", n_rows=50, description="the rows v3 learnt from")
    report = measure_drift(frame, frame[:40], schema_of(x="numeric"), windows=(mine, None))
    assert report.reference is mine and report.current.n_rows == 40


def test_an_unknown_test_is_refused_by_name() -> None:
    frame = pd.DataFrame({"x": np.arange(50.0)})
    with pytest.raises(
        BadInput, match=r"no drift test 'ks' for numeric columns. Choose one of kolmogorov_smirnov, psi"
    ):
        measure_drift(frame, frame, schema_of(x="numeric"), rules=DriftRules(numeric_test="ks"))
    with pytest.raises(BadInput, match="for categories"):
        measure_drift(frame, frame, schema_of(x="numeric"), rules=DriftRules(category_test="kolmogorov_smirnov"))


# --- what is not as it should be ----------------------------------------------------------------------------------


def judged(reference: Any, current: Any, kind: str = "numeric") -> DriftScore:
    frames = [pd.DataFrame(f) for f in (reference, current)]
    (score,) = measure_drift(*frames, schema_of(x=kind)).scores  # type: ignore[arg-type]
    return score


def test_new_vanished_changed_and_mixed_columns_are_named() -> None:
    numbers, words_ = np.arange(100.0), ["a", "b"] * 50
    gone = judged({"x": numbers}, {"z": numbers})
    assert (
        not gone.judged
        and sentence(gone.reason) == "not tested: the column is gone: it is only in the reference window"
    )
    new = judged({"z": numbers}, {"x": numbers})
    assert not new.judged and sentence(new.reason) == "not tested: a new column: it is only in the current window"
    text = judged({"x": numbers}, {"x": words_})
    assert (
        not text.judged
        and sentence(text.reason) == "not tested: text where numbers were expected in the current window"
    )
    other = judged({"x": words_}, {"x": numbers}, "categorical")
    assert not other.judged and "another type: numbers where text was" in sentence(other.reason)
    mixed = judged({"x": numbers}, {"x": pd.Series([1.5, "two", 3] + [4.0] * 97, dtype=object)})
    assert not mixed.judged and "mixed types: 1 of 100 values are not numbers" in sentence(mixed.reason)


def test_infinite_values_are_values() -> None:
    rng = np.random.default_rng(0)
    before = rng.normal(size=500)
    after = np.where(rng.random(500) < 0.2, np.inf, rng.normal(size=500))
    score = judged({"x": before}, {"x": after})
    assert score.drifted and score.statistic == pytest.approx(0.2, abs=0.06)
    assert score.miss_rate_current == 0.0


def test_very_many_categories_are_an_id() -> None:
    ids = [f"id {i}" for i in range(60_000)]
    score = judged({"x": texts(ids)}, {"x": texts(reversed(ids))}, "categorical")
    assert not score.judged
    assert sentence(score.reason) == "not tested: 60,000 different values, more than 50,000: an id or free text"


def test_duplicated_rows_are_no_drift_by_themselves() -> None:
    x = np.random.default_rng(1).normal(size=300)
    assert not judged({"x": x}, {"x": np.tile(x, 4)}).drifted


def test_new_and_vanished_categories_are_scores_of_their_own() -> None:
    rng = np.random.default_rng(2)
    before = rng.choice(["a", "b", "c", "old"], 5_000, p=[0.4, 0.3, 0.28, 0.02])
    after = rng.choice(["a", "b", "c", "new"], 5_000, p=[0.4, 0.3, 0.28, 0.02])
    score = judged({"x": texts(before)}, {"x": texts(after)}, "categorical")
    assert {p.of for p in score.parts if p.passed} >= {"new", "vanished"}
    assert score.new_share == pytest.approx(0.02, abs=0.006) and score.vanished_share == pytest.approx(0.02, abs=0.006)


def test_rare_categories_that_come_and_go_by_chance_are_no_drift() -> None:
    shares = 1 / np.arange(1, 2_001)
    alarms = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        columns = [texts(f"k{i}" for i in rng.choice(2_000, 3_000, p=shares / shares.sum())) for _ in range(2)]
        score = judged({"x": columns[0]}, {"x": columns[1]}, "categorical")
        alarms += score.drifted
        assert score.new_share is not None and score.new_share > 0.02
    assert alarms == 0


def test_a_gate_of_its_own_counts_for_a_feature() -> None:
    rng = np.random.default_rng(3)
    frames = [pd.DataFrame({"x": rng.normal(m, 1, 5_000), "z": rng.normal(m, 1, 5_000)}) for m in (0, 0.2)]
    report = measure_drift(*frames, schema_of(x="numeric", z="numeric"), rules=DriftRules(gates={"x": 0.5}))
    assert report.drifted == ("z",)


# --- headline -----------------------------------------------------------------------------------------------------


def report_of(*scores: DriftScore) -> DriftReport:
    window = Window(name="reference", n_rows=1)
    return DriftReport(reference=window, current=window, scores=scores)


def score_of(
    name: str, *, drifted: bool = False, judged: bool = True, effect: float = 0.2, reason: Reason = NO_REASON
) -> DriftScore:
    return DriftScore(
        name=name, kind="numeric", drifted=drifted, statistic=effect, p_value=0.5, effect=effect, judged=judged, reason=reason
    )  # fmt: skip


def test_headlines() -> None:
    steady = [score_of(f"s{i}") for i in range(9)]
    assert headline(report_of(*steady)) == "All 9 features are steady."
    off = score_of("off", judged=False, reason=because("not_judged", why=because("all_missing")))
    assert headline(report_of(*steady, off)) == "All 9 features that could be tested are steady. 1 feature not tested."
    few_rows = because("not_judged", why=because("too_few_rows_in_windows", n=3, m=9, needed=30))
    few = [score_of(n, judged=False, reason=few_rows) for n in "ab"]
    assert headline(report_of(*few)) == "No feature could be tested: 3 and 9 rows; needs 30 in each window."
    assert headline(report_of(*few, off)) == "No feature could be tested."
    old = [score_of(n, judged=False, reason=as_written("not tested: 3 and 9 rows")) for n in "ab"]
    assert headline(report_of(*old)) == "No feature could be tested."
    moved = [
        score_of(n, drifted=True, effect=e) for n, e in (("a", 0.2), ("b", 0.5), ("c", 0.3), ("d", 0.4), ("e", 0.11))
    ]
    assert headline(report_of(*moved, *steady)) == "5 of 14 features drifted: b, d, c and 2 more."
    assert headline(report_of()) == "There are no features to test."
