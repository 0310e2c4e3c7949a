"""Is it well? One sentence: state, figure, what it rests on."""

from __future__ import annotations

import streamlit as st

from core import ui, words
from core.records import ProjectInfo
from core.services.monitoring.overview import Overview
from core.text import vocabulary


def show(project: ProjectInfo, seen: Overview) -> None:
    """The sentence, and the way to the details."""
    policy = project.policy
    state, standing = ui.standing(seen.score, policy.threshold, policy.metric, least=policy.min_rows)
    sentence = _no_model(project) if seen.champion is None else f"{standing}{_drift(project, seen)}{_who_serves(seen)}"
    with ui.verdict(state, sentence):
        st.page_link(ui.page_path("performance"), label="Details", icon=":material/arrow_forward:")


def _no_model(project: ProjectInfo) -> str:
    todo = "The first race starts with the next check." if project.labelled else "Store labelled rows first."
    return f"**No model serves yet.** {todo}"


def _drift(project: ProjectInfo, seen: Overview) -> str:
    """How many features have moved; nothing where none has."""
    drift = seen.drift
    if drift is None or not drift.drifted:
        return ""
    n = len(drift.drifted)
    have = "has" if n == 1 else "have"
    return f" {words.counted(n, 'feature')} of {len(drift.scores)} {have} drifted against what v{project.champion} learnt from."


def _who_serves(seen: Overview) -> str:
    """Who serves by the last check, where that is news."""
    last = seen.last_cycle
    done = vocabulary.outcome(last.outcome).champion if last is not None else ""
    return f" v{last.champion_after} {done} by the last check." if last is not None and done else ""
