"""The limits of files and schemas in every format, and the texts that refuse what exceeds them."""

from __future__ import annotations

from core.data.cells import MAX_PROBLEMS, refusal
from core.errors import FieldProblem, TooLarge
from core.words import counted

MAX_COLUMNS = 2_000
MAX_CLASSES = 1_000
MAX_CATEGORIES = 1_000  # categories of one feature in the schema; the most frequent ones
MAX_ROWS = 10_000_000
EXPANSION = 10  # unpacked bytes that are allowed for each byte of the size limit


def megabytes(n: int) -> str:
    """A size as messages write it."""
    return f"{n / 1e6:,.1f} MB" if n >= 1e5 else counted(n, "byte")


def check_names(names: list[str], name: str) -> None:
    """Refuse too many columns, blank names and duplicate names; `name` is the file's."""
    if len(names) > MAX_COLUMNS:
        raise TooLarge(f"{name} has {len(names):,} columns, expected at most {MAX_COLUMNS:,}. Remove some.")
    unnamed = [i + 1 for i, n in enumerate(names) if not n.strip()]
    if unnamed:
        problems = [FieldProblem(f"column {i}", "without a name", "a name") for i in unnamed[:MAX_PROBLEMS]]
        raise refusal(f"{name}: every column needs a name in the header", problems)
    if len(set(names)) < len(names):
        places: dict[str, list[int]] = {}
        for i, n in enumerate(names):
            places.setdefault(n, []).append(i + 1)
        problems = [
            FieldProblem(f"column {n}", f"there {len(at)} times (columns {', '.join(map(str, at))})", "once")
            for n, at in places.items()
            if len(at) > 1
        ]
        raise refusal(f"{name}: column names must be unique", problems, "Rename or remove the duplicates.")


def check_shape(rows: int, n_columns: int, name: str, budget: int) -> None:
    """Refuse a table that would take more than `budget` bytes at eight a cell, before it is decoded."""
    if n_columns > MAX_COLUMNS:
        raise TooLarge(f"{name} has {n_columns:,} columns, expected at most {MAX_COLUMNS:,}. Remove some.")
    if rows > MAX_ROWS:
        raise TooLarge(f"{name} has {rows:,} rows, expected at most {MAX_ROWS:,}. Send it in parts.")
    if rows * n_columns * 8 > budget:
        raise TooLarge(
            f"{name} has {rows:,} rows of {counted(n_columns, 'column')}, "
            f"which unpack to more than {megabytes(budget)}. Send it in parts."
        )
