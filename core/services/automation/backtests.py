"""What would another policy have done with this project's history? Replayed in memory and reported; nothing is stored.

The history is divided into its actual turns: the rows and labels that each finished cycle found. The same policy makes the
same decisions as the live cycles did; manual promotions in between are not repeated.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from core.errors import BadInput, NotEnoughRows
from core.records import (
    Evidence,
    FeatureSchema,
    JsonObject,
    Policy,
    ProjectInfo,
    Score,
    from_document,
    metric_for,
    to_document,
)
from core.services.ingestion import label_queue
from core.storage import history, queries
from core.storage.tables import Batch, Cycle, Label
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from core.learning.backtest import ReplayReport, Turn

NEVER = "never"
Progress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A project's rows in stream order, and the turns in which they and their labels arrived."""

    X: pd.DataFrame
    y: np.ndarray
    turns: list[Turn]  # the first model is trained on the first one


def compare_policies(
    ws: Workspace,
    project: ProjectInfo,
    policies: Sequence[Policy],
    *,
    since: datetime | None = None,
    progress: Progress | None = None,
) -> JsonObject:
    """Compare several policies over the stored history, with never retraining as the baseline.

    Args:
        since: earlier rows train the first model and are not scored; None = all but the first cycle.

    Returns:
        {"metric", "from", "to", "rows", "turns", "policies": [one document per policy]} as plain JSON values.

    Raises:
        BadInput: no data yet, or two policies of one name.
        NotEnoughRows: no turn is left to score.
    """
    from core.learning.backtest import replay_turns
    from core.learning.policy import policy_named

    if project.schema is None:
        raise BadInput(f"Project '{project.slug}' has no data yet. Store labelled rows first.")
    wanted = [*policies] if any(p.name == NEVER for p in policies) else [*policies, policy_named(NEVER)]
    if len({p.name for p in wanted}) < len(wanted):
        raise BadInput("Two of the policies have the same name, expected different names. Rename one.")
    report_progress = progress or (lambda share, text: None)
    report_progress(0.0, "Reading the stored rows")
    stored = stored_turns(ws, project, since=since)
    metric = metric_for(project.policy, project.schema.task)
    results = []
    for i, policy in enumerate(wanted):
        measured = dataclasses.replace(policy, metric=project.policy.metric)
        began = time.perf_counter()
        report = replay_turns(
            stored.X,
            stored.y,
            project.schema,
            measured,
            stored.turns,
            metric=metric,
            progress=lambda share, text, i=i, name=policy.name: report_progress(
                (i + share) / len(wanted), f"{name}: {text}"
            ),  # type: ignore[misc]
        )
        results.append(_document(policy, report, metric, time.perf_counter() - began))
    return {
        "metric": metric,
        "from": to_document(stored.turns[1].at),
        "to": to_document(stored.turns[-1].at),
        "rows": int(sum(len(turn.arrived) for turn in stored.turns[1:])),
        "turns": len(stored.turns) - 1,
        "policies": results,
    }


def _document(policy: Policy, report: ReplayReport, metric: str, seconds: float) -> JsonObject:
    turns = [
        {
            name: turn_document[name]
            for name in ("at", "rows", "decision", "fired", "outcome", "fits", metric)
            if name in turn_document
        }
        for turn_document in (turn.to_document() for turn in report.per_batch)
    ]
    return to_document(
        {
            "name": policy.name,
            "scores": report.scores,
            "score": report.scores.get(metric),
            "rows_scored": report.rows_scored,
            "races": sum(turn.decision == "retrain" for turn in report.per_batch),
            "alerts": sum(turn.decision == "alert" for turn in report.per_batch),
            "fits": report.fits,
            "promotions": report.promotions,
            "refreshes": report.refreshes,
            "rollbacks": report.rollbacks,
            "seconds": round(seconds, 2),
            "turns": turns,
        }
    )


# --- the history as turns ---------------------------------------------------------------------------------------


def stored_turns(ws: Workspace, project: ProjectInfo, *, since: datetime | None = None) -> Stored:
    """The project's rows and the turns in which its finished cycles found them.

    Raises:
        NotEnoughRows: fewer than two turns.
    """
    import numpy as np

    assert project.schema is not None
    reader = history.History(ws, project.id, project.schema)
    with ws.database.read() as session:
        cycles = list(
            session.scalars(
                select(Cycle)
                .where(Cycle.project_id == project.id, Cycle.status == "done", Cycle.evidence.is_not(None))
                .order_by(Cycle.id)
            )
        )
        first_labels = _first_labels(ws, reader, project.id)
        watermarks = [_watermark(session, project.id, cycle) for cycle in cycles]
        chosen = label_queue.sampling_weights(session, project.id, list(first_labels))
        undone = _undone_since(session, project.id, cycles)
    rows = _Rows(reader, project.schema, first_labels, chosen, undone)
    turns = [rows.turn(cycle, watermark) for cycle, watermark in zip(cycles, watermarks, strict=True)]
    if since is not None:
        before = [turn for turn, cycle in zip(turns, cycles, strict=True) if cycle.started_at < since]
        turns = [*_merged(before), *turns[len(before) :]]
    if len(turns) < 2:
        raise NotEnoughRows("A backtest over the stored history", needed=2, found=len(turns))
    return Stored(X=rows.X, y=np.asarray(rows.y.tolist()) if not rows.gaps else rows.y, turns=turns)


def _watermark(session: Any, project_id: int, cycle: Cycle) -> int:
    """The newest label that a cycle had read; derived from the time for cycles of versions that did not store it."""
    if cycle.label_watermark is not None:
        return cycle.label_watermark
    newest = select(func.max(Label.id)).where(Label.project_id == project_id, Label.created_at <= cycle.started_at)
    return session.scalar(newest) or 0


def _undone_since(session: Any, project_id: int, cycles: Sequence[Cycle]) -> list[Batch]:
    """Batches that counted when a cycle ran but no longer do; the others were never seen by any cycle."""
    statement = select(Batch).where(Batch.project_id == project_id, Batch.undone_at.is_not(None))
    named = {batch_id for cycle in cycles for batch_id in cycle.batch_ids or ()}
    return [
        batch
        for batch in session.scalars(statement)
        if not history.is_set_aside(batch)
        if batch.id in named or (batch.backfill and any(_is_there(batch, cycle.started_at) for cycle in cycles))
    ]


def _is_there(batch: Batch, at: datetime) -> bool:
    return batch.created_at <= at and (batch.undone_at is None or batch.undone_at > at)


def _first_labels(ws: Workspace, reader: history.History, project_id: int) -> dict[str, int]:
    """Row id -> id of the first label that arrived for it."""
    if not reader.has_late_labels:
        return {}
    with ws.database.read() as session:
        labels = queries.labels_by_row(session, project_id)
        return queries.first_labels(session, project_id, list(labels))


class _Rows:
    """All stored rows in stream order, and when each became known."""

    def __init__(
        self,
        reader: history.History,
        schema: FeatureSchema,
        first_labels: dict[str, int],
        chosen: dict[str, float],
        undone: Sequence[Batch] = (),
    ) -> None:
        import numpy as np
        import pandas as pd

        from core.records import ROW_ID

        self.batches = queries.in_stream_order([*reader.measured, *undone])
        frames, labels, late, weights = [], [], [], []
        self.place: dict[int, np.ndarray] = {}
        start = 0
        for batch in [*self.batches]:
            read = reader.frame_or_none(batch) if batch.undone_at is not None else reader.frame(batch)
            if read is None:  # undone, perhaps because its file was damaged: replayed as if it had never existed
                self.batches.remove(batch)
                continue
            frame, y = read
            ids = frame[ROW_ID]
            frames.append(frame[list(schema.names)])
            labels.append(y)
            label_ids = np.array([first_labels.get(row_id, 0) for row_id in ids], dtype=np.int64)
            if label_ids.any():
                embedded = history.is_labelled(reader.own_labels(batch), schema.task)
                label_ids[embedded] = 0  # it was stored with its row
            weights.append(np.array([chosen.get(row_id, 0.0) for row_id in ids]))
            late.append(np.where(history.is_labelled(y, schema.task), label_ids, -1))
            self.place[batch.id] = np.arange(start, start + len(frame))
            start += len(frame)
        self.X = pd.concat(frames, ignore_index=True)
        self.y = np.concatenate(labels)
        self.weights = np.concatenate(weights)  # of rows that the labelling queue requested; 0 = not requested
        self.late = np.concatenate(late)  # id of the label that made it known; 0 = stored with the row, -1 = never
        self.gaps = bool((self.late < 0).any())
        self.seen: set[int] = set()  # batches that earlier cycles had found
        self.gone: set[int] = set()  # and those of them that have been undone since
        self.read_until = 0  # label id

    def turn(self, cycle: Cycle, watermark: int) -> Turn:
        """What one cycle found: new batches, newly labelled rows, and backfilled rows."""
        import numpy as np

        from core.drift import budget
        from core.learning.backtest import Turn

        named, at = set(cycle.batch_ids or ()), cycle.started_at
        new = [b for b in self.batches if b.id in named and b.id not in self.seen and not b.backfill]
        filled = [b for b in self.batches if b.backfill and b.id not in self.seen and _is_there(b, at)]
        gone = [b for b in self.batches if b.id in self.seen - self.gone and not _is_there(b, at)]
        self.gone |= {b.id for b in gone}
        arrived = self._places(new)
        known_before = np.concatenate([self._places([b for b in self.batches if b.id in self._counting()]), arrived])
        newly_labelled = (self.late > self.read_until) & (self.late <= watermark)
        with_row = np.zeros(len(self.late), dtype=bool)
        with_row[arrived] = (self.late[arrived] >= 0) & (self.late[arrived] <= watermark)
        old = np.zeros(len(self.late), dtype=bool)
        old[known_before] = True
        due = np.flatnonzero((newly_labelled & old) | with_row)
        there = self._places(filled)
        self.seen |= {b.id for b in [*new, *filled]}
        self.read_until = max(self.read_until, watermark)
        ends = [b.last_at for b in self.batches if b.id in self._counting() and not b.backfill][-budget.NEWEST :]
        evidence = from_document(Evidence, cycle.evidence or {})
        estimate = None
        if evidence.estimated is not None:
            estimate = Score(
                metric=evidence.metric, value=evidence.estimated, low=evidence.estimated_low, high=evidence.estimated_high
            )  # fmt: skip
        return Turn(
            arrived=arrived, due=due, known=there[(self.late[there] >= 0) & (self.late[there] <= watermark)],
            weights=np.maximum(self.weights[due], 1.0) if self.weights[due].any() else None,
            gone=tuple(self.place[b.id] for b in sorted(gone, key=lambda b: -b.id)),
            row=int(max(known_before, default=0)) + 1, seed=cycle.seed, at=cycle.started_at, forced=evidence.forced,
            checks_per_month=budget.checks_per_month(ends), estimate=estimate, estimate_trusted=evidence.estimate_trusted,
        )  # fmt: skip

    def _counting(self) -> set[int]:
        return self.seen - self.gone

    def _places(self, batches: Sequence[Batch]) -> np.ndarray:
        import numpy as np

        return np.concatenate([np.empty(0, dtype=np.int64), *(self.place[b.id] for b in batches)])


def _merged(turns: Sequence[Turn]) -> list[Turn]:
    """Several turns as one: the data of the first model."""
    import numpy as np

    if not turns:
        return []
    last = turns[-1]
    gone = np.concatenate([np.empty(0, dtype=np.int64), *(rows for turn in turns for rows in turn.gone)])

    def left(parts: Sequence[np.ndarray]) -> np.ndarray:
        rows = np.concatenate(parts)
        return rows[~np.isin(rows, gone)]

    return [
        dataclasses.replace(
            last,
            arrived=left([turn.arrived for turn in turns]),
            due=left([turn.due for turn in turns]),
            weights=None,
            known=left([turn.known for turn in turns]),
            gone=(),
            forced=True,
            estimate=None,
        )
    ]
