"""Drift of each feature by itself, of the predictions and of the labels: reference window against current window.

A column drifts when a change passes two gates: it is significant after Holm's correction over everything tested, and
its size is above the effect gate. Values, missing cells and new or vanished categories are tested separately. Windows
are frames, or profiles of them. Out of scope: which rows form the windows. docs/drift.md has the formulas.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core import words
from core.drift import distances, ranks, sketch
from core.drift.budget import Gates
from core.drift.distances import Outcome
from core.drift.profile import CategoryProfile, NumericProfile, Profile
from core.drift.ranks import Pair
from core.drift.rules import NO_TARGETS, NUMERIC, RULES, DriftRules, Targets
from core.drift.values import MOST_CATEGORIES, Counts, Numbers, Unfit, counts_of, numbers_of, outcomes_of, table_of
from core.errors import BadInput
from core.records import (
    NO_REASON,
    DriftPart,
    DriftReport,
    DriftScore,
    FeatureSchema,
    Reason,
    Window,
    because,
)
from core.text.reasons import why_not_judged

if TYPE_CHECKING:
    import pandas as pd

_NAMED_CATEGORIES = 3  # new or vanished categories that a reason names
# Location and spread: the gate of a normal column whose KS distance is at its gate, with a small margin below.
_RANK_GATE = 1.25
_TAIL_GATE = (
    0.75  # extreme values are few, so a smaller share matters; at 0.5 the moving edge of a skewed column would alarm
)
_NEW_GATE = 0.5  # a new category matters at half the share


@dataclass(frozen=True, slots=True)
class UnivariateTest:
    """A way to compare two samples of one column, as a table entry; None where not applicable."""

    label: str
    effect: str  # name of its effect in a sentence
    numeric: Callable[[Pair], Outcome] | None
    categories: Callable[[np.ndarray], Outcome] | None  # counts, shape (2, K)
    gate: Callable[[float], float]  # its effect for a change with the given KS distance or total variation
    by_value: bool = False  # needs each distinct value


@dataclass(frozen=True, slots=True)
class _Part:
    """One test of one column before the correction."""

    of: str
    test: str
    effect_name: str
    gate: float
    outcome: Outcome
    change: Reason  # what happened


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """A column after its tests, before the correction over all columns."""

    name: str
    kind: str
    parts: tuple[_Part, ...] = ()
    why_not: Reason = NO_REASON  # why its values were not compared
    miss_rates: tuple[float, float] | None = None
    unmatched: tuple[float, float] | None = None  # shares in new and in vanished categories


_Column = Numbers | Counts | NumericProfile | CategoryProfile


def measure_drift(
    reference: pd.DataFrame | Profile,
    current: pd.DataFrame | Profile,
    schema: FeatureSchema,
    *,
    rules: DriftRules = RULES,
    targets: Targets = NO_TARGETS,
    windows: tuple[Window | None, Window | None] = (None, None),
) -> DriftReport:
    """Drift of every feature, and of predictions, labels and residuals where both windows have them.

    Args:
        reference, current: frames, as read or conformed, or profiles. A column that is missing, or is not what the
            schema says, is not compared, and the reason says so.
        windows: how the report describes reference and current; None = by their row counts alone.

    Raises:
        BadInput: a test is unknown or cannot compare such columns.
    """
    own = rules.gates if isinstance(rules.gates, Gates) else Gates(dict(rules.gates))
    tests = _chosen(rules.numeric_test, rules.category_test)
    held = _Rules(*tests, rules.alpha, rules.gate, own, max(1, rules.min_rows))
    compared = [_feature(f.name, f.kind, reference, current, held) for f in schema.features]
    kind = "numeric" if schema.task == "regression" else "categorical"
    return DriftReport(
        reference=windows[0] or Window(name="reference", n_rows=_rows(reference)),
        current=windows[1] or Window(name="current", n_rows=_rows(current)),
        scores=tuple(_scores(compared, rules.alpha)),
        prediction=_outcome_drift("prediction", kind, *targets.predictions, held),
        label=_outcome_drift("label", kind, *targets.labels, held),
        residual=_outcome_drift("residual", "numeric", *targets.residuals, held),
    )


def headline(report: DriftReport) -> str:
    """The finding over all features: `2 of 33 features drifted: temperature and wing_beat.`"""
    judged = [s for s in report.scores if s.judged]
    drifted = sorted((s for s in judged if s.drifted), key=lambda s: -(s.effect or 0.0))
    left = len(report.scores) - len(judged)
    if not report.scores:
        text = "There are no features to test."
    elif not judged:
        reasons = {why_not_judged(s.reason) for s in report.scores}
        why = reasons.pop() if len(reasons) == 1 else ""
        text = f"No feature could be tested{': ' + why if why else ''}."
    elif drifted:
        verb = f"of {words.counted(len(judged), 'feature')} drifted"
        text = f"{len(drifted)} {verb}: {words.listed([s.name for s in drifted])}."
    elif len(judged) == 1:
        text = f"{judged[0].name} is steady."
    else:
        text = f"All {words.counted(len(judged), 'feature')} {'that could be tested ' if left else ''}are steady."
    if left and judged:
        text += f" {words.counted(left, 'feature')} not tested."
    moved = [f"{s.name}s" for s in (report.prediction, report.label) if s is not None and s.drifted]
    return text + (f" The {' and the '.join(moved)} moved{' too' if drifted else ''}." if moved else "")


# --- one column ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rules:
    """The rules for every column."""

    numeric: UnivariateTest
    categories: UnivariateTest
    alpha: float
    gate: float
    gates: Gates
    min_rows: int


def _rows(window: pd.DataFrame | Profile) -> int:
    return window.rows if isinstance(window, Profile) else len(window)


def _feature(
    name: str, kind: str, reference: pd.DataFrame | Profile, current: pd.DataFrame | Profile, rules: _Rules
) -> _Compared:
    """One feature of both windows."""
    if kind != "numeric" and not isinstance(reference, Profile) and not isinstance(current, Profile):
        are_numbers = [_is_number(w[name]) for w in (reference, current) if name in w.columns]
        if len(set(are_numbers)) == 2:
            return _Compared(name=name, kind=kind, why_not=because("another_type_now", numbers=are_numbers[1]))
    columns: list[_Column] = []
    for window, word in ((reference, "reference"), (current, "current")):
        try:
            column = _column(window, name, kind)
        except Unfit as error:
            return _Compared(name=name, kind=kind, why_not=because("unfit_window", seen=error.reason, window=word))
        if column is None:
            why_not = because("column_new") if word == "reference" else because("column_gone")
            return _Compared(name=name, kind=kind, why_not=why_not)
        columns.append(column)
    return _compare(name, kind, columns[0], columns[1], rules)


def _is_number(column: pd.Series) -> bool:
    """Whether the column holds numbers; a column without any value may be either."""
    from pandas.api import types

    number = types.is_numeric_dtype(column.dtype) and not types.is_bool_dtype(column.dtype)
    return bool(number and column.notna().any())


def _column(window: pd.DataFrame | Profile, name: str, kind: str) -> _Column | None:
    """The column as input of the tests; None when the window does not have it."""
    if isinstance(window, Profile):
        profile = window.features.get(name)
        if profile is not None and (kind == "numeric") != isinstance(profile, NumericProfile):
            raise Unfit(because("another_type"))
        return profile
    if name not in window.columns:
        return None
    return numbers_of(window[name]) if kind == "numeric" else counts_of(window[name])


def _compare(name: str, kind: str, a: _Column, b: _Column, rules: _Rules) -> _Compared:
    n, m = a.rows, b.rows
    if min(n, m) < rules.min_rows:
        return _Compared(
            name=name, kind=kind, why_not=because("too_few_rows_in_windows", n=n, m=m, needed=rules.min_rows)
        )
    gate, gate_missing, gate_categories = (
        of.get(name, rules.gate) for of in (rules.gates.values, rules.gates.missing, rules.gates.categories)
    )
    missing = (n - a.known, m - b.known)
    miss_rates = (missing[0] / n, missing[1] / m)
    unmatched = None
    if isinstance(a, (Numbers, NumericProfile)) and isinstance(b, (Numbers, NumericProfile)):
        parts, why_not = _compare_numbers(a, b, rules, gate)
    elif isinstance(a, (Counts, CategoryProfile)) and isinstance(b, (Counts, CategoryProfile)):
        parts, why_not, unmatched = _compare_categories(_counts(a), _counts(b), rules, gate, gate_categories)
    else:
        return _Compared(name=name, kind=kind, why_not=because("types_differ"))
    if 0 < sum(missing) < n + m:
        parts.append(
            _Part("missing", "two proportions", "miss-rate difference", gate_missing,
                  distances.two_proportions(missing[0], n, missing[1], m), NO_REASON)
        )  # fmt: skip
    return _Compared(
        name=name, kind=kind, parts=tuple(parts), why_not=why_not, miss_rates=miss_rates, unmatched=unmatched
    )


def _counts(column: Counts | CategoryProfile) -> Counts:
    return column.counts if isinstance(column, CategoryProfile) else column


def _compare_numbers(
    a: Numbers | NumericProfile, b: Numbers | NumericProfile, rules: _Rules, gate: float
) -> tuple[list[_Part], Reason]:
    """The tests of the values, or why there are none."""
    if a.known + b.known == 0:
        return [], because("all_missing")
    if min(a.known, b.known) < rules.min_rows:
        return [], because("too_few_values_in_windows", n=a.known, m=b.known, needed=rules.min_rows)
    test = rules.numeric
    pair = pair_of(a, b, by_value=test.by_value)
    if pair.constant is not None:
        return [], because("constant_number", value=pair.constant)
    assert test.numeric is not None
    before, after = pair.medians
    change = because("median", before=before, after=after)
    parts = [_Part("values", test.label, test.effect, test.gate(gate), test.numeric(pair), change)]
    if test is UNIVARIATE_TESTS[NUMERIC]:
        parts.append(
            _Part("location", "rank sum", "Cliff's delta", _RANK_GATE * gate, distances.location(pair), change)
        )
        outcome = distances.spread(pair)
        change = because("varies", more=outcome.statistic > 0)
        parts.append(_Part("spread", "Mood", "spread difference", _RANK_GATE * gate, outcome, change))
        outcome = distances.tails(pair)
        change = because("values_at_ends", more=outcome.statistic > 0)
        parts.append(_Part("tails", "two proportions", "share of extreme values", _TAIL_GATE * gate, outcome, change))
    return parts, NO_REASON


def pair_of(a: Numbers | NumericProfile, b: Numbers | NumericProfile, *, by_value: bool = False) -> Pair:
    """Both columns in common cells, exact where the rows are available; each has at least one value."""
    if isinstance(a, Numbers) and isinstance(b, Numbers):
        return ranks.compared(a.values, b.values, by_value=by_value)
    if isinstance(a, NumericProfile):
        return (
            sketch.paired(a.sketch, b.sketch)
            if isinstance(b, NumericProfile)
            else sketch.paired_with_values(a.sketch, b.values)
        )
    return sketch.paired(
        sketch.sketch(a.values), b.sketch if isinstance(b, NumericProfile) else sketch.sketch(b.values)
    )


def _compare_categories(
    a: Counts, b: Counts, rules: _Rules, gate: float, gate_categories: float
) -> tuple[list[_Part], Reason, tuple[float, float] | None]:
    n, m = a.known, b.known
    if n + m == 0:
        return [], because("all_missing"), None
    if min(n, m) < rules.min_rows:
        return [], because("too_few_values_in_windows", n=n, m=m, needed=rules.min_rows), None
    if not a.counts or not b.counts:
        return [], because("too_many_values", found=max(a.distinct, b.distinct), allowed=MOST_CATEGORIES), None
    names, table = table_of(a, b)
    if len(names) == 1:
        return [], because("constant_category", value=names[0]), None
    # Categories that the other window may name stand in the last column, which has no name.
    change = _category_change((*names[:-1], "other") if a.other or b.other else names, table)
    parts: list[_Part] = []
    shares: tuple[float, float] | None = None
    why_not = NO_REASON
    if distances.pooled(table).shape[1] < 2:
        why_not = because("rare_categories", categories=len(names))
    else:
        test = rules.categories
        assert test.categories is not None
        parts.append(_Part("values", test.label, test.effect, test.gate(gate), test.categories(table), change))
    if not a.other and not b.other:
        shares = (float(table[1][table[0] == 0].sum()) / m, float(table[0][table[1] == 0].sum()) / n)
        parts += _unmatched_parts(table, gate_categories, change)
    return parts, why_not, shares


def _unmatched_parts(table: np.ndarray, gate: float, change: Reason) -> list[_Part]:
    """Rows in categories that only one window has, compared with what goes unseen by chance.

    A category that occurs once in the reference could as well have occurred first in the current window: the share of
    such rows is what a new sample is expected to contain (Good 1953).
    """
    parts = []
    for of, here, there in (("new", 1, 0), ("vanished", 0, 1)):
        only = int(table[here][table[there] == 0].sum())
        once = int((table[there] == 1).sum())
        size, other = int(table[here].sum()), int(table[there].sum())
        if only and only / size > once / other:
            outcome = distances.two_proportions(once, other, only, size)
            share = only / size - once / other
            parts.append(
                _Part(of, "two proportions", f"{of} categories", _NEW_GATE * gate,
                      Outcome(only / size, outcome.p_value, share), change)
            )  # fmt: skip
    return parts


def _category_change(names: Sequence[str], table: np.ndarray) -> Reason:
    """The new and vanished categories with their shares, else the category whose share changed most."""
    p = table / table.sum(axis=1, keepdims=True)
    sides: list[list[list[str | float]]] = []
    others: list[int] = []
    for here, there in ((1, 0), (0, 1)):
        only = np.argsort(-p[here], kind="stable")
        only = only[(table[there, only] == 0) & (table[here, only] > 0)]
        sides.append([[names[i], float(p[here, i])] for i in only[:_NAMED_CATEGORIES]])
        others.append(max(0, len(only) - _NAMED_CATEGORIES))
    if any(sides):
        return because("new_and_gone", new=sides[0], more_new=others[0], gone=sides[1], more_gone=others[1])
    moved = p[1] - p[0]
    i = int(np.argmax(np.abs(moved).round(12) + 1e-9 * (moved > 0)))  # of two with equal changes, the one that grew
    return because("category_moved", category=names[i], before=p[0, i], after=p[1, i])


def _outcome_drift(name: str, kind: str, reference: Any, current: Any, rules: _Rules) -> DriftScore | None:
    """Drift of predictions or labels; None when a window has none. A label that has not arrived is no drift."""
    if reference is None or current is None:
        return None
    columns: list[_Column] = []
    compared = None
    for values, word in ((reference, "reference"), (current, "current")):
        try:
            columns.append(outcomes_of(values) if kind == "numeric" else _named(values))
        except Unfit as error:
            compared = _Compared(name=name, kind=kind, why_not=because("unfit_window", seen=error.reason, window=word))
            break
    compared = compared or _compare(name, kind, columns[0], columns[1], rules)
    (score,) = _scores([compared], rules.alpha)
    return dataclasses.replace(score, kind=name, miss_rate_reference=None, miss_rate_current=None)


def _named(values: Any) -> Counts:
    """Labels or predictions that are classes; missing ones are left out."""
    import pandas as pd

    column = values if isinstance(values, pd.Series) else pd.Series(values, dtype=None if len(values) else object)
    return counts_of(column.dropna())


# --- verdicts -----------------------------------------------------------------------------------------------------


def _scores(compared: Sequence[_Compared], alpha: float) -> list[DriftScore]:
    """Both gates over every part of every column; one score per column."""
    p_values = [part.outcome.p_value for c in compared for part in c.parts]
    adjusted = iter(distances.holm(p_values))
    return [_score(c, [next(adjusted) for _ in c.parts], alpha, len(p_values)) for c in compared]


def _score(column: _Compared, adjusted: list[float], alpha: float, tests: int) -> DriftScore:
    """The verdict on one column. Test, p and effect are those of the part that decided: values before missing cells."""
    passed = [p < alpha and part.outcome.effect > part.gate for part, p in zip(column.parts, adjusted, strict=True)]
    drifted = any(passed)
    values = next((part for part in column.parts if part.of == "values"), None)
    shown = column.parts[passed.index(True)] if drifted else (column.parts[0] if column.parts else None)
    judged = values is not None or drifted
    reasons: list[Reason] = []
    for part, p, ok in zip(column.parts, adjusted, passed, strict=True):
        if part.of == "values" or (ok and (part.of == "missing" or part is shown)):
            reasons += _reasons(column, part, p, tests, significant=p < alpha)
    if column.why_not:
        why = because("values_not_judged", why=column.why_not) if drifted else because("not_judged", why=column.why_not)
        reasons.append(why)
    before, after = column.miss_rates or (None, None)
    new, vanished = column.unmatched or (None, None)
    return DriftScore(
        name=column.name,
        kind=column.kind,
        drifted=drifted,
        statistic=values.outcome.statistic if values is not None else None,
        p_value=shown.outcome.p_value if shown is not None else None,
        effect=shown.outcome.effect if shown is not None else None,
        gate=shown.gate if shown is not None else None,
        test=shown.test if shown is not None else "",
        miss_rate_reference=before,
        miss_rate_current=after,
        new_share=new,
        vanished_share=vanished,
        parts=tuple(
            DriftPart(
                of=part.of, test=part.test, statistic=part.outcome.statistic, p_value=part.outcome.p_value,
                effect=part.outcome.effect, gate=part.gate, passed=ok,
            )
            for part, ok in zip(column.parts, passed, strict=True)
        ),
        reason=reasons[0] if len(reasons) == 1 else because("all_of", parts=reasons),
        judged=judged,
    )  # fmt: skip


def _reasons(column: _Compared, part: _Part, p: float, tests: int, *, significant: bool) -> list[Reason]:
    """The result of one test, and what happened if it is significant."""
    if part.of == "missing":
        before, after = column.miss_rates or (0.0, 0.0)
        return [because("missing_moved", before=before, after=after, p=p, tests=tests)]
    effect, gate = part.outcome.effect, part.gate
    numbers = {"measure": part.effect_name, "effect": effect, "gate": gate}
    if significant and effect > gate:
        return [because("above_gate", **numbers, p=p, tests=tests), part.change]
    if significant and effect <= gate:
        return [because("within_gate", **numbers, p=p, tests=tests), part.change]
    if effect > gate:
        return [because("by_chance", **numbers, p=p, tests=tests)]
    return [because("below_gate", **numbers)]


def _chosen(numeric: str, categories: str) -> tuple[UnivariateTest, UnivariateTest]:
    for key, kind in ((numeric, "numeric"), (categories, "categories")):
        fits = [k for k, test in UNIVARIATE_TESTS.items() if getattr(test, kind) is not None]
        if key not in fits:
            raise BadInput(f"There is no drift test '{key}' for {kind} columns. Choose one of {', '.join(fits)}.")
    return UNIVARIATE_TESTS[numeric], UNIVARIATE_TESTS[categories]


def _same(gate: float) -> float:
    return gate


# A test's gate is its effect on a normal column that is shifted until its KS distance is at the common gate, which is
# at a shift of gate / 0.399 standard deviations; for Jensen-Shannon, Hellinger and PSI to second order of the shift.
UNIVARIATE_TESTS: dict[str, UnivariateTest] = {
    "kolmogorov_smirnov": UnivariateTest(
        "Kolmogorov-Smirnov", "KS distance", distances.kolmogorov_smirnov, None, _same
    ),
    "chi_square": UnivariateTest("chi-square", "total variation", None, distances.chi_square, _same),
    "psi": UnivariateTest("PSI", "PSI", distances.psi, distances.psi_of_table, lambda g: (g / 0.399) ** 2),
    "jensen_shannon": UnivariateTest(
        "Jensen-Shannon", "Jensen-Shannon distance", distances.jensen_shannon, distances.jensen_shannon_of_table,
        lambda g: 1.064 * g,
    ),
    "hellinger": UnivariateTest(
        "Hellinger", "Hellinger distance", distances.hellinger, distances.hellinger_of_table, lambda g: 0.886 * g
    ),
    "wasserstein": UnivariateTest(
        "Wasserstein", "Wasserstein distance in standard deviations", distances.wasserstein, None,
        lambda g: g / 0.399, by_value=True,
    ),
    "cramer_von_mises": UnivariateTest(
        "Cramer-von Mises", "root mean squared distance", distances.cramer_von_mises, None, lambda g: 0.76 * g,
        by_value=True,
    ),
}  # fmt: skip
