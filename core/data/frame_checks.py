"""Checks of every frame before its columns are read: unique names, at least one row, the required columns."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from core.data.cells import listed, nearest, refusal
from core.data.limits import MAX_COLUMNS
from core.errors import BadInput, FieldProblem, TooLarge
from core.words import counted


def checked_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with text names and a fresh index, after the checks that apply to every frame."""
    names = [str(c) for c in frame.columns]
    if len(names) > MAX_COLUMNS:
        raise TooLarge(f"The data has {len(names):,} columns, expected at most {MAX_COLUMNS:,}. Leave some out.")
    twice = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
    if twice:
        problems = [FieldProblem(f"column {n}", f"{names.count(n):,} columns of that name", "one") for n in twice]
        raise refusal("Column names must be unique", problems, "Rename or remove the duplicates.")
    if not names or not len(frame):
        raise BadInput(
            f"The data has {counted(len(frame), 'row')} and {counted(len(names), 'column')}, expected at least one of each."
        )
    return frame.set_axis(names, axis=1).reset_index(drop=True)


def refuse_missing(frame: pd.DataFrame, wanted: Sequence[str]) -> None:
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
