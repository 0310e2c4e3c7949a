"""The labelling queue of a project: informative rows to label, which were requested, and what their labels show about all rows.

A draw samples unlabelled rows of some batches that the champion has predicted; a batch is in one draw at most, so that each row's
stored probability of being drawn is exact. The sampling itself is `core.learning.label_sampling`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import BadInput, Conflict
from core.learning import label_sampling
from core.records import ROW_ID, ROW_TIME, FeatureSchema, JsonObject, Label, ProjectInfo, Score, metric_for
from core.services.access.actors import require
from core.services.ingestion.label_intake import add_labels
from core.services.ingestion.label_plans import LabelResult
from core.storage import audit, history, queries
from core.storage.tables import Batch, LabelDraw, RequestedLabel
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np

POOL_ROWS = 2_000  # newest unlabelled rows in a draw's pool, in whole batches
MAX_REQUESTED = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedRow:
    """A row whose label is requested."""

    row_id: str
    at: datetime
    prediction: Label
    probability: float | None  # of the predicted class
    chance: float  # of being drawn
    features: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueResult:
    """The score of all rows in the draws' pools, estimated from the labels given."""

    requested: int
    labelled: int
    pool: int
    weighted: Score  # estimate for the whole pool
    unweighted: Score  # of the drawn rows without weights: biased towards hard rows
    to_halve: int | None  # additional labels that would halve the interval


# --- requesting -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRequest:
    """How rows for labelling are drawn."""

    n: int
    seed: int
    random_share: float = label_sampling.RANDOM_SHARE  # share drawn regardless of the champion's uncertainty
    pool_rows: int = POOL_ROWS  # newest rows that are drawn from


def request_labels(ws: Workspace, project: ProjectInfo, request: LabelRequest, *, by: str, now: datetime) -> int:
    """Draw some of the newest unlabelled rows that the champion has predicted; returns how many were drawn.

    Raises:
        BadInput: the number or the share is out of range.
        Conflict: no champion yet, or no such row that was not in a draw already.
    """
    import numpy as np

    require(ws, by, "operator")
    if not 1 <= request.n <= MAX_REQUESTED:
        raise BadInput(f"{request.n} rows were requested, expected 1 to {MAX_REQUESTED:,}.")
    if project.champion is None or project.schema is None:
        raise Conflict(f"Project '{project.slug}' has no champion yet, so rows cannot be ranked. Train a first model.")
    reader = history.History(ws, project.id, project.schema)
    pool = _pool(ws, project, reader, request.pool_rows)
    if not pool:
        raise Conflict(
            "There are no unlabelled rows left to draw: each batch is sampled once. Wait for new rows, or label the requested ones."
        )
    gains = np.concatenate([part.gains for part in pool])
    sample = label_sampling.draw(gains, n=request.n, random_share=request.random_share, seed=request.seed)
    requests = list(_requests(reader, pool, sample))
    with ws.database.write() as session:
        if _drawn_batches(session, project.id) & {part.batch.id for part in pool}:
            raise Conflict("Somebody else has just drawn from these rows. Reload the labelling queue.")
        row = LabelDraw(
            project_id=project.id,
            batch_ids=[part.batch.id for part in pool],
            pool=len(gains),
            random_share=request.random_share,
            seed=request.seed,
            created_at=now,
            created_by=by,
        )
        session.add(row)
        session.flush()
        for requested in requests:
            requested.project_id, requested.draw_id = project.id, row.id
        session.add_all(requests)
        after = {"rows": len(requests), "pool": len(gains), "random_share": request.random_share}
        audit.record(session, who=by, what="labels asked for", project_id=project.id, after=after, now=now)
    return len(requests)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _PoolPart:
    """The rows of a batch that may be drawn."""

    batch: Batch
    at: np.ndarray  # positions in the batch
    gains: np.ndarray  # how informative a label of each would be


def _pool(ws: Workspace, project: ProjectInfo, reader: history.History, rows: int) -> list[_PoolPart]:
    """The newest rows that may be drawn, whole batches of them, until there are enough."""
    with ws.database.read() as session:
        drawn = _drawn_batches(session, project.id)
    parts: list[_PoolPart] = []
    for batch in reader.batches:
        if sum(len(part.at) for part in parts) >= rows:
            break
        if batch.id in drawn or batch.scores_path is None or batch.labelled >= batch.rows:
            continue
        at, gain = _candidates(reader, batch)
        if len(at):
            parts.append(_PoolPart(batch=batch, at=at, gains=gain))
    return parts


def _requests(
    reader: history.History, pool: Sequence[_PoolPart], sample: label_sampling.LabelSample
) -> Iterator[RequestedLabel]:
    """A row to request for each picked position, in the same order."""
    import numpy as np

    of_batch = np.repeat(np.arange(len(pool)), [len(part.at) for part in pool])
    positions = np.concatenate([part.at for part in pool])
    ids: dict[int, Any] = {}
    for position, chance in zip(sample.positions.tolist(), sample.inclusion_probabilities.tolist(), strict=True):
        i = int(of_batch[position])
        if i not in ids:
            ids[i] = reader.frame(pool[i].batch, features=())[0][ROW_ID]
        yield RequestedLabel(
            batch_id=pool[i].batch.id,
            row_id=str(ids[i].iloc[positions[position]]),
            place=int(positions[position]),
            chance=chance,
        )


def _drawn_batches(session: Session, project_id: int) -> set[int]:
    """Batches that were in a draw, excluding withdrawn ones."""
    draws = session.scalars(
        select(LabelDraw.batch_ids).where(LabelDraw.project_id == project_id, LabelDraw.withdrawn_at.is_(None))
    )
    return {batch_id for batch_ids in draws for batch_id in batch_ids}


def _candidates(reader: history.History, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Positions of a batch's unlabelled rows that were predicted in time, and how informative a label of each would be."""
    import numpy as np

    scores, read = reader.scores(batch), reader.frame_or_none(batch, features=())
    if scores is None or read is None:  # one of them is damaged
        return np.empty(0, dtype=int), np.empty(0)
    y = read[1]
    predicted = np.array([label is not None for label in scores.labels])
    at = np.flatnonzero(predicted & ~history.is_labelled(y, reader.schema.task))
    if scores.probabilities is None:
        return at, np.zeros(len(at))
    return at, label_sampling.expected_gain(scores.probabilities[at])


def withdraw_requests(ws: Workspace, project: ProjectInfo, *, by: str, now: datetime) -> int:
    """Withdraw every requested row without a label, with its draw; returns how many."""
    require(ws, by, "operator")
    open_rows = {row.row_id for row in open_requests(ws, project)}
    with ws.database.write() as session:
        requests = session.scalars(select(RequestedLabel).where(RequestedLabel.project_id == project.id)).all()
        draws = {request.draw_id for request in requests if request.row_id in open_rows}
        for row in session.scalars(select(LabelDraw).where(LabelDraw.id.in_(draws))):
            row.withdrawn_at = now
        withdrawn = [request for request in requests if request.draw_id in draws]
        for request in withdrawn:
            session.delete(request)
        if draws:
            audit.record(
                session, who=by, what="labels no longer asked for", project_id=project.id, after={"rows": len(withdrawn)}, now=now
            )  # fmt: skip
    return len(open_rows)


# --- labelling --------------------------------------------------------------------------------------------------


def open_requests(ws: Workspace, project: ProjectInfo) -> list[QueuedRow]:
    """Requested rows without a label, in the order in which they were drawn."""
    return [row for row, label in _requested_rows(ws, project) if label is None]


def store_labels(
    ws: Workspace, project: ProjectInfo, labels: Mapping[str, Any], *, by: str, now: datetime
) -> list[LabelResult]:
    """Store the labels of requested rows, all or none.

    Raises:
        BadInput: a row that was not requested, or a label that is not valid in the project.
        NeedsConsent: somebody has given a row another label meanwhile.
    """
    require(ws, by, "operator")
    with ws.database.read() as session:
        requested = set(session.scalars(select(RequestedLabel.row_id).where(RequestedLabel.project_id == project.id)))
    unrequested = [row_id for row_id in labels if row_id not in requested]
    if unrequested:
        raise BadInput(f"Row '{unrequested[0][:60]}' was not requested. Store labels of other rows on the Data page.")
    return add_labels(ws, project, list(labels.items()), by=by, now=now)


def entered_labels(schema: FeatureSchema, cells: Mapping[str, Any]) -> dict[str, Label]:
    """The labels that were entered into a table of requested rows, by row id; empty cells and unknown classes are left out.

    Args:
        cells: numbers, or the texts of the classes.
    """
    filled = {row_id: cell for row_id, cell in cells.items() if cell is not None and cell == cell}
    if schema.task == "regression":
        return filled
    known = {str(label): label for label in schema.classes}
    return {row_id: known[cell] for row_id, cell in filled.items() if cell in known}


def estimated_scores(ws: Workspace, project: ProjectInfo, *, metric: str | None = None) -> QueueResult:
    """The policy's metric over the newly labelled rows, weighted so that it estimates that of all rows of the pools.

    Rows are requested in random order, so those labelled so far are a random part of them and weighted accordingly.
    """
    import numpy as np

    task = project.schema.task if project.schema is not None else "binary"
    metric_name = metric or metric_for(project.policy, task)
    with ws.database.read() as session:
        draws = {d.id: d for d in session.scalars(select(LabelDraw).where(LabelDraw.project_id == project.id))}
        draw_of_row = dict(
            session.execute(
                select(RequestedLabel.row_id, RequestedLabel.draw_id).where(RequestedLabel.project_id == project.id)
            ).all()
        )
    rows = _requested_rows(ws, project)
    labelled = [(row, label) for row, label in rows if label is not None]
    pool = sum(d.pool for d in draws.values() if d.withdrawn_at is None)
    requested_in_draw = _counts([draw_of_row[row.row_id] for row, _ in rows])
    labelled_in_draw = _counts([draw_of_row[row.row_id] for row, _ in labelled])
    weights = np.array(
        [
            requested_in_draw[draw_of_row[row.row_id]] / labelled_in_draw[draw_of_row[row.row_id]] / row.chance
            for row, _ in labelled
        ]
    )
    kind = float if task == "regression" else object
    y_true, y_pred = np.empty(len(labelled), dtype=kind), np.empty(len(labelled), dtype=kind)
    y_true[:], y_pred[:] = [label for _, label in labelled], [row.prediction for row, _ in labelled]
    if task != "regression":  # of the classes' type, like labels elsewhere
        y_true, y_pred = np.asarray(y_true.tolist()), np.asarray(y_pred.tolist())
    weighted = label_sampling.weighted_score(task, metric_name, y_true, y_pred, weights)
    plain = label_sampling.weighted_score(task, metric_name, y_true, y_pred, np.ones(len(labelled)))
    return QueueResult(
        requested=len(rows), labelled=len(labelled), pool=pool, weighted=weighted, unweighted=plain,
        to_halve=label_sampling.labels_to_halve(weighted, pool=pool),
    )  # fmt: skip


def sampling_weights(session: Session, project_id: int, row_ids: Sequence[str]) -> dict[str, float]:
    """The inverse probability of being drawn, for the requested rows."""
    weights: dict[str, float] = {}
    for i in range(0, len(row_ids), queries.CHUNK):
        rows = session.execute(
            select(RequestedLabel.row_id, RequestedLabel.chance).where(
                RequestedLabel.project_id == project_id, RequestedLabel.row_id.in_(row_ids[i : i + queries.CHUNK])
            )
        )
        weights |= {row_id: 1.0 / chance for row_id, chance in rows}
    return weights


def _counts(values: Sequence[int]) -> dict[int, int]:
    return {value: values.count(value) for value in set(values)}


def _requested_rows(ws: Workspace, project: ProjectInfo) -> list[tuple[QueuedRow, Label | None]]:
    """Every requested row of a batch that counts, with its label as known now, in the order in which they were drawn."""
    if project.schema is None:
        return []
    with ws.database.read() as session:
        requests = session.scalars(
            select(RequestedLabel).where(RequestedLabel.project_id == project.id).order_by(RequestedLabel.id)
        ).all()
    reader = history.History(ws, project.id, project.schema)
    by_id = {batch.id: batch for batch in reader.batches}
    wanted = {request.batch_id for request in requests if request.batch_id in by_id}
    read = {}
    for batch_id in wanted:
        stored, scores = reader.frame_or_none(by_id[batch_id]), reader.scores(by_id[batch_id])
        if stored is not None and scores is not None:
            read[batch_id] = stored, scores
    rows: list[tuple[QueuedRow, Label | None]] = []
    for request in requests:
        if request.batch_id not in read:  # undone since, or damaged
            continue
        (frame, y), scores = read[request.batch_id]
        label, chances = y[request.place], scores.probabilities
        features = frame.iloc[request.place]
        rows.append(
            (
                QueuedRow(
                    row_id=request.row_id, at=features[ROW_TIME].to_pydatetime(), prediction=scores.labels[request.place],
                    probability=None if chances is None else float(chances[request.place].max()), chance=request.chance,
                    features={name: features[name] for name in project.schema.names},
                ),
                None if label is None or label != label else label,
            )
        )  # fmt: skip
    return rows
