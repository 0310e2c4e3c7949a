"""Which feature changed, how, since when, and does it matter?"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import streamlit as st

from core import plots, ui, words
from core.drift import distribution as distributions
from core.drift.univariate import headline
from core.records import DriftReport, DriftScore, ProjectInfo
from core.services import monitoring

STATES = {True: "▲ Drifted", False: "✓ Steady", None: "? Not judged"}
WINDOWS = {"Last check": 1, "Last 10": 10, "Last 50": 50, "All": 500}


@st.cache_data(ttl=600, max_entries=32, show_spinner=False)
def windows(project_id: int, cycle_id: int | None, batches: int) -> Any:
    """Reference and current rows of the newest check; read again only after another one."""
    from core.services import projects

    ws = ui.workspace()
    return monitoring.drift_windows(ws, projects.project_by_id(ws, project_id))


def show_verdict(project: ProjectInfo, report: DriftReport, history: list[Any]) -> None:
    """The finding over all features."""
    share = report.share_drifted
    state = "unknown" if share is None else "drifted" if report.drifted else "well"
    limit = project.policy.drift_share
    rule = f" The policy races at {words.share(limit)} of the features; a change counts from a distance of {project.policy.drift_gate:g}."
    with ui.verdict(state, f"**{words.plain(headline(report))}**{rule}", word="Steady" if state == "well" else None):
        ui.download_table("Every feature as CSV", f"{project.slug}-drift.csv", table_rows(report, history, plain=True))
        ui.download_json("This report as JSON", f"{project.slug}-drift.json", report)


def table_rows(
    report: DriftReport, history: list[tuple[datetime, int | None, DriftReport]], *, plain: bool = False
) -> list[dict[str, Any]]:
    """The features, furthest first, with their course over the checks."""
    courses: dict[str, list[float]] = {}
    since: dict[str, datetime | None] = {}
    for at, _, past in history:
        for s in past.scores:
            courses.setdefault(s.name, []).append(s.effect or 0.0)
            since[s.name] = (since.get(s.name) or at) if s.drifted else None
    rows = []
    for s in ranked(report):
        row: dict[str, Any] = {
            "Feature": s.name,
            "State": STATES[s.drifted if s.judged else None],
            "Effect": s.effect,
            "Course": courses.get(s.name, [])[-40:],
            "Missing": s.miss_rate_current,
            "Since": since.get(s.name),
        }
        if plain:
            del row["Course"]
            row |= {
                "Test": s.test,
                "Statistic": s.statistic,
                "p": s.p_value,
                "Missing before": s.miss_rate_reference,
                "Reason": s.reason,
            }
        rows.append(row)
    return rows


def ranked(report: DriftReport) -> list[DriftScore]:
    """Drifted features first, each group by effect."""
    return sorted(report.scores, key=lambda s: (not s.drifted, not s.judged, -(s.effect or 0.0), s.name))


def show_table(ctx: ui.Context, project: ProjectInfo, report: DriftReport, history: list[Any]) -> DriftScore:
    """The ranked features; returns the selected one."""
    scores = ranked(report)
    rows = table_rows(report, history)
    if not any(row["Missing"] for row in rows):
        rows = [{name: value for name, value in row.items() if name != "Missing"} for row in rows]
    for row in rows:
        row["Since"] = words.wall(row["Since"], ctx.zone) if row["Since"] else None
    top = max([*(v for row in rows for v in row["Course"]), project.policy.drift_gate * 1.5, 0.1])
    steady = sum(s.judged and not s.drifted for s in scores)
    n = len(report.drifted)
    found = f"{words.counted(n, 'feature')} moved, {steady} steady" if n else f"All {steady} judged features are steady"
    with ui.card(
        found, f"Furthest first · gate {project.policy.drift_gate:g} · select a row to see it", key="features"
    ):
        chosen = st.dataframe(
            rows,
            hide_index=True,
            row_height=32,
            height=356,
            placeholder=words.ABSENT,
            on_select="rerun",
            selection_mode="single-row-required",
            selection_default={"selection": {"rows": [0]}},
            key=f"features-{project.id}",
            column_config={
                "Feature": st.column_config.TextColumn(width=95),
                "State": st.column_config.TextColumn(width=88),
                "Effect": st.column_config.ProgressColumn(
                    format="%.2f", min_value=0.0, max_value=1.0, color="orange", width=110
                ),
                "Course": st.column_config.LineChartColumn(y_min=0.0, y_max=top, width=85),
                "Missing": st.column_config.NumberColumn(format="percent", width=62),
                "Since": st.column_config.DatetimeColumn(format="D MMM, HH:mm", width=98),
            },
        )
    at = (chosen["selection"]["rows"] or [0])[0]
    return scores[min(at, len(scores) - 1)]


def show_feature(ctx: ui.Context, project: ProjectInfo, score: DriftScore, frames: Any) -> None:
    """Two distributions of one feature."""
    feature = next((f for f in project.schema.features if f.name == score.name), None) if project.schema else None
    found = None
    if frames is not None and feature is not None and score.judged:
        try:
            found = distributions.distribution(frames[0][score.name], frames[1][score.name], feature)
        except ValueError:
            found = None
    with ui.card(
        words.plain(distributions.feature_finding(score, found)),
        "Share of rows · grey: what the champion learnt from · blue: newest rows"
        if found
        else words.plain(score.reason),
    ):
        if found is None:
            st.caption("There is no distribution to draw for it.")
            return
        ui.chart(
            plots.distribution_chart(found, colors=ctx.colors, height=330),
            key="distribution",
            alt=distributions.feature_finding(score, found),
        )
        st.caption(words.plain(score.reason))


def show_course(ctx: ui.Context, project: ProjectInfo, history: list[Any]) -> None:
    """Effects over the checks."""
    series = plots.effect_series([(at, report) for at, _, report in history])
    drifted = [s.name for s in series if s.drifted]
    finding = (
        f"{words.counted(len(drifted), 'feature')} above the gate at the end"
        if drifted
        else "Every feature is below the gate at the end"
    )
    with ui.card(
        finding,
        "Effect (distance to what the champion learnt from) per check · the reference moves with each new champion",
    ):
        if not any(v is not None for s in series for v in s.effects):
            st.caption("No feature could be judged yet.")
            return
        figure = plots.effect_over_time(
            series,
            project.policy.drift_gate,
            ui.charted(monitoring.events(ctx.ws, project.id)),
            colors=ctx.colors,
            zone=ctx.timezone,
        )
        ui.chart(figure, key="course", alt=f"{len(history)} checks; {finding}")


def show_where(ctx: ui.Context, project: ProjectInfo) -> None:
    """Where the newest labelled rows go wrong."""
    from core.performance.segments import worst_slices

    judged = monitoring.labelled_with_predictions(ctx.ws, project, n=2_000)
    with ui.card("Where it hurts", "Segments with the weakest score among the newest labelled rows"):
        if judged is None or project.schema is None:
            st.caption("No labelled row with a prediction yet.")
            return
        regression = project.schema.task == "regression"
        merit = abs(judged.y_true.astype(float) - judged.y_pred) if regression else judged.y_true == judged.y_pred
        found = worst_slices(judged.X, merit, project.schema, max_slices=6)
        if not found:
            st.caption("No segment of 50 rows or more stands out.")
            return
        st.dataframe(
            [
                {
                    "Segment": s.name,
                    "Rows": s.n,
                    "Score": s.score,
                    "Against all": s.difference * (1 if regression else 100),
                }
                for s in found
            ],
            hide_index=True,
            row_height=32,
            column_config={
                "Segment": st.column_config.TextColumn(width=120),
                "Score": st.column_config.NumberColumn(format="%.3f", width=58),
                "Rows": st.column_config.NumberColumn(format="localized", width=50),
                "Against all": st.column_config.NumberColumn(
                    format="%+.1f", width=70, help="Points of a hundred; for regression the mean error"
                ),
            },
        )
        st.page_link(ui.page_path("train"), label="Race on the newest rows", icon=":material/model_training:")


def show(ctx: ui.Context) -> None:
    """The page itself."""
    project = ctx.project
    if project is None:
        with ui.head_row("Drift"):
            pass
        ui.no_project()
        return
    full = monitoring.drift_history(ctx.ws, project.id)
    caption = (
        f"{words.plain(full[-1][2].current.description)} against {words.plain(full[-1][2].reference.description)}"
        if full
        else words.plain(project.name)
    )
    with ui.head_row("Drift", caption):
        chosen = (
            st.segmented_control(
                "Checks",
                list(WINDOWS),
                default="Last 50",
                required=True,
                key="window",
                bind="query-params",
                label_visibility="collapsed",
            )
            if full
            else None
        )
    if not full:
        if project.champion is None:
            ui.empty(
                "No drift check yet.",
                "It begins with the first champion: rows are compared with those it learnt from.",
                page="train",
                action="Train one",
            )
        else:
            ui.empty(
                "No drift check yet.",
                "It comes with the next batch of rows.",
                page="live" if project.source == "sample" else "data",
                action="Bring rows",
            )
        return
    history = full[-WINDOWS[chosen or "Last 50"] :]
    report = history[-1][2]
    show_verdict(project, report, full)
    left, right = st.columns((1.5, 1))
    with left:
        score = show_table(ctx, project, report, full)
    with right:
        show_feature(ctx, project, score, windows(project.id, history[-1][1], project.rows))
    left, right = st.columns((1.7, 1))
    with left:
        show_course(ctx, project, history)
    with right:
        show_where(ctx, project)


show(ui.start_page("Drift", choose_project=True))
