"""Another stream, drift and policy: a new project that starts playing at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import streamlit as st

from core import ui
from core.data.synthetic import DRIFT_KINDS, DRIFT_SHAPES
from core.learning.policy import POLICIES
from core.records import ProjectInfo
from core.services.automation import live, workers
from core.services.projects import streams

STREAMS = {
    "insects": "Insects, six kinds (real)",
    "classes": "Generated, two classes",
    "values": "Generated, a value to predict",
}
NO_DRIFT, USUAL_DRIFT, USUAL_POLICY = "none", 4, "balanced"
DRIFTS = {
    NO_DRIFT: "No drift",
    "mean_shift": "Mean shift",
    "scale": "Scale change",
    "label_flip": "Label flip",
    "concept_rotation": "Concept rotation",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewStream:
    """The values of the form."""

    stream: str  # of STREAMS
    drift: str  # of DRIFTS
    shape: str
    size: float
    policy: str

    def name(self, now: datetime) -> str:
        """Name of the project: drift, policy and creation time."""
        at = f"{now:%d %b %H%M%S}"
        if self.stream in streams.TASKS:
            return f"{DRIFTS[self.drift]}, {self.shape}, {self.policy} {at}"
        return f"{STREAMS[self.stream]}, {self.policy} {at}"


def show_folded(ctx: ui.Context) -> None:
    """The form below a run."""
    with st.expander("Another stream, drift or policy", icon=":material/tune:"):
        show(ctx)


def show(ctx: ui.Context) -> None:
    """The form; once submitted, the project is created, plays and is selected."""
    with st.form("another", border=False), ui.grid(columns=3):
        new = _fields()
        sent = ui.submit(ctx, "Create and play", icon=":material/play_circle:")
    if not sent:
        return
    made = ui.attempt(lambda: _create(ctx, new), doing="Creating the project", done=lambda _: "Ready")
    if made is not None:
        workers.ensure_worker_runs(ctx.ws, ctx.now)
        ui.choose_project(made.slug)
        st.rerun()


def _fields() -> NewStream:
    stream = st.selectbox("Stream", list(STREAMS), format_func=STREAMS.__getitem__, key="n-stream")
    drift = st.selectbox(
        "Drift",
        [NO_DRIFT, *DRIFT_KINDS],
        index=USUAL_DRIFT,
        format_func=DRIFTS.__getitem__,
        key="n-drift",
        help="For generated streams only; the sample has its own, real drift.",
    )
    shape = st.selectbox("Shape", list(DRIFT_SHAPES), format_func=str.capitalize, key="n-shape")
    size = st.slider(
        "Size",
        0.1,
        3.0,
        1.0,
        0.1,
        key="n-size",
        help="Mean shift: standard deviations. Scale: factor minus 1. Label flip: share of labels, at most 1. Concept rotation: multiples of 90°.",
    )
    policies = list(POLICIES)
    policy = st.selectbox("Policy", policies, index=policies.index(USUAL_POLICY), key="n-policy")
    return NewStream(stream=stream, drift=drift, shape=shape, size=size, policy=policy)


def _create(ctx: ui.Context, new: NewStream) -> ProjectInfo:
    now = ctx.now
    drift = None if new.drift == NO_DRIFT else new.drift
    described = streams.described(new.stream, drift, new.shape, new.size)
    name = new.name(now)
    project = streams.create_stream_project(ctx.ws, described, name=name, policy=new.policy, by=ctx.actor, now=now)
    live.start_live(ctx.ws, project, by=ctx.actor, now=now)
    return project
