"""Records of rows: columns, the schema that validates rows, stored batches, and labels that arrive later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Task = Literal["binary", "multiclass", "regression"]
FeatureKind = Literal["numeric", "categorical", "boolean"]
Label = str | int | float | bool

# The program's own columns inside stored batches; a user's column may not have these names.
ROW_ID = "_id"
ROW_TIME = "_time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How the numbers of a column are written as text."""

    decimal: str = "."  # or ","
    unit: str = ""  # written with them: "%" with all of them, a currency with any


PLAINLY = Written()


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A conversion of the rows of a file, or an assumption about them; `core.data.problems` has the sentences."""

    code: str
    column: str | None = None
    count: int = 0  # number of rows or cells
    example: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One input column of a project."""

    name: str
    kind: FeatureKind
    categories: tuple[str, ...] = ()  # seen when the schema was inferred, as text; empty for numeric
    low: float | None = None  # smallest and largest finite value seen then; numeric only
    high: float | None = None
    written: Written = PLAINLY  # numeric only


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSchema:
    """The form of a project's rows: the contract by which every batch and request is validated."""

    task: Task
    target: str
    features: tuple[Feature, ...]
    classes: tuple[Label, ...] = ()  # as in the data, sorted; empty for regression; may grow
    id_column: str | None = None
    time_column: str | None = None
    excluded: tuple[
        str, ...
    ] = ()  # columns of the first batch that are not features: stored with its rows, never required
    target_written: Written = PLAINLY  # regression only
    day_first: bool | None = None  # True: 03/04/2026 in the time column is the third of April; None = other format

    @property
    def names(self) -> tuple[str, ...]:
        """Feature names in the order that models expect."""
        return tuple(f.name for f in self.features)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A set of consecutive rows, named by its purpose."""

    name: str  # e.g. "reference" or "current"
    n_rows: int
    first_at: datetime | None = None
    last_at: datetime | None = None
    description: str = ""  # for display: "the 1,000 rows v3 learnt from"


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
    """A label that would replace another."""

    place: int  # index among the labels of the call, from 0
    row_id: str
    before: Label
    after: Label


@dataclass(frozen=True, slots=True, kw_only=True)
class NewClass:
    """A class that labels would add."""

    label: Label
    count: int  # labels with this class
    place: int  # index of the first of them
    row_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPlan:
    """The effect of labels if they were stored: how many of each status, and what they would change."""

    stored: int
    unchanged: int
    replaced: int
    waiting: int
    new_classes: tuple[NewClass, ...]
    replacements: tuple[Replacement, ...]  # the first 20
    needs_consent: bool  # labels would be replaced, or classes added that are unknown to the champion
