"""What the rows of a project look like: inferred from a frame, then every later batch and request is held to it.

`infer_schema` makes the contract, `conform` holds a frame to it, `rows.py` the rows of a request.
All refuse with every problem named, or give rows that the rest of the program need not look at again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

import numpy as np
import pandas as pd

from core.data import columns
from core.data.cells import MAX_PROBLEMS, as_class, expected_label, listed, nearest, refusal, shown
from core.data.limits import MAX_COLUMNS
from core.data.rows import Table, columns_of
from core.errors import BadInput, FieldProblem, TooLarge
from core.records import PLAINLY, ROW_ID, ROW_TIME, Feature, FeatureKind, FeatureSchema, Label, Problem, Task, Written
from core.words import counted

MAX_CLASSES = 1_000
WHOLE_NUMBER_CLASSES = 50  # up to so many distinct whole numbers are classes, more are regression
MAX_CATEGORIES = 1_000  # of one feature kept in the schema; the most frequent ones
_MANY_WHOLE_CLASSES = 10  # from which it is said that whole numbers were taken as classes
_TARGETS = ("y", "target", "label", "class")
_IDS = (
    "id",
    "_id",
    "row_id",
    "rowid",
    "uuid",
    "guid",
    "key",
    "identifier",
    "serial no",
    "serial no.",
    "serial number",
    "serial_no",
    "s.no",
    "sno",
)
_ID_NAME = re.compile(r"(?:(?:^|[_\s.-])(?i:id)|[a-z0-9]I[dD])$")  # customer_id, PassengerId, customerID
_TIMES = ("time", "_time", "timestamp", "date", "datetime", "ts", "at", "created_at", "observed_at", "event_time")
_INDEX = re.compile(r"Unnamed: \d+(\.\d+)*|__index_level_\d+__")
_ROW_NUMBERS = (
    "index",
    "row",
    "rownames",
    "row_names",
    "rownumber",
    "row_number",
    "rownum",
    "no",
    "nr",
    "instant",
    "record",
    "#",
)
_DATE = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}([ T].*)?|\d{1,2}[/.-]\d{1,2}[/.-]\d{4}([ T].*)?")
_GUESS_ROWS = 200  # looked at before a column is held to be one of dates
_DISTINCT_ROWS = 50  # rows from which a text of its own in each row is an id or free text


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
    problems: tuple[Problem, ...] = ()  # kept unused, taken as missing, new
    new_classes: tuple[Label, ...] = ()


# --- roles --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Which column of a first file is what."""

    target: str | None
    id_column: str | None
    time_column: str | None
    excluded: tuple[str, ...]
    problems: tuple[Problem, ...]  # what was assumed, and why


def guess_roles(
    frame: pd.DataFrame,
    *,
    target: str | None = None,
    id_column: str | None = None,
    time_column: str | None = None,
    exclude: Sequence[str] = (),
    features: Collection[str] = (),
    needs_target: bool = True,
) -> Roles:
    """The roles of the columns of a first file: what is named here, else what names and cells show.

    The id is named as one, unique and never missing; the time is one that never goes back. Left out of the features:
    index columns that a program wrote, further ids and dates, columns without any value.

    Args:
        id_column, time_column: None = guessed, the empty text = there is none.
        exclude: columns to leave out besides.
        features: columns that are features, whatever they look like.
        needs_target: False = a target is not guessed.

    Raises:
        BadInput: a named column that is not there, or has two roles.
    """
    frame = _checked(frame)
    named = [c for c in (target, id_column, time_column) if c]
    _refuse_missing(frame, [*named, *exclude, *features])
    _refuse_two_roles(target, id_column, time_column, exclude, features)
    said: list[Problem] = []
    free = [c for c in frame.columns if c not in {*named, *exclude, *features, ROW_ID, ROW_TIME}]
    left = [*exclude]

    def leave(name: str, code: str, example: str | None = None) -> None:
        left.append(name)
        free.remove(name)
        said.append(Problem(code=code, column=name, count=len(frame), example=example))

    for name in list(free):
        index = _INDEX.fullmatch(name) is not None and not _are_dates(frame[name])
        if index or _is_row_number(frame[name], name):
            leave(name, "index_column")
    if needs_target and target is None:
        target = _guess_target([c for c in frame.columns if c in free], frame)
        said.append(Problem(code="target_assumed", column=target, count=len(frame)))
    free = [c for c in free if c != target]
    if id_column is None and ROW_ID not in frame.columns:
        id_column = guess_id(frame[free])
        if id_column is not None:
            free.remove(id_column)
            example = shown(frame[id_column].iloc[0])
            said.append(Problem(code="id_assumed", column=id_column, count=len(frame), example=example))
    if time_column is None and ROW_TIME not in frame.columns:
        time_column = guess_time(frame[free])
        if time_column is not None:
            free.remove(time_column)
            example = shown(frame[time_column].iloc[0])
            said.append(Problem(code="time_assumed", column=time_column, count=len(frame), example=example))
    for name in list(free):
        column = frame[name]
        if not column.notna().any():
            leave(name, "empty_column")
        elif _are_dates(column):
            leave(name, "date_column", shown(column.dropna().iloc[0]))
        elif _names_each_row(column, name):
            leave(name, "id_column", shown(column.iloc[0]))
    return Roles(
        target=target,
        id_column=id_column or None,
        time_column=time_column or None,
        excluded=tuple(left),
        problems=tuple(said),
    )


def _refuse_two_roles(
    target: str | None,
    id_column: str | None,
    time_column: str | None,
    exclude: Sequence[str],
    features: Collection[str],
) -> None:
    roles = {"target": target, "id column": id_column, "time column": time_column}
    given = {role: name for role, name in roles.items() if name}
    if len(set(given.values())) < len(given):
        raise BadInput(
            f"Target {shown(target)}, id column {shown(id_column)} and time column {shown(time_column)} "
            "must be three different columns."
        )
    for role, name in given.items():
        if name in features:
            raise (
                BadInput(f"Column '{name}' holds row ids or instants, so it can be neither the target nor a feature.")
                if role != "target"
                else BadInput(f"Column '{name}' is the target, so it cannot be a feature.")
            )
        if name in exclude:
            raise BadInput(f"Column '{name}' is the {role}, so it cannot be left out.")
    if target in (ROW_ID, ROW_TIME):
        raise BadInput(f"Column '{target}' holds row ids or instants, so it can be neither the target nor a feature.")


def guess_target(frame: pd.DataFrame) -> str:
    """The column that is most likely the target: y, target, label or class in any case, else the last one.

    Raises:
        BadInput: no column at all.
    """
    return _guess_target([str(c) for c in frame.columns], frame)


def _guess_target(among: Sequence[str], frame: pd.DataFrame) -> str:
    """One of those columns; ids, dates and columns without a value only where there is nothing else."""
    names = [c for c in among if c not in (ROW_ID, ROW_TIME)]
    if not names:
        raise BadInput("The data has no column, expected features and a target.")
    by_name = {name.strip().lower(): name for name in reversed(names)}
    usual = next((by_name[usual] for usual in _TARGETS if usual in by_name), None)
    if usual is not None:
        return usual
    likely = (c for c in reversed(names) if not is_id_name(c) and not _are_dates(frame[c]) and frame[c].notna().any())
    return next(likely, names[-1])


def guess_id(frame: pd.DataFrame) -> str | None:
    """A column that looks like row ids: named as one, text or whole numbers, none missing, none twice."""
    usual = [n for u in _IDS for n in map(str, frame.columns) if n.strip().lower() == u]
    for name in dict.fromkeys([*usual, *(n for n in map(str, frame.columns) if _ID_NAME.search(n.strip()))]):
        if _are_ids(frame[name]):
            return name
    return None


def _is_unique(column: pd.Series) -> bool:
    return bool(column.iloc[:_GUESS_ROWS].is_unique and column.notna().all() and column.is_unique)


def is_id_name(name: str) -> bool:
    """Whether a column is named as an id."""
    return name.strip().lower() in _IDS or bool(_ID_NAME.search(name.strip()))


def _are_ids(column: pd.Series) -> bool:
    if not _is_unique(column) or _are_dates(column):
        return False
    if columns.is_cells(column):
        return not column.str.fullmatch(r"[+-]?\d*\.\d*[1-9]\d*").any()
    if columns.is_text(column) or pd.api.types.is_integer_dtype(column.dtype):
        return True
    if pd.api.types.is_float_dtype(column.dtype):
        return bool((column == column.round()).all())
    return columns.kind_of(column) == "categorical"


def _names_each_row(column: pd.Series, name: str) -> bool:
    """Whether a column has a value of its own in each row: a further id, or free text."""
    if len(column) < _DISTINCT_ROWS or not _is_unique(column):
        return False
    if is_id_name(name):
        return _are_ids(column)
    return columns.is_text(column) and columns.kind_of(column) == "categorical"


def _is_row_number(column: pd.Series, name: str) -> bool:
    """Whether a column that is named as an index counts the rows."""
    if name.strip().lower() not in _ROW_NUMBERS or len(column) < 2:
        return False
    try:
        values = columns.numbers(column, name)
    except BadInput:
        return False
    return bool(np.all(np.diff(values) == 1))


def guess_time(frame: pd.DataFrame) -> str | None:
    """A column of instants: one that is named as such, else the first one of dates that never go back."""
    names = [str(c) for c in frame.columns]
    usual = [n for u in _TIMES for n in names if n.strip().lower() == u]
    usual += [n for n in names if n not in usual and n.strip().lower().endswith(("_time", "_date", "_at"))]
    usual += [n for n in names if n not in usual and _are_dates(frame[n])]
    for name in usual:
        column = frame[name]
        if not column.notna().all() or (columns.is_cells(column) and _no_instant(column.iloc[0])):
            continue
        try:
            found = columns.instants(column, name)
        except BadInput:
            continue
        if found.is_monotonic_increasing or name.strip().lower() in _TIMES:
            return name
    return None


def _no_instant(text: str) -> bool:
    return not re.match(r"\d", text)


def _are_dates(column: pd.Series) -> bool:
    """Whether a column holds dates: by its type, or as every cell looks."""
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return True
    if not (columns.is_text(column) or column.dtype == object):
        return False
    known = column.dropna()
    some = known.iloc[:_GUESS_ROWS]
    looks = [isinstance(v, date) or (isinstance(v, str) and bool(_DATE.fullmatch(v.strip()))) for v in some]
    if not looks or not all(looks):
        return False
    return len(known) <= _GUESS_ROWS or bool(
        known.map(lambda v: isinstance(v, date) or bool(_DATE.fullmatch(str(v).strip()))).all()
    )


# --- inference ----------------------------------------------------------------------------------------------------


def first_schema(
    frame: pd.DataFrame,
    *,
    target: str | None = None,
    id_column: str | None = None,
    time_column: str | None = None,
    task: Task | Literal["classification"] | None = None,
    kinds: Mapping[str, FeatureKind] | None = None,
    categorical: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> tuple[FeatureSchema, tuple[Problem, ...]]:
    """The schema that a first file fixes, and what was assumed: roles by `guess_roles`, the rest by `infer_schema`.

    Raises:
        BadInput: as those two.
    """
    features = {**dict.fromkeys(categorical), **dict.fromkeys(kinds or {})}
    roles = guess_roles(
        frame, target=target, id_column=id_column, time_column=time_column, exclude=exclude, features=features
    )
    return _inferred(_checked(frame), roles, task, {**dict.fromkeys(categorical, "categorical"), **(kinds or {})})


def infer_schema(
    frame: pd.DataFrame,
    *,
    target: str | None = None,
    id_column: str | None = None,
    time_column: str | None = None,
    task: Task | Literal["classification"] | None = None,
    kinds: Mapping[str, FeatureKind] | None = None,
    categorical: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> FeatureSchema:
    """The schema of a frame whose roles are known: every column that has none named here is a feature.

    Target: text and booleans are classes; whole numbers (1.0 too) are classes up to 50 distinct values, else
    regression. Features: text and booleans are categorical and boolean, numbers numeric.

    Args:
        target: None = guessed by name, else the last column. `id_column` and `time_column` are not guessed.
        task: says whether the target is classes or a number; how many classes there are is counted.
        kinds: kind of single features; `categorical` is short for that kind.

    Raises:
        BadInput: a named column that is not there, a target without two classes or without any value, no feature.
    """
    frame = _checked(frame)
    asked: dict[str, FeatureKind] = {**dict.fromkeys(categorical, "categorical"), **(kinds or {})}
    if target is None:
        target = guess_target(frame.drop(columns=[c for c in (id_column, time_column, *exclude) if c in frame.columns]))
    _refuse_missing(frame, [target, *(c for c in (id_column, time_column) if c), *asked, *exclude])
    _refuse_two_roles(target, id_column, time_column, exclude, asked)
    roles = Roles(target=target, id_column=id_column, time_column=time_column, excluded=tuple(exclude), problems=())
    return _inferred(frame, roles, task, asked)[0]


def _inferred(
    frame: pd.DataFrame, roles: Roles, task: str | None, asked: Mapping[str, FeatureKind]
) -> tuple[FeatureSchema, tuple[Problem, ...]]:
    target = roles.target
    assert target is not None
    used = {target, ROW_ID, ROW_TIME, roles.id_column, roles.time_column, *roles.excluded}
    names = [c for c in frame.columns if c not in used]
    if not names:
        left = f" ({listed(roles.excluded)} are left out)" if roles.excluded else ""
        raise BadInput(
            f"There is no feature: '{target}' is the target and no other column is left to predict from{left}."
        )
    said = list(roles.problems)
    looks = _looks(frame, [target, *names])
    found, classes = _infer_target(frame[target], target, task, looks.get(target), said)
    features = tuple(_infer_feature(frame[c], c, asked.get(c), looks.get(c), said) for c in names)
    written = looks[target].written if found == "regression" and target in looks else PLAINLY
    schema = FeatureSchema(
        task=found, target=target, features=features, classes=classes, id_column=roles.id_column,
        time_column=roles.time_column, excluded=roles.excluded, target_written=written,
        day_first=columns.shows_day_first(frame[roles.time_column]) if roles.time_column else None,
    )  # fmt: skip
    return schema, tuple(said)


def _looks(frame: pd.DataFrame, names: Sequence[str]) -> dict[str, columns.Look]:
    """What the columns of cells hold; the decimal mark that some show counts for those that do not."""
    found = {c: columns.look_at(frame[c], c) for c in names if columns.is_cells(frame[c])}
    marks = {look.mark for look in found.values()} - {""}
    if len(marks) != 1:
        return found
    mark = marks.pop()
    unsure = [c for c, look in found.items() if look.problem is not None and look.problem.code == "ambiguous_numbers"]
    return found | {c: columns.look_at(frame[c], c, mark=mark) for c in unsure}


def _checked(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with text names and a fresh index, after checks that hold for every frame."""
    names = [str(c) for c in frame.columns]
    if len(names) > MAX_COLUMNS:
        raise TooLarge(f"The data has {len(names):,} columns, expected at most {MAX_COLUMNS:,}. Leave some out.")
    twice = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
    if twice:
        problems = [FieldProblem(f"column {n}", f"{names.count(n):,} columns of that name", "one") for n in twice]
        raise refusal("Column names must be unique", problems, "Rename or remove the doubled ones.")
    if not names or not len(frame):
        raise BadInput(f"The data has {counted(len(frame), 'row')} and {counted(len(names), 'column')}, expected some.")
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
        f"{counted(len(absent), 'column')} missing", problems, f"The data has: {listed(frame.columns, at_most=12)}."
    )


def infer_task(column: pd.Series, name: str) -> Task:
    """The task that a target column means: text, booleans and few whole numbers are classes, other numbers regression.

    Raises:
        BadInput: it has no value, one class only, or too many.
    """
    look = columns.look_at(column, name) if columns.is_cells(column) else None
    return _infer_target(column, name, None, look, [])[0]


def _infer_target(
    column: pd.Series, name: str, task: str | None, look: columns.Look | None, said: list[Problem]
) -> tuple[Task, tuple[Label, ...]]:
    if not column.notna().any():
        raise BadInput(f"Target '{name}' has no value in any row, expected labels. Name another column as the target.")
    kind = columns.kind_of(column) if look is None else "numeric" if look.kind == "empty" else look.kind
    written = PLAINLY if look is None else look.written
    if look is not None and look.problem is not None:
        said.append(look.problem)
    whole = kind == "numeric" and _few_whole_numbers(column, name, written)
    if task == "regression" or (task is None and kind == "numeric" and not whole):
        if not np.isfinite(columns.numbers(column, name, written=written)).any():
            raise BadInput(f"Target '{name}' has no finite value, expected numbers. Name another column as the target.")
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
        advice = "Name another target" + (", or say that the task is regression." if kind == "numeric" else ".")
        raise BadInput(f"Target '{name}' has {len(classes):,} classes, expected at most {MAX_CLASSES:,}. {advice}")
    if task == "binary" and len(classes) > 2:
        raise BadInput(
            f"Target '{name}' has {len(classes)} classes ({listed(classes)}), expected two. "
            "Choose several classes as the task."
        )
    if task is None and whole and len(classes) > _MANY_WHOLE_CLASSES:
        said.append(Problem(code="classes_assumed", column=name, count=len(classes), example=shown(classes[0])))
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
    column: pd.Series, name: str, asked: FeatureKind | None, look: columns.Look | None, said: list[Problem]
) -> Feature:
    looked = columns.kind_of(column) if look is None else "numeric" if look.kind == "empty" else look.kind
    kind = asked or looked
    if look is not None and look.problem is not None and asked in (None, "numeric"):
        said.append(look.problem)
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


# --- holding a frame to it ----------------------------------------------------------------------------------------


def conform(frame: pd.DataFrame, schema: FeatureSchema, *, latest: datetime | None = None) -> Conformed:
    """The frame's rows in the schema's form: every way in decodes its cells here, by the schema and nothing else.

    The target may be absent (rows without labels), so may the id and time columns, which is said in `problems`.
    Without them `_id` and `_time` are taken where the frame has them.

    Args:
        latest: no row happened after it; None = no limit.

    Raises:
        BadInput: no rows, doubled names, a feature missing, the target in another case, a cell that is not of its
            column's kind, ids missing or doubled, instants that cannot be read.
    """
    frame = _checked(frame)
    _refuse_missing(frame, schema.names)
    _refuse_other_case(frame, schema)
    problems: list[Problem] = []
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
    id_name = _role_column(frame, schema.id_column, ROW_ID, "no_ids", problems, used)
    time_name = _role_column(frame, schema.time_column, ROW_TIME, "no_times", problems, used)
    left = [c for c in frame.columns if c not in used]
    new = [c for c in left if c not in schema.excluded and not _INDEX.fullmatch(c)]
    problems += [Problem(code="new_column", column=c, count=len(frame)) for c in new[:MAX_PROBLEMS]]
    if len(new) > MAX_PROBLEMS:
        problems.append(Problem(code="more_new_columns", count=len(new) - MAX_PROBLEMS))
    return Conformed(
        X=pd.DataFrame(X, index=pd.RangeIndex(len(frame))),
        y=y,
        ids=None if id_name is None else columns.row_ids(frame[id_name], id_name),
        times=None
        if time_name is None
        else columns.instants(
            frame[time_name], time_name, day_first=schema.day_first, latest=latest, problems=problems
        ),
        extra=frame[[c for c in left if not _INDEX.fullmatch(c)]],
        problems=tuple(problems),
        new_classes=new_classes,
    )


def _refuse_other_case(frame: pd.DataFrame, schema: FeatureSchema) -> None:
    """Labels under the target's name in another case would be left aside with the unknown columns."""
    if schema.target in frame.columns:
        return
    known = {*schema.names, *schema.excluded, schema.id_column, schema.time_column}
    other = [c for c in frame.columns if c not in known and c.lower() == schema.target.lower()]
    if other:
        problem = FieldProblem(
            f"column {schema.target}", f"not there ('{other[0]}' is)", f"a column named '{schema.target}'"
        )
        raise refusal("The target is missing", [problem], "Name the column as before.")


def _together(errors: Sequence[BadInput]) -> BadInput:
    if len(errors) == 1:
        return errors[0]
    every = tuple(p for e in errors for p in e.problems)
    return BadInput(
        " ".join(str(e) for e in errors[:3]) + (f" And {len(errors) - 3} more columns." if len(errors) > 3 else ""),
        every[:MAX_PROBLEMS],
    )


def _role_column(
    frame: pd.DataFrame, named: str | None, reserved: str, without: str, problems: list[Problem], used: set[str]
) -> str | None:
    """The column that gives ids or instants; it and a reserved one that is not needed count as used."""
    if named is not None and named in frame.columns:
        if reserved in frame.columns and reserved != named:
            problems.append(Problem(code="reserved_column", column=reserved, count=len(frame), example=named))
        used.update((named, reserved))
        return named
    if reserved in frame.columns:
        used.add(reserved)
        return reserved
    if named is not None:
        problems.append(Problem(code=without, column=named, count=len(frame)))
    return None


def _conform_feature(column: pd.Series, feature: Feature, problems: list[Problem]) -> Any:
    if feature.kind == "numeric":
        return columns.numbers(column, feature.name, written=feature.written, problems=problems)
    if feature.kind == "boolean":
        return columns.booleans(column, feature.name)
    words = columns.texts(column, feature.name, frozenset(feature.categories))
    if len(feature.categories) < MAX_CATEGORIES:  # else the schema does not hold all that were seen
        new = sorted(set(words.dropna().unique()).difference(feature.categories))
        if new:
            n = int(words.isin(new).sum())
            problems.append(Problem(code="new_categories", column=feature.name, count=n, example=listed(new)))
    return words


def _conform_target(
    column: pd.Series, schema: FeatureSchema, problems: list[Problem]
) -> tuple[np.ndarray, tuple[Label, ...]]:
    if schema.task == "regression":
        return columns.numbers(column, schema.target, written=schema.target_written, problems=problems), ()
    like = type(schema.classes[0])
    y = columns.mapped(
        column, schema.target, lambda v: as_class(v, like, schema.classes), expected_label(schema.task, schema.classes)
    )
    new = tuple(sorted({v for v in y if v is not None}.difference(schema.classes)))
    if new and len(schema.classes) + len(new) > MAX_CLASSES:
        raise BadInput(
            f"Column '{schema.target}' brings {len(new):,} new classes, expected at most {MAX_CLASSES:,} in all. "
            "Is it the right column?"
        )
    if new:
        n = sum(v in new for v in y if v is not None)
        problems.append(Problem(code="new_classes", column=schema.target, count=n, example=listed(new)))
    return y, new


def table_of(
    frame: pd.DataFrame, schema: FeatureSchema, *, latest: datetime | None = None
) -> tuple[Table, tuple[Problem, ...], tuple[str, ...]]:
    """The rows of a question: columns for a scorer, what was taken otherwise than it came, columns that no model knows.

    A target that came along is left out: it is no question, and may hold classes that the model never saw.

    Raises:
        BadInput: as `conform`.
    """
    taken = conform(frame.drop(columns=schema.target, errors="ignore"), schema, latest=latest)
    times = None if taken.times is None else list(pd.DatetimeIndex(taken.times).to_pydatetime())
    ids: list[str | None] | None = None if taken.ids is None else [*taken.ids]
    # Absent ids and times are usual in a question, unlike in a file of rows.
    notes = tuple(p for p in taken.problems if p.code not in ("no_ids", "no_times"))
    return Table(columns_of(taken.X, schema), len(taken.X), ids, times), notes, tuple(map(str, taken.extra.columns))
