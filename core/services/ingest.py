"""Rows and labels come in: file or frame to immutable batch, labels by row id, the log sealed into batches.

What is taken is stored whole or not at all: the Parquet file first, then its manifest row. A backfill (rows
older than the project's clock) is stored with its own instants and never moves the clock.
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
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from core.data import schema as schemas
from core.data.cells import MAX_ID_LENGTH
from core.data.contract import schema_from_document, schema_to_document, with_classes
from core.data.files import read_table
from core.data.samples import SAMPLES, sample_path
from core.data.synthetic import drift_from_document
from core.data.synthetic import generate as generate_frame
from core.drift.profile import profile, to_bytes
from core.errors import BadInput, Conflict, FieldProblem, NotFound, TooLarge
from core.records import ROW_ID, ROW_TIME, BatchInfo, FeatureKind, FeatureSchema, Label, ProjectInfo, Task
from core.services.predictions_log import waiting_rows
from core.services.projects import folder_of
from core.storage import audit, history, queries
from core.storage.tables import Batch, Project
from core.storage.tables import Label as LabelRow
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

LabelStatus = Literal["stored", "unchanged", "replaced", "waiting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestReport:
    """What became of a file or frame."""

    batch: BatchInfo
    rows: int
    labelled: int
    problems: tuple[str, ...]  # in words: what was kept unused, taken as missing, new
    backfill: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelResult:
    """What became of one label."""

    row_id: str
    status: LabelStatus


Also = Callable[[Session, IngestReport], None]


@lru_cache(maxsize=2)
def read_sample(name: str) -> pd.DataFrame:
    """A bundled sample as a frame; callers must not change it."""
    return read_table(sample_path(name), name=sample_path(name).name, max_bytes=50_000_000, target=SAMPLES[name].target)


def ingest_file(
    ws: Workspace, project: ProjectInfo, path: Path, *, name: str | None = None, by: str, now: datetime, **options: Any
) -> IngestReport:
    """Store a CSV, Parquet or Arrow file as one batch; options as in `ingest_frame`."""
    target = project.schema.target if project.schema else options.get("target")
    name = name or path.name
    frame = read_table(path, name=name, max_bytes=ws.settings.max_upload_bytes, target=target)
    return ingest_frame(ws, project, frame, origin=name, by=by, now=now, **options)


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
    also: Also | None = None,
) -> IngestReport:
    """Store a frame as one immutable batch.

    The first batch fixes the schema (given, or inferred from the frame with the corrections named here); later
    ones are held to it.

    Args:
        now: arrival; the instant of rows without a time column.
        also: more to write in the transaction that stores the batch.

    Raises:
        BadInput: rows that cannot be taken, row ids that were stored before; nothing is stored.
    """
    first = project.schema is None
    if first:
        held = schema or schemas.infer_schema(
            frame, target=target, id_column=id_column, time_column=time_column, task=task, kinds=kinds
        )
    else:
        assert project.schema is not None
        held = _with_columns(project.schema, id_column, time_column)
        if target is not None and target != held.target:
            raise BadInput(
                f"This project's target is '{held.target}', but '{target}' was named. Leave the target out, or make another project."
            )
    taken = schemas.conform(frame, held)
    n = len(taken.X)
    digest = _digest(taken, held)
    times = _times(taken, n, now)
    _refuse_seen(ws, project, digest, taken.ids)
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
        problems=taken.problems,
        by=by,
        now=now,
        also=also,
        digest=digest,
    )


def _with_columns(schema: FeatureSchema, id_column: str | None, time_column: str | None) -> FeatureSchema:
    return dataclasses.replace(
        schema, id_column=id_column or schema.id_column, time_column=time_column or schema.time_column
    )


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
    parts.update("".join(schema.names).encode())
    return parts.hexdigest()


def _refuse_seen(ws: Workspace, project: ProjectInfo, digest: str, ids: list[str] | None) -> None:
    with ws.database.read() as session:
        twin = session.scalar(
            select(Batch)
            .where(Batch.project_id == project.id, Batch.digest == digest, Batch.undone_at.is_(None))
            .limit(1)
        )
    if twin is not None:
        raise Conflict(
            f"These very rows are already stored as batch {twin.number} ({twin.origin}). Undo that batch first if they are meant to be stored anew."
        )
    if ids is None or project.schema is None:
        return
    reader = history.History(ws, project.id, project.schema)
    places = reader.find(set(ids))
    if places:
        batch = next(b for b in reader.batches if b.id in places)
        known = ws.batches.read_frame(batch.path, [ROW_ID])[ROW_ID].iloc[places[batch.id][:3]]
        raise Conflict(
            f"{sum(map(len, places.values()))} row ids are stored already, e.g. {', '.join(repr(i) for i in known)} in batch {batch.number} ({batch.origin}). "
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
    problems: Sequence[str],
    by: str,
    now: datetime,
    digest: str,
    scores: tuple[str, str, int | None] | None = None,
    also: Also | None = None,
    news: bool = True,
) -> IngestReport:
    """Write the Parquet file, then the manifest row with everything that depends on it, in one transaction."""
    n = len(table)
    # The number is part of generated ids, so it is taken before the file is written; a crash in between leaves a gap.
    with ws.database.write() as session:
        number = (session.scalar(select(func.max(Batch.number)).where(Batch.project_id == project.id)) or 0) + 1
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
            backfill = row.clock_at is not None and last_at < row.clock_at
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
                digest=digest,
                profile=summary,
                problems=list(problems),
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
            info = queries.batch_info(batch)
            report = IngestReport(batch=info, rows=n, labelled=labelled, problems=tuple(problems), backfill=backfill)
            if also is not None:
                also(session, report)
        return report


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
        _, y = reader.frame(row, features=())
        counted.append(dataclasses.replace(info, labelled=int(history.is_labelled(y, project.schema.task).sum())))
    return counted, total


def _project(ws: Workspace, project_id: int) -> ProjectInfo:
    with ws.database.read() as session:
        return queries.project_info(session, queries.project_row(session, project_id))


def undo_batch(ws: Workspace, project: ProjectInfo, batch_id: int, *, by: str, now: datetime) -> BatchInfo:
    """Mark a batch as undone: its rows no longer count; the file stays.

    Raises:
        NotFound: no such batch in this project.
        Conflict: it is undone already.
    """
    assert project.schema is not None or project.rows == 0
    with ws.database.read() as session:
        row = session.scalar(select(Batch).where(Batch.project_id == project.id, Batch.id == batch_id))
    if row is None or project.schema is None:
        raise NotFound(
            f"Project '{project.slug}' has no batch with id {batch_id}. `batches list --project {project.slug}` shows them."
        )
    _, y = history.History(ws, project.id, project.schema).frame(row, features=())
    labelled = int(history.is_labelled(y, project.schema.task).sum())
    with ws.database.write() as session:
        row = session.get_one(Batch, batch_id)
        if row.undone_at is not None:
            raise Conflict(f"Batch {row.number} was undone on {row.undone_at:%Y-%m-%d %H:%M} by {row.undone_by}.")
        row.undone_at, row.undone_by = now, by
        owner = queries.project_row(session, project.id)
        owner.rows -= row.rows
        owner.labelled -= labelled
        owner.clock_at = session.scalar(
            select(func.max(Batch.last_at)).where(
                Batch.project_id == project.id, Batch.undone_at.is_(None), Batch.backfill.is_(False)
            )
        )
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


def parse_label(value: Any, schema: FeatureSchema, *, field: str) -> Label:
    """A label as the project takes it: a class of the right type, or a finite number.

    Raises:
        BadInput: names the field, what was seen and what is expected.
    """
    if schema.task == "regression":
        try:
            number = float(value) if not isinstance(value, bool) else float("nan")
        except (TypeError, ValueError):
            number = float("nan")
        if number != number or number in (float("inf"), float("-inf")):
            raise _bad_label(field, value, "a finite number")
        return number
    known = {(type(c), c): c for c in schema.classes}
    if (type(value), value) in known if isinstance(value, (str, int, float, bool)) else False:
        return known[(type(value), value)]
    text = str(value).strip()
    by_text = {str(c): c for c in schema.classes} | (
        {str(c).lower(): c for c in schema.classes} if all(isinstance(c, bool) for c in schema.classes) else {}
    )
    if text in by_text:
        return by_text[text]
    integers = all(isinstance(c, int) and not isinstance(c, bool) for c in schema.classes)
    if integers:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if number == number and number == int(number):
            return int(number)  # a class that was not seen before is news, not an error
        raise _bad_label(field, value, f"a whole number, such as {', '.join(map(str, schema.classes[:8]))}")
    if isinstance(value, str) and text and all(isinstance(c, str) for c in schema.classes):
        return text
    raise _bad_label(field, value, f"one of {', '.join(repr(c) for c in schema.classes[:8])}")


def _bad_label(field: str, value: Any, expected: str) -> BadInput:
    seen = repr(value)[:80]
    return BadInput(
        f"{field} is {seen}, expected {expected}.", (FieldProblem(field=field, seen=seen, expected=expected),)
    )


def add_labels(
    ws: Workspace,
    project: ProjectInfo,
    pairs: Sequence[tuple[str, Any]],
    *,
    by: str,
    now: datetime,
    also: Callable[[Session, list[LabelResult]], None] | None = None,
) -> list[LabelResult]:
    """Store labels by row id, all or none; answers one status a label, in order.

    `stored`: the row is known and had none; `unchanged`: it had this one; `replaced`: it had another; `waiting`: no
    such row yet, the label is joined when it comes.

    Args:
        also: more to write in the transaction that stores the labels.

    Raises:
        BadInput: no schema yet, or a label that the project cannot take.
    """
    schema = project.schema
    if schema is None:
        raise BadInput(f"Project '{project.slug}' has no rows yet, so labels cannot be checked. Store rows first.")
    parsed = [
        (row_id, parse_label(value, schema, field=f"labels[{i}].label")) for i, (row_id, value) in enumerate(pairs)
    ]
    for i, (row_id, _) in enumerate(parsed):
        if not row_id or len(row_id) > MAX_ID_LENGTH:
            raise BadInput(
                f"labels[{i}].row_id is {row_id[:40]!r}, expected 1 to {MAX_ID_LENGTH} characters.",
                (FieldProblem(f"labels[{i}].row_id", row_id[:40], "a row id"),),
            )
    wanted = [row_id for row_id, _ in parsed]
    present, embedded = _embedded_labels(ws, project, schema, set(wanted))
    results: list[LabelResult] = []
    new_classes: set[Label] = set()
    with ws.database.write() as session:
        stored = queries.labels_by_row(session, project.id, wanted)
        logged = waiting_rows(session, project.id, wanted)
        earlier: dict[str, Label] = {row_id: entry[0] for row_id, entry in stored.items()}
        fresh = 0
        for row_id, value in parsed:
            known = row_id in present or row_id in logged
            before = earlier.get(row_id, embedded.get(row_id))
            status: LabelStatus
            if before is not None and before == value and type(before) is type(value):
                status = "unchanged"
            else:
                status = "replaced" if before is not None else "stored" if known else "waiting"
                session.add(
                    LabelRow(
                        project_id=project.id, row_id=row_id, value=json.dumps(value), created_at=now, created_by=by
                    )
                )
                fresh += before is None and row_id in present
                earlier[row_id] = value
                if schema.task != "regression" and value not in schema.classes:
                    new_classes.add(value)
            results.append(LabelResult(row_id=row_id, status=status if known or status != "unchanged" else "waiting"))
        row = queries.project_row(session, project.id)
        row.labelled += fresh
        if new_classes:
            row.schema = schema_to_document(with_classes(schema_from_document(row.schema or {}), tuple(new_classes)))
        if also is not None:
            also(session, results)
    return results


def read_labels(source: Path | bytes, *, name: str, max_bytes: int) -> list[tuple[str, str]]:
    """Pairs of row id and label, as text, from a CSV with the columns row_id (or prediction_id) and label.

    Raises:
        BadInput: no such columns, a short line, not UTF-8, no line at all.
    """
    import csv
    import io

    data = source.read_bytes() if isinstance(source, Path) else source
    if len(data) > max_bytes:
        raise TooLarge(
            f"{name} has {len(data):,} bytes, expected at most {max_bytes:,}. Split it, or raise CONTINUAL_MAX_UPLOAD_MB."
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{name} is not UTF-8 text: byte {error.start} is 0x{data[error.start]:02x}. Save it as CSV in UTF-8."
        ) from None
    reader = csv.reader(io.StringIO(text))
    header = [h.strip().lower() for h in next(reader, [])]
    key = next((k for k in ("row_id", "prediction_id", ROW_ID, "id") if k in header), None)
    if key is None or "label" not in header:
        raise BadInput(
            f"{name} begins with the columns {', '.join(header[:8]) or 'none'}, expected row_id (or prediction_id) and label."
        )
    at, label_at = header.index(key), header.index("label")
    pairs: list[tuple[str, str]] = []
    for fields in reader:
        if not fields:
            continue
        if len(fields) != len(header):
            raise BadInput(f"{name}, line {reader.line_num}: {len(fields)} fields, expected {len(header)}.")
        pairs.append((fields[at].strip(), fields[label_at].strip()))
    if not pairs:
        raise BadInput(f"{name} holds no label: expected one line a label below the header.")
    return pairs


def _embedded_labels(
    ws: Workspace, project: ProjectInfo, schema: FeatureSchema, wanted: set[str]
) -> tuple[set[str], dict[str, Label]]:
    """Which row ids lie in batches, and the labels that came with them."""
    reader = history.History(ws, project.id, schema)
    places = reader.find(wanted)
    present: set[str] = set()
    labels: dict[str, Label] = {}
    for batch in reader.batches:
        at = places.get(batch.id)
        if not at:
            continue
        table = ws.batches.read_frame(batch.path, [ROW_ID, schema.target])
        ids = table[ROW_ID].iloc[at].tolist()
        present.update(ids)
        y = history.decode_target(table[schema.target].iloc[at], schema.task)
        mask = history.is_labelled(y, schema.task)
        labels.update({row_id: y[i] for i, row_id in enumerate(ids) if mask[i]})
    return present, labels


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


def known_paths(ws: Workspace) -> set[str]:
    """Every file that a manifest row names; what else lies in the folder is an orphan."""
    with ws.database.read() as session:
        rows = session.execute(select(Batch.path, Batch.scores_path)).all()
    return {path for pair in rows for path in pair if path}


def touch_news(session: Session, project_id: int) -> None:
    """Tell the scheduler that there is something to look at."""
    session.execute(update(Project).where(Project.id == project_id).values(news=Project.news + 1))
