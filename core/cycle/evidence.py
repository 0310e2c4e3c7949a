"""New evidence since the last finished cycle: new batches, late labels, and the newly labelled rows.

Missing or damaged files are left out here, and reported. Out of scope: anything computed from the rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from loguru import logger
from sqlalchemy import update

from core.cycle.failing import cause_of
from core.cycle.predictions import score_batch
from core.cycle.records import LabelledRows, NewEvidence, left_out_entry
from core.errors import Damaged, StorageError
from core.records import ROW_ID, BatchSetAside, ProjectInfo
from core.services.ingestion import label_queue
from core.storage import history, queries, registry
from core.storage.tables import Batch
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np


def collect_evidence(ws: Workspace, project_id: int) -> tuple[ProjectInfo, NewEvidence | None]:
    """The project and its new evidence: new batches, predicted by the champion if not yet done, and newly labelled rows."""
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
    labelled = _labelled_rows(ws, project, reader, new, late_at)
    unread = [b for b in new if (e := reader.damaged.get(b.number)) is not None and e.what == f"batch {b.number}"]
    set_aside += [left_out_entry(b.number, reader.damaged[b.number]) for b in unread if not b.pending]
    _defer(ws, unread)
    watermark = max([after_batch, *(b.id for b in reader.batches)])
    evidence = NewEvidence(
        reader=reader,
        batches=[b for b in new if b not in unread],
        labelled=labelled,
        batch_watermark=watermark,
        label_watermark=newest_label,
        news=news,
        set_aside=tuple(set_aside),
        damaged=reader.damaged,
        serves=serves,
        notes=notes,
    )
    return project, evidence


def _score_new(
    ws: Workspace, project: ProjectInfo, reader: history.History, new: Sequence[Batch]
) -> list[BatchSetAside]:
    """Has the champion predict the new batches; returns those that it cannot predict."""
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


def _labelled_rows(
    ws: Workspace, project: ProjectInfo, reader: history.History, new: Sequence[Batch], late_at: dict[int, list[int]]
) -> list[LabelledRows]:
    """The newly labelled rows, batch by batch in stream order.

    Args:
        late_at: earlier batch's id -> positions of its rows whose label arrived since.
    """
    import numpy as np

    assert project.schema is not None
    labelled: list[LabelledRows] = []
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
            labelled.append(
                LabelledRows(
                    batch=batch,
                    frame=frame[mask].reset_index(drop=True),
                    y=y[mask],
                    scores=_rows_of(scores, mask) if scores else None,
                    keys=history.keys_of(batch, np.flatnonzero(mask)),
                    weights=_sampling_weights(ws, project.id, frame[ROW_ID][mask].tolist()),
                )
            )
    return labelled


def _without_damaged(ws: Workspace, project: ProjectInfo, notes: list[str]) -> ProjectInfo:
    """The project without its champion, or its shadow, where that artefact is missing or damaged."""
    for role, version in (("champion", project.champion), ("shadow", project.shadow)):
        if version is None:
            continue
        try:
            registry.check_artefact(ws, project.id, version)
        except Damaged as error:
            logger.warning("{error}", error=str(error))
            if role == "champion":
                notes.append(f"{error} This check continues without a champion.")
                project = dataclasses.replace(project, champion=None)
            else:
                notes.append(f"{error} The shadow has ended.")
                project = dataclasses.replace(project, shadow=None)
    return project


def _defer(ws: Workspace, batches: Sequence[Batch]) -> None:
    """Marks new batches that cannot be read as pending, for a cycle after they are restored.

    Raises:
        StorageError: the folder of the batches is empty or not there at all, so that no file in it can be checked.
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


def _sampling_weights(ws: Workspace, project_id: int, row_ids: list[str]) -> np.ndarray | None:
    """Weight of each row where some of them were sampled for labelling; None otherwise."""
    import numpy as np

    with ws.database.read() as session:
        weights = label_queue.sampling_weights(session, project_id, row_ids)
    return np.array([weights.get(row_id, 1.0) for row_id in row_ids]) if weights else None


def _late_rows(
    ws: Workspace, project: ProjectInfo, reader: history.History, after_label: int, new: set[int]
) -> dict[int, list[int]]:
    """Positions of rows in earlier batches whose first label arrived since; replaced labels are not new evidence."""
    assert project.schema is not None
    with ws.database.read() as session:
        arrived = queries.labels_by_row(session, project.id, after=after_label)
        earlier = queries.first_labels(session, project.id, list(arrived))
    fresh = {row_id for row_id in arrived if earlier[row_id] > after_label}
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
