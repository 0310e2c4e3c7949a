"""The finding over all features, with its basis and its downloads."""

from __future__ import annotations

import streamlit as st

from core import ui, words
from core.drift.univariate import headline
from core.records import DriftReport, ProjectInfo
from core.services.monitoring import compared, reports
from core.ui.views.drift import lines
from core.ui.views.drift.reading import Seen


def show(ctx: ui.Context, project: ProjectInfo, seen: Seen) -> None:
    """The windows, the sentence, the downloads and the rule."""
    report = seen.report
    st.caption(f"{words.plain(report.current.description)} against {words.plain(report.reference.description)}")
    state = _state(report)
    explanation = f" {words.plain(ui.sentence(report.explanation))}." if report.explanation else ""
    sentence = f"**{words.plain(headline(report))}**{explanation}"
    with (
        ui.summary(state, sentence, word="Steady" if state == "well" else None),
        st.popover("", icon=":material/download:", help="Download"),
    ):
        _offer_downloads(ctx, project, seen)
    st.caption(words.plain(reports.rule_in_words(project.policy)))


def _state(report: DriftReport) -> str:
    if report.share_drifted is None:
        return "unknown"
    return "drifted" if report.drifted else "well"


def _offer_downloads(ctx: ui.Context, project: ProjectInfo, seen: Seen) -> None:
    ui.download_table("CSV", f"{project.slug}-drift.csv", lines.whole(seen), label="Features as CSV")
    ui.download_json("JSON", f"{project.slug}-drift.json", seen.report, label="Report as JSON")
    ui.download_later(
        "HTML",
        f"{project.slug}-drift.html",
        lambda: compared.as_file(project, seen.report, seen.rows(), made_at=ctx.now),
        label="Report as one HTML file",
    )
