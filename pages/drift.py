"""Which feature changed, how, since when, and does it matter?"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import streamlit as st

from core import plots, ui, words
from core.drift import distribution as distributions
from core.drift.univariate import headline
from core.records import DriftReport, DriftScore, ProjectInfo
from core.services.monitoring import monitoring, reports, windows
from core.ui.views.drift import over_time

STATES = {True: "▲ Drifted", False: "✓ Steady", None: "? Not judged"}
CURRENT = {"check": "Last check", "5": "Last 5", "20": "Last 20"}
AGAINST = {"champion": "against what the champion learnt from", "before": "against the batches before"}
DRAWN = 12  # distributions in the report that is downloaded


@st.cache_data(ttl=600, max_entries=32, show_spinner=False)
def course_of(project: ProjectInfo) -> windows.DriftCourse | None:
    """Every feature over the batches, from profiles; again only when the project's rows, champion or policy changed."""
    return windows.drift_course(ui.workspace(), project)


@st.cache_data(ttl=600, max_entries=32, show_spinner=False)
def rows_of(project: ProjectInfo, reference: tuple[int, ...], current: tuple[int, ...]) -> Any:
    """Reference and current rows of the chosen windows; () = those of the newest check."""
    ws = ui.workspace()
    found = windows.reference_and_current(ws, project, current_ids=set(current) or None)
    if found is None or not reference:
        return found and (found[0].frame, found[1].frame)
    return windows.frame_of(ws, project, set(reference)), found[1].frame


def stable(project: ProjectInfo) -> ProjectInfo:
    """The project without what changes at every check, as a key of what is cached."""
    import dataclasses

    return dataclasses.replace(project, checked_at=None)


def pick() -> tuple[str, str]:
    """Which rows are compared with which; the address carries both."""
    with st.container(horizontal=True, width="content"):
        current = ui.chosen("window", CURRENT, "check", segmented=True)
        against = ui.chosen("against", AGAINST, "champion", segmented=False, width=290)
    return current, against


def chosen_report(
    ctx: ui.Context, project: ProjectInfo, stored: DriftReport, current: str, against: str
) -> tuple[DriftReport, tuple[int, ...], tuple[int, ...]]:
    """The report of the picked windows with the batches of both sides; the stored one where it is that of the check."""
    if (current, against) == ("check", "champion"):
        return stored, (), ()
    batches = windows.batch_profiles(ctx.ws, project)
    n = min(1 if current == "check" else int(current), max(1, len(batches) - 1))
    newest = batches[-n:]
    if against == "before":
        base = batches[-2 * n : -n] or batches[:-n]
    else:
        base = windows.champion_batches(ctx.ws, project, batches)
    report = windows.drift_between(project, base, newest)
    if report is None:
        return stored, (), ()
    return report, tuple(b.id for b in base), tuple(b.id for b in newest)


def show_verdict(
    ctx: ui.Context, project: ProjectInfo, report: DriftReport, course: windows.DriftCourse | None, frames: Any
) -> None:
    """The finding over all features, with what it rests on and its downloads."""
    state = "unknown" if report.share_drifted is None else "drifted" if report.drifted else "well"
    told = f" {words.plain(report.explanation)}." if report.explanation else ""
    sentence = f"**{words.plain(headline(report))}**{told}"
    with (
        ui.verdict(state, sentence, word="Steady" if state == "well" else None),
        st.popover("", icon=":material/download:", help="Download"),
    ):
        ui.download_table(
            "CSV", f"{project.slug}-drift.csv", table_rows(report, course, plain=True), label="Features as CSV"
        )
        ui.download_json("JSON", f"{project.slug}-drift.json", report, label="Report as JSON")
        ui.download_later(
            "HTML",
            f"{project.slug}-drift.html",
            lambda: page_of(ctx, project, report, frames()),
            label="Report as one HTML file",
        )
    st.caption(words.plain(reports.rule_in_words(project.policy)))


def page_of(ctx: ui.Context, project: ProjectInfo, report: DriftReport, frames: Any) -> bytes:
    """The self-contained report."""
    drawn = {}
    kinds = {f.name: f for f in project.schema.features} if project.schema else {}
    for s in [s for s in report.ranked if s.drifted][:DRAWN]:
        if frames is not None and s.name in kinds:
            try:
                drawn[s.name] = distributions.distribution(frames[0][s.name], frames[1][s.name], kinds[s.name])
            except ValueError:
                continue
    return reports.drift_page(
        report, project=project.name, policy=project.policy, made_at=ctx.now, distributions=drawn
    ).encode()


def table_rows(report: DriftReport, course: windows.DriftCourse | None, *, plain: bool = False) -> list[dict[str, Any]]:
    """The features by what matters, with their course over the batches."""
    courses = {c.name: c for c in course.courses} if course else {}
    rows = []
    for s in report.ranked:
        known = courses.get(s.name)
        since = known.since if known else None
        row: dict[str, Any] = {
            "Feature": s.name,
            "State": STATES[s.drifted if s.judged else None],
            "Effect": s.effect,
            "Course": [v or 0.0 for v in known.against_reference[-30:]] if known else [],
            "Weight": report.importance.get(s.name) if report.importance else None,
            "Missing": s.miss_rate_current,
            "New": s.new_share,
            "Since": course.batches[since].at if course and since is not None else None,
        }
        if plain:
            del row["Course"]
            row |= {
                "Evidence": next((e for e in reversed(known.evidence) if e is not None), None) if known else None,
                "Gate": s.gate,
                "Test": s.test,
                "Statistic": s.statistic,
                "p": s.p_value,
                "Missing before": s.miss_rate_reference,
                "Vanished": s.vanished_share,
                "Reason": s.reason,
            }
        rows.append(row)
    return rows


def show_table(
    ctx: ui.Context, project: ProjectInfo, report: DriftReport, course: windows.DriftCourse | None
) -> DriftScore:
    """The ranked features; returns the selected one."""
    scores = report.ranked
    rows = table_rows(report, course)
    empty = {name for name in ("Weight", "Missing", "New") if not any(row[name] for row in rows)}
    rows = [{name: value for name, value in row.items() if name not in empty} for row in rows]
    for row in rows:
        row["Since"] = words.wall(row["Since"], ctx.zone) if row["Since"] else None
    top = max([*(v for row in rows for v in row["Course"]), project.policy.drift_gate * 1.5, 0.1])
    steady = sum(s.judged and not s.drifted for s in scores)
    n = len(report.drifted)
    found = f"{words.counted(n, 'feature')} moved, {steady} steady" if n else f"All {steady} judged features are steady"
    order = "By effect times weight to the champion" if report.importance else "Furthest first"
    with ui.card(found, f"{order} · select a row to see it", key="features"):
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
                    format="%.2f", min_value=0.0, max_value=1.0, color="orange", width=90
                ),
                "Course": st.column_config.LineChartColumn(y_min=0.0, y_max=top, width=80),
                "Weight": st.column_config.NumberColumn(
                    format="%.3f", width=58, help="What the champion's answers lose when the feature is shuffled"
                ),
                "Missing": st.column_config.NumberColumn(format="percent", width=62),
                "New": st.column_config.NumberColumn(
                    format="percent", width=52, help="Rows in categories that the reference does not have"
                ),
                "Since": st.column_config.DatetimeColumn(format="D MMM, HH:mm", width=92),
            },
        )
    at = (chosen["selection"]["rows"] or [0])[0]
    return scores[min(at, len(scores) - 1)]


def show_feature(ctx: ui.Context, project: ProjectInfo, score: DriftScore, frames: Any) -> None:
    """Two distributions of one feature, and every test of it."""
    feature = next((f for f in project.schema.features if f.name == score.name), None) if project.schema else None
    found = None
    if frames is not None and feature is not None and score.judged:
        try:
            found = distributions.distribution(frames[0][score.name], frames[1][score.name], feature)
        except ValueError:
            found = None
    with ui.card(
        words.plain(distributions.feature_finding(score, found)),
        "Share of rows · grey: reference · blue: current" if found else words.plain(score.reason),
    ):
        if found is None:
            st.caption("There is no distribution to draw for it.")
            return
        ui.chart(
            plots.distribution_chart(found, colors=ctx.colors, height=300),
            key="distribution",
            alt=distributions.feature_finding(score, found),
        )
        st.caption(words.plain(score.reason))


def show_together(ctx: ui.Context, report: DriftReport) -> None:
    """All features at once, predictions and labels, and what the champion leans on."""
    with ui.card("All features together", "What no single feature shows"):
        m = report.multivariate
        if m is not None:
            can = "can be told apart" if m["drifted"] else "cannot be told apart"
            st.markdown(
                f"**The windows {can}:** AUC {m['auc']:.2f} (95 % interval {m['low']:.2f}–{m['high']:.2f})"
                + (
                    f"; carried by {words.plain(', '.join(list(m['features'])[:4]))}."
                    if m["drifted"] and m["features"]
                    else "."
                )
            )
        if report.reconstruction is not None and report.reconstruction.get("reason"):
            st.markdown(f"**Structure:** {words.plain(report.reconstruction['reason'])}.")
        if report.attribution is not None:
            st.markdown(f"**What the champion leans on:** {words.plain(report.attribution['finding'])}.")
        for name, s in (
            ("Predictions", report.prediction),
            ("Labels", report.label),
            ("Residuals", report.residual),
        ):
            if s is not None:
                st.markdown(f"**{name}:** {STATES[s.drifted if s.judged else None]}, {words.plain(s.reason)}")
        if m is None and report.prediction is None and report.label is None:
            st.caption("The check itself tells; between picked windows only single features are compared.")


def show_where(ctx: ui.Context, project: ProjectInfo, report: DriftReport) -> None:
    """The segment that changed most, and where the newest labelled rows go wrong."""
    from core.performance.segments import worst_slices

    judged = monitoring.labelled_with_predictions(ctx.ws, project, n=2_000)
    segment = report.segment
    heading = (
        f"{segment['rule']}: {words.share(segment['before'])} → {words.share(segment['after'])} of rows"
        if segment
        else "Where it hurts"
    )
    with ui.card(words.plain(heading), "Below: segments with the weakest score among the newest labelled rows"):
        if judged is None or project.schema is None:
            st.caption("No labelled row with a prediction yet.")
            return
        regression = project.schema.task == "regression"
        merit = abs(judged.y_true.astype(float) - judged.y_pred) if regression else judged.y_true == judged.y_pred
        found = worst_slices(judged.X, merit, project.schema, max_slices=5)
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
                "Segment": st.column_config.TextColumn(width=250),
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
            pass  # this head has no buttons
        ui.no_project()
        return
    newest: tuple[datetime, DriftReport] | None = monitoring.latest_drift(ctx.ws, project.id)
    with ui.head_row("Drift", words.plain(project.name) if newest is None else f"checked {ui.when(newest[0], ctx)}"):
        picked = pick() if newest else None
    if newest is None or picked is None:
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
    key = stable(project)
    report, reference, current = chosen_report(ctx, project, newest[1], *picked)
    course = course_of(key)
    st.caption(f"{words.plain(report.current.description)} against {words.plain(report.reference.description)}")
    show_verdict(ctx, project, report, course, lambda: rows_of(key, reference, current))
    left, right = st.columns((1.5, 1))
    with left:
        score = show_table(ctx, project, report, course)
    with right:
        show_feature(ctx, project, score, rows_of(key, reference, current))
    if course is not None:
        over_time.show(ctx, project, course)
    left, right = st.columns(2)
    with left:
        show_together(ctx, report)
    with right:
        show_where(ctx, project, report)


show(ui.start_page("Drift", choose_project=True))
