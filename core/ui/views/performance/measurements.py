"""The measurements as figures: the newest in a table, all of them in a file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import streamlit as st

from core import ui, words
from core.records import EstimatePoint, ProjectInfo, Score
from core.services.monitoring import monitoring
from core.services.monitoring.monitoring import PerformancePoint
from core.ui.views.performance import estimate
from core.ui.views.performance.reading import Seen

SHOWN = 50
CLOSE = timedelta(hours=2)  # within it measurements are shown with seconds


def show(ctx: ui.Context, project: ProjectInfo, seen: Seen) -> None:
    """The newest measurements, newest first."""
    with ui.card("Measurements"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption("One per batch, newest first; the download has all of them with every metric", width="stretch")
            ui.download_table(
                "Every measurement and estimate as CSV",
                f"{project.slug}-performance.csv",
                lambda: csv_rows(ctx, project),
            )
        guessed: dict[int | None, Score | None] = {
            e.batch_id: e.estimates.get(seen.metric) for e in seen.guesses if e.batch_id is not None
        }
        shown = seen.history[-SHOWN:][::-1]
        ui.table(
            [_line(ctx, point, seen.metric, guessed.get(point.batch_id)) for point in shown],
            _columns(seen.metric, close=shown[0].at - shown[-1].at < CLOSE),
            alt=f"{len(shown)} measurements of {words.metric_label(seen.metric)}",
            height=260,
        )


def _line(ctx: ui.Context, point: PerformancePoint, metric: str, guess: Score | None) -> dict[str, object]:
    """One measurement as a line of the table."""
    return {
        "When": words.wall(point.at, ctx.zone),
        "Rows": point.n,
        "Model": f"v{point.model_version}" if point.model_version else "several",
        words.metric_label(metric): words.score(point.scores.get(metric)),
        "95 % interval": words.interval(point.scores.get(metric)),
        "Earlier estimate": estimate.cell(guess),
    }


def _columns(metric: str, *, close: bool) -> dict[str, object]:
    return {
        "When": st.column_config.DatetimeColumn(
            format="D MMM, HH:mm:ss" if close else "D MMM, HH:mm", width=122 if close else 98
        ),
        "Rows": ui.whole(width=52),
        "Model": st.column_config.TextColumn(width=56),
        words.metric_label(metric): st.column_config.TextColumn(width=104),
        "95 % interval": st.column_config.TextColumn(width=98),
        "Earlier estimate": st.column_config.TextColumn(
            width=130, help="Before the labels arrived, with its 95 % band"
        ),
    }


def csv_rows(ctx: ui.Context, project: ProjectInfo) -> list[dict[str, object]]:
    """One row per batch and kind: measured, estimated without labels, or the first model, never retrained."""
    points: list[tuple[str, PerformancePoint]] = [
        (kind, point)
        for kind, role in (("measured", "champion"), ("never retrained", "never"))
        for point in monitoring.performance_history(ctx.ws, project.id, role=role)
    ]
    rows = [(point.at, _csv_row(kind, point, point.scores)) for kind, point in points]
    for guess in monitoring.estimates(ctx.ws, project.id):
        trust = {f"{name}_trusted": grade.trusted for name, grade in guess.trust.items()}
        rows.append((guess.at, _csv_row("estimated", guess, guess.estimates) | trust))
    return [row for _, row in sorted(rows, key=lambda one: one[0])]


def _csv_row(kind: str, point: PerformancePoint | EstimatePoint, scores: Mapping[str, Score]) -> dict[str, object]:
    """Every metric of one batch with its interval."""
    row: dict[str, object] = {
        "kind": kind,
        "at": point.at,
        "batch": point.batch_id,
        "cycle": point.cycle_id,
        "model_version": point.model_version,
        "rows_seen": point.rows_seen,
        "n": point.n,
    }
    for name, score in scores.items():
        row |= {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}
    return row
