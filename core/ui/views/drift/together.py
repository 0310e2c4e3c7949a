"""All features at once, predictions and labels, and what the champion leans on."""

from __future__ import annotations

import streamlit as st

from core import ui, words
from core.records import DriftReport
from core.ui.views.drift.lines import state_of

NAMED = 4  # features that tell the windows apart


def show(report: DriftReport) -> None:
    """What no single feature shows, a sentence each."""
    with ui.card("All features together", "What no single feature shows"):
        if report.multivariate is not None:
            st.markdown(_apart(report))
        if report.reconstruction is not None and report.reconstruction.reason:
            st.markdown(f"**Structure:** {words.plain(ui.sentence(report.reconstruction.reason))}.")
        if report.attribution is not None:
            st.markdown(f"**What the champion leans on:** {words.plain(ui.sentence(report.attribution.finding))}.")
        columns = {"Predictions": report.prediction, "Labels": report.label, "Residuals": report.residual}
        for name, score in columns.items():
            if score is not None:
                st.markdown(f"**{name}:** {state_of(score)}, {words.plain(ui.sentence(score.reason))}")
        if report.multivariate is None and report.prediction is None and report.label is None:
            st.caption("The check itself tells; between picked windows only single features are compared.")


def _apart(report: DriftReport) -> str:
    """Whether a model can tell the windows apart, and by which features."""
    found = report.multivariate
    assert found is not None
    can = "can be told apart" if found.drifted else "cannot be told apart"
    names = list(found.features)[:NAMED] if found.drifted and found.features else []
    carried = f"; carried by {words.plain(', '.join(names))}" if names else ""
    return f"**The windows {can}:** AUC {found.auc:.2f} (95 % interval {found.low:.2f}–{found.high:.2f}){carried}."
