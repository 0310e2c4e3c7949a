"""The ranked features; one of them is selected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from core import ui, words
from core.records import DriftReport, DriftScore, ProjectInfo
from core.ui.views.drift import lines
from core.ui.views.drift.lines import Line
from core.ui.views.drift.reading import Seen

LEFT_OUT = ("Importance", "Missing", "New")  # columns that are hidden where they are empty


def show(ctx: ui.Context, project: ProjectInfo, seen: Seen) -> DriftScore:
    """The features by what matters; returns the selected one."""
    report, table = seen.report, lines.shown(seen)
    order = "By effect times importance to the champion" if report.importance else "Largest effect first"
    with ui.card(_finding(report), f"{order} · select a row for details", key="features"):
        at = ui.pick(
            [{**line, "Since": words.wall(line["Since"], ctx.zone)} for line in table],  # type: ignore[arg-type]
            _columns(_top(table, project.policy.drift_gate)),
            key=f"features-{project.id}",
            alt=f"{len(table)} features with state, effect and trend",
            order=_shown_columns(table),
            height=356,
        )
    return report.ranked[min(at, len(report.ranked) - 1)]


def _finding(report: DriftReport) -> str:
    moved = len(report.drifted)
    steady = sum(s.judged and not s.drifted for s in report.ranked)
    if moved:
        return f"{words.counted(moved, 'feature')} drifted, {steady} steady"
    return f"All {steady} tested features are steady"


def _shown_columns(table: Sequence[Line]) -> list[str]:
    return [name for name in _columns(1.0) if name not in LEFT_OUT or any(line[name] for line in table)]


def _top(table: Sequence[Any], gate: float) -> float:
    """Height of the small trend charts, the same for all of them."""
    return max([*(effect for line in table for effect in line["Trend"]), gate * 1.5, 0.1])


def _columns(top: float) -> Mapping[str, object]:
    return {
        "Feature": st.column_config.TextColumn(width=95),
        "State": st.column_config.TextColumn(width=88),
        "Effect": st.column_config.ProgressColumn(
            format="%.2f", min_value=0.0, max_value=1.0, color="orange", width=90
        ),
        "Trend": st.column_config.LineChartColumn(y_min=0.0, y_max=top, width=80),
        "Importance": st.column_config.NumberColumn(
            format="%.3f", width=78, help="How much worse the champion predicts when the feature is shuffled"
        ),
        "Missing": st.column_config.NumberColumn(format="percent", width=62),
        "New": st.column_config.NumberColumn(
            format="percent", width=52, help="Rows in categories that the reference does not have"
        ),
        "Since": ui.moment(width=92),
    }
