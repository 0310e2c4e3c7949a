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
    distribution = compared.distribution_of(seen.project, score, seen.rows())
    finding = feature_finding(score, distribution)
    with ui.card(
        words.plain(finding),
        "Share of rows · grey: reference · blue: current" if distribution else words.plain(ui.sentence(score.reason)),
    ):
        if distribution is None:
            st.caption("There is no distribution to draw.")
            return
        ui.chart(plots.distribution_chart(distribution, colors=ctx.colors, height=300), key="distribution", alt=finding)
        st.caption(words.plain(ui.sentence(score.reason)))
