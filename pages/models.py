"""Which version serves, which served then, is another one better? Promotions and rollbacks by hand, with a reason."""

from __future__ import annotations

import math
import tempfile
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import streamlit as st

from core import plots, ui, words
from core.errors import ContinualError
from core.learning.policy import verdict as judge
from core.records import Comparison, ModelVersion, ProjectInfo
from core.storage import registry

if TYPE_CHECKING:
    from core.services.training import ImportReport

SHOWN_VERSIONS = 200
SPANS = 400
STATES = {"champion": "▲ Champion", "challenger": "◇ Challenger", "previous": "▽ Previous"}


# --- which one serves -------------------------------------------------------------------------------------------


def show_verdict(ctx: ui.Context, project: ProjectInfo, versions: list[ModelVersion], spans: list[Any]) -> None:
    """One sentence: which version serves, since when, why."""
    champion = next((v for v in versions if "champion" in v.aliases), None)
    rows = [version_line(ctx, v, project.policy.metric) for v in versions]
    if champion is None or not spans:
        with ui.verdict("unknown", f"**No version serves yet.** {ui.counted(len(versions), 'version')} registered."):
            ui.download_table("The versions as CSV", f"{project.slug}-versions.csv", rows)
        return
    _, since, _, event, reason = spans[-1]
    how = {"promoted": "promoted", "refreshed": "a refresh", "rolled_back": "brought back by a rollback"}[event]
    found = f"**v{champion.version} serves**, {how} {ui.when(since, ctx)}"
    found += f": {ui.plain(reason.rstrip('.'))}." if reason else "."
    if champion.n_rows:
        found += f" It learnt from {ui.counted(champion.n_rows, 'row')}."
    with ui.verdict(
        "watch" if event == "rolled_back" else "well", found, word="Rolled back" if event == "rolled_back" else "Serves"
    ):
        ui.download_table("The versions as CSV", f"{project.slug}-versions.csv", rows)


def show_timeline(ctx: ui.Context, spans: list[Any]) -> None:
    """A bar per serving span, and the answer for one day."""
    changes = {
        "promoted": ("promotion", "promotions"),
        "refreshed": ("refresh", "refreshes"),
        "rolled_back": ("rollback", "rollbacks"),
    }
    counts = {event: sum(s[3] == event for s in spans[1:]) for event in changes}
    told = [ui.counted(n, *changes[event]) for event, n in counts.items() if n]
    with ui.card(
        ", ".join(told) + " since the first model" if told else "The first model has served all along",
        "Which version served when · hatched: brought back by a rollback",
    ):
        figure = plots.versions(tuple(spans[-SPANS:]), now=ctx.now, colors=ctx.colors, zone=ctx.timezone)
        ui.chart(figure, key="versions-chart", alt=f"{len(spans)} serving spans from v{spans[0][0]} to v{spans[-1][0]}")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            zone = ZoneInfo(ctx.timezone or "UTC")
            today = ctx.now.astimezone(zone).date()
            day = st.date_input(
                "Who served on",
                value=today,
                min_value=min(spans[0][1].astimezone(zone).date(), today),
                max_value=today,
                key="day",
                bind="query-params",
                format="YYYY-MM-DD",
                width=170,
            )
            st.markdown(who_served(ctx, spans, day, zone), width="stretch")


def who_served(ctx: ui.Context, spans: list[Any], day: Any, zone: ZoneInfo) -> str:
    """Every version that served on a day, in order, with the moments of change."""
    begin = datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)
    end = min(begin + timedelta(days=1), ctx.now)
    served = [s for s in spans if s[1] < end and (s[2] is None or s[2] > begin)]
    if not served:
        return "No version served on that day."
    parts = [
        f"**v{version}**" + (f" from {since.astimezone(zone):%H:%M}" if since > begin else "")
        for version, since, *_ in served[-6:]
    ]
    earlier = f"{len(served) - 6} earlier ones, then " if len(served) > 6 else ""
    return f"On {day:%-d %b %Y}: {earlier}{', '.join(parts)}."


# --- the versions -------------------------------------------------------------------------------------------------


def version_line(ctx: ui.Context, version: ModelVersion, metric: str) -> dict[str, Any]:
    """One version as a line of the table."""
    return {
        "Version": f"v{version.version}",
        "State": " · ".join(STATES[a] for a in version.aliases if a in STATES) or None,
        "Family": version.family,
        "Score": version.metrics.get(metric),
        "Rows": version.n_rows,
        "Made": words.wall(version.created_at, ctx.zone),
        "Promoted": words.wall(version.promoted_at, ctx.zone),
        "From": "your import"
        if version.source == "import"
        else f"cycle {version.cycle_id}"
        if version.cycle_id
        else version.source,
    }


def show_versions(ctx: ui.Context, project: ProjectInfo, versions: list[ModelVersion]) -> ModelVersion | None:
    """The table of versions; returns the selected one."""
    metric = ui.metric_label(project.policy.metric)
    with ui.card(
        f"{ui.counted(len(versions), 'version')}, newest first",
        f"Select one to act on it · score: {metric} on the rows it was judged by in its race",
    ):
        chosen = st.dataframe(
            [version_line(ctx, v, project.policy.metric) for v in versions[:SHOWN_VERSIONS]],
            hide_index=True,
            row_height=32,
            height="content" if len(versions) <= 8 else 294,
            placeholder="–",
            on_select="rerun",
            selection_mode="single-row-required",
            selection_default={"selection": {"rows": [0]}},
            key="versions",
            alt=f"{len(versions)} versions with their state, family and score",
            column_order=["Version", "State", "Score", "Rows", "Made", "Family"],
            column_config={
                "Version": st.column_config.TextColumn(width=60),
                "State": st.column_config.TextColumn(width=95),
                "Score": st.column_config.NumberColumn(format="%.3f", width=60),
                "Rows": st.column_config.NumberColumn(format="localized", width=60, help="Rows it learnt from"),
                "Made": st.column_config.DatetimeColumn(format="D MMM, HH:mm", width=105),
            },
        )
    at = chosen.selection.rows[0] if chosen.selection.rows else 0
    return versions[at] if at < len(versions) else None


def show_version(ctx: ui.Context, project: ProjectInfo, version: ModelVersion) -> None:
    """What one version is made of, and what can be done with it."""
    members = list(version.members)
    made = f"{ui.counted(len(members), 'member')} vote" if len(members) > 1 else ui.plain(version.family)
    span = (
        f" · rows from {ui.when(version.first_at, ctx)} to {ui.when(version.last_at, ctx)}"
        if version.first_at and version.last_at
        else ""
    )
    with ui.card(
        f"v{version.version}: {made}",
        f"{'imported' if version.source == 'import' else 'made by the loop'}{span} · data digest {(version.data_digest or 'none')[:12]}",
    ):
        if members:
            st.dataframe(
                [
                    {
                        "Member": m.get("name") or m.get("family"),
                        "Vote": None if m.get("weight") is None else round(100 * m["weight"]),
                        "Rows": m.get("n_rows"),
                    }
                    for m in members
                ],
                hide_index=True,
                row_height=32,
                height="content" if len(members) <= 6 else 230,
                placeholder="–",
                alt=f"Members of v{version.version} with their weights",
                column_config={
                    "Member": st.column_config.TextColumn(width=180),
                    "Vote": st.column_config.ProgressColumn(
                        format="%d %%", min_value=0, max_value=100, color="blue", width=85
                    ),
                    "Rows": st.column_config.NumberColumn(format="localized", width=60),
                },
            )
        with st.container(horizontal=True):
            st.download_button(
                "Download",
                data=lambda: registry.artefact_path(ctx.ws, project.id, version.version).read_bytes(),
                file_name=f"{project.slug}-v{version.version}.skops",
                mime="application/octet-stream",
                icon=":material/download:",
                key="artefact",
                on_click="ignore",
            )
            if "champion" not in version.aliases:
                if st.button(
                    f"Promote v{version.version}",
                    icon=":material/publish:",
                    key="promote",
                    disabled=not ctx.may("operator"),
                    help=ctx.why_not("operator"),
                ):
                    promote_dialog(ctx, project, version)
            elif any("previous" in v.aliases for v in all_versions(ctx, project)) and st.button(
                "Roll back",
                icon=":material/undo:",
                key="rollback",
                disabled=not ctx.may("operator"),
                help=ctx.why_not("operator"),
            ):
                rollback_dialog(ctx, project, version)
        if version.cycle_id:
            st.page_link(
                ui.page_path("automation"),
                label=f"Why it was let in, or not: cycle {version.cycle_id}",
                icon=":material/open_in_new:",
                query_params={"cycle": str(version.cycle_id)},
            )
        st.caption(f"sha256 {(version.sha256 or 'none')[:16]}… · MLflow run {(version.run_id or 'none yet')[:12]}")


def all_versions(ctx: ui.Context, project: ProjectInfo) -> list[ModelVersion]:
    """Versions of the project, newest first."""
    with ctx.ws.database.read() as session:
        return registry.list_versions(session, project.id)


@st.dialog("Promote this version?", icon=":material/publish:")
def promote_dialog(ctx: ui.Context, project: ProjectInfo, version: ModelVersion) -> None:
    """Name the effect and its figures, take a reason, promote."""
    now_serving = f"v{project.champion}" if project.champion else "no version"
    score = version.metrics.get(project.policy.metric)
    measured = (
        f"{ui.metric_label(project.policy.metric)} {score:.3f} in its race"
        if score is not None
        else "it was never scored in a race"
    )
    st.markdown(
        f"**v{version.version}** ({ui.plain(version.family)}, {measured}) answers every prediction of "
        f"{ui.plain(project.name)} within 2 seconds, in place of {now_serving}, which stays one click away: Roll back."
    )
    reason = st.text_input(
        "Reason, for the audit",
        max_chars=300,
        key="promote-reason",
        placeholder="e.g. compared on the newest 2,000 rows",
    )
    if st.button(f"Promote v{version.version}", type="primary", key="promote-yes"):
        from core.services import training

        finish(
            ctx,
            f"v{version.version} serves now. To undo: Roll back.",
            reason,
            lambda text: training.promote(ctx.ws, project, version.version, reason=text, by=ctx.user.name, now=ctx.now),
        )


@st.dialog("Roll back?", icon=":material/undo:")
def rollback_dialog(ctx: ui.Context, project: ProjectInfo, champion: ModelVersion) -> None:
    """Name the effect, take a reason, bring the previous version back."""
    previous = next(v for v in all_versions(ctx, project) if "previous" in v.aliases)
    score = previous.metrics.get(project.policy.metric)
    measured = f", {ui.metric_label(project.policy.metric)} {score:.3f} in its race" if score is not None else ""
    st.markdown(
        f"**v{previous.version}** ({ui.plain(previous.family)}{measured}) answers again within 2 seconds, in place of v{champion.version}. Both stay; the next race may promote another one."
    )
    reason = st.text_input(
        "Reason, for the audit",
        max_chars=300,
        key="rollback-reason",
        placeholder="e.g. wrong on the night shift's rows",
    )
    if st.button(f"Roll back to v{previous.version}", type="primary", key="rollback-yes"):
        from core.services import training

        finish(
            ctx,
            f"v{previous.version} serves again. To undo: promote v{champion.version}.",
            reason,
            lambda text: training.rollback(ctx.ws, project, reason=text, by=ctx.user.name, now=ctx.now),
        )


def finish(ctx: ui.Context, told: str, reason: str, act: Any) -> None:
    """Run a dialog's action with its reason; an error stays in the dialog."""
    if not reason.strip():
        st.error(
            "A reason is expected: it stands in the audit beside your name. Write one sentence.",
            icon=":material/error:",
        )
        return
    try:
        act(reason.strip())
    except ContinualError as error:
        ui.error_box(error)
        return
    ui.toast_next(told, icon=":material/check_circle:")
    st.rerun()


# --- is another one better? -----------------------------------------------------------------------------------------


def show_comparison(ctx: ui.Context, project: ProjectInfo, versions: list[ModelVersion]) -> None:
    """Two versions on the same newest labelled rows, clause by clause."""
    numbers = [v.version for v in versions]
    if len(numbers) < 2:
        with ui.card("One version only", "Two are needed to compare."):
            st.markdown("Nothing to compare until the next race.")
        return
    champion = project.champion if project.champion in numbers else numbers[-1]
    other = next(n for n in numbers if n != champion)
    result = st.session_state.get("comparison")
    a, b = st.session_state.get("a", champion), st.session_state.get("b", other)
    fresh = result if result is not None and result[0] == (project.id, a, b, project.labelled) else None
    with ui.card(
        comparison_finding(fresh[1], a, b) if fresh else "Is another version better?",
        comparison_caption(fresh[1])
        if fresh
        else "Both predict the same newest labelled rows that neither has learnt from",
    ):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            a = st.selectbox(
                "Version",
                numbers,
                index=numbers.index(champion),
                format_func=lambda n: f"v{n}",
                key="a",
                bind="query-params",
                width=120,
            )
            b = st.selectbox(
                "against",
                numbers,
                index=numbers.index(other),
                format_func=lambda n: f"v{n}",
                key="b",
                bind="query-params",
                width=120,
            )
            asked = st.button("Compare", icon=":material/compare_arrows:", key="compare", disabled=a == b)
        if a == b:
            st.caption("Choose two different versions.")
        elif asked:
            compare(ctx, project, a, b)
        elif fresh:
            show_clauses(ctx, project, fresh[1])


def compare(ctx: ui.Context, project: ProjectInfo, a: int, b: int) -> None:
    """Load both artefacts and score them; the result is kept until the rows change."""
    from core.services import training

    try:
        with st.status(f"v{a} and v{b} predict the same rows") as status:
            found = training.compare(ctx.ws, project, a, b)
            status.update(label=f"Compared on {ui.counted(found.n, 'row')}", state="complete")
    except ContinualError as error:
        ui.error_box(error)
        return
    st.session_state["comparison"] = ((project.id, a, b, project.labelled), found)
    st.rerun()


def comparison_finding(found: Comparison, a: int, b: int) -> str:
    """Which one is better, if that can be told."""
    d = found.difference
    if d is None or d.value is None:
        return f"v{b} and v{a} cannot be told apart: no row to judge by"
    if d.low is not None and d.low > 0:
        return f"v{b} is better than v{a}: {ui.points(d.value, d.metric)}"
    if d.high is not None and d.high < 0:
        return f"v{b} is worse than v{a}: {ui.points(d.value, d.metric)}"
    return f"No clear difference between v{b} and v{a}"


def comparison_caption(found: Comparison) -> str:
    """The rows it rests on."""
    return f"{ui.metric_label(found.metric)} on {ui.counted(found.n, 'row')}{': ' + found.rows_from if found.rows_from else ''}"


def show_clauses(ctx: ui.Context, project: ProjectInfo, found: Comparison) -> None:
    """The difference with its interval, and what each clause of the policy says to it."""
    if not found.n:
        st.markdown(
            "There is no labelled row that neither has learnt from. Wait for new labels, or compare older versions."
        )
        return
    ui.chart(plots.comparison(found, colors=ctx.colors), key="comparison-chart", alt=ui.interval_text(found.difference))
    said = judge(found, project.policy)
    for clause in said.clauses:
        st.markdown(
            f":material/{'check_circle' if clause.passed else 'cancel'}: {'Pass' if clause.passed else 'Fail'} · {ui.plain(clause.reason)}"
        )
    if not said.clauses:
        st.caption(ui.plain(said.reason))


# --- a model of the user's own ------------------------------------------------------------------------------------------


def show_import(ctx: ui.Context, project: ProjectInfo) -> None:
    """A skops file becomes a challenger once an admin has seen and approved its types."""
    with st.expander(
        "Import a model of your own", icon=":material/upload_file:", key="import", on_change="rerun"
    ) as opened:
        if not opened.open:
            return
        if not ctx.may("admin"):
            st.info("An admin imports models: the file's types have to be approved first.", icon=":material/lock:")
            return
        st.caption(
            "A fitted scikit-learn pipeline saved with skops. It is opened in a process of its own; pickle, joblib and cloudpickle are refused. It never serves by itself: it becomes the challenger."
        )
        file = st.file_uploader(
            "Model file (.skops)", key="model-file", max_upload_size=max(math.ceil(ctx.ws.settings.max_upload_mb), 1)
        )
        if file is None:
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / (Path(file.name).name or "model.skops")
            path.write_bytes(file.getbuffer())
            report = inspect(file, path)
            if report is not None:
                approve(ctx, project, path, report)


def inspect(file: Any, path: Path) -> ImportReport | None:
    """What is inside the file, looked at once per file."""
    from core.services import training

    kept = st.session_state.get("inspected")
    if kept is not None and kept[0] == file.file_id:
        return kept[1]
    try:
        with st.status("Reading the types in the file") as status:
            report = training.inspect_import(path)
            status.update(label=f"{ui.counted(len(report.types), 'type')} found", state="complete")
    except ContinualError as error:
        ui.error_box(error)
        return None
    st.session_state["inspected"] = (file.file_id, report)
    return report


def approve(ctx: ui.Context, project: ProjectInfo, path: Path, report: ImportReport) -> None:
    """A tick for each type outside scikit-learn, then the import."""
    from core.services import training

    for problem in report.problems:
        st.error(ui.plain(problem), icon=":material/error:")
    if report.problems:
        return
    if report.untrusted:
        st.markdown(
            f"**{ui.counted(len(report.untrusted), 'type')} from outside scikit-learn.** Loading runs their code: approve only what you know."
        )
        approved = tuple(name for name in report.untrusted if st.checkbox(ui.plain(name), key=f"type-{name}"))
    else:
        st.markdown(f":material/check_circle: All {len(report.types)} types come from scikit-learn and numpy.")
        approved = ()
    ready = len(approved) == len(report.untrusted)
    if st.button(
        "Import as challenger",
        type="primary",
        icon=":material/upload:",
        key="import-yes",
        disabled=not ready,
        help=None if ready else "Every type has to be approved.",
    ):
        try:
            with st.status("Loading and check-scoring in a process of its own") as status:
                version = training.import_challenger(ctx.ws, project, path, approved, by=ctx.user.name, now=ctx.now)
                status.update(label=f"Imported as v{version.version}", state="complete")
        except ContinualError as error:
            ui.error_box(error)
            return
        ui.toast_next(
            f"v{version.version} waits as challenger. Compare it with the champion, then promote it.",
            icon=":material/check_circle:",
        )
        st.rerun()


def main() -> None:
    """Draw the page."""
    ctx = ui.start_page("Models", choose_project=True)
    project = ctx.project
    if project is None:
        ui.no_project()
        return
    with ctx.ws.database.read() as session:
        versions = registry.list_versions(session, project.id)
        spans = list(registry.serving_spans(session, project.id))
    with ui.head_row("Models", ui.counted(len(versions), "version") if versions else "none yet"):
        pass
    if not versions:
        ui.empty(
            "No model yet.",
            "The first race registers the first version; from then on every change of champion is kept here.",
            page="train",
            action="Go to Train",
        )
        if project.schema is not None:
            show_import(ctx, project)
        return
    show_verdict(ctx, project, versions, spans)
    if spans:
        show_timeline(ctx, spans)
    left, right = st.columns([1.5, 1])
    with left:
        chosen = show_versions(ctx, project, versions)
    with right:
        if chosen is not None:
            show_version(ctx, project, chosen)
    show_comparison(ctx, project, versions)
    show_import(ctx, project)


main()
