"""How good is it, how sure are we, and where is it bad?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import streamlit as st

from core import plots, ui, words
from core.performance import segments
from core.performance.realised import measure, past_error
from core.records import EstimatePoint, ProjectInfo, Score, metrics_of
from core.services.ingestion import stored_batches
from core.services.monitoring import label_arrival, monitoring
from core.text import vocabulary

WINDOWS = {"1": "Last batch", "5": "Last 5", "20": "Last 20"}
USUAL_WINDOW = "5"
MOST_ROWS = 20_000  # of a window
SLICED_ROWS = 5_000  # newest rows of a window in which slices are looked for
SHOWN = 50  # measurements in the table


# --- what is chosen and read --------------------------------------------------------------------------------------


@st.cache_data(ttl=600, max_entries=32, show_spinner=False)
def windowed(home: str, project_id: int, n: int, newest: tuple[Any, ...]) -> dict[str, Any] | None:
    """What the newest n labelled rows say; read again only after another measurement."""
    from core.services.projects import projects

    ws = ui.workspace()
    project = projects.project_by_id(ws, project_id)
    judged = monitoring.labelled_with_predictions(ws, project, n=n)
    if judged is None or project.schema is None or project.task is None:
        return None
    regression = project.task == "regression"
    y_true = judged.y_true.astype(float) if regression else judged.y_true
    merit = abs(y_true - judged.y_pred) if regression else y_true == judged.y_pred
    found: dict[str, Any] = {
        "first_at": judged.times.min().to_pydatetime(),
        "last_at": judged.times.max().to_pydatetime(),
        "report": measure(project.task, y_true, judged.y_pred, judged.y_proba, judged.classes or None, ordered=True),
        "sliced": min(len(y_true), SLICED_ROWS),
        "slices": segments.worst_slices(
            judged.X.iloc[-SLICED_ROWS:].reset_index(drop=True), merit[-SLICED_ROWS:], project.schema
        ),
    }
    if not regression:
        found["confusion"] = segments.confusion(y_true, judged.y_pred, project.schema.classes)
        if judged.y_proba is not None:
            found["calibration"] = segments.calibration(y_true, judged.y_proba, judged.classes)
    return found


# Kept as they are and never changed: copying thousands of measurements at each click takes longer than all the rest.
@st.cache_resource(ttl=600, max_entries=32, show_spinner=False)
def measured(home: str, project_id: int, role: str, newest: tuple[Any, ...]) -> list[Any]:
    """One measurement a batch; read again only after another one is stored."""
    from core.services.projects import projects

    ws = ui.workspace()
    return label_arrival.measured_by_batch(ws, projects.project_by_id(ws, project_id), role=role)


@st.cache_resource(ttl=600, max_entries=32, show_spinner=False)
def estimated(home: str, project_id: int, newest: tuple[Any, ...]) -> list[EstimatePoint]:
    """The estimates with their grades; read again only after another measurement or other rows."""
    return monitoring.estimates(ui.workspace(), project_id)


@st.cache_data(ttl=60, max_entries=32, show_spinner=False)
def arrived(home: str, project_id: int, rows: int, labelled: int, due: int, zone: str) -> label_arrival.Arrival:
    """How labels arrive; read again after other rows or labels, and each minute, since waiting goes on."""
    from datetime import UTC, datetime
    from zoneinfo import ZoneInfo

    from core.services.projects import projects

    ws = ui.workspace()
    return label_arrival.arrival(ws, projects.project_by_id(ws, project_id), now=datetime.now(UTC), zone=ZoneInfo(zone))


# --- the parts of the page ----------------------------------------------------------------------------------------


def show_verdict(
    ctx: ui.Context, project: ProjectInfo, history: list[Any], metric: str, window: str, found: dict[str, Any] | None,
    guesses: list[EstimatePoint], due: int,
) -> None:  # fmt: skip
    """The window's score in a sentence, and what was estimated without labels in another."""
    recent = history[-int(window) :]
    score = found["report"].scores.get(metric) if found else history[-1].scores.get(metric)
    rule = metric == project.policy.metric
    if rule:
        state, sentence = words.standing(score, project.policy.threshold, metric, least=project.policy.min_rows)
    else:
        state = "unknown" if score is None or score.value is None else "well"
        sentence = f"**{words.metric_label(metric)} is {words.score(score)}** on the newest labelled rows ({words.interval_text(score)})."
    method = f" Interval: {score.method}." if score is not None and score.method else ""
    newest = history[-1].scores.get(metric)
    alone = (
        f" The newest batch alone: {words.score(newest)} (n = {history[-1].n:,})."
        if len(recent) > 1 and newest is not None and newest.value is not None
        else ""
    )
    waiting = f" {words.counted(due, 'label')} still due." if due else ""
    text = sentence + served_by(recent) + method + alone + waiting
    if guess := estimate_text(guesses, metric):
        text += f"\n\n{guess}"
    with ui.verdict(state, text, word="Measured" if not rule and state == "well" else None):
        if found:
            ui.download_json(
                f"{WINDOWS[window]} as JSON",
                f"{project.slug}-performance-{window}.json",
                document(project, found, guesses[-int(window) :], due),
            )


def served_by(recent: list[Any]) -> str:
    """Which versions answered the window's rows."""
    versions = sorted({p.model_version for p in recent if p.model_version})
    if not versions:
        return ""
    who = f"v{versions[0]}" if len(versions) == 1 else f"v{versions[0]} to v{versions[-1]}"
    return f" {who} answered them before their labels were known."


def estimate_text(guesses: list[EstimatePoint], metric: str) -> str:
    """What the newest batch was estimated to score, how far such estimates were off, and whether they are trusted."""
    if not guesses:
        return ""
    newest = guesses[-1]
    guess = newest.estimates.get(metric)
    if guess is None:
        return f"{words.metric_label(metric)} is not estimated without labels."
    if guess.value is None:
        return f"Not estimated without labels: {words.plain(guess.reason.rstrip('.'))}."
    band = f" (95{words.THIN}% band {words.interval(guess)})" if words.interval(guess) else ""
    said = f":violet[**estimated {words.score(guess)}**]{band}"
    if metric in newest.realised:
        told = (
            f"Before its labels came, the newest batch was {said}; they said {words.number(newest.realised[metric])}."
        )
    elif newest.realised:
        told = f"Before its labels came, the newest batch was {said}; those labels alone cannot tell it."
    else:
        told = f"Without labels so far, the newest {words.counted(newest.n, 'row')} are {said}."
    error = past_error(guesses, metric)
    if error.value is not None:
        told += f" Such estimates were off by {words.score(error)} on average over {words.counted(error.n, 'batch', 'batches')}."
    grade = newest.trust.get(metric) or {}
    if grade.get("trusted") is False:
        why = grade.get("reason", "").removeprefix("Not trusted: ").rstrip(".")
        return f"{told} **Not trusted:** {words.plain(why)}."
    return told if grade.get("trusted") else f"{told} Labels have not graded it yet."


def csv_rows(ctx: ui.Context, project: ProjectInfo) -> list[dict[str, Any]]:
    """One row a batch and kind: measured, estimated without labels, or the first model, never retrained."""
    rows = []
    for kind, role in (("measured", "champion"), ("never retrained", "never")):
        for p in monitoring.performance_history(ctx.ws, project.id, role=role):
            rows.append(csv_row(kind, p, p.scores))
    for e in monitoring.estimates(ctx.ws, project.id):
        trust = {f"{name}_trusted": grade.get("trusted") for name, grade in e.trust.items()}
        rows.append(csv_row("estimated", e, e.estimates) | trust)
    return sorted(rows, key=lambda row: row["at"])


def csv_row(kind: str, point: Any, scores: dict[str, Score]) -> dict[str, Any]:
    """Every metric of one batch with its interval."""
    row: dict[str, Any] = {
        "kind": kind,
        "at": point.at,
        "batch": point.batch_id,
        "cycle": point.cycle_id,
        "model_version": point.model_version,
        "rows_seen": point.rows_seen,
        "n": point.n,
    }
    for name, s in scores.items():
        row |= {name: s.value, f"{name}_low": s.low, f"{name}_high": s.high}
    return row


def document(project: ProjectInfo, found: dict[str, Any], guesses: list[EstimatePoint], due: int) -> dict[str, Any]:
    """The window's report as it is downloaded."""
    return {
        "project": project.slug,
        "labels_due": due,
        "threshold": {project.policy.metric: project.policy.threshold},
        "estimated": guesses,
        **found,
    }


def show_chart(
    ctx: ui.Context,
    project: ProjectInfo,
    history: list[Any],
    never: list[Any],
    metric: str,
    guesses: list[EstimatePoint],
) -> None:
    """The score's course with everything that happened to it."""
    points = plots.points_of(history, metric)
    if all(p.value is None for p in points):
        told = history[-1].scores.get(metric)
        ui.empty(
            f"{words.metric_label(metric)} has no course yet.",
            words.plain(told.reason) if told else "It is measured from the next labelled batch on.",
        )
        return
    events = monitoring.events(ctx.ws, project.id)
    threshold = project.policy.threshold if metric == project.policy.metric else None
    finding = plots.performance_finding(
        points,
        events,
        threshold,
        metric=metric,
    )
    guessed = plots.estimated_points(guesses, metric)
    first = plots.points_of(never, metric)
    if 2 * sum(p.value is not None for p in first) < len(first):
        first = []  # labels that came in portions leave too little of it for a line
    caption = [f"{words.metric_label(metric)} per labelled batch", "band: 95 % interval"]
    if any(p.value is not None for p in guessed):
        caption.append(":violet[dashed: estimated without labels]")
    if first:
        caption.append("dots: the first model, never retrained")
    caption += vocabulary.legend(e.kind for e in events)
    with ui.card(finding, " · ".join(caption)):
        figure = plots.performance_over_time(
            plots.light(ui.line(points)),
            colors=ctx.colors,
            threshold=threshold,
            events=events,
            estimated=plots.light(ui.line(guessed)),
            never=plots.light(ui.line(first)),
            metric_label=words.metric_label(metric),
            height=286,
            zone=ctx.timezone,
        )
        ui.chart(figure, key=f"course-{metric}", alt=ui.course_alt(points, metric))


def show_details(ctx: ui.Context, project: ProjectInfo, found: dict[str, Any]) -> None:
    """Weakest slices, confusion and calibration of the window's labelled rows."""
    n = found["report"].n
    rows = f"the newest {words.counted(n, 'labelled row')}"
    regression = project.task == "regression"
    cells = st.columns(1 if regression else 3)
    with cells[0]:
        slices = found["slices"]
        label = "mean error" if regression else "accuracy"
        tried = f" among {slices[0].tried:,} segments" if slices else ""
        with ui.card(
            words.plain(segments.slices_finding(slices, metric_label=label)),
            f"Found without being told{tried} of the newest {found['sliced']:,} rows · 95 % intervals",
        ):
            if slices:
                ui.chart(
                    plots.slices(slices, colors=ctx.colors, lower_is_better=regression),
                    key="slices",
                    alt=segments.slices_finding(slices, metric_label=label),
                )
            else:
                st.caption("No segment of 50 rows or more is weaker than the rest. Choose a longer window to see more.")
    if regression:
        return
    with cells[1]:
        table = found["confusion"]
        with ui.card(words.plain(table.finding), f"Share of each actual class · rows · {rows}"):
            ui.chart(plots.confusion_matrix(table, colors=ctx.colors), key="confusion", alt=table.finding)
    with cells[2]:
        curve = found.get("calibration")
        if curve is None:
            with ui.card("No probabilities", "The model that answered gives none"):
                st.caption("Calibration needs them.")
            return
        with ui.card(
            words.plain(curve.finding),
            f"Predicted probability against how often it was right · calibration error {words.number(curve.error)}, "
            f"95 % interval {words.number(curve.low)}{words.DASH}{words.number(curve.high)} · {rows}",
        ):
            ui.chart(plots.calibration_curve(curve, colors=ctx.colors), key="calibration", alt=curve.finding)


def show_labels(found: label_arrival.Arrival, ctx: ui.Context, due: int) -> None:
    """How labels arrive, and which are due since when."""
    curve = found.curve
    with ui.card(
        words.plain(curve.finding),
        f"Share of labels by the time since the row came · {words.counted(curve.n, 'row')}, {words.count(curve.n_waiting)} waiting · band: 95 % interval",
        key="labels",
    ):
        if curve.delays_s:
            ui.chart(plots.label_arrival(curve, colors=ctx.colors, height=200), key="arrival", alt=curve.finding)
        if not found.due:
            st.caption("No label is due.")
            return
        known = [day.expected for day in found.due if day.expected is not None]
        if known:
            st.markdown(f"**{words.counted(due, 'label')} due**, about {sum(known):,.0f} of them expected to come.")
        else:
            st.markdown(f"**{words.counted(due, 'label')} due.** Upload them by row id on the Data page.")
        shown = found.due[:SHOWN]
        rows: list[dict[str, Any]] = [{"Row came": day.day, "Due": day.rows, "Expected": day.expected} for day in shown]
        if any(day.reason for day in shown):
            rows = [row | {"Why not": day.reason or None} for row, day in zip(rows, shown, strict=True)]
        st.dataframe(
            rows,
            hide_index=True,
            row_height=32,
            height=min(36 + 32 * len(rows), 164),
            placeholder=words.ABSENT,
            column_config={
                "Row came": st.column_config.DateColumn(format="D MMM YYYY", width=90),
                "Due": st.column_config.NumberColumn(format="localized", width=60),
                "Expected": st.column_config.NumberColumn(format="%.0f", width=70, help="Labels still to come, by the curve above"),
            },
        )  # fmt: skip


def show_table(
    ctx: ui.Context, project: ProjectInfo, history: list[Any], metric: str, guesses: list[EstimatePoint]
) -> None:
    """The newest measurements as figures."""
    guessed = {e.batch_id: e.estimates.get(metric) for e in guesses if e.batch_id is not None}
    shown = history[-SHOWN:][::-1]
    close = shown[0].at - shown[-1].at < timedelta(hours=2)  # minutes would not tell them apart
    with ui.card("The measurements"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption("One a batch, newest first; the file holds all of them with every metric", width="stretch")
            ui.download_table(
                "Every measurement and estimate as CSV",
                f"{project.slug}-performance.csv",
                lambda: csv_rows(ctx, project),
            )
        rows = [
            {
                "When": words.wall(p.at, ctx.zone),
                "Rows": p.n,
                "Model": f"v{p.model_version}" if p.model_version else "several",
                words.metric_label(metric): words.score(p.scores.get(metric)),
                "95 % interval": words.interval(p.scores.get(metric)),
                "Estimated before": told(guessed.get(p.batch_id)),
            }
            for p in shown
        ]
        st.dataframe(
            rows,
            hide_index=True,
            row_height=32,
            height=260,
            placeholder=words.ABSENT,
            column_config={
                "When": st.column_config.DatetimeColumn(
                    format="D MMM, HH:mm:ss" if close else "D MMM, HH:mm", width=122 if close else 98
                ),
                "Rows": st.column_config.NumberColumn(format="localized", width=52),
                "Model": st.column_config.TextColumn(width=56),
                words.metric_label(metric): st.column_config.TextColumn(width=104),
                "95 % interval": st.column_config.TextColumn(width=98),
                "Estimated before": st.column_config.TextColumn(width=130, help="Without labels, with its 95 % band"),
            },
        )


def told(guess: Score | None) -> str | None:
    """An estimate with its band; absent when there is none."""
    span = words.interval(guess)
    return f"{words.score(guess)} ({span})" if guess is not None and guess.value is not None and span else None


def show_empty(project: ProjectInfo, metric: str) -> None:
    """What will stand here and what to do for it."""
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


def show(ctx: ui.Context) -> None:
    """The page itself."""
    project = ctx.project
    if project is None:
        with ui.head_row("Performance"):
            pass  # this head has no buttons
        ui.no_project()
        return
    stored = monitoring.performance_history(ctx.ws, project.id, limit=1)
    home = str(ctx.ws.settings.home_path)
    newest = (*((p.cycle_id, p.batch_id, p.rows_seen, p.n) for p in stored), project.rows, project.labelled)
    history = measured(home, project.id, "champion", newest) if stored else []
    due = stored_batches.labels_due(ctx.ws, project.id)
    metric, window = project.policy.metric, USUAL_WINDOW
    with ui.head_row("Performance", f"{words.counted(project.labelled, 'labelled row')}"):
        if history and project.task is not None:
            names = metrics_of(project.task)
            metric = ui.chosen(
                "metric",
                {m: words.metric_label(m) for m in names},
                metric if metric in names else names[0],
                segmented=False,
            )
            window = ui.chosen("window", WINDOWS, window, segmented=True)
    waiting = arrived(home, project.id, project.rows, project.labelled, due, ctx.timezone)
    if not history:
        show_empty(project, metric)
        if waiting.due:
            show_labels(waiting, ctx, due)
        return
    n = min(sum(p.n for p in history[-int(window) :]), MOST_ROWS)
    found = windowed(home, project.id, n, newest)
    guesses = estimated(home, project.id, newest)
    show_verdict(ctx, project, history, metric, window, found, guesses, due)
    show_chart(ctx, project, history, measured(home, project.id, "never", newest), metric, guesses)
    if found is not None:
        show_details(ctx, project, found)
    if waiting.due or (waiting.curve.delays_s and waiting.curve.delays_s[-1] > 1.0):
        left, right = st.columns((1, 1.6))
        with left:
            show_labels(waiting, ctx, due)
        with right:
            show_table(ctx, project, history, metric, guesses)
    else:
        show_table(ctx, project, history, metric, guesses)


show(ui.start_page("Performance", choose_project=True))
