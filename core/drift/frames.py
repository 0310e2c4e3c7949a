"""Drift between two raw frames outside any project: the kinds of their columns are inferred from the frames."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.data import columns, looking
from core.data.cells import listed
from core.data.inferring import infer_task
from core.data.roles import guess_roles, is_id_name
from core.drift.rules import NO_TARGETS, RULES, DriftRules, Targets
from core.drift.univariate import measure_drift
from core.errors import BadInput, FieldProblem
from core.records import (
    NO_REASON,
    ROW_ID,
    ROW_TIME,
    DriftReport,
    DriftScore,
    Feature,
    FeatureSchema,
    Problem,
    Reason,
    Task,
    as_written,
    because,
)

if TYPE_CHECKING:
    import pandas as pd

ROWS_NUMBERED = 10  # minimum rows: numbers that rise over this many rows do not do so by chance
ROWS_NAMED = 100  # likewise whole numbers that are all distinct


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Two frames read by one schema, inferred from the reference."""

    reference: pd.DataFrame
    current: pd.DataFrame
    schema: FeatureSchema
    problems: tuple[Problem, ...]  # what was assumed of the columns
    why_not: Reason = NO_REASON  # why the labels cannot be compared
    numbering: dict[str, Reason] = dataclasses.field(
        default_factory=dict
    )  # columns that only identify rows, and why they are not features


def read_alike(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    target: str | None = None,
    id_column: str | None = None,
    time_column: str | None = None,
    exclude: Sequence[str] = (),
    categorical: Sequence[str] = (),
) -> Frames:
    """The kinds of the reference's columns, and both frames read accordingly; ids, times and index columns are not features.

    Args:
        reference, current: as they were read; column names are converted to text. Text and booleans are categorical,
            numbers numeric.
        id_column, time_column: None = guessed, as for the first file of a project.

    Raises:
        BadInput: a frame has duplicate column names, or the reference lacks a named column.
    """
    reference, current = reference.rename(columns=str), current.rename(columns=str)
    for frame, word in ((reference, "reference"), (current, "current")):
        if not frame.columns.is_unique:
            doubled = frame.columns[frame.columns.duplicated()][0]
            raise BadInput(f"The {word} has two columns named '{doubled}'. Rename one of them.")
    if target is not None and target not in reference.columns:
        raise BadInput(
            f"The reference has no column '{target}'. Name one of: {listed(reference.columns, at_most=12)}.",
            (FieldProblem(field=f"column {target}", seen="not there", expected="the target"),),
        )
    roles = guess_roles(
        reference, target=target, id_column=id_column, time_column=time_column, exclude=exclude,
        features=frozenset(categorical), needs_target=False,
    )  # fmt: skip
    # A column that was empty may have values now; unique text in each row is reported by its own test.
    readmitted = {
        p.column
        for p in roles.problems
        if p.code == "empty_column" or (p.code == "id_column" and not is_id_name(str(p.column)))
    }
    aside = {target, roles.id_column, roles.time_column, ROW_ID, ROW_TIME, *(set(roles.excluded) - readmitted)}
    names = [c for c in dict.fromkeys([*reference.columns, *current.columns]) if c not in aside]
    task, why_not = _task(reference, target)
    problems = [p for p in roles.problems if p.column not in readmitted]
    features = []
    for name in names:
        feature, problem = _feature(name, reference, current, name in categorical)
        features.append(feature)
        problems += [] if problem is None else [problem]
    schema = FeatureSchema(task=task, target=target or "", features=tuple(features), excluded=roles.excluded)
    before, after = _read(reference, schema), _read(current, schema)
    reasons = {f.name: _numbering(before, after, f) for f in features}
    return Frames(
        reference=before,
        current=after,
        schema=schema,
        problems=tuple(problems),
        why_not=why_not,
        numbering={name: why for name, why in reasons.items() if why},
    )


def _numbering(reference: pd.DataFrame, current: pd.DataFrame, feature: Feature) -> Reason:
    """Why a column identifies, numbers or timestamps the rows instead of measuring something; NO_REASON if it does not.

    Other rows having other numbers is no drift, but would distinguish any two windows.
    """
    if feature.kind != "numeric" or not all(feature.name in frame.columns for frame in (reference, current)):
        return NO_REASON
    sides = []
    for frame in (reference, current):
        try:
            values = np.asarray(frame[feature.name], dtype=np.float64)
        except (TypeError, ValueError, OverflowError):  # not numbers in one of the frames, which its own score reports
            return NO_REASON
        if len(values) < ROWS_NUMBERED or not np.isfinite(values).all():
            return NO_REASON
        sides.append(values)
    whole = all(bool((values == np.round(values)).all()) for values in sides)
    apart = sides[0].max() < sides[1].min() or sides[1].max() < sides[0].min()
    # A measurement that a file is sorted by rises too, but over the same range in both frames.
    if all(bool((np.diff(values) > 0).all()) for values in sides) and (whole or apart):
        return because("counts_rows")
    if whole and all(len(values) >= ROWS_NAMED and len(np.unique(values)) == len(values) for values in sides):
        return because("names_rows")
    return NO_REASON


def compare(frames: Frames, rules: DriftRules = RULES) -> DriftReport:
    """The drift of each feature; of the target's labels too where both frames have it.

    A column that only one of the frames has, or that changed its type, is not compared, and its score says why. The same
    holds for the labels if the target cannot be used (no value, one class only).
    """
    schema, target = frames.schema, frames.schema.target
    targets = NO_TARGETS
    if target and target in frames.current.columns:
        sides = (_labels(frame[target], schema) for frame in (frames.reference, frames.current))
        targets = Targets(labels=tuple(sides))
    if frames.numbering:
        features = tuple(f for f in schema.features if f.name not in frames.numbering)
        rest = compare(
            dataclasses.replace(frames, schema=dataclasses.replace(schema, features=features), numbering={}), rules
        )
        scores = {s.name: s for s in rest.scores}
        scores |= {name: _unjudged(name, "numeric", why) for name, why in frames.numbering.items()}
        return dataclasses.replace(rest, scores=tuple(scores[f.name] for f in schema.features))
    if frames.why_not:
        unjudged = _unjudged("label", "label", frames.why_not)
        report = measure_drift(frames.reference, frames.current, schema, rules=rules)
        return dataclasses.replace(report, label=unjudged)
    return measure_drift(frames.reference, frames.current, schema, rules=rules, targets=targets)


def _unjudged(name: str, kind: str, why: Reason) -> DriftScore:
    return DriftScore(
        name=name, kind=kind, drifted=False, statistic=None, p_value=None, effect=None, judged=False,
        reason=because("not_judged", why=why),
    )  # fmt: skip


def compare_frames(
    reference: pd.DataFrame, current: pd.DataFrame, *, target: str | None = None, rules: DriftRules = RULES
) -> tuple[FeatureSchema, DriftReport]:
    """`read_alike`, then `compare`."""
    frames = read_alike(reference, current, target=target)
    return frames.schema, compare(frames, rules)


def _task(reference: pd.DataFrame, target: str | None) -> tuple[Task, Reason]:
    """The task that the reference's target implies, and why its labels cannot be compared."""
    if target is None:
        return "regression", NO_REASON
    try:
        return infer_task(reference[target], target), NO_REASON
    except BadInput as error:
        return "regression", as_written(str(error))


def _feature(
    name: str, reference: pd.DataFrame, current: pd.DataFrame, categorical: bool
) -> tuple[Feature, Problem | None]:
    """The column's kind according to the reference, or to the current frame if the reference has no value of it."""
    for frame in (reference, current):
        if name not in frame.columns or not frame[name].notna().any():
            continue
        if not columns.is_cells(frame[name]):
            return Feature(name=name, kind="categorical" if categorical else looking.kind_of(frame[name])), None
        look = looking.look_at(frame[name], name)
        if categorical or look.kind == "empty":
            return Feature(name=name, kind="categorical"), None
        return Feature(name=name, kind=look.kind, written=look.written), look.problem
    return Feature(name=name, kind="numeric"), None


def _read(frame: pd.DataFrame, schema: FeatureSchema) -> pd.DataFrame:
    """The frame with its cells read by the schema; a column that does not fit stays text, and is reported as such."""
    read = frame.copy(deep=False)
    for f in schema.features:
        if f.name in frame.columns and columns.is_cells(frame[f.name]):
            read[f.name] = _cells(frame[f.name], f)
    target = schema.target
    if target in frame.columns and columns.is_cells(frame[target]):
        read[target] = columns.texts(frame[target], target)
    return read


def _cells(column: pd.Series, feature: Feature) -> Any:
    with contextlib.suppress(BadInput):
        if feature.kind == "numeric":
            return columns.numbers(column, feature.name, written=feature.written)
        if feature.kind == "boolean":
            return columns.booleans(column, feature.name)
    return columns.texts(column, feature.name)


def _labels(column: pd.Series, schema: FeatureSchema) -> Any:
    """The target's values; in regression, text that represents a number is converted."""
    if schema.task != "regression":
        return column
    import pandas as pd

    try:
        return pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    except OverflowError:  # whole numbers beyond the range of doubles stay as they are: the labels' score reports them
        return column[column.map(lambda cell: isinstance(cell, int))]
