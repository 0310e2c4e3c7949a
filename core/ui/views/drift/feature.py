"""One feature: its two distributions, and every test of it."""

from __future__ import annotations

import streamlit as st

from core import plots, ui, words
from core.drift.distribution import feature_finding
from core.records import DriftScore
from core.services.monitoring import compared
from core.ui.views.drift.reading import Seen


def show(ctx: ui.Context, seen: Seen, score: DriftScore) -> None:
    """The selected feature in both windows."""
    found = compared.distribution_of(seen.project, score, seen.rows())
    finding = feature_finding(score, found)
    with ui.card(
        words.plain(finding),
        "Share of rows · grey: reference · blue: current" if found else words.plain(ui.sentence(score.reason)),
    ):
        if found is None:
            st.caption("There is no distribution to draw for it.")
            return
        ui.chart(plots.distribution_chart(found, colors=ctx.colors, height=300), key="distribution", alt=finding)
        st.caption(words.plain(ui.sentence(score.reason)))
