"""The learner between two cycles: cached, loaded, and updated by manual actions since.

Also its input rows: the fresh ones, and the window of rows that it may train on.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loguru import logger
from sqlalchemy import select

from core.cycle.failing import cause_of
from core.cycle.predictions import typed
from core.cycle.records import LabelledRows, NewEvidence, Window
from core.errors import Damaged
from core.records import ROW_ID, FeatureSchema, ProjectInfo
from core.services.monitoring import monitoring
from core.storage import history, learners, queries, registry
from core.storage.tables import Batch, Cycle
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from core.learning.state import LearnerState
    from core.learning.step import Labelled, Step

# The newest state of each project, for the lifetime of this process.
_learners: dict[tuple[Path, int], tuple[str, LearnerState]] = {}
_left_running = threading.Event()


def remember(ws: Workspace, project_id: int, path: str, step: Step) -> None:
    """Cache the learner as stored at `path`, and note a fit that may still be running."""
    _learners[ws.models_path, project_id] = (path, step.state)
    if step.unfinished:
        _left_running.set()


def drop_old(ws: Workspace, project_id: int, *, keep: str) -> None:
    """Remove earlier states; the cycle is committed already, and the next one retries what fails here."""
    try:
        learners.drop_old(ws, project_id, keep=keep)
    except (OSError, ValueError) as error:
        logger.warning("earlier states of the learner were not removed: {error}", error=cause_of(error))


def fits_left_running() -> bool:
    """Whether an abandoned fit may still be running in this process: a worker then ends, and a new one starts."""
    return _left_running.is_set()


def load_learner(ws: Workspace, project: ProjectInfo, labelled: int, notes: list[str]) -> LearnerState:
    """The learner as the last finished cycle left it, with the champion that serves now.

    One whose files are missing or damaged is reset and learns from the stored rows, and `notes` gets a sentence on it.
    """
    from core.learning.state import LearnerState

    with ws.database.read() as session:
        path = queries.project_row(session, project.id).learner_path
    held = _learners.get((ws.models_path, project.id))
    if path is None:
        state = LearnerState()
    elif held is not None and held[0] == path:
        state = held[1]
    else:
        try:
            state = learners.load(ws, path)
        except Damaged as error:
            logger.warning("{error}", error=str(error))
            state = LearnerState()
            notes.append(
                f"The learner was reset, because the file {error.file} {error.how}: rows and models are unchanged, but its record of "
                "earlier regimes and of its candidates' past scores is lost."
            )
    state = _without_undone(ws, project, state)
    if project.champion is None and state.champion is not None:  # its artefact is damaged
        state = dataclasses.replace(state, champion=None, champion_version=None, watch=None, labels_since_race=labelled)
    if project.champion is not None and state.champion_version != project.champion:  # promoted manually since
        state = state.serving(registry.load_model(ws, project.id, project.champion), project.champion)
    if project.shadow != project.champion and project.shadow != (
        state.shadow.version if state.shadow else None
    ):  # likewise
        model = registry.load_model(ws, project.id, project.shadow) if project.shadow is not None else None
        state = state.shadowing(model, project.shadow)
    return state


def _without_undone(ws: Workspace, project: ProjectInfo, state: LearnerState) -> LearnerState:
    """The learner without the rows of batches that were undone after it had counted them."""
    import numpy as np

    assert project.schema is not None
    with ws.database.read() as session:
        own = select(Batch).where(Batch.project_id == project.id, Batch.backfill.is_(False))
        gone = list(session.scalars(own.where(Batch.undone_at.is_not(None), Batch.id.not_in(state.undone))))
        if not gone or not state.seen:
            return state
        # A batch undone before a cycle started was never read by it.
        done = select(Cycle.batch_ids, Cycle.started_at).where(
            Cycle.project_id == project.id, Cycle.status == "done", Cycle.batch_ids.is_not(None)
        )
        counted = {batch_id for ids, _ in session.execute(done) for batch_id in ids}
        watermark = queries.project_row(session, project.id).label_watermark
    reader = history.History(ws, project.id, project.schema)
    was_there = [b for b in reader.measured if b.id in counted or b.backfill]
    for batch in sorted((b for b in gone if b.id in counted and not history.is_set_aside(b)), key=lambda b: -b.id):
        read = reader.frame_or_none(batch, features=())
        if read is not None:
            keys = history.keys_of(batch, np.flatnonzero(_labelled_by(ws, project, reader, batch, read, watermark)))
            after = queries.in_stream_order([batch, *was_there])
            behind = 0
            for later in after[after.index(batch) + 1 :]:
                rows = reader.frame_or_none(later, features=())
                behind += (
                    int(_labelled_by(ws, project, reader, later, rows, watermark).sum()) if rows is not None else 0
                )
            state = state.without(keys.tolist(), before=max(state.seen - behind - len(keys), 0))
        state = dataclasses.replace(state, undone=(*state.undone, batch.id))
    return state


def _labelled_by(
    ws: Workspace, project: ProjectInfo, reader: history.History, batch: Batch, read: tuple[Any, Any], watermark: int
) -> np.ndarray:
    """Mask of a batch's rows whose label arrived with the row, or by the label id `watermark`."""
    import numpy as np

    assert project.schema is not None
    frame, y = read
    known = history.is_labelled(y, project.schema.task)
    if not reader.has_late_labels:
        return known
    with ws.database.read() as session:
        first = queries.first_labels(session, project.id, frame[ROW_ID].tolist())
    own = history.is_labelled(reader.own_labels(batch), project.schema.task)
    arrived_late = np.array([0 < first.get(row_id, 0) <= watermark for row_id in frame[ROW_ID]], dtype=bool)
    return known & (own | arrived_late)


def fresh_rows(schema: FeatureSchema, groups: Sequence[LabelledRows], first_row: int, state: LearnerState) -> Labelled:
    """The newly labelled rows as the learner's input; rows that were not predicted in time have no prediction."""
    import numpy as np
    import pandas as pd

    from core.learning.step import Labelled

    names = list(schema.names)
    if not groups:
        nothing = np.empty(0, dtype=float if schema.task == "regression" else object)
        return Labelled(X=pd.DataFrame(columns=names), y=nothing, first_row=first_row)
    X = pd.concat([g.frame[names].set_axis(g.keys) for g in groups])
    y = typed(np.concatenate([g.y for g in groups]))
    stored = np.concatenate([g.scores.labels if g.scores is not None else np.full(len(g.y), None) for g in groups])
    answered = np.array([v is not None for v in stored], dtype=bool)
    y_pred = y_proba = None
    if answered.any():
        known = stored[answered]
        known = typed(known.astype(float) if schema.task == "regression" else known)
        y_pred = np.empty(len(y), dtype=known.dtype)
        y_pred[answered] = known
        y_proba = _stored_probabilities(groups, state) if schema.task != "regression" else None
    weights = None
    if any(g.weights is not None for g in groups):
        weights = np.concatenate([g.weights if g.weights is not None else np.ones(len(g.y)) for g in groups])
    mask = None if answered.all() else answered
    return Labelled(X=X, y=y, first_row=first_row, y_pred=y_pred, y_proba=y_proba, weights=weights, answered=mask)


def _stored_probabilities(groups: Sequence[LabelledRows], state: LearnerState) -> np.ndarray | None:
    """The stored probabilities by the champion's classes, 0 where there is no prediction; None where probabilities are missing."""
    import numpy as np

    if state.champion is None or any(g.scores is not None and g.scores.probabilities is None for g in groups):
        return None
    wanted = tuple(state.champion.classes_.tolist())
    return np.concatenate(
        [
            monitoring.align(g.scores, wanted) if g.scores is not None else np.zeros((len(g.y), len(wanted)))
            for g in groups
        ]
    )


def window_reader(ws: Workspace, project: ProjectInfo, evidence: NewEvidence) -> tuple[Window, Callable[[], list[int]]]:
    """`window(n)`: the newest n labelled rows by their keys, the fresh ones at the end; and the ids of the batches read for it."""
    import numpy as np
    import pandas as pd

    assert project.schema is not None
    names = list(project.schema.names)
    cap = project.policy.max_train_rows
    read: dict[str, Any] = {}

    def load() -> None:
        reader = evidence.reader
        table, y, used = reader.newest(cap, labelled=True, measured=True)
        for number, error in reader.damaged.items():
            evidence.damaged.setdefault(number, error)
        fresh_ids = [row_id for g in evidence.labelled for row_id in g.frame[ROW_ID]]
        if (
            fresh_ids and table[ROW_ID].tail(len(fresh_ids)).tolist() != fresh_ids
        ):  # late labels count as the newest rows
            old = ~table[ROW_ID].isin(set(fresh_ids)).to_numpy()
            table = pd.concat([table[old], *(g.frame.set_axis(g.keys) for g in evidence.labelled)])
            y = np.concatenate([y[old], *(g.y for g in evidence.labelled)])
        read.update(X=table[names], y=typed(y), used=used)

    def window(n: int | None) -> tuple[pd.DataFrame, np.ndarray]:
        if not read:
            load()
        start = 0 if n is None else max(len(read["y"]) - n, 0)
        return read["X"].iloc[start:], read["y"][start:]

    return window, lambda: list(read.get("used", ()))
