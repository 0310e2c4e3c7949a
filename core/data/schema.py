"""What the rows of a project look like: inferred from a frame, then every later batch and request is held to it.

`infer_schema` makes the contract, `conform` holds a frame to it, `rows.py` the rows of a request.
All refuse with every problem named, or give rows that the rest of the program need not look at again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from core.data import columns
from core.data.cells import MAX_PROBLEMS, as_class, listed, nearest, plural, refusal, shown
from core.data.limits import MAX_COLUMNS
from core.data.rows import Table, columns_of
from core.errors import BadInput, FieldProblem, TooLarge
from core.records import ROW_ID, ROW_TIME, Feature, FeatureKind, FeatureSchema, Label, Task

MAX_CLASSES = 1_000
WHOLE_NUMBER_CLASSES = 50  # up to so many distinct whole numbers are classes, more are regression
MAX_CATEGORIES = 1_000  # of one feature kept in the schema; the most frequent ones
_TARGETS = ("y", "target", "label", "class")
_IDS = ("id", "_id", "row_id", "rowid", "uuid", "key", "index", "identifier")
_TIMES = ("time", "_time", "timestamp", "date", "datetime", "ts", "at", "created_at", "observed_at", "event_time")
_GUESS_ROWS = 200  # looked at before a time column is proposed


@dataclass(frozen=True, slots=True, kw_only=True)
class Conformed:
    """A frame held to a schema.

    X has the features in schema order and a fresh index: numeric ones float64 with NaN, the others `str` dtype with
    NaN for missing, booleans as "true" and "false". Conforming X again changes nothing.
    """

    X: pd.DataFrame
    y: np.ndarray | None  # object array of classes (None = no label) or float64 (NaN); None = no such column
    ids: list[str] | None
    times: pd.DatetimeIndex | None  # UTC
    extra: pd.DataFrame  # columns that the schema does not know, as they came
    problems: tuple[str, ...] = ()  # in words: kept unused, taken as missing, new
    new_classes: tuple[Label, ...] = ()


# --- proposals ----------------------------------------------------------------------------------------------------


def guess_target(frame: pd.DataFrame) -> str:
    """The column that is most likely the target: y, target, label or class in any case, else the last one.

    Raises:
        BadInput: no column at all.
    """
    names = [str(c) for c in frame.columns if c not in (ROW_ID, ROW_TIME)]
    if not names:
        raise BadInput("The data has no column, expected features and a target.")
    by_name = {name.strip().lower(): name for name in reversed(names)}
    return next((by_name[usual] for usual in _TARGETS if usual in by_name), names[-1])


def guess_id(frame: pd.DataFrame) -> str | None:
    """A column that looks like row ids: named as one, text or whole numbers, none missing, none twice."""
    for name in _named(frame, _IDS, "_id"):
        column = frame[name]
        if columns.kind_of(column) == "numeric" and not pd.api.types.is_integer_dtype(column.dtype):
            continue
        if column.notna().all() and column.is_unique:
            return name
    return None


def guess_time(frame: pd.DataFrame) -> str | None:
    """A column that looks like instants: named as one, and its first values can be read as such."""
    for name in _named(frame, _TIMES, "_time", "_date", "_at"):
        try:
            columns.instants(frame[name].iloc[:_GUESS_ROWS], name)
        except BadInput:
            continue
        return name
    return None


def _named(frame: pd.DataFrame, usual: Sequence[str], *endings: str) -> list[str]:
    names = [str(c) for c in frame.columns if isinstance(c, str) and frame[c].ndim == 1]
    found = [n for u in usual for n in names if n.strip().lower() == u]
    return found + [n for n in names if n not in found and n.strip().lower().endswith(endings)]


# --- inference ----------------------------------------------------------------------------------------------------


def infer_schema(
    frame: pd.DataFrame,
    *,
    target: str | None = None,
    id_column: str | None = None,
    time_column: str | None = None,
    task: Task | Literal["classification"] | None = None,
    kinds: Mapping[str, FeatureKind] | None = None,
    categorical: Sequence[str] = (),
) -> FeatureSchema:
    """The schema of a frame; what is named here goes before what the columns look like.

    Target: text and booleans are classes; whole numbers (1.0 too) are classes up to 50 distinct values, else
    regression. Features: text and booleans are categorical and boolean, numbers numeric.

    Args:
        target: None = guessed by name, else the last column. `id_column` and `time_column` are never guessed.
        task: says whether the target is classes or a number; how many classes there are is counted.
        kinds: kind of single features; `categorical` is short for that kind.

    Raises:
        BadInput: a named column that is not there, a target without two classes or without any value, no feature.
    """
    frame = _checked(frame)
    asked: dict[str, FeatureKind] = {**dict.fromkeys(categorical, "categorical"), **(kinds or {})}
    role = {name for name in (id_column, time_column) if name is not None}
    if target is None:
        target = guess_target(frame.drop(columns=[c for c in role if c in frame.columns]))
    _refuse_missing(frame, [target, *(c for c in (id_column, time_column) if c), *asked])
    if target in role or (id_column is not None and id_column == time_column):
        raise BadInput(
            f"Target '{target}', id column {shown(id_column)} and time column {shown(time_column)} "
            "must be three different columns."
        )
    if target in (ROW_ID, ROW_TIME) or not role.isdisjoint(asked):
        name = target if target in (ROW_ID, ROW_TIME) else next(iter(role & set(asked)))
        raise BadInput(f"Column '{name}' holds row ids or instants, so it can be neither the target nor a feature.")
    found, classes = _infer_target(frame[target], target, task)
    names = [c for c in frame.columns if c not in (target, ROW_ID, ROW_TIME) and c not in role]
    if not names:
        raise BadInput(f"There is no feature: '{target}' is the target and no other column is left to predict from.")
    features = tuple(_infer_feature(frame[c], c, asked.get(c)) for c in names)
    return FeatureSchema(
        task=found, target=target, features=features, classes=classes, id_column=id_column, time_column=time_column
    )


def _checked(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with text names and a fresh index, after checks that hold for every frame."""
    names = [str(c) for c in frame.columns]
    if len(names) > MAX_COLUMNS:
        raise TooLarge(f"The data has {len(names):,} columns, expected at most {MAX_COLUMNS:,}. Leave some out.")
    twice = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
    if twice:
        problems = [
            FieldProblem(f"column {n}", plural(names.count(n), "column") + " of that name", "one") for n in twice
        ]
        raise refusal("Column names must be unique", problems, "Rename or remove the doubled ones.")
    if not names or not len(frame):
        raise BadInput(f"The data has {plural(len(frame), 'row')} and {plural(len(names), 'column')}, expected some.")
    return frame.set_axis(names, axis=1).reset_index(drop=True)


def _refuse_missing(frame: pd.DataFrame, wanted: Sequence[str]) -> None:
    absent = [name for name in dict.fromkeys(wanted) if name not in frame.columns]
    if not absent:
        return
    problems = []
    for name in absent:
        near = nearest(name, frame.columns)
        seen = f"not there ('{near}' is)" if near else "not there"
        problems.append(FieldProblem(f"column {name}", seen, f"a column named '{name}'"))
    raise refusal(
        f"{plural(len(absent), 'column')} missing", problems, f"The data has: {listed(frame.columns, at_most=12)}."
    )


def infer_task(column: pd.Series, name: str) -> Task:
    """The task that a target column means: text, booleans and few whole numbers are classes, other numbers regression.

    Raises:
        BadInput: it has no value, one class only, or too many.
    """
    return _infer_target(column, name, None)[0]


def _infer_target(column: pd.Series, name: str, task: str | None) -> tuple[Task, tuple[Label, ...]]:
    if not column.notna().any():
        raise BadInput(f"Target '{name}' has no value in any row, expected labels. Name another column as the target.")
    kind = columns.kind_of(column)
    if task == "regression" or (task is None and kind == "numeric" and not _few_whole_numbers(column, name)):
        values, _ = columns.numbers(column, name)
        if not np.isfinite(values).any():
            raise BadInput(f"Target '{name}' has no finite value, expected numbers. Name another column as the target.")
        return "regression", ()
    like: type = {"numeric": int, "boolean": bool, "categorical": str}[kind]
    distinct = columns.mapped(pd.Series(column.unique()), name, lambda v: as_class(v, like), _expected_class(like))
    classes = tuple(sorted({c for c in distinct if c is not None}))
    if len(classes) < 2:
        seen = f"one class only ({shown(classes[0])})" if classes else "no class"
        raise BadInput(f"Target '{name}' has {seen}, expected at least two. Add rows of another class.")
    if len(classes) > MAX_CLASSES:
        advice = "Name another target" + (", or say that the task is regression." if kind == "numeric" else ".")
        raise BadInput(f"Target '{name}' has {len(classes):,} classes, expected at most {MAX_CLASSES:,}. {advice}")
    if task == "binary" and len(classes) > 2:
        raise BadInput(
            f"Target '{name}' has {len(classes)} classes ({listed(classes)}), expected two. "
            "Choose several classes as the task."
        )
    return ("binary" if len(classes) == 2 else "multiclass"), classes


def _few_whole_numbers(column: pd.Series, name: str) -> bool:
    values, _ = columns.numbers(column, name)
    values = values[np.isfinite(values)]
    if not len(values) or not np.array_equal(values[:1000], np.floor(values[:1000])):
        return False
    return bool(np.array_equal(values, np.floor(values))) and len(np.unique(values)) <= WHOLE_NUMBER_CLASSES


def _expected_class(like: type) -> str:
    return {int: "a whole number", bool: "true or false", float: "a number", str: "one text or number"}[like]


def _infer_feature(column: pd.Series, name: str, asked: FeatureKind | None) -> Feature:
    kind = asked or columns.kind_of(column)
    if kind == "numeric":
        values, _ = columns.numbers(column, name)
        known = values[~np.isnan(values)]
        low, high = (float(known.min()), float(known.max())) if len(known) else (None, None)
        return Feature(name=name, kind=kind, low=low, high=high)
    words = columns.booleans(column, name) if kind == "boolean" else columns.texts(column, name)
    categories = words.dropna().unique()
    if len(categories) > MAX_CATEGORIES:
        categories = words.value_counts().index[:MAX_CATEGORIES].to_numpy()
    return Feature(name=name, kind=kind, categories=tuple(sorted(str(c) for c in categories)))


# --- holding a frame to it ----------------------------------------------------------------------------------------


def conform(frame: pd.DataFrame, schema: FeatureSchema) -> Conformed:
    """The frame's rows in the schema's form.

    The target may be absent (rows without labels), so may the id and time columns, which is said in `problems`.
    Without them `_id` and `_time` are taken where the frame has them.

    Raises:
        BadInput: no rows, doubled names, a feature missing, a cell that is not of its column's kind, ids missing or
            doubled, instants that cannot be read.
    """
    frame = _checked(frame)
    _refuse_missing(frame, schema.names)
    problems: list[str] = []
    errors: list[BadInput] = []
    X: dict[str, Any] = {}
    for feature in schema.features:
        try:
            X[feature.name] = _conform_feature(frame[feature.name], feature, problems)
        except BadInput as error:
            errors.append(error)
            if len(errors) >= MAX_PROBLEMS:
                break
    y: np.ndarray | None = None
    new_classes: tuple[Label, ...] = ()
    if schema.target in frame.columns:
        try:
            y, new_classes = _conform_target(frame[schema.target], schema, problems)
        except BadInput as error:
            errors.append(error)
    if errors:
        raise _together(errors)
    used = {schema.target, *schema.names}
    id_name = _role_column(frame, schema.id_column, ROW_ID, "ids are made", problems, used)
    time_name = _role_column(frame, schema.time_column, ROW_TIME, "the moment of arrival counts", problems, used)
    left = [c for c in frame.columns if c not in used]
    problems += [f"New column '{c}' is kept but not used." for c in left[:MAX_PROBLEMS]]
    if len(left) > MAX_PROBLEMS:
        problems.append(f"{len(left) - MAX_PROBLEMS:,} more new columns are kept but not used.")
    return Conformed(
        X=pd.DataFrame(X, index=pd.RangeIndex(len(frame))),
        y=y,
        ids=None if id_name is None else columns.row_ids(frame[id_name], id_name),
        times=None if time_name is None else columns.instants(frame[time_name], time_name),
        extra=frame[left],
        problems=tuple(problems),
        new_classes=new_classes,
    )


def _together(errors: Sequence[BadInput]) -> BadInput:
    if len(errors) == 1:
        return errors[0]
    every = tuple(p for e in errors for p in e.problems)
    return BadInput(
        " ".join(str(e) for e in errors[:3]) + (f" And {len(errors) - 3} more columns." if len(errors) > 3 else ""),
        every[:MAX_PROBLEMS],
    )


def _role_column(
    frame: pd.DataFrame, named: str | None, reserved: str, without: str, problems: list[str], used: set[str]
) -> str | None:
    """The column that gives ids or instants; it and a reserved one that is not needed count as used."""
    if named is not None and named in frame.columns:
        if reserved in frame.columns and reserved != named:
            problems.append(f"Column '{reserved}' is left out: '{named}' is used in its place.")
        used.update((named, reserved))
        return named
    if reserved in frame.columns:
        used.add(reserved)
        return reserved
    if named is not None:
        problems.append(f"Column '{named}' is not there: {without}.")
    return None


def _conform_feature(column: pd.Series, feature: Feature, problems: list[str]) -> Any:
    if feature.kind == "numeric":
        values, infinite = columns.numbers(column, feature.name)
        if infinite:
            problems.append(f"{plural(infinite, 'infinite value')} in '{feature.name}' taken as missing.")
        return values
    if feature.kind == "boolean":
        return columns.booleans(column, feature.name)
    words = columns.texts(column, feature.name)
    if len(feature.categories) < MAX_CATEGORIES:  # else the schema does not hold all that were seen
        new = sorted(set(words.dropna().unique()).difference(feature.categories))
        if new:
            n = int(words.isin(new).sum())
            what = "category" if len(new) == 1 else "categories"
            problems.append(f"New {what} in '{feature.name}': {listed(new)} ({plural(n, 'row')}).")
    return words


def _conform_target(
    column: pd.Series, schema: FeatureSchema, problems: list[str]
) -> tuple[np.ndarray, tuple[Label, ...]]:
    if schema.task == "regression":
        values, infinite = columns.numbers(column, schema.target)
        if infinite:
            problems.append(f"{plural(infinite, 'infinite value')} in '{schema.target}' taken as missing.")
        return values, ()
    like = type(schema.classes[0])
    y = columns.mapped(column, schema.target, lambda v: as_class(v, like), _expected_class(like))
    new = tuple(sorted({v for v in y if v is not None}.difference(schema.classes)))
    if len(schema.classes) + len(new) > MAX_CLASSES:
        raise BadInput(
            f"Column '{schema.target}' brings {len(new):,} new classes, expected at most {MAX_CLASSES:,} in all. "
            "Is it the right column?"
        )
    if new:
        n = sum(v in new for v in y if v is not None)
        word = "class" if len(new) == 1 else "classes"
        problems.append(f"New {word} in '{schema.target}': {listed(new)} ({plural(n, 'row')}).")
    return y, new


def table_of(frame: pd.DataFrame, schema: FeatureSchema) -> tuple[Table, tuple[str, ...], tuple[str, ...]]:
    """The rows of a question: columns for a scorer, what was taken otherwise than it came, columns that no model knows.

    A target that came along is left out: it is no question, and may hold classes that the model never saw.

    Raises:
        BadInput: as `conform`.
    """
    taken = conform(frame.drop(columns=schema.target, errors="ignore"), schema)
    times = None if taken.times is None else list(pd.DatetimeIndex(taken.times).to_pydatetime())
    ids: list[str | None] | None = None if taken.ids is None else [*taken.ids]
    # Absent ids and times are usual in a question, unlike in a file of rows.
    notes = tuple(p for p in taken.problems if " is not there: " not in p)
    return Table(columns_of(taken.X, schema), len(taken.X), ids, times), notes, tuple(map(str, taken.extra.columns))
