"""Generated rows, stored like any others."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypedDict, Unpack

from sqlalchemy.orm import Session

from core.data.synthetic import Recipe, drift_from_document
from core.data.synthetic import generate as generate_frame
from core.errors import BadInput, Conflict
from core.records import ProjectInfo
from core.services.access.actors import require
from core.services.ingestion import ingest
from core.services.ingestion.storing import Also, IngestReport
from core.storage import queries
from core.storage.workspace import Workspace


class GeneratorOptions(TypedDict, total=False):
    """The generator's options; None = as in the last call."""

    features: int | None
    noise: float | None
    balance: float | None
    drift: Mapping[str, Any] | None


class GeneratorSettings(TypedDict):
    """The generator's settings, stored with the project."""

    features: int
    noise: float
    balance: float
    drift: Mapping[str, Any] | None
    task: Literal["binary", "regression"]


def generate(
    ws: Workspace,
    project: ProjectInfo,
    *,
    rows: int = 1000,
    seed: int | None = None,
    by: str,
    now: datetime,
    also: Also | None = None,
    **given: Unpack[GeneratorOptions],
) -> IngestReport:
    """Store new generated rows in a generator project; omitted options stay as in the last call.

    Args:
        also: further writes in the transaction that stores the batch.

    Raises:
        Conflict: the project holds rows that the generator did not make.
        BadInput: a number out of its range, or another number of features than the project has.
    """
    require(ws, by, "operator")
    if project.source != "generator":
        raise Conflict(
            f"Project '{project.slug}' was not made by the generator (its rows are from: {project.source}), so it accepts no generated rows. Create a generator project."
        )
    options = _options(project, given)
    spec = drift_from_document(options["drift"]) if options["drift"] is not None else None
    if spec is not None:  # positions given as shares refer to this call's rows; later calls continue from there
        spec = spec.anchored(rows=rows, start_row=project.rows)
        options["drift"] = dataclasses.asdict(spec)
    drawn = seed if seed is not None else secrets.randbelow(2**31)
    recipe = Recipe(
        features=options["features"],
        noise=options["noise"],
        balance=options["balance"],
        drift=spec,
        task=options["task"],
    )
    frame = generate_frame(rows, recipe, seed=drawn, start_row=project.rows)

    def store_settings(session: Session, report: IngestReport) -> None:
        queries.project_row(session, project.id).generator = {**options}
        if also is not None:
            also(session, report)

    return ingest.ingest_frame(
        ws,
        project,
        frame,
        origin=f"generator, seed {drawn}",
        by=by,
        now=now,
        target=frame.columns[-1],
        task=options["task"],
        also=store_settings,
    )


def _options(project: ProjectInfo, given: GeneratorOptions) -> GeneratorSettings:
    """The options given now, else those of the last call, else the generator's defaults.

    Raises:
        BadInput: another number of features than the project has.
    """
    known = project.generator or {}

    def of(name: str, first: Any) -> Any:
        value = given.get(name)
        return value if value is not None else known.get(name, first)

    options = GeneratorSettings(
        features=of("features", 2),
        noise=of("noise", 0.1),
        balance=of("balance", 0.5),
        drift=of("drift", None),
        task=known.get("task", "binary"),
    )
    if project.schema is not None and options["features"] != len(project.schema.features):
        raise BadInput(
            f"features is {options['features']}, but project '{project.slug}' has {len(project.schema.features)}. Omit it, or create another project."
        )
    return options
