"""Streams that the Live page plays: a bundled sample, or generated rows with a chosen, hence known, drift.

A project remembers its stream; the same description gives the same rows for ever.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from core.data.samples import SAMPLES, sample_path
from core.data.synthetic import TARGET, DriftSpec, Recipe, drift_from_document, generate
from core.errors import BadInput
from core.learning.policy import policy_named
from core.records import ProjectInfo
from core.services.access.actors import require
from core.services.ingestion import ingest
from core.services.projects import projects
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

GENERATED = "generated"
ROWS, FEATURES, NOISE = 16_000, 8, 0.1
WARM_UP_ROWS, BATCH_ROWS = 1_000, 500
TASKS = {"classes": "binary", "values": "regression"}  # tasks of generated streams
SEED, DRIFT_AT = 7, 0.35  # rows of a generated stream; the drift starts after that share of them
THRESHOLD = {
    "binary": 0.85,
    "regression": 0.8,
}  # of accuracy, or R2; with noise .1 the best possible values are .95 and .99


@dataclass(frozen=True, slots=True)
class Stream:
    """Rows in their order, and how they are played."""

    name: str  # used in the origins of batches
    frame: pd.DataFrame  # callers must not modify it
    target: str
    warm_up_rows: int
    batch_rows: int
    threshold: float


def stream_of(described: Mapping[str, Any] | None) -> Stream:
    """The stream that a project's `generator` document describes.

    Raises:
        BadInput: it does not describe a stream.
    """
    known = described or {}
    sample = known.get("sample")
    if sample == GENERATED:
        return _generated(json.dumps(known.get("stream", {}), sort_keys=True))
    if sample not in SAMPLES:
        raise BadInput("This project was not made from a stream, so there is nothing to play. Create one on Live.")
    spec = SAMPLES[sample]
    return Stream(
        sample_path(sample).name, ingest.read_sample(sample), spec.target, spec.warm_up_rows, spec.batch_rows, spec.threshold
    )  # fmt: skip


@lru_cache(maxsize=2)
def _generated(document: str) -> Stream:
    options = json.loads(document)
    task = options.get("task", "binary")
    drift: DriftSpec | None = drift_from_document(options["drift"]) if options.get("drift") else None
    frame = generate(
        options.get("rows", ROWS),
        Recipe(
            features=options.get("features", FEATURES),
            noise=options.get("noise", NOISE),
            drift=drift,
            task=task,
            concept_seed=options.get("seed", 0),
        ),
        seed=options.get("seed", 0),
    )
    return Stream(GENERATED, frame, TARGET, WARM_UP_ROWS, BATCH_ROWS, THRESHOLD[task])


def described(stream: str, drift: str | None = None, shape: str = "", size: float = 0.0) -> dict[str, object]:
    """The description of a chosen stream, as a project stores it.

    Args:
        stream: one of the samples, or of TASKS: generated rows.
        drift: the drift of generated rows, one of DRIFT_KINDS; None = no drift.
        size: its size; at most 1 for label flips.
    """
    if stream not in TASKS:
        return {"sample": stream}
    change: dict[str, object] | None = None
    if drift is not None:
        most = 1.0 if drift == "label_flip" else math.inf
        change = {"kind": drift, "shape": shape, "size": min(size, most), "at": DRIFT_AT}
    return {"sample": GENERATED, "stream": {"task": TASKS[stream], "seed": SEED, "drift": change}}


def create_stream_project(
    ws: Workspace, described: Mapping[str, Any], *, name: str, policy: str = "balanced", by: str, now: datetime
) -> ProjectInfo:
    """A project whose first batch is the stream's warm-up; the rest is for a live run.

    Args:
        described: {"sample": "insects"}, or {"sample": "generated", "stream": {"task", "seed", "drift": {...}}}.

    Raises:
        BadInput: no such stream, or a drift that cannot be generated.
    """
    require(ws, by, "operator")
    stream = stream_of(described)
    chosen = dataclasses.replace(policy_named(policy), threshold=stream.threshold)
    task = described.get("stream", {}).get("task")
    project = projects.create_project(
        ws, name, projects.Origin(source="sample", generator={**described}, task=task), by=by, now=now, policy=chosen
    )
    rows = stream.frame.iloc[: stream.warm_up_rows]
    try:
        ingest.ingest_frame(
            ws, project, rows, origin=f"{stream.name} rows 1-{len(rows)}", by=by, now=now, target=stream.target
        )
    except BaseException:
        projects.delete_project(ws, project, by=by, now=now)
        raise
    return projects.project_by_id(ws, project.id)


def create_sample_project(
    ws: Workspace, *, by: str, now: datetime, name: str = "Insects", sample: str = "insects", policy: str = "balanced"
) -> ProjectInfo:
    """A project with the first rows of a bundled sample as its first batch; the rest is for the Live page."""
    return create_stream_project(ws, {"sample": sample}, name=name, policy=policy, by=by, now=now)
