"""Is all well? One sentence: state, figure, and its basis."""

from __future__ import annotations

import streamlit as st

from core import ui, words
from core.records import ProjectInfo
from core.services.monitoring.overview import Overview
from core.text import vocabulary


def show(project: ProjectInfo, seen: Overview) -> None:
    """The sentence, and the link to the details."""
    policy = project.policy
    state, score_text = ui.score_state(seen.score, policy.threshold, policy.metric, least=policy.min_rows)
    sentence = (
        _no_model(project) if seen.champion is None else f"{score_text}{_drift(project, seen)}{_who_serves(seen)}"
    )
    with ui.summary(state, sentence):
        st.page_link(ui.page_path("performance"), label="Details", icon=":material/arrow_forward:")


def _no_model(project: ProjectInfo) -> str:
    todo = "The first race starts with the next check." if project.labelled else "Store labelled rows first."
    return f"**No model is serving yet.** {todo}"


def _drift(project: ProjectInfo, seen: Overview) -> str:
    """How many features have drifted; nothing where none has."""
    drift = seen.drift
    if drift is None or not drift.drifted:
        return ""
    n = len(drift.drifted)
    have = "has" if n == 1 else "have"
    features = words.counted(len(drift.scores), "feature")
    return f" {n:,} of {features} {have} drifted from the training rows of v{project.champion}."


def _who_serves(seen: Overview) -> str:
    """Which version serves since the last check, where that changed."""
    last = seen.last_cycle
    change = vocabulary.outcome(last.outcome).champion if last is not None else ""
    return f" v{last.champion_after} {change} by the last check." if last is not None and change else ""
