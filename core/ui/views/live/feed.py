"""The events: one line per cycle."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core import words
from core.records import SERVING, CycleReport
from core.text import vocabulary
from core.text.reasons import sentence


def show(reports: Sequence[CycleReport]) -> None:
    """The cycles, newest first."""
    st.markdown("\n\n".join(map(_line, reports)) if reports else "Waiting for the first cycle.")


def _line(report: CycleReport) -> str:
    """Score, outcome, and the reason."""
    score = report.evidence.score if report.evidence else None
    figure = f"{words.number(score)}" if score is not None else "first race"
    outcome = vocabulary.outcome(report.outcome)
    version = f" v{report.champion_after}" if report.outcome in SERVING else ""
    why = words.plain(sentence(report.verdict.reason if report.verdict else report.reason))
    return f"{outcome.sign} **{figure} · {outcome.inline}{version}**  \n:small[:gray[{why}]]"
