"""What the steps of a cycle hand one another: what was asked, what was found, and the turn that is under way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from core.errors import Damaged
from core.records import BatchSetAside, CycleReport, ProjectInfo
from core.storage import history
from core.storage.tables import Batch
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from sqlalchemy.orm import Session

Progress = Callable[[float, str], None]
OnClose = Callable[["Session", CycleReport], None]
Window = Callable[[int | None], tuple["pd.DataFrame", "np.ndarray"]]  # the newest n labelled rows, None = all


def silent(share: float, text: str) -> None:
    """Progress that nobody watches."""


class Told:
    """Progress, and the step that was begun last: what a failure is told with."""

    def __init__(self, onward: Progress) -> None:
        self._onward = onward
        self.step = "Starting"

    def __call__(self, share: float, text: str) -> None:
        self.step = text
        self._onward(share, text)


@dataclass(frozen=True, slots=True)
class Group:
    """Newly labelled rows of one batch, with the predictions made before their labels were known."""

    batch: Batch
    frame: pd.DataFrame
    y: np.ndarray
    scores: history.Scores | None  # rows aligned with `frame`
    keys: pd.Index  # of the rows, as the learner knows them
    weights: np.ndarray | None  # rows that each stands for, where the label desk chose them; None = all alike


@dataclass(frozen=True, slots=True)
class Found:
    """What is new since the last finished cycle."""

    reader: (
        history.History
    )  # of all stored rows, with the labels as they were when the cycle began: the one that it uses
    batches: list[Batch]  # new ones, oldest first, backfills aside
    groups: list[Group]  # newly labelled rows, in stream order
    batch_watermark: int
    label_watermark: int
    news: int
    set_aside: tuple[BatchSetAside, ...] = ()  # new batches that could not be scored or read
    damaged: dict[int, Damaged] = field(default_factory=dict)  # by batch number: what else is left out, told with them
    serves: int | None = None  # the champion, also where its artefact is damaged and the project goes on without one
    notes: list[str] = field(default_factory=list)  # sentences on what was lost, for the audit row

    def left_out(self) -> tuple[BatchSetAside, ...]:
        """Every batch that this cycle does without, and why."""
        told = {entry.batch for entry in self.set_aside}
        more = [left_out_entry(number, error) for number, error in sorted(self.damaged.items()) if number not in told]
        return (*self.set_aside, *more)


def left_out_entry(number: int, error: Damaged) -> BatchSetAside:
    code = "batch_damaged" if error.what == f"batch {number}" else "scores_damaged"
    return BatchSetAside(code=code, batch=number, cause=str(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Who follows a cycle: called as it goes on, never asked."""

    progress: Progress = silent
    on_start: Callable[[int], None] | None = None  # with the cycle's id as soon as it has one
    on_close: OnClose | None = None  # more to write in the transaction by which the cycle counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How a cycle was asked for; `run_cycle` says what each means."""

    cause: str
    now: datetime
    by: str | None
    force: bool
    watcher: Watcher


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A cycle under way: it has an audit row, and holds the lease."""

    ws: Workspace
    project: ProjectInfo
    found: Found
    cycle_id: int
    lease: str  # the token by which it is held
    asked: Asked
    progress: Told
    started: float  # on the performance counter
