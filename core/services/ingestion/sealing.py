"""Sealing: rows of the prediction log become a batch, their predictions beside it."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from core.data.rows import frame_of, rows_to_frame
from core.records import ROW_ID, BatchInfo, FeatureSchema, Label, ProjectInfo
from core.services.ingestion import ingest
from core.services.ingestion.storing import PreparedBatch, newest_batch, store_batch
from core.services.serving import blocks
from core.storage import history, queries
from core.storage.layout import folder_of
from core.storage.tables import Prediction
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SEAL_AT_MOST = 50_000  # maximum rows of one batch, except for a single larger call
READ_AT_ONCE = 500
RUN_ROWS = 8  # rows of the log without a gap in their ids that are marked by a statement of their own


class _Logged(NamedTuple):
    """What sealing needs of a row of the log; columns, because tens of thousands of mapped objects take a second."""

    id: int
    prediction_id: str
    row_id: str
    model_version: int
    classes: str | None
    prediction: str
    probabilities: str | None
    features: str
    created_at: datetime
    observed_at: datetime
    rows: int
    block: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Portion:
    """Consecutive rows of the log predicted by models with the same classes."""

    frame: pd.DataFrame
    row_ids: list[str]
    classes: tuple[Label, ...]
    labels: list[Any]
    probabilities: np.ndarray | None
    versions: list[int]
    created: list[datetime]
    observed: list[datetime]


def seal_ripe(session: Session, project_id: int, now: datetime) -> bool:
    """Whether the log holds enough rows, or old enough ones, for a batch."""
    created = Prediction.created_at
    statement = select(func.sum(Prediction.rows), func.min(created), func.max(created))
    count, oldest, newest = session.execute(statement.where(Prediction.unsealed(project_id))).one()
    waited = bool(count) and (oldest <= now - queries.SEAL_AGE or newest > now + queries.LONGEST_PAUSE)
    return waited or (bool(count) and count >= queries.SEAL_ROWS)


def seal_log(ws: Workspace, project: ProjectInfo, *, now: datetime, force: bool = False) -> BatchInfo | None:
    """Turn logged predictions into a batch with the predictions beside it; None if there are not enough or old enough ones.

    A row id that was predicted more than once becomes one row, with its first prediction. A prediction counts for
    measuring only if it was made before its label arrived. Rows of requests without a token stay in the log.
    """
    import pandas as pd

    if project.schema is None:
        return None
    with ws.database.read() as session:
        if not force and not seal_ripe(session, project.id, now):
            return None
        logged = list(_oldest(session, project.id))
        if not logged:
            return None
    log_ids = [p.id for p in logged]
    portions = list(_portions(logged, project.schema))
    row_ids = [row_id for portion in portions for row_id in portion.row_ids]
    with ws.database.read() as session:
        known = newest_batch(session, project.id)
        labelled = queries.has_labels(session, project.id)
        late_labels = queries.labels_by_row(session, project.id, set(row_ids)) if labelled else {}
    stored = _stored(ws, project, row_ids)
    chosen = _first_of_each(row_ids, set(stored))
    if not chosen:  # all of them predict rows that are already in a batch
        with ws.database.write() as session:
            _mark_sealed(session, log_ids, next(iter(stored.values())))
        return None
    classes, labels, probabilities, versions, created, observed = _answers(portions)
    in_time = [row_ids[i] not in late_labels or late_labels[row_ids[i]][2] >= created[i] for i in chosen]
    scored_by = [versions[i] if ok else 0 for i, ok in zip(chosen, in_time, strict=True)]
    stem = f"{folder_of(project.id)}/{now:%Y%m%dT%H%M%S}-{secrets.token_hex(6)}"
    scores = f"{stem}-scores.parquet"
    sha256 = history.write_scores(
        ws,
        scores,
        [labels[i] if ok else None for i, ok in zip(chosen, in_time, strict=True)],
        None if probabilities is None else probabilities[chosen],
        classes,
        scored_by,
    )
    times = pd.DatetimeIndex([observed[i].astimezone(UTC) for i in chosen])
    prepared = PreparedBatch(
        schema=project.schema,
        table=pd.concat([p.frame for p in portions], ignore_index=True).iloc[chosen].reset_index(drop=True),
        y=ingest.no_labels(len(chosen), project.schema.task),
        times=pd.Series(times.as_unit("us")),
        ids=[row_ids[i] for i in chosen],
        extra=None,
        stem=stem,
        origin=f"prediction log, {len(chosen)} rows",
        digest=hashlib.sha256(json.dumps(log_ids).encode()).hexdigest(),
        known=known,
        scores=(scores, sha256, scored_by[0] if len(set(scored_by)) == 1 and scored_by[0] else None),
        news=False,
    )

    def mark_sealed(session: Session, report: ingest.IngestReport) -> None:
        _mark_sealed(session, log_ids, report.batch.id)

    report = store_batch(ws, project, prepared, by="loop", now=now, also=mark_sealed)
    return report.batch


def _oldest(session: Session, project_id: int) -> Iterator[_Logged]:
    """The rows of the log for the next batch."""
    total, after = 0, 0
    columns = [getattr(Prediction, name) for name in _Logged._fields]
    while True:
        statement = select(*columns).where(Prediction.unsealed(project_id), Prediction.id > after)
        ordered = statement.order_by(Prediction.id).limit(READ_AT_ONCE)
        some = [_Logged(*row) for row in session.execute(ordered)]
        for row in some:
            if total and total + row.rows > SEAL_AT_MOST:
                return
            total, after = total + row.rows, row.id
            yield row
        if not some:
            return


def _portions(logged: Sequence[_Logged], schema: FeatureSchema) -> Iterator[_Portion]:
    for (in_block, _), group in groupby(logged, key=lambda p: (p.block is not None and p.id, p.classes)):
        if in_block:
            yield from map(_block, group, [schema])
        else:
            yield _singles(list(group), schema)


def _singles(rows: list[_Logged], schema: FeatureSchema) -> _Portion:
    import numpy as np

    classes = tuple(orjson.loads(rows[0].classes)) if rows[0].classes else ()
    frame, _, _ = rows_to_frame([orjson.loads(p.features) for p in rows], schema)
    chances = [orjson.loads(p.probabilities) for p in rows if p.probabilities] if classes else None
    return _Portion(
        frame=frame,
        row_ids=[p.row_id for p in rows],
        classes=classes,
        labels=[orjson.loads(p.prediction) for p in rows],
        probabilities=None if chances is None else np.array(chances, dtype=float).reshape(len(rows), len(classes)),
        versions=[p.model_version for p in rows],
        created=[p.created_at for p in rows],
        observed=[p.observed_at for p in rows],
    )


def _block(row: _Logged, schema: FeatureSchema) -> _Portion:
    assert row.block is not None
    block, n = blocks.read(row.block), row.rows
    return _Portion(
        frame=frame_of(block.columns, schema),
        row_ids=[blocks.row_id(row.prediction_id, i) for i in range(n)],
        classes=block.classes,
        labels=block.labels(),
        probabilities=block.probabilities,
        versions=[row.model_version] * n,
        created=[row.created_at] * n,
        observed=[row.observed_at] * n,
    )


def _answers(
    portions: Sequence[_Portion],
) -> tuple[tuple[Label, ...], list[Any], np.ndarray | None, list[int], list[datetime], list[datetime]]:
    """All portions' classes, labels, probabilities, versions and instants; a class that a model did not know has no probability."""
    import numpy as np

    classes = tuple({json.dumps(c): c for p in portions for c in p.classes}.values())
    place = {json.dumps(c): k for k, c in enumerate(classes)}
    probabilities = None
    if classes:
        probabilities = np.zeros((sum(len(p.row_ids) for p in portions), len(classes)))
        start = 0
        for p in portions:
            stop = start + len(p.row_ids)
            if p.probabilities is not None:
                probabilities[start:stop, [place[json.dumps(c)] for c in p.classes]] = p.probabilities
            start = stop
    return (
        classes,
        [label for p in portions for label in p.labels],
        probabilities,
        [version for p in portions for version in p.versions],
        [at for p in portions for at in p.created],
        [at for p in portions for at in p.observed],
    )


def _stored(ws: Workspace, project: ProjectInfo, row_ids: Sequence[str]) -> dict[str, int]:
    """Which of the rows are already in batches: row id -> batch."""
    assert project.schema is not None
    batch_of_row: dict[str, int] = {}
    for batch, at in history.locate(ws, project.id, set(row_ids)):
        ids = history.read_rows(ws, batch, [ROW_ID])[ROW_ID].iloc[at]
        batch_of_row.update(dict.fromkeys(ids, batch.id))
    return batch_of_row


def _first_of_each(row_ids: Sequence[str], left_out: set[str]) -> list[int]:
    """Positions of the rows to store."""
    first: dict[str, int] = {}
    for i, row_id in enumerate(row_ids):
        if row_id not in left_out:
            first.setdefault(row_id, i)
    return list(first.values())


def _mark_sealed(session: Session, ids: Sequence[int], batch_id: int) -> None:
    """Note the batch of these rows of the log. Ids ascend; those without a gap, usually nearly all, take one statement."""
    scattered: list[int] = []
    for _, run in groupby(enumerate(ids), key=lambda at: at[1] - at[0]):
        some = [row_id for _, row_id in run]
        if len(some) < RUN_ROWS:
            scattered += some
        else:
            _mark(session, Prediction.id.between(some[0], some[-1]), batch_id)
    for i in range(0, len(scattered), queries.CHUNK):
        _mark(session, Prediction.id.in_(scattered[i : i + queries.CHUNK]), batch_id)


def _mark(session: Session, rows: ColumnElement[bool], batch_id: int) -> None:
    options = {"synchronize_session": False}
    session.execute(update(Prediction).where(rows).values(batch_id=batch_id), execution_options=options)
