"""Drift of each feature by itself, of the predictions and of the labels: reference window against current window.

A column drifts when its change passes two gates: it is significant after Holm's correction over everything tested, and
its size is above the effect gate. Values and missing cells are tested apart. What cannot be judged says why. Which rows
make the windows is the caller's business; the formulas stand in docs/drift.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.drift import distances, words
from core.drift.distances import Outcome
from core.errors import BadInput, FieldProblem
from core.records import DriftReport, DriftScore, FeatureSchema, Window

if TYPE_CHECKING:
    import pandas as pd

MIN_ROWS = 30  # values that each window needs before a column is judged
NUMERIC, CATEGORIES = "kolmogorov_smirnov", "chi_square"  # the tests that are used unless others are named
_NAMED_CATEGORIES = 3  # new or vanished categories that a reason names


@dataclass(frozen=True, slots=True)
class UnivariateTest:
    """A way to compare two samples of one column, as a table entry; None where it does not apply."""

    label: str
    effect: str  # what its effect is called in a sentence
    numeric: Callable[[np.ndarray, np.ndarray], Outcome] | None  # sorted samples without NaN
    categories: Callable[[np.ndarray], Outcome] | None  # counts, shape (2, K)


@dataclass(frozen=True, slots=True)
class _Part:
    """One test of one column: of its values, or of its missing cells."""

    of: str  # values | missing
    test: str
    effect_name: str
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """A column after its tests, before the correction over all columns."""

    name: str
    kind: str
    parts: tuple[_Part, ...]
    why_not: str  # why its values were not judged; "" when they were
    change: str = ""  # what happened to the values, in words
    miss_rates: tuple[float, float] | None = None


def measure_drift(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    schema: FeatureSchema,
    *,
    alpha: float = 0.05,
    gate: float = 0.1,
    min_rows: int = MIN_ROWS,
    numeric_test: str = NUMERIC,
    category_test: str = CATEGORIES,
    reference_window: Window | None = None,
    current_window: Window | None = None,
    y_reference: Any = None,
    y_current: Any = None,
    pred_reference: Any = None,
    pred_current: Any = None,
) -> DriftReport:
    """Drift of every feature, and of predictions and labels where both windows carry them.

    Args:
        reference, current: conformed to the schema: numeric features float64, the others text; NaN or None = missing.
        alpha: chance of any false alarm over all features together (predictions and labels are each tested at alpha).
        gate: effect that a significant change must exceed, strictly: KS distance, total variation, miss-rate difference.
        min_rows: values that a column needs in each window; fewer are not judged.
        numeric_test, category_test: keys of UNIVARIATE_TESTS.
        y_reference, y_current, pred_reference, pred_current: one value a row; missing ones are left out.

    Raises:
        BadInput: a feature is missing in a window, or a test is unknown or cannot compare such columns.
    """
    tests = _chosen(numeric_test, category_test)
    _check_columns(reference, current, schema)
    compared = [
        _compare(f.name, f.kind, reference[f.name], current[f.name], tests, max(1, min_rows)) for f in schema.features
    ]
    kind = "numeric" if schema.task == "regression" else "categorical"
    return DriftReport(
        reference=reference_window or Window(name="reference", n_rows=len(reference)),
        current=current_window or Window(name="current", n_rows=len(current)),
        scores=tuple(_scores(compared, alpha, gate)),
        prediction=_outcome_drift("prediction", kind, pred_reference, pred_current, tests, alpha, gate, min_rows),
        label=_outcome_drift("label", kind, y_reference, y_current, tests, alpha, gate, min_rows),
    )


def headline(report: DriftReport) -> str:
    """The finding over all features: `2 of 33 features drifted: temperature and wing_beat.`"""
    judged = [s for s in report.scores if s.judged]
    drifted = sorted((s for s in judged if s.drifted), key=lambda s: -(s.effect or 0.0))
    left = len(report.scores) - len(judged)
    if not report.scores:
        text = "There is no feature to judge."
    elif not judged:
        reasons = {s.reason.removeprefix("not judged: ") for s in report.scores}
        text = f"No feature could be judged{': ' + reasons.pop() if len(reasons) == 1 else ''}."
    elif drifted:
        verb = f"of {words.counted(len(judged), 'feature')} drifted"
        text = f"{len(drifted)} {verb}: {words.listed([s.name for s in drifted])}."
    elif len(judged) == 1:
        text = f"{judged[0].name} is steady."
    else:
        text = f"All {words.counted(len(judged), 'feature')} {'that could be judged ' if left else ''}are steady."
    if left and judged:
        text += f" {words.counted(left, 'feature')} not judged."
    moved = [f"{s.name}s" for s in (report.prediction, report.label) if s is not None and s.drifted]
    return text + (f" The {' and the '.join(moved)} moved{' too' if drifted else ''}." if moved else "")


# --- one column ---------------------------------------------------------------------------------------------------


def _compare(
    name: str,
    kind: str,
    reference: pd.Series,
    current: pd.Series,
    tests: tuple[UnivariateTest, UnivariateTest],
    min_rows: int,
) -> _Compared:
    n, m = len(reference), len(current)
    if min(n, m) < min_rows:
        return _Compared(name=name, kind=kind, parts=(), why_not=_too_few("rows", n, m, min_rows))
    if kind == "numeric":
        a, b = sorted_values(reference), sorted_values(current)
        known = (len(a), len(b))
        values, why_not, change = _compare_numbers(a, b, tests[0], min_rows)
    else:
        names, table = category_table(reference, current)
        known = (int(table[0].sum()), int(table[1].sum()))
        values, why_not, change = _compare_categories(names, table, tests[1], min_rows)
    missing = (n - known[0], m - known[1])
    parts = [values] if values is not None else []
    if 0 < sum(missing) < n + m:
        parts.append(
            _Part("missing", "two proportions", "miss-rate difference",
                  distances.two_proportions(missing[0], n, missing[1], m))
        )  # fmt: skip
    return _Compared(
        name=name, kind=kind, parts=tuple(parts), why_not=why_not, change=change,
        miss_rates=(missing[0] / n, missing[1] / m),
    )  # fmt: skip


def _compare_numbers(
    a: np.ndarray, b: np.ndarray, test: UnivariateTest, min_rows: int
) -> tuple[_Part | None, str, str]:
    """The part for the values, or why there is none, and what happened in words."""
    if len(a) + len(b) == 0:
        return None, "every value is missing in both windows", ""
    if min(len(a), len(b)) < min_rows:
        return None, _too_few("values", len(a), len(b), min_rows), ""
    if a[0] == b[0] == a[-1] == b[-1]:
        return None, f"constant: {words.number(float(a[0]))} in every row of both windows", ""
    assert test.numeric is not None
    before, after = float(middle(a)), float(middle(b))
    change = f"median {words.change(before, after)}" if before != after else f"median {words.number(before)} in both"
    return _Part("values", test.label, test.effect, test.numeric(a, b)), "", change


def _compare_categories(
    names: Sequence[str], table: np.ndarray, test: UnivariateTest, min_rows: int
) -> tuple[_Part | None, str, str]:
    n, m = (int(v) for v in table.sum(axis=1))
    if n + m == 0:
        return None, "every value is missing in both windows", ""
    if min(n, m) < min_rows:
        return None, _too_few("values", n, m, min_rows), ""
    if len(names) == 1:
        return None, f"constant: '{names[0]}' in every row of both windows", ""
    change = _category_change(names, table)
    if distances.pooled(table).shape[1] < 2:
        return None, f"none of its {len(names):,} categories has enough rows", change
    assert test.categories is not None
    return _Part("values", test.label, test.effect, test.categories(table)), "", change


def _category_change(names: Sequence[str], table: np.ndarray) -> str:
    """The new and the vanished categories with their shares, else the one whose share changed most."""
    p = table / table.sum(axis=1, keepdims=True)
    told = []
    for word, here, there in (("new", 1, 0), ("gone", 0, 1)):
        only = [i for i in np.argsort(-p[here], kind="stable") if table[there, i] == 0 and table[here, i] > 0]
        if only:
            shown = [f"'{names[i]}' ({words.share(float(p[here, i]))} of rows)" for i in only]
            told.append(f"{word}: {words.listed(shown, at_most=_NAMED_CATEGORIES)}")
    if not told:
        moved = p[1] - p[0]
        i = int(np.argmax(np.abs(moved).round(12) + 1e-9 * (moved > 0)))  # of two that moved alike, the one that grew
        told.append(f"'{names[i]}' {words.shares(float(p[0, i]), float(p[1, i]))}")
    return "; ".join(told)


def _outcome_drift(
    name: str,
    kind: str,
    reference: Any,
    current: Any,
    tests: tuple[UnivariateTest, UnivariateTest],
    alpha: float,
    gate: float,
    min_rows: int,
) -> DriftScore | None:
    """Drift of predictions or labels; None when a window has none. A label that is not there yet is no drift."""
    if reference is None or current is None:
        return None
    import pandas as pd

    if kind == "numeric":
        before, after = (pd.Series(np.asarray(v, dtype=np.float64)).dropna() for v in (reference, current))
    else:
        before, after = (pd.Series(list(v), dtype=object).dropna() for v in (reference, current))
    compared = _compare(name, kind, before, after, tests, max(1, min_rows))
    (score,) = _scores([compared], alpha, gate)
    return DriftScore(
        name=name, kind=name, drifted=score.drifted, statistic=score.statistic, p_value=score.p_value,
        effect=score.effect, test=score.test, reason=score.reason, judged=score.judged,
    )  # fmt: skip


# --- verdicts -----------------------------------------------------------------------------------------------------


def _scores(compared: Sequence[_Compared], alpha: float, gate: float) -> list[DriftScore]:
    """Both gates over every part of every column; one score a column."""
    p_values = [part.outcome.p_value for c in compared for part in c.parts]
    adjusted = iter(distances.holm(p_values))
    corrected = f" after Holm over {len(p_values):,} tests" if len(p_values) > 1 else ""
    return [_score(c, [next(adjusted) for _ in c.parts], alpha, gate, corrected) for c in compared]


def _score(column: _Compared, adjusted: list[float], alpha: float, gate: float, corrected: str) -> DriftScore:
    """The verdict on one column. Test, p and effect are those of the part that decided: values before missing cells."""
    passed = [p < alpha and part.outcome.effect > gate for part, p in zip(column.parts, adjusted, strict=True)]
    drifted = any(passed)
    values = next((part for part in column.parts if part.of == "values"), None)
    shown = column.parts[passed.index(True)] if drifted else (column.parts[0] if column.parts else None)
    judged = values is not None or drifted
    told = [
        _part_reason(column, part, (p, words.p_value(p) + corrected), ok, alpha, gate)
        for part, p, ok in zip(column.parts, adjusted, passed, strict=True)
        if ok or part.of == "values"
    ]
    if column.why_not:
        told.append(f"not judged: {column.why_not}" if not drifted else f"values not judged: {column.why_not}")
    before, after = column.miss_rates or (None, None)
    return DriftScore(
        name=column.name,
        kind=column.kind,
        drifted=drifted,
        statistic=values.outcome.statistic if values is not None else None,
        p_value=shown.outcome.p_value if shown is not None else None,
        effect=shown.outcome.effect if shown is not None else None,
        test=shown.test if shown is not None else "",
        miss_rate_reference=before,
        miss_rate_current=after,
        reason="; ".join(told),
        judged=judged,
    )


def _part_reason(column: _Compared, part: _Part, p: tuple[float, str], passed: bool, alpha: float, gate: float) -> str:
    """One clause of the reason. `p` is the adjusted p-value and how it is written."""
    adjusted, text = p
    effect = part.outcome.effect
    # Two decimals, more where it would read as the gate itself.
    near = abs(effect - gate) < 0.005 and effect != gate
    size = f"{part.effect_name} {effect:.{4 if near else 2}f}"
    if part.of == "missing":
        assert column.miss_rates is not None
        return f"missing in {words.shares(*column.miss_rates)} of rows ({text})"
    if passed:
        return f"{size}, above the gate {gate:g} ({text}); {column.change}"
    if adjusted < alpha:
        return f"{size}, a change within the gate {gate:g} ({text}); {column.change}"
    if part.outcome.effect > gate:
        return f"{size}, but it could be chance ({text})"
    return f"{size}, gate {gate:g}"


# --- columns ------------------------------------------------------------------------------------------------------


def sorted_values(column: pd.Series) -> np.ndarray:
    """The values of a numeric column in order, without the missing ones."""
    values = np.sort(column.to_numpy(dtype=np.float64, na_value=np.nan))
    return values[: np.searchsorted(values, np.nan)]  # NaN sorts last


def category_table(reference: pd.Series, current: pd.Series) -> tuple[tuple[str, ...], np.ndarray]:
    """Categories that occur, as text and in order, and their counts in both windows, shape (2, K); missing left out."""
    counts: dict[str, list[int]] = {}
    for row, column in enumerate((reference, current)):
        found = column.value_counts(dropna=True, sort=False)
        for value, n in zip(found.index, found.to_numpy(), strict=True):
            if n:
                counts.setdefault(str(value), [0, 0])[row] += int(n)
    names = tuple(sorted(counts))
    return names, np.array([counts[name] for name in names], dtype=np.int64).reshape(-1, 2).T


def middle(ordered: np.ndarray) -> float:
    """Median of sorted values."""
    n = len(ordered)
    return float(ordered[(n - 1) // 2] / 2 + ordered[n // 2] / 2)  # halves first: a sum could overflow


def _too_few(what: str, n: int, m: int, needed: int) -> str:
    return f"{n:,} and {m:,} {what}, needs {needed:,} in each window"


def _chosen(numeric: str, categories: str) -> tuple[UnivariateTest, UnivariateTest]:
    for key, kind in ((numeric, "numeric"), (categories, "categories")):
        fits = [k for k, test in UNIVARIATE_TESTS.items() if getattr(test, kind) is not None]
        if key not in fits:
            raise BadInput(f"There is no drift test '{key}' for {kind} columns. Choose one of {', '.join(fits)}.")
    return UNIVARIATE_TESTS[numeric], UNIVARIATE_TESTS[categories]


def _check_columns(reference: pd.DataFrame, current: pd.DataFrame, schema: FeatureSchema) -> None:
    problems = tuple(
        FieldProblem(field=f"column {name}", seen="not there", expected=f"a column of the {window} window")
        for window, frame in (("reference", reference), ("current", current))
        for name in schema.names
        if name not in frame.columns
    )
    if problems:
        raise BadInput(
            f"{words.counted(len(problems), 'feature')} missing in the windows, first "
            f"{problems[0].field}, {problems[0].expected}. Give rows that were conformed to the schema.",
            problems,
        )


UNIVARIATE_TESTS: dict[str, UnivariateTest] = {
    "kolmogorov_smirnov": UnivariateTest("Kolmogorov-Smirnov", "KS distance", distances.kolmogorov_smirnov, None),
    "chi_square": UnivariateTest("chi-square", "total variation", None, distances.chi_square),
    "psi": UnivariateTest("PSI", "PSI", distances.psi, distances.psi_of_table),
    "jensen_shannon": UnivariateTest(
        "Jensen-Shannon", "Jensen-Shannon distance", distances.jensen_shannon, distances.jensen_shannon_of_table
    ),
}
