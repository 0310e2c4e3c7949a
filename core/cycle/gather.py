"""What is new since the last finished cycle: batches, labels that came late, and the groups of rows that they make.

Files that are missing or damaged are left out here, and told. What is calculated from the rows is another module's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from loguru import logger
from sqlalchemy import update

from core.cycle.answers import score_batch
from core.cycle.failing import cause_of
from core.cycle.records import Found, Group, left_out_entry
from core.errors import Damaged, StorageError
from core.records import ROW_ID, BatchSetAside, ProjectInfo
from core.services.ingestion import label_queue
from core.storage import history, queries, registry
from core.storage.tables import Batch
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np


def gather(ws: Workspace, project_id: int) -> tuple[ProjectInfo, Found | None]:
    """New batches (scored by the champion where they are not yet) and newly labelled rows."""
    with ws.database.read() as session:
        row = queries.project_row(session, project_id)
        project = queries.project_info(session, row)
        after_batch, after_label, news = row.batch_watermark, row.label_watermark, row.news
        newest_label = queries.newest_label_id(session, project_id)
    if project.schema is None:
        return project, None
    serves, notes = project.champion, list[str]()
    project = _without_damaged(ws, project, notes)
    assert project.schema is not None
    reader = history.History(ws, project_id, project.schema)
    new = [b for b in reader.batches[::-1] if (b.id > after_batch or b.pending) and not b.backfill]
    set_aside = _score_new(ws, project, reader, new)
    new = [b for b in new if not history.is_set_aside(b)]
    late_at: dict[int, list[int]] = {}
    if newest_label > after_label:
        late_at = _late_rows(ws, project, reader, after_label, {b.id for b in new})
    groups = _groups(ws, project, reader, new, late_at)
    unread = [b for b in new if (e := reader.damaged.get(b.number)) is not None and e.what == f"batch {b.number}"]
    set_aside += [left_out_entry(b.number, reader.damaged[b.number]) for b in unread if not b.pending]
    _await(ws, unread)
    watermark = max([after_batch, *(b.id for b in reader.batches)])
    found = Found(
        reader=reader,
        batches=[b for b in new if b not in unread],
        groups=groups,
        batch_watermark=watermark,
        label_watermark=newest_label,
        news=news,
        set_aside=tuple(set_aside),
        damaged=reader.damaged,
        serves=serves,
        notes=notes,
    )
    return project, found


def _score_new(
    ws: Workspace, project: ProjectInfo, reader: history.History, new: Sequence[Batch]
) -> list[BatchSetAside]:
    """Have the champion score the new batches; those that it cannot answer are returned."""
    set_aside: list[BatchSetAside] = []
    if project.champion is None:
        return set_aside
    for batch in [b for b in new if b.scores_path is None]:
        try:
            error = score_batch(ws, project, reader, batch)
        except Damaged as damage:
            if damage.what != f"batch {batch.number}":
                raise
            reader.note(batch, damage)
            continue
        if error is not None:
            set_aside.append(BatchSetAside(code="batch_not_scored", batch=batch.number, cause=cause_of(error)))
    return set_aside


def _groups(
    ws: Workspace, project: ProjectInfo, reader: history.History, new: Sequence[Batch], late_at: dict[int, list[int]]
) -> list[Group]:
    """The newly labelled rows, batch by batch in stream order.

    Args:
        late_at: by an earlier batch's id, the positions of its rows whose label came since.
    """
    import numpy as np

    assert project.schema is not None
    groups: list[Group] = []
    for batch in [b for b in reader.batches[::-1] if not history.is_set_aside(b)]:
        is_new = batch in new
        if not is_new and batch.id not in late_at:
            continue
        read = reader.frame_or_none(batch)
        if read is None:
            continue
        frame, y = read
        mask = history.is_labelled(y, project.schema.task)
        if not is_new:
            mask &= frame.index.isin(late_at[batch.id])
        if mask.any():
            scores = reader.scores(batch)
            groups.append(
                Group(
                    batch=batch,
                    frame=frame[mask].reset_index(drop=True),
                    y=y[mask],
                    scores=_rows_of(scores, mask) if scores else None,
                    keys=history.keys_of(batch, np.flatnonzero(mask)),
                    weights=_desk_weights(ws, project.id, frame[ROW_ID][mask].tolist()),
                )
            )
    return groups


def _without_damaged(ws: Workspace, project: ProjectInfo, notes: list[str]) -> ProjectInfo:
    """The project as if it had no champion, or no shadow, where the artefact of one is missing or damaged."""
    for role, version in (("champion", project.champion), ("shadow", project.shadow)):
        if version is None:
            continue
        try:
            registry.check_artefact(ws, project.id, version)
        except Damaged as error:
            logger.warning("{error}", error=str(error))
            if role == "champion":
                notes.append(f"{error} This check goes on as if there were no champion.")
                project = dataclasses.replace(project, champion=None)
            else:
                notes.append(f"{error} The shadow has ended.")
                project = dataclasses.replace(project, shadow=None)
    return project


def _await(ws: Workspace, batches: Sequence[Batch]) -> None:
    """New batches that cannot be read: they wait for a cycle that finds them restored.

    Raises:
        StorageError: the folder of the batches is empty or not there at all, so nothing is known of any file in it.
    """
    root = ws.batches.root
    if batches and not (root.is_dir() and any(root.iterdir())):
        raise StorageError(
            f"The folder of the stored rows ({root.name}) is empty or not there. See that DATA_URL is right and that its disk "
            "is mounted; nothing was changed."
        )
    fresh = [b.id for b in batches if not b.pending]
    if fresh:
        with ws.database.write() as session:
            session.execute(update(Batch).where(Batch.id.in_(fresh)).values(pending=True))


def _desk_weights(ws: Workspace, project_id: int, row_ids: list[str]) -> np.ndarray | None:
    """What each row stands for where the label desk asked for some of them; None where it asked for none."""
    import numpy as np

    with ws.database.read() as session:
        told = label_queue.weights_of(session, project_id, row_ids)
    return np.array([told.get(row_id, 1.0) for row_id in row_ids]) if told else None


def _late_rows(
    ws: Workspace, project: ProjectInfo, reader: history.History, after_label: int, new: set[int]
) -> dict[int, list[int]]:
    """Positions of rows in earlier batches whose first label came since; replaced labels are no new evidence."""
    assert project.schema is not None
    with ws.database.read() as session:
        came = queries.labels_by_row(session, project.id, after=after_label)
        earlier = queries.first_labels(session, project.id, list(came))
    fresh = {row_id for row_id in came if earlier[row_id] > after_label}
    places: dict[int, list[int]] = {}
    for batch_id, at in reader.find(fresh).items():
        if batch_id in new:
            continue
        batch = next(b for b in reader.batches if b.id == batch_id)
        if history.is_set_aside(batch):
            continue
        try:
            embedded = history.is_labelled(reader.own_labels(batch), project.schema.task)
        except Damaged as error:
            reader.note(batch, error)
            continue
        unlabelled = [i for i in at if not embedded[i]]
        if unlabelled:
            places[batch_id] = unlabelled
    return places


def _rows_of(scores: history.Scores, mask: np.ndarray) -> history.Scores:
    probabilities = scores.probabilities[mask] if scores.probabilities is not None else None
    return history.Scores(
        labels=scores.labels[mask], probabilities=probabilities, classes=scores.classes, versions=scores.versions[mask]
    )
