"""Records passed between the steps of a cycle: the request, the new evidence, and the running cycle."""

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


def no_progress(share: float, text: str) -> None:
    """Progress without an observer."""


class StepProgress:
    """Reports progress and remembers the current step, which a failure's message names."""

    def __init__(self, report: Progress) -> None:
        self._report = report
        self.step = "Starting"

    def __call__(self, share: float, text: str) -> None:
        self.step = text
        self._report(share, text)


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Newly labelled rows of one batch, with the predictions made before their labels were known."""

    batch: Batch
    frame: pd.DataFrame
    y: np.ndarray
    scores: history.Scores | None  # rows aligned with `frame`
    keys: pd.Index  # row keys of the learner
    weights: np.ndarray | None  # rows that each represents, where they were sampled for labelling; None = equal weights


@dataclass(frozen=True, slots=True)
class NewEvidence:
    """What is new since the last finished cycle."""

    reader: history.History  # of all stored rows, with the labels at the start of the cycle; the only reader it uses
    batches: list[Batch]  # new ones, oldest first, without backfills
    labelled: list[LabelledRows]  # newly labelled rows, in stream order
    batch_watermark: int
    label_watermark: int
    news: int
    set_aside: tuple[BatchSetAside, ...] = ()  # new batches that could not be scored or read
    damaged: dict[int, Damaged] = field(default_factory=dict)  # by batch number: other batches that are left out
    serves: int | None = None  # the champion, also where its artefact is damaged and the cycle runs without one
    notes: list[str] = field(default_factory=list)  # sentences on what was lost, for the audit row

    def left_out(self) -> tuple[BatchSetAside, ...]:
        """Every batch that this cycle leaves out, and why."""
        listed = {entry.batch for entry in self.set_aside}
        more = [left_out_entry(number, error) for number, error in sorted(self.damaged.items()) if number not in listed]
        return (*self.set_aside, *more)


def left_out_entry(number: int, error: Damaged) -> BatchSetAside:
    code = "batch_damaged" if error.what == f"batch {number}" else "scores_damaged"
    return BatchSetAside(code=code, batch=number, cause=str(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Callbacks that follow a cycle; they never influence it."""

    progress: Progress = no_progress
    on_start: Callable[[int], None] | None = None  # called with the cycle's id once it exists
    on_close: OnClose | None = None  # further writes in the closing transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleRequest:
    """The arguments of `run_cycle`, where they are documented."""

    cause: str
    now: datetime
    by: str | None
    force: bool
    watcher: Watcher


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleRun:
    """A running cycle: it has an audit row and holds the lease."""

    ws: Workspace
    project: ProjectInfo
    evidence: NewEvidence
    cycle_id: int
    lease: str  # its owner token
    request: CycleRequest
    progress: StepProgress
    started: float  # by time.perf_counter
