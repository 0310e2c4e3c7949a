"""What is done about predictions that should not be trusted, and how often that happened."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import streamlit as st

from core import plots, ui
from core.records import ProjectInfo
from core.services.serving import guarding
from core.services.serving.guards import KINDS, Guards
from core.ui.views.automation import guards_editor

HIT_DAYS = 30


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """Each guard in a sentence, and the predictions that triggered it."""
    guards = guarding.guards_of(ctx.ws, project)
    since = ctx.now - timedelta(days=HIT_DAYS - 1)
    hits = guarding.guard_hits(ctx.ws, project.id, since=since.replace(hour=0, minute=0, second=0, microsecond=0))
    with ui.card(
        "Guards · " + " · ".join(f"{plots.GUARD_NAMES[kind]}: {getattr(guards, kind)}" for kind in KINDS),
        "They act between the model and the caller; the model's own prediction is still logged and measured",
    ):
        left, right = st.columns([1, 1.2])
        with left:
            st.markdown("\n".join(f"- {line}" for line in _sentences(guards)))
            if ui.button(ctx, "Edit the guards", icon=":material/shield:", key="guards-edit"):
                guards_editor.show(ctx, project)
        with right:
            _show_hits(ctx, hits)


def _sentences(guards: Guards) -> list[str]:
    """Each guard in a sentence."""
    replaced = f"replaced by {ui.plain(str(guards.override))}"
    effect = {
        "off": "returned as usual",
        "warn": "returned with a warning",
        "abstain": "withheld",
        "override": replaced,
    }
    return [
        f"With a category that the model has not seen, the prediction is **{effect[guards.unseen_category]}**.",
        f"With a number outside the training range by more than {guards.range_margin:.0%} of its width, the prediction is **{effect[guards.out_of_range]}**.",
        f"With a probability below {guards.least_confidence:.0%}, the prediction is **{effect[guards.low_confidence]}**.",
    ]


def _show_hits(ctx: ui.Context, hits: Sequence[guarding.GuardHits]) -> None:
    if not hits:
        st.caption(f"No guard was triggered in the last {HIT_DAYS} days.")
        return
    figure = plots.guard_hits(
        [(h.day, h.guard, h.n) for h in hits], colors=ctx.colors, until=ctx.now.date(), days=HIT_DAYS
    )
    alt = "; ".join(f"{h.day:%d %b}: {ui.counted(h.n, 'prediction')} {plots.GUARD_NAMES[h.guard]}" for h in hits[-20:])
    ui.chart(figure, key="guard-hits", alt=alt)
    st.caption(f"Predictions of the last {HIT_DAYS} days that triggered each guard, by day (UTC)")
