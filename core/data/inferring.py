"""The schema that a first file defines: the task, the classes of its target, and what each feature holds.

Every later batch and request is validated by it, in `conforming`. All refuse with a list of every problem.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict, Unpack

import numpy as np
import pandas as pd

from core.data import columns, dates, looking
from core.data.cells import as_class, listed, shown
from core.data.frame_checks import checked_frame, refuse_missing
from core.data.limits import MAX_CATEGORIES, MAX_CLASSES
from core.data.roles import Roles, guess_roles, guess_target, refuse_two_roles
from core.errors import BadInput
from core.records import PLAINLY, ROW_ID, ROW_TIME, Feature, FeatureKind, FeatureSchema, Label, Problem, Task, Written

WHOLE_NUMBER_CLASSES = 50  # up to this many distinct whole numbers are classes, more mean regression
_MANY_WHOLE_CLASSES = 10  # number of classes from which it is reported that whole numbers are treated as classes


class ColumnChoices(TypedDict, total=False):
    """The caller's choices for a first file's columns besides the target; the rest is guessed or inferred."""

    id_column: str | None  # neither this nor the next one is a feature
    time_column: str | None
    task: Task | Literal["classification"] | None  # classes or a number; the classes are counted
    kinds: Mapping[str, FeatureKind] | None  # kinds of single features
    categorical: Sequence[str]  # shorthand for features of that kind
    exclude: Sequence[str]  # columns that are not features


def first_schema(
    frame: pd.DataFrame,
    *,
    target: str | None = None,
    **chosen: Unpack[ColumnChoices],
) -> tuple[FeatureSchema, tuple[Problem, ...]]:
    """The schema that a first file defines, and what was assumed: roles by `guess_roles`, the rest by `infer_schema`.

    Raises:
        BadInput: as those two.
    """
    kinds = _given_kinds(chosen)
    roles = guess_roles(
        frame,
        target=target,
        id_column=chosen.get("id_column"),
        time_column=chosen.get("time_column"),
        exclude=chosen.get("exclude", ()),
        features=kinds,
    )
    return _inferred(checked_frame(frame), roles, chosen.get("task"), kinds)


def infer_schema(
    frame: pd.DataFrame,
    *,
    target: str | None = None,
    **chosen: Unpack[ColumnChoices],
) -> FeatureSchema:
    """The schema of a frame whose roles are known: every column without a role given here is a feature.

    Target: text and booleans are classes; whole numbers (1.0 too) are classes up to 50 distinct values, else
    regression. Features: text and booleans are categorical and boolean, numbers numeric.

    Args:
        target: None = guessed by name, else the last column. `id_column` and `time_column` are not guessed.

    Raises:
        BadInput: a named column that does not exist, a target without two classes or without any value, no feature.
    """
    frame = checked_frame(frame)
    kinds, exclude = _given_kinds(chosen), chosen.get("exclude", ())
    id_column, time_column = chosen.get("id_column"), chosen.get("time_column")
    if target is None:
        target = guess_target(frame.drop(columns=[c for c in (id_column, time_column, *exclude) if c in frame.columns]))
    refuse_missing(frame, [target, *(c for c in (id_column, time_column) if c), *kinds, *exclude])
    refuse_two_roles(target, id_column, time_column, exclude, kinds)
    roles = Roles(target=target, id_column=id_column, time_column=time_column, excluded=tuple(exclude), problems=())
    return _inferred(frame, roles, chosen.get("task"), kinds)[0]


def _given_kinds(chosen: ColumnChoices) -> dict[str, FeatureKind]:
    return {**dict.fromkeys(chosen.get("categorical", ()), "categorical"), **(chosen.get("kinds") or {})}


def _inferred(
    frame: pd.DataFrame, roles: Roles, task: str | None, kinds: Mapping[str, FeatureKind]
) -> tuple[FeatureSchema, tuple[Problem, ...]]:
    target = roles.target
    assert target is not None
    used = {target, ROW_ID, ROW_TIME, roles.id_column, roles.time_column, *roles.excluded}
    names = [c for c in frame.columns if c not in used]
    if not names:
        left = f" ({listed(roles.excluded)} are left out)" if roles.excluded else ""
        raise BadInput(
            f"There are no features: '{target}' is the target and no other column is left to predict from{left}."
        )
    notes = list(roles.problems)
    looks = _looks(frame, [target, *names])
    inferred_task, classes = _infer_target(frame[target], target, task, looks.get(target), notes)
    features = tuple(_infer_feature(frame[c], c, kinds.get(c), looks.get(c), notes) for c in names)
    written = looks[target].written if inferred_task == "regression" and target in looks else PLAINLY
    schema = FeatureSchema(
        task=inferred_task, target=target, features=features, classes=classes, id_column=roles.id_column,
        time_column=roles.time_column, excluded=roles.excluded, target_written=written,
        day_first=dates.shows_day_first(frame[roles.time_column]) if roles.time_column else None,
    )  # fmt: skip
    return schema, tuple(notes)


def _looks(frame: pd.DataFrame, names: Sequence[str]) -> dict[str, looking.Look]:
    """What the columns of cells hold; the decimal mark that some columns show applies to the ambiguous ones."""
    looks = {c: looking.look_at(frame[c], c) for c in names if columns.is_cells(frame[c])}
    marks = {look.mark for look in looks.values()} - {""}
    if len(marks) != 1:
        return looks
    mark = marks.pop()
    unsure = [c for c, look in looks.items() if look.problem is not None and look.problem.code == "ambiguous_numbers"]
    return looks | {c: looking.look_at(frame[c], c, mark=mark) for c in unsure}


def infer_task(column: pd.Series, name: str) -> Task:
    """The task that a target column implies: text, booleans and few whole numbers are classes, other numbers regression.

    Raises:
        BadInput: it has no value, one class only, or too many.
    """
    look = looking.look_at(column, name) if columns.is_cells(column) else None
    return _infer_target(column, name, None, look, [])[0]


def _infer_target(
    column: pd.Series, name: str, task: str | None, look: looking.Look | None, notes: list[Problem]
) -> tuple[Task, tuple[Label, ...]]:
    if not column.notna().any():
        raise BadInput(
            f"Target '{name}' has no value in any row, expected labels. Choose another column as the target."
        )
    kind = looking.kind_of(column) if look is None else "numeric" if look.kind == "empty" else look.kind
    written = PLAINLY if look is None else look.written
    if look is not None and look.problem is not None:
        notes.append(look.problem)
    whole = kind == "numeric" and _few_whole_numbers(column, name, written)
    if task == "regression" or (task is None and kind == "numeric" and not whole):
        if not np.isfinite(columns.numbers(column, name, written=written)).any():
            raise BadInput(
                f"Target '{name}' has no finite value, expected numbers. Choose another column as the target."
            )
        return "regression", ()
    like: type = {"numeric": int, "boolean": bool, "categorical": str}[kind]
    if like is int and written != PLAINLY:
        like = str
    spelled = columns.texts(column, name) if like is str else column
    distinct = columns.mapped(pd.Series(spelled.unique()), name, lambda v: as_class(v, like), _expected_class(like))
    classes = tuple(sorted({c for c in distinct if c is not None}))
    if len(classes) < 2:
        seen = f"one class only ({shown(classes[0])})" if classes else "no class"
        raise BadInput(f"Target '{name}' has {seen}, expected at least two. Add rows of another class.")
    if len(classes) > MAX_CLASSES:
        advice = "Choose another target" + (", or set the task to regression." if kind == "numeric" else ".")
        raise BadInput(f"Target '{name}' has {len(classes):,} classes, expected at most {MAX_CLASSES:,}. {advice}")
    if task == "binary" and len(classes) > 2:
        raise BadInput(
            f"Target '{name}' has {len(classes)} classes ({listed(classes)}), expected two. "
            "Choose multiclass as the task."
        )
    if task is None and whole and len(classes) > _MANY_WHOLE_CLASSES:
        notes.append(Problem(code="classes_assumed", column=name, count=len(classes), example=shown(classes[0])))
    return ("binary" if len(classes) == 2 else "multiclass"), classes


def _few_whole_numbers(column: pd.Series, name: str, written: Written) -> bool:
    values = columns.numbers(column, name, written=written)
    values = values[np.isfinite(values)]
    if not len(values) or not np.array_equal(values[:1000], np.floor(values[:1000])):
        return False
    return bool(np.array_equal(values, np.floor(values))) and len(np.unique(values)) <= WHOLE_NUMBER_CLASSES


def _expected_class(like: type) -> str:
    return {int: "a whole number", bool: "true or false", float: "a number", str: "one text or number"}[like]


def _infer_feature(
    column: pd.Series, name: str, wanted: FeatureKind | None, look: looking.Look | None, notes: list[Problem]
) -> Feature:
    inferred_kind = looking.kind_of(column) if look is None else "numeric" if look.kind == "empty" else look.kind
    kind = wanted or inferred_kind
    if look is not None and look.problem is not None and wanted in (None, "numeric"):
        notes.append(look.problem)
    if kind == "numeric":
        written = PLAINLY if look is None else look.written
        values = columns.numbers(column, name, written=written)
        known = values[~np.isnan(values)]
        low, high = (float(known.min()), float(known.max())) if len(known) else (None, None)
        return Feature(name=name, kind=kind, low=low, high=high, written=written)
    words = columns.booleans(column, name) if kind == "boolean" else columns.texts(column, name)
    categories = words.dropna().unique()
    if len(categories) > MAX_CATEGORIES:
        categories = words.value_counts().index[:MAX_CATEGORIES].to_numpy()
    return Feature(name=name, kind=kind, categories=tuple(sorted(str(c) for c in categories)))
