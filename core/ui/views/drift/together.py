"""All features at once, predictions and labels, and the champion's feature importance."""

from __future__ import annotations

import streamlit as st

from core import ui, words
from core.records import DriftReport
from core.ui.views.drift.lines import state_of

NAMED = 4  # features that separate the windows


def show(report: DriftReport) -> None:
    """What no single feature shows, a sentence each."""
    with ui.card("All features together", "What no single feature shows"):
        if report.multivariate is not None:
            st.markdown(_distinguishable(report))
        if report.reconstruction is not None and report.reconstruction.reason:
            st.markdown(f"**Structure:** {words.plain(ui.sentence(report.reconstruction.reason))}.")
        if report.attribution is not None:
            st.markdown(f"**Feature importance:** {words.plain(ui.sentence(report.attribution.finding))}.")
        columns = {"Predictions": report.prediction, "Labels": report.label, "Residuals": report.residual}
        for name, score in columns.items():
            if score is not None:
                st.markdown(f"**{name}:** {state_of(score)}, {words.plain(ui.sentence(score.reason))}")
        if report.multivariate is None and report.prediction is None and report.label is None:
            st.caption("Shown for the last check only; between selected windows, only single features are compared.")


def _distinguishable(report: DriftReport) -> str:
    """Whether a model can distinguish the windows, and by which features."""
    classifier = report.multivariate
    assert classifier is not None
    are = "are distinguishable" if classifier.drifted else "are not distinguishable"
    names = list(classifier.features)[:NAMED] if classifier.drifted and classifier.features else []
    mainly = f"; mainly by {words.plain(', '.join(names))}" if names else ""
    return f"**The windows {are}:** AUC {classifier.auc:.2f} (95 % interval {classifier.low:.2f}–{classifier.high:.2f}){mainly}."
