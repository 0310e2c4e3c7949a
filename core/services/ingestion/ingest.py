"""Rows come in: file or frame to immutable batch. Labels that come later by row id are taken in `label_intake`.

What is taken is stored whole or not at all: the Parquet file first, then its manifest row. Batches follow one another as
they arrive. A backfill (declared as one, or rows whose own instants all lie before the newest such batch) is stored with its
instants, and is no news.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from core.data import schema as schemas
from core.data.cells import (
    AHEAD,
    nearest,
    refusal,
)
from core.data.contract import schema_to_document, with_classes
from core.data.files import read_table
from core.data.problems import document_of
from core.data.samples import SAMPLES, sample_path
from core.data.synthetic import drift_from_document
from core.data.synthetic import generate as generate_frame
from core.drift.profile import profile, to_bytes
from core.errors import BadInput, Conflict, FieldProblem, NotFound
from core.records import ROW_ID, ROW_TIME, BatchInfo, FeatureKind, FeatureSchema, Problem, ProjectInfo, Task
from core.services.access.actors import require
from core.storage import audit, history, queries
from core.storage.layout import folder_of
from core.storage.tables import Batch, BatchIds, Project
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """Which column of a file was taken for what."""

    id: str | None
    time: str | None
    target: str
    task: Task
    excluded: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What became of a file or frame."""

    batch: BatchInfo
    rows: int
    labelled: int
    problems: tuple[Problem, ...]  # what was assumed, kept unused, taken as missing, new
    backfill: bool
    assumed: Assumed


Also = Callable[[Session, IngestReport], None]


@lru_cache(maxsize=2)
def read_sample(name: str) -> pd.DataFrame:
    """A bundled sample as a frame; callers must not change it."""
    path = sample_path(name)
    return read_table(path, name=path.name, max_bytes=50_000_000, target=SAMPLES[name].target).frame


def ingest_file(
    ws: Workspace, project: ProjectInfo, path: Path, *, name: str | None = None, by: str, now: datetime, **options: Any
) -> IngestReport:
    """Store a CSV, Parquet or Arrow file as one batch; options as in `ingest_frame`."""
    target = project.schema.target if project.schema else options.get("target")
    name = name or path.name
    read = read_table(path, name=name, max_bytes=ws.settings.max_upload_bytes, target=target)
    return ingest_frame(ws, project, read.frame, origin=name, by=by, now=now, seen=read.problems, **options)


def ingest_frame(
    ws: Workspace,
    project: ProjectInfo,
    frame: pd.DataFrame,
    *,
    origin: str,
    by: str,
    now: datetime,
    schema: FeatureSchema | None = None,
    target: str | None = None,
    id_column: str | None = None,
    time_column: str | None = None,
    task: Task | None = None,
    kinds: Mapping[str, FeatureKind] | None = None,
    categorical: Sequence[str] = (),
    exclude: Sequence[str] = (),
    seen: Sequence[Problem] = (),
    backfill: bool = False,
    also: Also | None = None,
) -> IngestReport:
    """Store a frame as one immutable batch.

    The first batch fixes the schema (given, or inferred from the frame with what is named here); later ones are held
    to it. What a later call names must fit it, and never changes it: an id or time column of another name is this
    file's alone.

    Args:
        now: arrival; the instant of rows without a time column. No row may have happened more than an hour later.
        seen: what was noticed when the file was read.
        backfill: the rows are of the past: they are stored, and neither measured nor taken for news.
        also: more to write in the transaction that stores the batch.

    Raises:
        BadInput: rows that cannot be taken, row ids that were stored before; nothing is stored.
    """
    require(ws, by, "operator")
    first = project.schema is None
    said = list(seen)
    if first:
        if schema is None:
            schema, assumed = schemas.first_schema(
                frame,
                target=target,
                id_column=id_column,
                time_column=time_column,
                task=task or project.task,
                kinds=kinds,
                categorical=categorical,
                exclude=exclude,
            )
            said += assumed
        held = schema
    else:
        assert project.schema is not None
        held = project.schema
        _refuse_changes(held, target, task, categorical, exclude)
        frame = _renamed(frame, held, id_column, time_column, said)
    taken = schemas.conform(frame, held, latest=now + AHEAD)
    said += taken.problems
    n = len(taken.X)
    digest = _digest(taken, held)
    times = _times(taken, n, now)
    known = _refuse_seen(ws, project, digest, taken.ids)
    table = taken.X.copy(deep=False)
    y = taken.y if taken.y is not None else no_labels(n, held.task)
    stem = f"{folder_of(project.id)}/{now:%Y%m%dT%H%M%S}-{secrets.token_hex(6)}"
    return store_rows(
        ws,
        project,
        held if not taken.new_classes else with_classes(held, taken.new_classes),
        table,
        y,
        ids=taken.ids,
        times=times,
        extra=taken.extra,
        stem=stem,
        origin=origin,
        problems=said,
        by=by,
        now=now,
        also=also,
        digest=digest,
        known=known,
        timed=taken.times is not None,
        declared=backfill,
    )


def _refuse_changes(
    schema: FeatureSchema, target: str | None, task: Task | None, categorical: Sequence[str], exclude: Sequence[str]
) -> None:
    """What a later call names of the schema must be what the schema says."""
    if target is not None and target != schema.target:
        raise BadInput(
            f"This project's target is '{schema.target}', but '{target}' was named. Leave the target out, or make another project."
        )
    if task is not None and not _same_task(task, schema.task):
        raise BadInput(
            f"This project's task is {schema.task}, but {task} was named. Leave the task out, or make another project."
        )
    kinds = {f.name: f.kind for f in schema.features}
    problems = [
        FieldProblem(f"column {name}", kinds.get(name, "no feature"), "a categorical feature, as in the first file")
        for name in categorical
        if kinds.get(name) != "categorical"
    ]
    problems += [
        FieldProblem(f"column {name}", "a feature of this project", "a column that is none")
        for name in exclude
        if name in kinds
    ]
    if problems:
        raise refusal("The first file has fixed the columns", problems, "Make another project to change them.")


def _same_task(named: str, task: Task) -> bool:
    return named == task or (named != "regression" and task != "regression")


def _renamed(
    frame: pd.DataFrame, schema: FeatureSchema, id_column: str | None, time_column: str | None, said: list[Problem]
) -> pd.DataFrame:
    """The frame with the columns that hold this file's ids and instants under the names that the project knows.

    Raises:
        BadInput: a named column that is not there, or is the target or a feature.
    """
    names = [str(c) for c in frame.columns]
    found: dict[str, str] = {}
    for what, named, own, reserved in (
        ("id column", id_column, schema.id_column, ROW_ID),
        ("time column", time_column, schema.time_column, ROW_TIME),
    ):
        if not named or named == own:
            continue
        if named not in names:
            near = nearest(named, names)
            seen = f"not there ('{near}' is)" if near else "not there"
            raise refusal(
                f"The {what} is missing", [FieldProblem(f"column {named}", seen, f"a column named '{named}'")]
            )
        if named == schema.target or named in schema.names:
            seen = "the target" if named == schema.target else "a feature of this project"
            raise refusal(
                f"The {what} cannot be that", [FieldProblem(f"column {named}", seen, "a column that is neither")]
            )
        found[named] = own or reserved
        said.append(Problem(code="column_for_this_file", column=named, count=len(frame), example=what))
    clash = [new for new in found.values() if new in names]
    frame = frame.set_axis(names, axis=1)
    return frame.drop(columns=clash).rename(columns=found) if found else frame


def no_labels(n: int, task: Task) -> np.ndarray:
    import numpy as np

    return np.full(n, np.nan) if task == "regression" else np.full(n, None, dtype=object)


def _times(taken: Any, n: int, now: datetime) -> pd.Series:
    import pandas as pd

    if taken.times is None:
        return pd.Series(pd.DatetimeIndex([now] * n).as_unit("us"))
    return pd.Series(pd.DatetimeIndex(taken.times).as_unit("us"))


def _digest(taken: Any, schema: FeatureSchema) -> str:
    """Digest of the rows as given, to know a file that comes twice; ids and times included."""
    import pandas as pd

    parts = hashlib.sha256()
    parts.update(pd.util.hash_pandas_object(taken.X, index=False).to_numpy().tobytes())
    if taken.y is not None:
        parts.update(json.dumps([str(v) for v in taken.y]).encode())
    parts.update(json.dumps(taken.ids).encode())
    if taken.times is not None:
        parts.update(taken.times.astype("int64").to_numpy().tobytes())
    if len(taken.extra.columns):
        parts.update(pd.util.hash_pandas_object(taken.extra.astype("str"), index=False).to_numpy().tobytes())
    parts.update("".join(schema.names).encode())
    return parts.hexdigest()


def _refuse_seen(ws: Workspace, project: ProjectInfo, digest: str, ids: list[str] | None) -> int:
    """Refuse rows that are stored already; the newest batch that was looked at."""
    with ws.database.read() as session:
        newest = session.scalar(select(func.max(Batch.id)).where(Batch.project_id == project.id)) or 0
        _refuse_twin(session, project.id, digest)
    if ids is not None and project.schema is not None:
        places = history.locate(ws, project.id, set(ids))
        if places:
            raise _known_ids(ws, *places[0], sum(len(at) for _, at in places))
    return newest


def _refuse_newer(ws: Workspace, session: Session, project_id: int, known: int, ids: list[str] | None) -> None:
    """As `_refuse_seen`, for batches that another call has stored since: inside the transaction that stores this one."""
    import numpy as np

    if ids is None:
        return
    own = Batch.project_id == project_id
    for batch in session.scalars(select(Batch).where(own, Batch.id > known, Batch.undone_at.is_(None))):
        stored = history.read_rows(ws, batch, [ROW_ID])[ROW_ID]
        at = np.flatnonzero(stored.isin(ids).to_numpy()).tolist()
        if at:
            raise _known_ids(ws, batch, at, len(at))


def _refuse_twin(session: Session, project_id: int, digest: str) -> None:
    twin = session.scalar(
        select(Batch).where(Batch.project_id == project_id, Batch.digest == digest, Batch.undone_at.is_(None)).limit(1)
    )
    if twin is not None:
        raise Conflict(
            f"These very rows are already stored as batch {twin.number} ({twin.origin}). If they are new rows that happen to be "
            "equal, send them with row ids or a time column; if they are meant to replace the stored ones, undo that batch first."
        )


def _known_ids(ws: Workspace, batch: Batch, at: list[int], n: int) -> Conflict:
    some = history.read_rows(ws, batch, [ROW_ID])[ROW_ID].iloc[at[:3]]
    return Conflict(
        f"{n:,} row ids are stored already, e.g. {', '.join(repr(i) for i in some)} in batch {batch.number} ({batch.origin}). "
        "Send labels for known rows as labels; give new rows new ids; or undo that batch."
    )


def store_rows(
    ws: Workspace,
    project: ProjectInfo,
    schema: FeatureSchema,
    table: pd.DataFrame,
    y: np.ndarray,
    *,
    ids: list[str] | None,
    times: pd.Series,
    extra: pd.DataFrame | None,
    stem: str,
    origin: str,
    problems: Sequence[Problem],
    by: str,
    now: datetime,
    digest: str,
    scores: tuple[str, str, int | None] | None = None,
    also: Also | None = None,
    news: bool = True,
    known: int = 0,
    timed: bool = False,
    declared: bool = False,
) -> IngestReport:
    """Write the Parquet file, then the manifest row with everything that depends on it, in one transaction.

    Args:
        known: newest batch that was looked at for the same rows and ids.
        timed: the rows carry instants of their own; only such ones can be a backfill without being declared one.
        declared: the sender says that they are a backfill.
    """
    n = len(table)
    # The number is part of generated ids, so it is taken before the file is written; a crash in between leaves a gap.
    with ws.database.write() as session:
        number = (session.scalar(select(func.max(Batch.number)).where(Batch.project_id == project.id)) or 0) + 1
    if ids is None:
        number = _free_number(ws, project, number, n)
    summary = to_bytes(profile(table, schema))
    first_at, last_at = times.min().to_pydatetime(), times.max().to_pydatetime()
    labelled_mask = history.is_labelled(y, schema.task)
    stored = table.copy(deep=False)
    stored[schema.target] = history.encode_target(y, schema.task).to_numpy()
    stored.insert(0, ROW_TIME, times.array)
    path = f"{stem}.parquet"
    while True:
        row_ids = ids if ids is not None else [f"b{number}-{i}" for i in range(n)]
        if ROW_ID in stored.columns:
            stored = stored.drop(columns=ROW_ID)
        stored.insert(0, ROW_ID, row_ids)
        whole = stored
        if extra is not None and len(extra.columns):
            clean = extra[[c for c in extra.columns if c not in stored.columns]]
            whole = stored.join(clean.set_axis(stored.index))
        sha256 = ws.batches.write_frame(path, whole)
        with ws.database.write() as session:
            taken = session.scalar(select(func.max(Batch.number)).where(Batch.project_id == project.id)) or 0
            if taken >= number:  # another process stored a batch meanwhile
                number = taken + 1
                if ids is None:
                    continue
            row = queries.project_row(session, project.id)
            if row.schema is not None and project.schema is None:
                raise Conflict(f"Another first batch was stored for '{project.slug}' at the same moment. Try again.")
            _refuse_twin(session, project.id, digest)
            _refuse_newer(ws, session, project.id, known, ids)
            begins = queries.newest_start(session, project.id, now=now) if timed else None
            backfill = declared or _is_past(last_at, begins)
            waiting = (
                {}
                if not queries.has_labels(session, project.id)
                else queries.labels_by_row(session, project.id, row_ids)
            )
            labelled = int(labelled_mask.sum()) + sum(
                1 for i, row_id in enumerate(row_ids) if row_id in waiting and not labelled_mask[i]
            )
            batch = Batch(
                project_id=project.id,
                number=number,
                origin=origin[:300],
                path=path,
                sha256=sha256,
                rows=n,
                labelled=int(labelled_mask.sum()),
                first_at=first_at,
                last_at=last_at,
                created_at=now,
                created_by=by,
                backfill=backfill,
                declared=declared,
                timed=timed,
                digest=digest,
                profile=summary,
                problems=[document_of(p) for p in problems],
                ids_from_user=ids is not None,
            )
            if scores is not None:
                batch.scores_path, batch.scores_sha256, batch.scored_by = scores
            session.add(batch)
            row.schema = schema_to_document(schema)
            row.rows += n
            row.labelled += labelled
            if not backfill:
                row.clock_at = last_at if row.clock_at is None else max(row.clock_at, last_at)
            if news:
                row.news += 1
            session.flush()
            if ids is not None:
                session.add(BatchIds(batch_id=batch.id, hashes=history.hashed(ids).tobytes()))
            info = queries.batch_info(batch)
            report = IngestReport(
                batch=info,
                rows=n,
                labelled=labelled,
                problems=tuple(problems),
                backfill=backfill,
                assumed=Assumed(
                    id=schema.id_column,
                    time=schema.time_column,
                    target=schema.target,
                    task=schema.task,
                    excluded=schema.excluded,
                ),
            )
            if also is not None:
                also(session, report)
        return report


def _free_number(ws: Workspace, project: ProjectInfo, number: int, n: int) -> int:
    """The first batch number from `number` on whose made ids no row has: a user's own may have that form, too."""
    if project.schema is None:
        return number
    while history.locate(ws, project.id, {f"b{number}-{i}" for i in range(n)}):
        number += 1
    return number


def list_batches(ws: Workspace, project_id: int, *, limit: int = 50, offset: int = 0) -> tuple[list[BatchInfo], int]:
    """One page of manifests, newest first, and how many there are; undone ones included and marked.

    `labelled` counts labels that came with the rows and later ones.
    """
    with ws.database.read() as session:
        total = session.scalar(select(func.count()).select_from(Batch).where(Batch.project_id == project_id)) or 0
        rows = list(
            session.scalars(
                select(Batch)
                .where(Batch.project_id == project_id)
                .order_by(Batch.id.desc())
                .limit(limit)
                .offset(offset)
            )
        )
        infos = [queries.batch_info(row) for row in rows]
        has_late = queries.has_labels(session, project_id)
    if not has_late:
        return infos, total
    project = _project(ws, project_id)
    assert project.schema is not None
    reader = history.History(ws, project_id, project.schema)
    counted = []
    for row, info in zip(rows, infos, strict=True):
        if row.labelled == row.rows:  # every label came with its row
            counted.append(info)
            continue
        read = reader.frame_or_none(row, features=())
        known = row.labelled if read is None else int(history.is_labelled(read[1], project.schema.task).sum())
        counted.append(dataclasses.replace(info, labelled=known))
    return counted, total


def _project(ws: Workspace, project_id: int) -> ProjectInfo:
    with ws.database.read() as session:
        return queries.project_info(session, queries.project_row(session, project_id))


def undo_batch(ws: Workspace, project: ProjectInfo, batch_id: int, *, by: str, now: datetime) -> BatchInfo:
    """Mark a batch as undone: its rows no longer count; the file stays. That it is missing or damaged is no hindrance.

    Raises:
        NotFound: no such batch in this project.
        Conflict: it is undone already.
    """
    require(ws, by, "operator")
    assert project.schema is not None or project.rows == 0
    with ws.database.read() as session:
        row = session.scalar(select(Batch).where(Batch.project_id == project.id, Batch.id == batch_id))
    if row is None or project.schema is None:
        raise NotFound(
            f"Project '{project.slug}' has no batch with id {batch_id}. `batches list --project {project.slug}` shows them."
        )
    read = history.History(ws, project.id, project.schema).frame_or_none(row, features=())
    if read is None:
        labelled = _labelled_by_rows(ws, row)
    else:
        labelled = int(history.is_labelled(read[1], project.schema.task).sum())
    with ws.database.write() as session:
        row = session.get_one(Batch, batch_id)
        if row.undone_at is not None:
            raise Conflict(f"Batch {row.number} was undone on {row.undone_at:%Y-%m-%d %H:%M} by {row.undone_by}.")
        row.undone_at, row.undone_by = now, by
        owner = queries.project_row(session, project.id)
        owner.rows -= row.rows
        owner.labelled = max(owner.labelled - labelled, 0)
        session.flush()
        _judge_backfills(session, owner)
        owner.clock_at = session.scalar(
            select(func.max(Batch.last_at)).where(
                Batch.project_id == project.id, Batch.undone_at.is_(None), Batch.backfill.is_(False)
            )
        )
        if _is_empty(session, project):
            owner.schema = None  # the next file is the first one again
        audit.record(
            session,
            who=by,
            what="batch undone",
            project_id=project.id,
            before={"batch": row.number, "rows": row.rows, "origin": row.origin},
            now=now,
        )
        session.flush()
        return queries.batch_info(row)


def _labelled_by_rows(ws: Workspace, batch: Batch) -> int:
    """How many rows of a batch whose file cannot be read have a label, by what the database knows of them.

    Its own ids are known where they were made; labels that came later for ids of the sender's cannot be counted.
    """
    if batch.labelled == batch.rows or batch.ids_from_user:
        return batch.labelled
    with ws.database.read() as session:
        came = queries.labels_by_row(session, batch.project_id, [f"b{batch.number}-{i}" for i in range(batch.rows)])
    return min(batch.labelled + len(came), batch.rows)


def _is_past(last_at: datetime, begins: datetime | None) -> bool:
    """Whether rows whose newest instant is `last_at` lie before the newest batch, by more than clocks differ.

    Local times without a zone repeat an hour each autumn.
    """
    return begins is not None and last_at < begins - AHEAD


def _judge_backfills(session: Session, owner: Project) -> None:
    """Work out anew which batches are backfills, now that one is gone; what is none any more is read by the next cycle."""
    batches = session.scalars(
        select(Batch)
        .where(Batch.project_id == owner.id, Batch.undone_at.is_(None), Batch.timed, Batch.declared.is_(False))
        .order_by(Batch.id)
    )
    for batch in batches:
        begins = queries.newest_start(session, owner.id, now=batch.created_at, before=batch.id)
        late = _is_past(batch.last_at, begins)
        if batch.backfill and not late:
            batch.pending = batch.id <= owner.batch_watermark
            owner.news += 1
        batch.backfill = late
        session.flush()


def _is_empty(session: Session, project: ProjectInfo) -> bool:
    """Whether nothing hangs on the schema any more: no batch that counts, no model, no logged prediction, no label."""
    if project.champion is not None or queries.logged_count(session, project.id):
        return False
    batches = select(func.count()).where(Batch.project_id == project.id, Batch.undone_at.is_(None))
    return not session.scalar(batches) and not queries.has_labels(session, project.id)


def labels_due(ws: Workspace, project_id: int) -> int:
    """Stored rows whose label has not come; rows still in the log included."""
    with ws.database.read() as session:
        row = queries.project_row(session, project_id)
        return max(row.rows - row.labelled, 0) + queries.logged_count(session, project_id)


def generate(
    ws: Workspace,
    project: ProjectInfo,
    *,
    rows: int = 1000,
    features: int | None = None,
    seed: int | None = None,
    noise: float | None = None,
    balance: float | None = None,
    drift: Mapping[str, Any] | None = None,
    by: str,
    now: datetime,
    also: Also | None = None,
) -> IngestReport:
    """Store new generated rows in a project that the generator made; what is left out stays as it was last.

    Args:
        also: more to write in the transaction that stores the batch.

    Raises:
        Conflict: the project holds rows that the generator did not make.
        BadInput: a number out of its range, or another number of features than the project has.
    """
    require(ws, by, "operator")
    if project.source != "generator":
        raise Conflict(
            f"Project '{project.slug}' was not made by the generator (it came from: {project.source}), so no generated rows are mixed into it. Make a generator project."
        )
    known = dict(project.generator or {})
    options = {
        "features": features if features is not None else known.get("features", 2),
        "noise": noise if noise is not None else known.get("noise", 0.1),
        "balance": balance if balance is not None else known.get("balance", 0.5),
        "drift": dict(drift) if drift is not None else known.get("drift"),
        "task": known.get("task", "binary"),
    }
    if project.schema is not None and options["features"] != len(project.schema.features):
        raise BadInput(
            f"features is {options['features']}, but project '{project.slug}' has {len(project.schema.features)}. Leave it out, or make another project."
        )
    spec = drift_from_document(options["drift"]) if options["drift"] is not None else None
    if spec is not None:  # places given as shares mean this call's rows; later calls go on from there
        spec = spec.anchored(rows=rows, start_row=project.rows)
        options["drift"] = dataclasses.asdict(spec)
    drawn = seed if seed is not None else secrets.randbelow(2**31)
    frame = generate_frame(
        rows,
        features=options["features"],
        seed=drawn,
        noise=options["noise"],
        balance=options["balance"],
        drift=spec,
        start_row=project.rows,
        task=options["task"],
    )

    def remember(session: Session, report: IngestReport) -> None:
        queries.project_row(session, project.id).generator = options
        if also is not None:
            also(session, report)

    return ingest_frame(
        ws,
        project,
        frame,
        origin=f"generator, seed {drawn}",
        by=by,
        now=now,
        target=frame.columns[-1],
        task=options["task"],
        also=remember,
    )


def read_rows(ws: Workspace, project: ProjectInfo, *, n: int) -> pd.DataFrame:
    """The newest n rows as a person would want them: id, time, features, target as in the data."""
    if project.schema is None:
        raise BadInput(f"Project '{project.slug}' has no rows yet.")
    table, y, _ = history.History(ws, project.id, project.schema).newest(n, labelled=False)
    table[project.schema.target] = y
    return table


def touch_news(session: Session, project_id: int) -> None:
    """Tell the scheduler that there is something to look at."""
    session.execute(update(Project).where(Project.id == project_id).values(news=Project.news + 1))
