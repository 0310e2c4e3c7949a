"""What is done about answers that should not be trusted, and how often that was."""

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
    """Each guard in a sentence, and the answers that they spoke about."""
    guards = guarding.guards_of(ctx.ws, project)
    since = ctx.now - timedelta(days=HIT_DAYS - 1)
    hits = guarding.guard_hits(ctx.ws, project.id, since=since.replace(hour=0, minute=0, second=0, microsecond=0))
    with ui.card(
        "Guards · " + " · ".join(f"{plots.GUARD_NAMES[kind]}: {getattr(guards, kind)}" for kind in KINDS),
        "They stand between the model and whoever asks; the model's own word is logged and measured all the same",
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
    instead = f"answered as {ui.plain(str(guards.override))}"
    done = {"off": "let pass", "warn": "told beside the answer", "abstain": "not answered", "override": instead}
    return [
        f"A category that the model has not seen is **{done[guards.unseen_category]}**.",
        f"A number more than {guards.range_margin:.0%} of the learnt range beyond it is **{done[guards.out_of_range]}**.",
        f"A probability below {guards.least_confidence:.0%} is **{done[guards.low_confidence]}**.",
    ]


def _show_hits(ctx: ui.Context, hits: Sequence[guarding.GuardHits]) -> None:
    if not hits:
        st.caption(f"No guard spoke about an answer of the last {HIT_DAYS} days.")
        return
    figure = plots.guard_hits(
        [(h.day, h.guard, h.n) for h in hits], colors=ctx.colors, until=ctx.now.date(), days=HIT_DAYS
    )
    alt = "; ".join(f"{h.day:%d %b}: {ui.counted(h.n, 'answer')} {plots.GUARD_NAMES[h.guard]}" for h in hits[-20:])
    ui.chart(figure, key="guard-hits", alt=alt)
    st.caption(f"Answers of the last {HIT_DAYS} days that each guard spoke about, by day (UTC)")
