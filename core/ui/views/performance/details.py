"""Weakest slices, confusion and calibration of the window's labelled rows."""

from __future__ import annotations

import streamlit as st

from core import plots, ui, words
from core.performance.calibration import Calibration
from core.performance.confusion import Confusion
from core.performance.segments import slices_finding
from core.records import ProjectInfo
from core.services.monitoring.window_report import WindowReport


def show(ctx: ui.Context, project: ProjectInfo, window: WindowReport) -> None:
    """Side by side; for regression the slices alone."""
    rows = f"the newest {words.counted(window.report.n, 'labelled row')}"
    regression = project.task == "regression"
    cells = st.columns(1 if regression else 3)
    with cells[0]:
        _show_slices(ctx, window, is_error=regression)
    if regression or window.confusion is None:
        return
    with cells[1]:
        _show_confusion(ctx, window.confusion, rows)
    with cells[2]:
        _show_calibration(ctx, window.calibration, rows)


def _show_slices(ctx: ui.Context, window: WindowReport, *, is_error: bool) -> None:
    slices = window.slices
    finding = slices_finding(slices, metric_label="mean error" if is_error else "accuracy")
    tried = f" among {slices[0].tried:,} segments" if slices else ""
    with ui.card(
        words.plain(finding),
        f"Found automatically{tried} in the newest {window.sliced:,} rows · 95 % intervals",
    ):
        if slices:
            figure = plots.slices(slices, colors=ctx.colors, lower_is_better=is_error)
            ui.chart(figure, key="slices", alt=finding)
        else:
            st.caption("No segment of 50 rows or more is weaker than the rest. Choose a longer window to see more.")


def _show_confusion(ctx: ui.Context, table: Confusion, rows: str) -> None:
    with ui.card(words.plain(table.finding), f"Share of each actual class · rows · {rows}"):
        ui.chart(plots.confusion_matrix(table, colors=ctx.colors), key="confusion", alt=table.finding)


def _show_calibration(ctx: ui.Context, curve: Calibration | None, rows: str) -> None:
    if curve is None:
        with ui.card("No probabilities", "This model gives no probabilities"):
            st.caption("Calibration needs probabilities.")
        return
    with ui.card(
        words.plain(curve.finding),
        f"Predicted probability against observed frequency · calibration error {words.number(curve.error)}, "
        f"95 % interval {words.number(curve.low)}{words.DASH}{words.number(curve.high)} · {rows}",
    ):
        ui.chart(plots.calibration_curve(curve, colors=ctx.colors), key="calibration", alt=curve.finding)
