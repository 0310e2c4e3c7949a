"""The roles of a first file's columns (target, row id, time, excluded): given, or guessed from names and cells."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from core.data import columns, dates, looking
from core.data.cells import shown
from core.data.frame_checks import checked_frame, refuse_missing
from core.errors import BadInput
from core.records import ROW_ID, ROW_TIME, Problem

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
WRITTEN_INDEX = re.compile(r"Unnamed: \d+(\.\d+)*|__index_level_\d+__")
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
_GUESS_ROWS = 200  # cells that are checked before a column counts as dates
_DISTINCT_ROWS = 50  # rows from which a column of unique texts counts as ids or free text


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The roles of a first file's columns."""

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
    """The roles of the columns of a first file: as given here, else guessed from names and cells.

    The id is named as one, unique and never missing; the time never goes back. Excluded from the features:
    index columns that a program wrote, further ids and dates, columns without any value.

    Args:
        id_column, time_column: None = guessed, the empty text = there is none.
        exclude: further columns to exclude.
        features: columns that are features, whatever they look like.
        needs_target: False = a target is not guessed.

    Raises:
        BadInput: a named column that does not exist, or has two roles.
    """
    frame = checked_frame(frame)
    named = [c for c in (target, id_column, time_column) if c]
    refuse_missing(frame, [*named, *exclude, *features])
    refuse_two_roles(target, id_column, time_column, exclude, features)
    notes: list[Problem] = []
    free = [c for c in frame.columns if c not in {*named, *exclude, *features, ROW_ID, ROW_TIME}]
    left = [*exclude]

    def leave(name: str, code: str, example: str | None = None) -> None:
        left.append(name)
        free.remove(name)
        notes.append(Problem(code=code, column=name, count=len(frame), example=example))

    for name in list(free):
        index = WRITTEN_INDEX.fullmatch(name) is not None and not _are_dates(frame[name])
        if index or _is_row_number(frame[name], name):
            leave(name, "index_column")
    if needs_target and target is None:
        target = _guess_target([c for c in frame.columns if c in free], frame)
        notes.append(Problem(code="target_assumed", column=target, count=len(frame)))
    free = [c for c in free if c != target]
    if id_column is None and ROW_ID not in frame.columns:
        id_column = guess_id(frame[free])
        if id_column is not None:
            free.remove(id_column)
            example = shown(frame[id_column].iloc[0])
            notes.append(Problem(code="id_assumed", column=id_column, count=len(frame), example=example))
    if time_column is None and ROW_TIME not in frame.columns:
        time_column = guess_time(frame[free])
        if time_column is not None:
            free.remove(time_column)
            example = shown(frame[time_column].iloc[0])
            notes.append(Problem(code="time_assumed", column=time_column, count=len(frame), example=example))
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
        problems=tuple(notes),
    )


def refuse_two_roles(
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
                BadInput(
                    f"Column '{name}' holds row ids or instants, so it can be neither the target nor a feature. Choose another column."
                )
                if role != "target"
                else BadInput(f"Column '{name}' is the target, so it cannot be a feature. Remove one of the two.")
            )
        if name in exclude:
            raise BadInput(f"Column '{name}' is the {role}, so it cannot be excluded. Remove one of the two.")
    if target in (ROW_ID, ROW_TIME):
        raise BadInput(
            f"Column '{target}' holds row ids or instants, so it can be neither the target nor a feature. Choose another column."
        )


def guess_target(frame: pd.DataFrame) -> str:
    """The column that is most likely the target: y, target, label or class in any case, else the last one.

    Raises:
        BadInput: no column at all.
    """
    return _guess_target([str(c) for c in frame.columns], frame)


def _guess_target(among: Sequence[str], frame: pd.DataFrame) -> str:
    """One of those columns; ids, dates and empty columns only if there is nothing else."""
    names = [c for c in among if c not in (ROW_ID, ROW_TIME)]
    if not names:
        raise BadInput("The data has no columns, expected features and a target.")
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
    return looking.kind_of(column) == "categorical"


def _names_each_row(column: pd.Series, name: str) -> bool:
    """Whether a column has a different value in each row: a further id, or free text."""
    if len(column) < _DISTINCT_ROWS or not _is_unique(column):
        return False
    if is_id_name(name):
        return _are_ids(column)
    return columns.is_text(column) and looking.kind_of(column) == "categorical"


def _is_row_number(column: pd.Series, name: str) -> bool:
    """Whether a column with an index's name numbers the rows."""
    if name.strip().lower() not in _ROW_NUMBERS or len(column) < 2:
        return False
    try:
        values = columns.numbers(column, name)
    except BadInput:
        return False
    return bool(np.all(np.diff(values) == 1))


def guess_time(frame: pd.DataFrame) -> str | None:
    """A column of instants: one with such a name, else the first column of dates that never go back."""
    names = [str(c) for c in frame.columns]
    usual = [n for u in _TIMES for n in names if n.strip().lower() == u]
    usual += [n for n in names if n not in usual and n.strip().lower().endswith(("_time", "_date", "_at"))]
    usual += [n for n in names if n not in usual and _are_dates(frame[n])]
    for name in usual:
        column = frame[name]
        if not column.notna().all() or (columns.is_cells(column) and _no_instant(column.iloc[0])):
            continue
        try:
            parsed = dates.instants(column, name)
        except BadInput:
            continue
        if parsed.is_monotonic_increasing or name.strip().lower() in _TIMES:
            return name
    return None


def _no_instant(text: str) -> bool:
    return not re.match(r"\d", text)


def _are_dates(column: pd.Series) -> bool:
    """Whether a column holds dates: by its type, or by every cell."""
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
