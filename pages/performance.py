"""How good is it, how sure are we, and where is it bad?"""

from __future__ import annotations

from typing import Any

import streamlit as st

from core import plots, ui, words
from core.performance import segments
from core.performance.realised import metrics_of
from core.records import ProjectInfo
from core.services import ingest, monitoring

SHOWN_METRICS = {
    "regression": ("r2", "mae", "rmse"),
    "binary": ("accuracy", "kappa", "macro_f1", "roc_auc", "log_loss"),
    "multiclass": ("accuracy", "kappa", "macro_f1", "log_loss"),
}
ROWS = 2_000
SHOWN = 50  # measurements in the table


def show_verdict(ctx: ui.Context, project: ProjectInfo, history: list[Any], metric: str, due: int) -> None:
    """The newest measurement in a sentence."""
    newest = history[-1].scores.get(metric)
    rule = metric == project.policy.metric
    if rule:
        state, sentence = words.standing(newest, project.policy.threshold, metric, least=project.policy.min_rows)
    else:
        state = "unknown" if newest is None or newest.value is None else "well"
        sentence = f"**{words.metric_label(metric)} is {words.score(newest)}** on the newest labelled rows ({words.interval_text(newest)})."
    method = f" Interval: {newest.method}." if newest is not None and newest.method else ""
    served = (
        f" v{history[-1].model_version} answered them before their labels were known."
        if history[-1].model_version
        else ""
    )
    waiting = f" {words.counted(due, 'label')} still due." if due else ""
    with ui.verdict(
        state, sentence + served + method + waiting, word="Measured" if not rule and state == "well" else None
    ):
        ui.download_table(
            "Every measurement as CSV",
            f"{project.slug}-performance.csv",
            lambda: csv_rows(monitoring.performance_history(ctx.ws, project.id)),
        )


def csv_rows(history: list[Any]) -> list[dict[str, Any]]:
    """One row a measured batch with every metric and its interval."""
    rows = []
    for p in history:
        row: dict[str, Any] = {
            "at": p.at,
            "batch": p.batch_id,
            "cycle": p.cycle_id,
            "model_version": p.model_version,
            "rows_seen": p.rows_seen,
            "n": p.n,
        }
        for name, s in p.scores.items():
            row |= {name: s.value, f"{name}_low": s.low, f"{name}_high": s.high}
        rows.append(row)
    return rows


def show_chart(ctx: ui.Context, project: ProjectInfo, history: list[Any], metric: str) -> None:
    """The score's course with everything that happened to it."""
    points = ui.measured(ctx, metric)
    if all(p.value is None for p in points):
        ui.empty(
            f"{words.metric_label(metric)} could not be told.",
            words.plain(history[-1].scores[metric].reason if metric in history[-1].scores else ""),
        )
        return
    never = ui.measured(ctx, metric, role="never")
    events = ui.charted(monitoring.events(ctx.ws, project.id))
    threshold = project.policy.threshold if metric == project.policy.metric else None
    finding = plots.performance_finding(
        points,
        events,
        threshold,
        metric_label=words.metric_label(metric),
        higher_is_better=metric not in words.LOWER_IS_BETTER,
    )
    with ui.card(
        finding,
        f"{words.metric_label(metric)} per labelled batch · band: 95 % interval · dots: the first model, never retrained · ▲ promoted · ▼ rolled back · ◆ drift found · green ticks: refreshed",
    ):
        figure = plots.performance_over_time(
            ui.line(points),
            colors=ctx.colors,
            threshold=threshold,
            events=events,
            never=ui.line(never),
            metric_label=words.metric_label(metric),
            height=286,
            zone=ctx.timezone,
        )
        ui.chart(figure, key=f"course-{metric}", alt=ui.course_alt(points, metric))


def show_details(ctx: ui.Context, project: ProjectInfo) -> None:
    """Weakest slices, confusion and calibration of the newest labelled rows."""
    judged = monitoring.labelled_with_predictions(ctx.ws, project, n=ROWS)
    if judged is None or project.schema is None:
        return
    rows = f"the newest {words.counted(len(judged.y_true), 'labelled row')}"
    regression = project.schema.task == "regression"
    merit = abs(judged.y_true.astype(float) - judged.y_pred) if regression else judged.y_true == judged.y_pred
    cells = st.columns(1 if regression else 3)
    with cells[0]:
        found = segments.worst_slices(judged.X, merit, project.schema)
        label = "mean error" if regression else "accuracy"
        with ui.card(
            words.plain(segments.slices_finding(found, metric_label=label)),
            f"Found automatically in {rows} · 95 % intervals",
        ):
            if found:
                ui.chart(
                    plots.slices(found, colors=ctx.colors, lower_is_better=regression),
                    key="slices",
                    alt=segments.slices_finding(found, metric_label=label),
                )
            else:
                st.caption("No segment of 50 rows or more stands out.")
    if regression:
        return
    with cells[1]:
        table = segments.confusion(judged.y_true, judged.y_pred, project.schema.classes)
        with ui.card(words.plain(table.finding), f"Share of each actual class · rows · {rows}"):
            ui.chart(plots.confusion_matrix(table, colors=ctx.colors), key="confusion", alt=table.finding)
    with cells[2]:
        if judged.y_proba is None:
            with ui.card("No probabilities", "The model that answered gives none"):
                st.caption("Calibration needs them.")
            return
        curve = segments.calibration(judged.y_true, judged.y_proba, judged.classes)
        with ui.card(words.plain(curve.finding), f"Predicted probability against how often it was right · {rows}"):
            ui.chart(plots.calibration_curve(curve, colors=ctx.colors), key="calibration", alt=curve.finding)


def show_table(ctx: ui.Context, history: list[Any], metric: str) -> None:
    """The newest measurements as figures."""
    with ui.card("The measurements", "newest first; the download above holds all of them with every metric"):
        rows = [
            {
                "When": words.wall(p.at, ctx.zone),
                "Rows": p.n,
                "Model": f"v{p.model_version}" if p.model_version else "several",
                words.metric_label(metric): words.score(p.scores.get(metric)),
                "95 % interval": words.interval(p.scores.get(metric)),
                "Rows seen": p.rows_seen,
            }
            for p in reversed(history)
        ]
        st.dataframe(
            rows,
            hide_index=True,
            row_height=32,
            height=260,
            placeholder=words.ABSENT,
            column_config={
                "When": st.column_config.DatetimeColumn(format="D MMM, HH:mm:ss"),
                "Rows": st.column_config.NumberColumn(format="localized"),
                "Rows seen": st.column_config.NumberColumn(format="localized"),
            },
        )


def show(ctx: ui.Context) -> None:
    """The page itself."""
    project = ctx.project
    if project is None:
        with ui.head_row("Performance"):
            pass
        ui.no_project()
        return
    history = monitoring.performance_history(ctx.ws, project.id, limit=SHOWN)
    due = ingest.labels_due(ctx.ws, project.id)
    caption = f"{words.counted(project.labelled, 'labelled row')} · {words.counted(due, 'label')} due"
    with ui.head_row("Performance", caption):
        metric = project.policy.metric
        if history and project.task is not None:
            names = [m for m in SHOWN_METRICS[project.task] if m in metrics_of(project.task)]
            names = names if metric in names else [metric, *names]
            metric = st.segmented_control(
                "Metric",
                names,
                default=metric,
                required=True,
                key="metric",
                bind="query-params",
                format_func=words.metric_label,
                label_visibility="collapsed",
            )
    if not history:
        if project.champion is None:
            ui.empty(
                "No measurement yet.",
                "It begins with the first champion: each later batch is predicted before its labels are used.",
                page="train",
                action="Train one",
            )
        else:
            ui.empty(
                "No labels yet.",
                f"{words.metric_label(metric)} appears with the first labelled rows after the champion.",
                page="data",
                action="Upload labels",
            )
        return
    show_verdict(ctx, project, history, metric, due)
    show_chart(ctx, project, history, metric)
    show_details(ctx, project)
    show_table(ctx, history, metric)


show(ui.start_page("Performance", choose_project=True))
