"""Generated data: linear rows with optional drift, for a generator project or a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from core import ui
from core.errors import ContinualError
from core.records import ProjectInfo
from core.services.ingestion import generated, ingest
from core.services.projects import projects
from core.ui.views.data.way import open_project

NONE = "(none)"
KEPT = "unchanged"
STRENGTH = "Mean shift: standard deviations. Scale: factor minus 1. Label flip: share of labels, at most 1. Concept rotation: multiples of 90°."


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The values of the form."""

    rows: int
    features: int
    noise: float
    balance: float
    seed: int | None
    drift: Mapping[str, Any] | None  # None = unchanged


def show(ctx: ui.Context, project: ProjectInfo | None) -> None:
    """The form; makes the project where there is none yet."""
    before = (project.generator or {}) if project else {}
    with st.form("generate", border=False):
        name = project.name if project else _ask_name()
        with ui.grid():
            wanted = _ask(before, closed=project is not None and project.schema is not None)
        sent = ui.submit(ctx, "Generate rows", icon=":material/add:")
    if sent:
        _generate(ctx, project, name, wanted)


def _ask_name() -> str:
    return st.text_input("Name of the project", value="Generated", max_chars=projects.MAX_NAME, key="generated-name")


def _ask(before: Mapping[str, Any], *, closed: bool) -> Wanted:
    """The fields, filled with the last values.

    Args:
        closed: the number of features is fixed by the stored rows.
    """
    rows = st.number_input("Rows", min_value=1, max_value=1_000_000, value=1_000, step=100, key="g-rows")
    last = int(before.get("features", 2))
    features = st.number_input("Features", min_value=1, max_value=1_000, value=last, key="g-features", disabled=closed)
    noise = _ask_share(
        "Noise", 0.0, 1.0, before.get("noise", 0.1), key="g-noise", help="Share of labels that are random."
    )
    balance = _ask_share("Balance", 0.05, 0.95, before.get("balance", 0.5), key="g-balance", help="Share of class 1.")
    seed = st.number_input(
        "Seed",
        min_value=0,
        value=None,
        step=1,
        key="g-seed",
        placeholder="random",
        help="The same seed gives the same rows.",
    )
    return Wanted(
        rows=int(rows),
        features=int(features),
        noise=noise,
        balance=balance,
        seed=None if seed is None else int(seed),
        drift=_ask_drift(before.get("drift")),
    )


def _ask_share(label: str, low: float, high: float, value: float, *, key: str, help: str) -> float:
    return st.number_input(label, min_value=low, max_value=high, value=float(value), step=0.05, key=key, help=help)


def _ask_drift(last: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Kind, shape and size of the drift."""
    from core.data.synthetic import DRIFT_KINDS, DRIFT_SHAPES

    kind = st.selectbox(
        "Drift",
        [*([KEPT] if last else []), NONE, *DRIFT_KINDS],
        format_func=lambda k: k.replace("_", " "),
        key="g-kind",
    )
    shape = st.selectbox("Shape", list(DRIFT_SHAPES), key="g-shape")
    size = st.number_input("Size", min_value=0.0, max_value=10.0, value=1.0, step=0.25, key="g-size", help=STRENGTH)
    return asked_drift(kind, shape, size, last)


def asked_drift(kind: str, shape: str, size: float, last: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The drift that a choice means, as the generator takes it: None leaves it unchanged."""
    if kind == KEPT or (kind == NONE and not last):
        return None
    if kind == NONE:
        assert last is not None
        return {"kind": last["kind"], "size": 0.0}  # left out, it would stay unchanged
    return {"kind": kind, "shape": shape, "size": size}


def _generate(ctx: ui.Context, project: ProjectInfo | None, name: str, wanted: Wanted) -> None:
    """Store the rows and go to them; a project created for rows that cannot be stored is deleted again."""
    made = project
    try:
        with ui.at_work(f"Generating {ui.counted(wanted.rows, 'row')}") as status:
            if made is None:
                generator = {"features": wanted.features}
                made = projects.create_project(
                    ctx.ws, name, projects.Origin(source="generator", generator=generator), by=ctx.actor, now=ctx.now
                )
            report = _store(ctx, made, wanted)
            status.update(label=f"Stored as batch {report.batch.number}", state="complete")
    except ContinualError as error:
        ui.error_box(error)
        if project is None and made is not None:
            projects.delete_project(ctx.ws, made, by=ctx.actor, now=ctx.now)
        return
    ui.toast_next(
        f"{ui.counted(report.rows, 'row')} generated as batch {report.batch.number}.", icon=":material/check_circle:"
    )
    open_project(made.slug)


def _store(ctx: ui.Context, project: ProjectInfo, wanted: Wanted) -> ingest.IngestReport:
    return generated.generate(
        ctx.ws,
        project,
        rows=wanted.rows,
        features=wanted.features,
        seed=wanted.seed,
        noise=wanted.noise,
        balance=wanted.balance,
        drift=wanted.drift,
        by=ctx.actor,
        now=ctx.now,
    )
