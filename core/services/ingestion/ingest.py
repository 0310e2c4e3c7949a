"""Ingestion of rows: file or frame to immutable batch. Late labels by row id are stored in `label_intake`.

A file is stored completely or not at all. Batches follow one another as they arrive. A backfill (declared as one, or rows
whose own instants all lie before the newest such batch) is stored with its instants and not treated as new data.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from core.data import conforming
from core.data.cells import AHEAD
from core.data.contract import with_classes
from core.data.files import read_table
from core.data.inferring import ColumnChoices, first_schema
from core.data.samples import SAMPLES, sample_path
from core.records import FeatureSchema, Problem, ProjectInfo, Task
from core.services.access.actors import require
from core.services.ingestion.agreement import refuse_changes, with_known_names
from core.services.ingestion.storing import Also, IngestReport, PreparedBatch, refuse_seen, store_batch
from core.storage.layout import folder_of
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class Options(ColumnChoices, total=False):
    """Options of a file or frame."""

    schema: FeatureSchema | None  # of the first batch; else it is inferred with what follows
    target: str | None
    seen: Sequence[Problem]  # problems noticed when the file was read
    backfill: bool  # historical rows: stored, but neither measured nor treated as new data
    also: Also | None  # further writes in the transaction that stores the batch


@lru_cache(maxsize=2)
def read_sample(name: str) -> pd.DataFrame:
    """A bundled sample as a frame; callers must not modify it."""
    path = sample_path(name)
    return read_table(path, name=path.name, max_bytes=50_000_000, target=SAMPLES[name].target).frame


def ingest_file(
    ws: Workspace,
    project: ProjectInfo,
    path: Path,
    *,
    name: str | None = None,
    by: str,
    now: datetime,
    **options: Unpack[Options],
) -> IngestReport:
    """Store a CSV, Parquet or Arrow file as one batch; options as in `ingest_frame`."""
    target = project.schema.target if project.schema else options.get("target")
    name = name or path.name
    read = read_table(path, name=name, max_bytes=ws.settings.max_upload_bytes, target=target)
    options["seen"] = read.problems
    return ingest_frame(ws, project, read.frame, origin=name, by=by, now=now, **options)


def ingest_frame(
    ws: Workspace,
    project: ProjectInfo,
    frame: pd.DataFrame,
    *,
    origin: str,
    by: str,
    now: datetime,
    **options: Unpack[Options],
) -> IngestReport:
    """Store a frame as one immutable batch.

    The first batch defines the schema (given, or inferred from the frame with these options); later ones are validated
    by it. Options of a later call must agree with it and never change it: an id or time column of another name applies
    to this file only.

    Args:
        now: arrival; the instant of rows without a time column. No row may have happened more than an hour later.

    Raises:
        BadInput: rows that are not valid, row ids that are already stored; nothing is stored.
    """
    require(ws, by, "operator")
    notes = list(options.get("seen", ()))
    schema, frame = _schema_for(project, frame, notes, options)
    conformed = conforming.conform(frame, schema, latest=now + AHEAD)
    notes += conformed.problems
    digest = _digest(conformed, schema)
    prepared = PreparedBatch(
        schema=schema if not conformed.new_classes else with_classes(schema, conformed.new_classes),
        table=conformed.X.copy(deep=False),
        y=conformed.y if conformed.y is not None else no_labels(len(conformed.X), schema.task),
        times=_times(conformed, len(conformed.X), now),
        ids=conformed.ids,
        extra=conformed.extra,
        stem=f"{folder_of(project.id)}/{now:%Y%m%dT%H%M%S}-{secrets.token_hex(6)}",
        origin=origin,
        digest=digest,
        problems=notes,
        known=refuse_seen(ws, project, digest, conformed.ids),
        timed=conformed.times is not None,
        declared=options.get("backfill", False),
    )
    return store_batch(ws, project, prepared, by=by, now=now, also=options.get("also"))


def _schema_for(
    project: ProjectInfo, frame: pd.DataFrame, notes: list[Problem], options: Options
) -> tuple[FeatureSchema, pd.DataFrame]:
    """The schema that the rows are held to, and the frame under the project's column names; notes go to `notes`."""
    target, task = options.get("target"), options.get("task")
    categorical, exclude = options.get("categorical", ()), options.get("exclude", ())
    id_column, time_column = options.get("id_column"), options.get("time_column")
    if project.schema is not None:
        refuse_changes(project.schema, target, task, categorical, exclude)
        return project.schema, with_known_names(frame, project.schema, id_column, time_column, notes)
    given = options.get("schema")
    if given is not None:
        return given, frame
    schema, assumed = first_schema(
        frame,
        target=target,
        id_column=id_column,
        time_column=time_column,
        task=task or project.task,
        kinds=options.get("kinds"),
        categorical=categorical,
        exclude=exclude,
    )
    notes += assumed
    return schema, frame


def no_labels(n: int, task: Task) -> np.ndarray:
    import numpy as np

    return np.full(n, np.nan) if task == "regression" else np.full(n, None, dtype=object)


def _times(conformed: Any, n: int, now: datetime) -> pd.Series:
    import pandas as pd

    if conformed.times is None:
        return pd.Series(pd.DatetimeIndex([now] * n).as_unit("us"))
    return pd.Series(pd.DatetimeIndex(conformed.times).as_unit("us"))


def _digest(conformed: Any, schema: FeatureSchema) -> str:
    """Digest of the rows as given, including ids and times, to detect a file that is sent twice."""
    import pandas as pd

    parts = hashlib.sha256()
    parts.update(pd.util.hash_pandas_object(conformed.X, index=False).to_numpy().tobytes())
    if conformed.y is not None:
        parts.update(json.dumps([str(v) for v in conformed.y]).encode())
    parts.update(json.dumps(conformed.ids).encode())
    if conformed.times is not None:
        parts.update(conformed.times.astype("int64").to_numpy().tobytes())
    if len(conformed.extra.columns):
        parts.update(pd.util.hash_pandas_object(conformed.extra.astype("str"), index=False).to_numpy().tobytes())
    parts.update("".join(schema.names).encode())
    return parts.hexdigest()
