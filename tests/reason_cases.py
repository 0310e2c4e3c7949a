"""Records that carry a reason, made by the functions that give reasons: one of every kind, under a name of its own.

`tests/text/reasons.json` holds the sentence of each as it was when sentences were still what the records held.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from core.drift.frames import compare_frames
from core.drift.profile import profile
from core.drift.rules import DriftRules, Targets
from core.drift.univariate import UNIVARIATE_TESTS, measure_drift
from core.learning.label_sampling import weighted_score
from core.learning.policy import CLAUSES, TRIGGERS, decide, verdict
from core.performance.estimated import fit_estimator, trust_of
from core.performance.head_to_head import paired_difference
from core.performance.realised import measure, past_error, pooled
from core.records import (
    METRICS,
    CalibrationGap,
    Comparison,
    Evidence,
    Feature,
    FeatureSchema,
    PastComparison,
    Policy,
    Score,
    WorstSlice,
    as_written,
)

QUIET = Evidence(
    n_rows=500, n_labelled=500, metric="accuracy", score=0.9, score_low=0.87, score_high=0.93, score_n=500,
    recent_mean=0.9, share_drifted=0.0, labels_since_race=150,
)  # fmt: skip
EVERY = Policy(name="every", triggers=tuple(TRIGGERS), new_labels=1500, max_age_s=3600.0, schedule="0 3 * * *")
FIRING: dict[str, dict[str, Any]] = {
    "no_champion": {"has_champion": False, "labels_since_race": 1020, "score": None},
    "by_hand": {"forced": True},
    "below_threshold": {"score": 0.7912, "score_n": 1234},
    "below_threshold, error": {"metric": "mae", "score": 1234567.0, "score_n": 1234},
    "below_threshold, huge error": {"metric": "rmse", "score": 1.234e75},
    "below_threshold, tiny": {"metric": "r2", "score": 1.5e-9},
    "below_recent_mean": {"score": 0.868},
    "below_recent_mean, rows": {"score": 0.81, "recent_rows": 5000, "recent_inflation": 1.5},
    "below_recent_mean, error": {"metric": "mae", "score": 0.5, "score_low": 0.45, "recent_mean": 0.2, "recent_rows": 99},
    "below_recent_mean, kappa": {"metric": "kappa", "score": 0.5, "score_high": 0.55, "recent_mean": 0.7},
    "estimated_below": {"score": None, "recent_mean": None, "estimated": 0.75, "estimated_low": 0.7, "estimated_high": 0.79},
    "estimated_below, error": {
        "metric": "mae", "score": None, "recent_mean": None, "estimated": 3.25, "estimated_low": 2.0, "estimated_high": 4.0,
    },
    "change_found": {"change_found": True},
    "change_found, evidence": {"change_found": True, "rise": 12345.6},
    "change_found, strong": {"change_found": True, "rise": 1e6},
    "change_found, endless": {"change_found": True, "rise": float("inf")},
    "error_alarm": {"error_alarms": (as_written("ADWIN: the error rose"),)},
    "error_alarm, two": {"error_alarms": (as_written("ADWIN: the error rose"), as_written("DDM: so it did"))},
    "drift_share": {"share_drifted": 0.3, "drifted": ("a",)},
    "drift_share, four": {"share_drifted": 1 / 3, "drifted": ("a", "b", "c'", "d")},
    "new_labels": {"labels_since_race": 1500},
    "age": {"seconds_since_race": 3601.0},
    "age, days": {"seconds_since_race": 400_000.0},
    "schedule": {"schedule_due": True},
}  # fmt: skip

SLICE = WorstSlice(rule="a = x", n=4000, wins=1, losses=1200, p=0.0034, tried=4)
PAST = PastComparison(n=1100, regimes=2, challenger=0.7, champion=0.81, difference=-0.11)
DIFFERENCE = Score(metric="accuracy", value=-0.1, low=-0.19, high=-0.01)
CALIBRATION = CalibrationGap(challenger=0.1, champion=0.02, error=0.04)
COMPARED: dict[str, dict[str, Any]] = {
    "a clear win": {},
    "no row": {"n": 0},
    "a problem": {"problem": "It answers with c."},
    "level": {"wins": 10, "losses": 10},
    "large counts": {"n": 123_456, "wins": 3456, "losses": 1234},
    "no p": {"p": None},
    "p at the bound": {"p": 0.05, "test": "sign test"},
    "worse": {"difference": DIFFERENCE, "wins": 3, "losses": 9},
    "worse, but more wins": {"difference": DIFFERENCE},
    "better": {"difference": replace(DIFFERENCE, value=0.1, low=0.01, high=0.19)},
    "no difference": {"difference": replace(DIFFERENCE, value=0.0, high=0.1)},
    "better by R2": {"metric": "r2", "difference": Score(metric="r2", value=0.0312, low=-0.1, high=0.2)},
    "worse by R2": {"metric": "r2", "difference": Score(metric="r2", value=-0.0312, low=-0.1, high=-0.02)},
    "no better by error": {"metric": "mae", "difference": Score(metric="mae", value=0.0, low=-0.1, high=0.2)},
    "no interval": {"difference": Score(metric="kappa", value=0.2)},
    "a slice": {"worst_slice": SLICE},
    "many slices": {"worst_slice": replace(SLICE, tried=20)},
    "forgets": {"past": PAST},
    "forgets one": {"past": replace(PAST, regimes=1)},
    "forgets for a change": {"past": replace(PAST, answers_change=True)},
    "too sure": {"calibration": replace(CALIBRATION, challenger=0.31)},
    "sure enough": {"calibration": CALIBRATION},
    "sure by itself": {"calibration": replace(CALIBRATION, champion=None)},
    "biased": {"metric": "rmse", "calibration": replace(CALIBRATION, challenger=-0.31)},
    "slow": {"seconds": {"challenger": 0.0512}},
    "quick": {"seconds": {"challenger": 0.0012}},
}  # fmt: skip


def policies() -> Iterator[tuple[str, Any]]:
    """Firings, decisions, clauses and verdicts."""
    yield from _decisions()
    strict = replace(EVERY, gate="superior", max_predict_ms=5.0, max_forgetting=0.1)
    won = Comparison(
        n=100, metric="accuracy", champion=None, challenger=Score(metric="accuracy", value=0.5), difference=None,
        wins=40, losses=10, p=0.00002,
    )  # fmt: skip
    for name, found in COMPARED.items():
        comparison = replace(won, **found)
        for policy, word in ((strict, "strict"), (EVERY, "free")):
            for clause, check in CLAUSES.items():
                reported = check(comparison, policy)
                if not found or reported != check(won, policy):
                    yield f"clause, {word}: {name}, {clause}", reported
        yield f"verdict, strict: {name}", verdict(comparison, strict)
        yield f"verdict, held back: {name}", verdict(comparison, replace(EVERY, gate="held_back"), kind="refresh")
    yield "verdict: first", verdict(None, strict, first=True)
    yield "verdict: no gate", verdict(None, replace(EVERY, gate="none"))


def _decisions() -> Iterator[tuple[str, Any]]:
    for name, found in FIRING.items():
        decision = decide(replace(QUIET, **found), EVERY)
        assert name.split(",")[0] in [f.trigger for f in decision.firings], name
        yield from ((f"firing: {name}, {firing.trigger}", firing) for firing in decision.firings)
        yield f"decision: {name}", decision
    busy = replace(QUIET, labels_since_race=1500, share_drifted=0.5, drifted=("a",), seconds_since_race=500.0)
    for name, evidence, changes in (
        ("quiet", QUIET, {}),
        ("quiet, R2", replace(QUIET, metric="r2", score=-3.0), {}),
        ("no label", replace(QUIET, score=None), {}),
        ("no label, R2", replace(QUIET, score=None, metric="r2"), {}),
        ("no champion yet", replace(QUIET, has_champion=False, labels_since_race=19), {}),
        ("too few rows", replace(busy, labels_since_race=1), {"min_rows": 1100}),
        ("cooldown", busy, {"cooldown_s": 900.0}),
        ("cooldown, days", busy, {"cooldown_s": 900_000.0}),
        ("shadow", replace(busy, in_shadow=True), {}),
        ("budget", replace(busy, races_last_day=3), {"races_per_day": 3}),
        ("several", busy, {}),
        ("joined", busy, {"triggers": ("drift_share+new_labels", "drift_share")}),
    ):
        decision = decide(evidence, replace(EVERY, **changes))
        yield from ((f"firing: {name}, {firing.trigger}", firing) for firing in decision.firings)
        yield f"decision: {name}", decision


def scores() -> Iterator[tuple[str, Any]]:
    """Scores of every metric with and without a value, estimates, and whether they are trusted."""
    rng = np.random.default_rng(0)
    for task, metric in ((task, name) for name, known in METRICS.items() for task in known.tasks):
        for name, (true, pred, proba, classes) in _answers(task, rng).items():
            report = measure(task, true, pred, y_proba=proba, classes=classes, metrics=(metric,), intervals=None)
            yield f"score, {task}: {metric}, {name}", report.scores[metric]
        found = [Score(metric=metric, value=0.5, low=0.4, high=0.6, n=100)] * 3
        yield f"pooled, {task}: {metric}", pooled(found)
        for n in (1, 40):
            true, pred, _, _ = _answers("regression" if task == "regression" else "multiclass", rng)["usual"]
            reported = weighted_score(task, metric, true[:n], pred[:n], np.ones(n))
            yield f"weighted, {task}: {metric}, {n} rows", reported
    yield "weighted: R2 of equal values", weighted_score("regression", "r2", np.ones(40), np.ones(40), np.ones(40))
    yield "difference: no row", paired_difference(np.empty(0), np.empty(0))
    yield "difference: one row", paired_difference(np.array([0.5]), np.array([0.25]), metric="mae")
    yield "difference: rows", paired_difference(rng.random(9), rng.random(9), metric="mae")
    yield "estimate error: none", past_error([], "accuracy")
    for name, z in (
        ("none", []), ("agree", [0.5]), ("agree, three", [0.5, -0.25, 1.0, 0.0]), ("above", [3.5]), ("below", [-9.0, -4.0]),
    ):  # fmt: skip
        yield f"trust: {name}", trust_of(z)
    yield from _estimates(rng)


def _answers(task: str, rng: np.random.Generator) -> dict[str, tuple[Any, Any, Any, tuple[Any, ...]]]:
    if task == "regression":
        y = rng.normal(size=40)
        return {
            "usual": (y, y + 0.1, None, ()),
            "no row": (y[:0], y[:0], None, ()),
            "one row": (y[:1], y[:1], None, ()),
            "equal values": (np.ones(40), y, None, ()),
            "not finite": (y, np.where(y > 1, np.inf, y), None, ()),
        }
    classes = ("a", "b") if task == "binary" else ("a", "b", "c")
    codes = np.arange(40) % len(classes)
    y = np.array(classes, dtype=object)[codes]
    proba = np.full((40, len(classes)), 1.0 / len(classes))
    holes = proba.copy()
    holes[3] = np.nan
    return {
        "usual": (y, y[::-1], proba, classes),
        "no row": (y[:0], y[:0], proba[:0], classes),
        "one row": (y[:1], y[:1], proba[:1], classes),
        "no probabilities": (y, y, None, classes),
        "one class": (np.array(["a"] * 40, dtype=object), np.array(["a"] * 40, dtype=object), proba, classes),
        "not finite": (y, y, holes, classes),
        "unknown class": (np.where(y == "a", "z", y), y, proba, classes),
        "one class known": (y, y, proba[:, :1], classes[:1]),
    }


def _estimates(rng: np.random.Generator) -> Iterator[tuple[str, Any]]:
    p = rng.random(400)
    rows = pd.DataFrame({"y_true": (rng.random(400) < p).astype(int), "y_pred": (p > 0.5).astype(int), "p": p})
    for name, reference in (("few", rows.head(60)), ("one class", rows[rows["y_true"] == 1])):
        estimator = fit_estimator(reference, task="binary")
        yield f"estimate: {name} labelled", estimator.estimate(rows.head(50), "accuracy")
    estimator = fit_estimator(rows, task="binary")
    yield "estimate: no row", estimator.estimate(rows.head(0), "accuracy")
    yield "estimate: holes", estimator.estimate(rows.head(50).assign(p=np.nan), "accuracy")
    yield "estimate: told", estimator.estimate(rows.head(50), "accuracy")


def drifts() -> Iterator[tuple[str, Any]]:
    """Scores of columns that are steady, drifted, missing, gone, unfit or of too few rows, by every test."""
    before, after = _window(0, 400), _window(1, 500)
    schema = FeatureSchema(
        task="multiclass", target="y",
        features=tuple(
            Feature(name=name, kind="categorical" if name.startswith("c_") else "numeric")
            for name in (*before.columns, "n_new")
        ),
        classes=("a", "b"),
    )  # fmt: skip
    targets = Targets(
        labels=(np.array(["a", "b"] * 200, dtype=object), np.array(["a"] * 500, dtype=object)),
        predictions=(np.array([], dtype=object), np.array(["a"] * 5, dtype=object)),
        residuals=(np.arange(100.0), np.arange(100.0) / 3),
    )
    for key, test in UNIVARIATE_TESTS.items():
        chosen = {
            **({"numeric_test": key} if test.numeric else {}),
            **({"category_test": key} if test.categories else {}),
        }
        report = measure_drift(before, after, schema, rules=DriftRules(**chosen), targets=targets)  # type: ignore[arg-type]
        others = [report.prediction, report.label, report.residual]
        yield from ((f"drift, {key}: {s.name}", s) for s in [*report.scores, *others] if s is not None)
    few = measure_drift(before.head(20), after, schema, rules=DriftRules(gate=0.2))
    yield from ((f"drift, few rows: {s.name}", s) for s in few.scores)
    within = measure_drift(before, after, schema, rules=DriftRules(gate=0.5))
    yield from ((f"drift, wide gate: {s.name}", s) for s in within.scores)
    many = [pd.DataFrame({"c": [f"{word}{i}" for i in range(60_000)]}) for word in "ab"]
    ids = FeatureSchema(task="regression", target="", features=(Feature(name="c", kind="categorical"),))
    yield "drift: an id", measure_drift(*many, ids).scores[0]
    yield "drift: other types", measure_drift(profile(many[0], ids), many[1].assign(c=1.0), ids).scores[0]
    alone = measure_drift(before[["n_shift"]], after[["n_shift"]], replace(schema, features=schema.features[1:2]))
    yield "drift: one test", alone.scores[0]
    for target in ("y", "same"):
        frames = [
            w.assign(y=np.arange(len(w)) % 2, same="x", number=range(1000, 1000 + len(w))) for w in (before, after)
        ]
        report = compare_frames(*frames, target=target)[1]
        yield from ((f"drift, frames, {target}: {s.name}", s) for s in [*report.scores, report.label] if s is not None)


def _window(which: int, n: int) -> pd.DataFrame:
    """Columns that are alike in both windows, and others that are not."""
    rng = np.random.default_rng(which + 5)
    now = bool(which)
    x = rng.normal(size=n)
    mixed: list[Any] = [*range(n - 3), "?", "-", "n/a"] if now else list(range(n))
    found = {
        "n_same": x,
        "n_shift": 20.0 + rng.normal(size=n) + (6.0 if now else 0.0),
        "n_slight": rng.normal(size=n) + (0.15 if now else 0.0),
        "n_wide": rng.normal(size=n) * (4.0 if now else 1.0),
        "n_holes": np.where(rng.random(n) < (0.4 if now else 0.0), np.nan, rng.normal(size=n)),
        "n_spread": 5.0 + np.linspace(-1.0, 1.0, n) ** (3 if now else 1),
        "n_tails": np.where(np.arange(n) % 10 == 0, x * (8.0 if now else 1.0), np.linspace(-1.0, 1.0, n)),
        "n_dates": pd.date_range("2026-01-01", periods=n),
        "n_beyond": pd.Series([10**400] * n, dtype=object) if now else np.arange(n) % 7,
        "n_constant": np.full(n, 1234.5),
        "n_empty": np.full(n, np.nan),
        "n_emptied": np.full(n, np.nan) if now else rng.normal(size=n),
        "n_huge": rng.normal(size=n) * (1e30 if now else 1e29) + 0.5,
        "n_text": pd.Series(["text"] * n, dtype=object) if now else rng.normal(size=n),
        "n_mixed": pd.Series(mixed, dtype=object),
        "c_same": np.array(["a", "b"], dtype=object)[rng.integers(0, 2, n)],
        "c_moved": np.where(rng.random(n) < (0.9 if now else 0.5), "one", "other").astype(object),
        "c_new": np.array(["a", "b", "south", "east", "far", "it's"] if now else ["a", "b", "west"], dtype=object)[
            rng.integers(0, 6 if now else 3, n)
        ],
        "c_constant": np.array(["k"] * n, dtype=object),
        "c_rare": np.array([f"{which}-{i}" for i in range(n)], dtype=object),
        "c_numbers": rng.normal(size=n) if now else np.array(["a", "b"], dtype=object)[rng.integers(0, 2, n)],
        "c_empty": np.array([None] * n, dtype=object),
    }
    frame = pd.DataFrame(found)
    return frame.drop(columns="n_slight").assign(n_new=x) if now else frame
