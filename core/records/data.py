"""Records of rows: what a column is, the schema that rows are held to, stored batches, and labels that come later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Task = Literal["binary", "multiclass", "regression"]
FeatureKind = Literal["numeric", "categorical", "boolean"]
Label = str | int | float | bool

# Columns of ours inside stored batches; a user's column may not have these names.
ROW_ID = "_id"
ROW_TIME = "_time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How the numbers of a column are written in texts."""

    decimal: str = "."  # or ","
    unit: str = ""  # that stands with them: "%" with all of them, a currency with any


PLAINLY = Written()


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What was taken otherwise than it came, or assumed, of the rows of a file; `core.data.problems` has the sentences."""

    code: str
    column: str | None = None
    count: int = 0  # of rows or cells
    example: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One input column of a project."""

    name: str
    kind: FeatureKind
    categories: tuple[str, ...] = ()  # seen when the schema was made, as text; empty for numeric
    low: float | None = None  # smallest and largest finite value seen then; numeric only
    high: float | None = None
    written: Written = PLAINLY  # numeric only


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSchema:
    """What the rows of a project look like: the contract that every batch and request is held to."""

    task: Task
    target: str
    features: tuple[Feature, ...]
    classes: tuple[Label, ...] = ()  # as in the data, sorted; empty for regression; may grow
    id_column: str | None = None
    time_column: str | None = None
    excluded: tuple[
        str, ...
    ] = ()  # columns of the first batch that are no features: kept with its rows, never asked for
    target_written: Written = PLAINLY  # regression only
    day_first: bool | None = None  # 03/04/2026 in the time column is the third of April; None = not written so

    @property
    def names(self) -> tuple[str, ...]:
        """Feature names in the order in which models take them."""
        return tuple(f.name for f in self.features)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A set of consecutive rows, named by what it is for."""

    name: str  # e.g. "reference" or "current"
    n_rows: int
    first_at: datetime | None = None
    last_at: datetime | None = None
    description: str = ""  # in words: "the 1,000 rows v3 learnt from"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchInfo:
    """One stored batch's manifest."""

    id: int
    number: int
    origin: str
    rows: int
    labelled: int
    first_at: datetime
    last_at: datetime
    created_at: datetime
    sha256: str
    backfill: bool
    undone: bool
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """A label that would take the place of another."""

    place: int  # among the labels of the call, from 0
    row_id: str
    before: Label
    after: Label


@dataclass(frozen=True, slots=True, kw_only=True)
class NewClass:
    """A class that labels would add."""

    label: Label
    count: int  # labels that hold it
    place: int  # of the first of them
    row_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPlan:
    """What would become of labels if they were stored: how many of each status, and what they would change."""

    stored: int
    unchanged: int
    replaced: int
    waiting: int
    new_classes: tuple[NewClass, ...]
    replacements: tuple[Replacement, ...]  # the first 20
    needs_consent: bool  # labels would be replaced, or classes added that the champion does not know
