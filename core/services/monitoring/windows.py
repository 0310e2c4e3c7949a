"""Windows of a project's stored rows: the champion's training rows, the newest rows, and the profiles of every batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.drift import budget as budgets
from core.drift import profile as profiles
from core.drift.budget import Gates, budget_gates
from core.drift.history import DriftTrend, drift_trends
from core.drift.profile import Profile
from core.drift.rules import DriftRules
from core.drift.univariate import measure_drift
from core.errors import StorageError
from core.records import ROW_TIME, DriftReport, ProjectInfo, Window
from core.storage import history, queries
from core.storage.tables import Batch, Cycle, ModelEvent, ModelRow
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

WINDOW_ROWS = 5_000  # rows of a reference or current window that are read
ENOUGH_PREDICTIONS = 1_000  # to rows that a version has not learnt from: no older version is asked then
MIN_PREDICTIONS = 200  # fewer are not enough for a reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Consecutive stored rows."""

    frame: pd.DataFrame  # ids, times and features
    y: np.ndarray  # labels as known now
    window: Window


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchProfile:
    """A stored batch and its profile."""

    id: int
    number: int
    at: datetime  # of its newest row
    rows: int
    profile: Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftHistory:
    """Drift of every feature over the stored batches."""

    batches: tuple[BatchProfile, ...]
    trends: tuple[DriftTrend, ...]
    reference: Window
    gates: dict[str, float]  # by feature, where the false-alarm budget raised it


def learnt_from(session: Session, project_id: int, version: int | None) -> set[int]:
    """Ids of the training batches of a model version."""
    if version is None:
        return set()
    batch_ids = session.scalar(
        select(ModelRow.batch_ids).where(ModelRow.project_id == project_id, ModelRow.version == version)
    )
    return set(batch_ids or ())


def rows_of(
    reader: history.History, batch_ids: set[int], *, name: str, description: str, n: int = WINDOW_ROWS
) -> Rows | None:
    """The newest n rows of some batches in stream order; None when there are none.

    Args:
        description: with `{n}` for the number of rows found.
    """
    import numpy as np
    import pandas as pd

    frames: list[pd.DataFrame] = []
    labels: list[np.ndarray] = []
    n_rows = 0
    for batch in reader.measured:
        if batch.id in batch_ids and n_rows < n:
            read = reader.frame_or_none(batch, last=n - n_rows)
            if read is None:
                continue
            frame, y = read
            frames.append(frame)
            labels.append(y)
            n_rows += len(frame)
    if not frames:
        return None
    frame = pd.concat(frames[::-1], ignore_index=True)
    times = frame[ROW_TIME]
    return Rows(
        frame=frame,
        y=np.concatenate(labels[::-1]),
        window=Window(
            name=name,
            n_rows=len(frame),
            first_at=times.min().to_pydatetime(),
            last_at=times.max().to_pydatetime(),
            description=description.format(n=f"{len(frame):,}"),
        ),
    )


def reference_and_current(
    ws: Workspace, project: ProjectInfo, *, current_ids: set[int] | None = None, reader: history.History | None = None
) -> tuple[Rows, Rows] | None:
    """The champion's training rows and the new rows; None without a champion or without rows.

    The reference is the newest rows that the champion learnt from, so it moves by itself with each promotion. Current are
    the rows of the given batches, by default those of the newest check.
    """
    if project.schema is None or project.champion is None:
        return None
    reader = reader or history.History(ws, project.id, project.schema)
    with ws.database.read() as session:
        learnt = learnt_from(session, project.id, project.champion)
        checked = session.scalar(
            select(Cycle.batch_ids)
            .where(Cycle.project_id == project.id, Cycle.batch_ids.is_not(None), Cycle.evidence.is_not(None))
            .order_by(Cycle.id.desc())
            .limit(1)
        )
    if current_ids is None:
        newest = {reader.measured[0].id} if reader.measured else set()
        current_ids = {b.id for b in reader.measured} & set(checked or ()) or newest
    reference = rows_of(
        reader,
        learnt - current_ids or learnt,
        name="reference",
        description=f"the newest {{n}} of the training rows of v{project.champion}",
    )
    current = rows_of(reader, current_ids, name="current", description="the newest {n} rows")
    return None if reference is None or current is None else (reference, current)


def unseen_rows_by_version(
    ws: Workspace, project: ProjectInfo, current_ids: set[int], reader: history.History
) -> Iterator[tuple[int, Rows]]:
    """Versions to ask, best first, each with rows before the current ones that it has not learnt from.

    Those with ENOUGH_PREDICTIONS rows come first, the champion before former champions from the last to the first; then the
    others with at least MIN_PREDICTIONS, most rows first. Of the champion they are the first rows that it served, so that a slow
    drift shows; of a former champion, whose place another took since, the newest.
    """
    entries = []
    for version, batches in _rows_after(ws, project, current_ids, reader):
        n = min(sum(b.rows for b in batches), WINDOW_ROWS)
        entries.append((n, version, batches))
    enough = [entry for entry in entries if entry[0] >= ENOUGH_PREDICTIONS]
    fewer = [entry for entry in entries if MIN_PREDICTIONS <= entry[0] < ENOUGH_PREDICTIONS]
    for _, version, batches in enough + sorted(fewer, key=lambda entry: -entry[0]):
        is_champion = version == project.champion
        if is_champion:  # whole batches: the first that hold so many rows
            ends = [sum(b.rows for b in batches[:i]) for i in range(len(batches))]
            batches = [b for b, before in zip(batches, ends, strict=True) if before < WINDOW_ROWS]
        rows = rows_of(reader, {b.id for b in batches}, name="reference", description="{n} rows")
        if rows is not None and len(rows.frame) >= MIN_PREDICTIONS:  # a batch may be damaged
            yield version, rows


def _rows_after(
    ws: Workspace, project: ProjectInfo, current_ids: set[int], reader: history.History
) -> Iterator[tuple[int, list[Batch]]]:
    """The champion and former ones, the last first, with the batches that are newer than all they learnt from, oldest first.

    What an import learnt from is not known: older rows may be among it.
    """
    with ws.database.read() as session:
        served = session.scalars(
            select(ModelEvent.version).where(ModelEvent.project_id == project.id).order_by(ModelEvent.id.desc())
        ).all()
        stored = select(ModelRow.version, ModelRow.batch_ids, ModelRow.created_at).where(
            ModelRow.project_id == project.id, ModelRow.removed_at.is_(None)
        )
        known = {row.version: row for row in session.execute(stored)}
    for version in dict.fromkeys([project.champion, *served]):
        row = known.get(version)
        if row is None or current_ids & set(row.batch_ids or ()):
            continue
        last = max(row.batch_ids or (), default=None)
        yield (
            row.version,
            [
                b
                for b in reader.measured[::-1]
                if b.id not in current_ids
                and not b.backfill
                and (b.id > last if last is not None else b.created_at > row.created_at)
            ],
        )


def gates_of(ws: Workspace, project: ProjectInfo, reference: Rows, current_rows: int) -> Gates:
    """Gates by feature that the policy's false-alarm budget asks for; empty without a budget or too short a reference."""
    budget = project.policy.false_alarms_per_month
    if budget <= 0 or project.schema is None:
        return Gates()
    return budget_gates(
        reference.frame,
        project.schema,
        current_rows=current_rows,
        checks_per_month=checks_per_month(ws, project.id),
        alarms_per_month=budget,
        gate=project.policy.drift_gate,
    )


def checks_per_month(ws: Workspace, project_id: int) -> float:
    """How many batches come in thirty days of the rows' own time, by the newest hundred; at least one."""
    with ws.database.read() as session:
        ends = session.scalars(
            select(Batch.last_at)
            .where(Batch.project_id == project_id, Batch.undone_at.is_(None), Batch.backfill.is_(False))
            .order_by(Batch.id.desc())
            .limit(budgets.NEWEST)
        ).all()
    return budgets.checks_per_month(ends)


# --- profiles -----------------------------------------------------------------------------------------------------


def batch_profiles(ws: Workspace, project: ProjectInfo, *, limit: int = 1_000) -> list[BatchProfile]:
    """The newest batches that count with their profiles, in stream order.

    A profile that an earlier version wrote, or none, is made from the stored rows and kept.
    """
    if project.schema is None:
        return []
    with ws.database.read() as session:
        rows = session.execute(
            select(Batch.id, Batch.number, Batch.backfill, Batch.last_at, Batch.rows, Batch.profile)
            .where(Batch.project_id == project.id, Batch.undone_at.is_(None))
            .order_by(Batch.id.desc())
            .limit(limit)
        ).all()
    summaries = []
    for row in queries.in_stream_order(rows):
        try:
            summary = profiles.from_bytes(row.profile or b"")
        except StorageError:
            summary = profiled(ws, project, row.id)
        summaries.append(BatchProfile(id=row.id, number=row.number, at=row.last_at, rows=row.rows, profile=summary))
    return summaries


def profiled(ws: Workspace, project: ProjectInfo, batch_id: int) -> Profile:
    """The profile of a stored batch that has none yet, kept from now on."""
    assert project.schema is not None
    with ws.database.read() as session:
        batch = session.get_one(Batch, batch_id)
    summary = profiles.profile(history.read_rows(ws, batch, list(project.schema.names)), project.schema)
    with ws.database.write() as session:
        session.execute(update(Batch).where(Batch.id == batch_id).values(profile=profiles.to_bytes(summary)))
    return summary


def drift_history(ws: Workspace, project: ProjectInfo, *, limit: int = 1_000) -> DriftHistory | None:
    """Every feature over the newest batches, against what the champion learnt from and against the batch before.

    None without a champion. Nothing but profiles is read, unless a false-alarm budget asks for the reference rows.
    """
    if project.schema is None or project.champion is None:
        return None
    batches = batch_profiles(ws, project, limit=limit)
    base = champion_batches(ws, project, batches)
    if not base:
        return None
    reference = profiles.merge(b.profile for b in base)
    last = max(b.id for b in base)
    first_after = next((i + 1 for i, b in enumerate(batches) if b.id == last), len(batches))
    gates: dict[str, float] = {}
    if project.policy.false_alarms_per_month > 0:
        reader = history.History(ws, project.id, project.schema)
        rows = rows_of(reader, {b.id for b in base}, name="reference", description="")
        sizes = sorted(b.rows for b in batches[-20:])
        gates = gates_of(ws, project, rows, sizes[len(sizes) // 2]).values if rows is not None else {}
    return DriftHistory(
        batches=tuple(batches),
        trends=tuple(
            drift_trends(
                [b.profile for b in batches], reference, project.schema, alpha=project.policy.drift_alpha,
                gate=project.policy.drift_gate, gates=gates, first=first_after,
            )
        ),
        reference=Window(
            name="reference", n_rows=reference.rows, last_at=base[-1].at,
            description=f"the newest {reference.rows:,} of the training rows of v{project.champion}",
        ),
        gates=gates,
    )  # fmt: skip


def champion_batches(ws: Workspace, project: ProjectInfo, batches: Sequence[BatchProfile]) -> list[BatchProfile]:
    """Of the given batches the newest that the champion learnt from, about WINDOW_ROWS rows."""
    with ws.database.read() as session:
        learnt = learnt_from(session, project.id, project.champion)
    return _newest([b for b in batches if b.id in learnt], WINDOW_ROWS)


def frame_of(ws: Workspace, project: ProjectInfo, batch_ids: set[int]) -> pd.DataFrame | None:
    """The newest rows of some batches; None when there are none."""
    if project.schema is None:
        return None
    rows = rows_of(history.History(ws, project.id, project.schema), batch_ids, name="rows", description="")
    return rows.frame if rows is not None else None


def _newest(batches: Sequence[BatchProfile], n: int) -> list[BatchProfile]:
    """The newest batches that hold at least n rows together, in order."""
    newest: list[BatchProfile] = []
    for batch in reversed(batches):
        if sum(b.rows for b in newest) >= n:
            break
        newest.append(batch)
    return newest[::-1]


def drift_between(
    project: ProjectInfo, reference: Sequence[BatchProfile], current: Sequence[BatchProfile]
) -> DriftReport | None:
    """Drift between any two sets of batches from their profiles; None when one of them is empty."""
    if project.schema is None or not reference or not current:
        return None
    sides = [profiles.merge(b.profile for b in side) for side in (reference, current)]
    both = [
        Window(
            name=name,
            n_rows=merged.rows,
            last_at=side[-1].at,
            description=_described(side, merged.rows),
        )
        for name, side, merged in zip(("reference", "current"), (reference, current), sides, strict=True)
    ]
    return measure_drift(
        sides[0],
        sides[1],
        project.schema,
        windows=(both[0], both[1]),
        rules=DriftRules(alpha=project.policy.drift_alpha, gate=project.policy.drift_gate),
    )


def _described(side: Sequence[BatchProfile], rows: int) -> str:
    if len(side) == 1:
        return f"batch {side[0].number} ({rows:,} rows)"
    return f"batches {side[0].number} to {side[-1].number} ({rows:,} rows)"
