"""Which version serves, which served then, where does it come from, what does it remember, is another one better?

Promotions, rollbacks and tries in the shadow by hand, with a reason.
"""

from __future__ import annotations

import math
import tempfile
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import streamlit as st

from core import plots, ui, words
from core.errors import ContinualError, ProofNeeded
from core.learning.policy import verdict as judge
from core.plots.memory import memory_alt, memory_finding, memory_matrix
from core.records import SERVING, BatchInfo, Comparison, ModelVersion, Outcome, ProjectInfo
from core.services.models import lineage
from core.storage import registry
from core.text import vocabulary

if TYPE_CHECKING:
    from core.services.models.lifecycle import ImportReport, ShadowStanding

SHOWN_VERSIONS = 200
SPANS = 400
STATES = {"champion": "▲ Champion", "challenger": "◇ Challenger", "previous": "▽ Previous"}
IN_SHADOW = "◐ Shadow"


# --- which one serves -------------------------------------------------------------------------------------------


def show_verdict(ctx: ui.Context, project: ProjectInfo, versions: list[ModelVersion], spans: list[Any]) -> None:
    """One sentence: which version serves, since when, why."""
    champion = next((v for v in versions if "champion" in v.aliases), None)
    rows = [version_line(ctx, project, v) for v in versions]
    if champion is None or not spans:
        with ui.verdict("unknown", f"**No version serves yet.** {ui.counted(len(versions), 'version')} registered."):
            ui.download_table("The versions as CSV", f"{project.slug}-versions.csv", rows)
        return
    _, since, _, event, reason = spans[-1]
    said = vocabulary.outcome(event)
    found = f"**v{champion.version} serves**, {said.came} {ui.when(since, ctx)}"
    found += f": {ui.plain(reason.rstrip('.'))}." if reason else "."
    if champion.n_rows:
        found += f" It learnt from {ui.counted(champion.n_rows, 'row')}."
    with ui.verdict(said.state, found, word=said.word if event == Outcome.ROLLED_BACK else "Serves"):
        ui.download_table("The versions as CSV", f"{project.slug}-versions.csv", rows)


def show_timeline(ctx: ui.Context, spans: list[Any]) -> None:
    """A bar per serving span, and the answer for one day."""
    counts = {event: sum(s[3] == event for s in spans[1:]) for event in SERVING}
    told = [ui.counted(n, *vocabulary.OUTCOMES[event].changes) for event, n in counts.items() if n]
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


def version_line(ctx: ui.Context, project: ProjectInfo, version: ModelVersion) -> dict[str, Any]:
    """One version as a line of the table."""
    states = [STATES[a] for a in version.aliases if a in STATES]
    if version.version == project.shadow and "champion" not in version.aliases:
        states.insert(0, IN_SHADOW)
    return {
        "Version": f"v{version.version}",
        "State": " · ".join(states) or None,
        "Family": version.family,
        "Score": version.metrics.get(project.policy.metric),
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
            [version_line(ctx, project, v) for v in versions[:SHOWN_VERSIONS]],
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
        f"{'imported' if version.source == 'import' else 'made by the loop'}{span}",
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
        if version.removed_at is not None:
            st.caption(
                f"Artefact removed on {version.removed_at:%d %b %Y}: only the newest former champions and rejected challengers keep theirs."
            )
            return
        with st.container(horizontal=True):
            st.download_button(
                "Download",
                data=ui.for_who_may(lambda: registry.artefact_path(ctx.ws, project.id, version.version).read_bytes()),
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
                if version.version != project.shadow:
                    allowed = ctx.may("operator") and project.champion is not None
                    if st.button(
                        "Try in the shadow",
                        icon=":material/contrast:",
                        key="shadow",
                        disabled=not allowed,
                        help=ctx.why_not("operator")
                        or "It answers every new batch beside the champion; nobody gets its answers.",
                    ):
                        shadow_dialog(ctx, project, version)
            elif any("previous" in v.aliases for v in all_versions(ctx, project)) and st.button(
                "Roll back",
                icon=":material/undo:",
                key="rollback",
                disabled=not ctx.may("operator"),
                help=ctx.why_not("operator"),
            ):
                rollback_dialog(ctx, project, version)
        show_lineage(ctx, project, version)


def all_versions(ctx: ui.Context, project: ProjectInfo) -> list[ModelVersion]:
    """Versions of the project, newest first."""
    with ctx.ws.database.read() as session:
        return registry.list_versions(session, project.id)


# --- where it comes from ------------------------------------------------------------------------------------------


def show_lineage(ctx: ui.Context, project: ProjectInfo, version: ModelVersion) -> None:
    """Batches, cycle, policy and rivals of a version, asked for when somebody opens it."""
    with st.expander("Where it comes from", icon=":material/account_tree:", key="lineage", on_change="rerun") as opened:
        if not opened.open:
            return
        batches = lineage.batches_of(ctx.ws, project, version.version)
        found = lineage.parents(ctx.ws, project, version.version)
        ui.pairs(
            [
                ("Could learn from", learnt_from(ctx, version, batches)),
                ("Made by", made_by(ctx, version, found)),
                ("Raced against", f"v{found.raced_against}" if found.raced_against else "nobody"),
                ("Replaced", replaced(ctx, found)),
                ("Data digest", (version.data_digest or "none")[:16]),
                ("Artefact", f"sha256 {(version.sha256 or 'none')[:16]}"),
                ("MLflow run", (version.run_id or "none yet")[:12]),
            ]
        )
        undone = [b for b in batches if b.undone]
        if undone:
            numbers = ", ".join(f"{b.number:,}" for b in undone[:5]) + (" and others" if len(undone) > 5 else "")
            st.warning(
                f"{ui.counted(len(undone), 'batch', 'batches')} of these, number {numbers}, was undone since: it learnt from rows that no longer count.",
                icon=":material/warning:",
            )
        with st.container(horizontal=True):
            st.page_link(ui.page_path("data"), label="The batches, on the Data page", icon=":material/database:")
            if found.cycle_at is not None:
                st.page_link(
                    ui.page_path("automation"),
                    label=f"Cycle {found.cycle_id}",
                    icon=":material/open_in_new:",
                    query_params={"cycle": str(found.cycle_id)},
                )
            if batches:
                lines = [batch_line(b) for b in batches]
                ui.download_table("The batches as CSV", f"{project.slug}-v{version.version}-batches.csv", lines)


def learnt_from(ctx: ui.Context, version: ModelVersion, batches: list[BatchInfo]) -> str:
    """Batches, rows and their span in words."""
    if version.source == "import":
        return "not known: it was imported"
    if not batches:
        return "no stored batch"
    first, last = min(b.first_at for b in batches), max(b.last_at for b in batches)
    named = f"batch {batches[0].number:,}" if len(batches) == 1 else f"{len(batches):,} batches"
    rows = ui.counted(sum(b.rows for b in batches), "row")
    return f"{named} of {rows}, {ui.plain(ui.when(first, ctx))} to {ui.plain(ui.when(last, ctx))}"


def made_by(ctx: ui.Context, version: ModelVersion, found: lineage.Parents) -> str:
    """Cycle and policy in words."""
    if version.source == "import":
        return f"a person, {ui.plain(ui.when(version.created_at, ctx))}"
    if found.cycle_at is None:
        return "a cycle that is not kept"
    return f"cycle {found.cycle_id}, {ui.plain(ui.when(found.cycle_at, ctx))}, policy {ui.plain(found.policy or 'not kept')}"


def replaced(ctx: ui.Context, found: lineage.Parents) -> str:
    """Whom it replaced when it last began to serve."""
    if found.replaced_at is None:
        return "nobody: it never served"
    if found.replaced is None:
        return "nobody: it was the first"
    return f"v{found.replaced}, {ui.plain(ui.when(found.replaced_at, ctx))}"


def batch_line(batch: BatchInfo) -> dict[str, Any]:
    """One batch as a line of a file."""
    return {
        "number": batch.number,
        "origin": batch.origin,
        "rows": batch.rows,
        "labelled": batch.labelled,
        "first_at": batch.first_at,
        "last_at": batch.last_at,
        "undone": batch.undone,
        "sha256": batch.sha256,
    }


def show_clauses_of(ctx: ui.Context, project: ProjectInfo, version: ModelVersion) -> None:
    """What the verdict on a version said, clause by clause, or why there is none."""
    found = lineage.parents(ctx.ws, project, version.version)
    told = found.verdict.clauses if found.verdict is not None else ()
    name = f"v{version.version}"
    if not told:
        with ui.card(*without_clauses(version, found)):
            pass  # the card is its title and sentence
        return
    assert found.verdict is not None
    finding = {
        "promoted": f"{name} was let in: it passed what decides",
        "refreshed": f"{name} was let in as a refresh: it passed what decides",
        "shadowed": f"{name} passed what decides, and went into the shadow first",
        "rejected": f"{name} was rejected: {ui.counted(sum(c.decides and not c.passed for c in told), 'clause')} failed",
    }.get(
        found.outcome or "",
        f"{name} passed {sum(c.passed for c in told if c.decides)} of {sum(c.decides for c in told)} deciding clauses",
    )
    against = f" against v{found.raced_against}" if found.raced_against else ""
    with ui.card(
        finding,
        f"The verdict of cycle {found.cycle_id}{against} · grey: told, but policy {ui.plain(found.policy)} does not ask for it",
    ):
        ui.clauses(told)
        st.page_link(
            ui.page_path("automation"),
            label=f"Evidence and race: cycle {found.cycle_id}",
            icon=":material/open_in_new:",
            query_params={"cycle": str(found.cycle_id)},
        )


def without_clauses(version: ModelVersion, found: lineage.Parents) -> tuple[str, str]:
    """Why no clause was asked about a version: a finding and a sentence."""
    name = f"v{version.version}"
    if version.source == "import":
        return (
            f"{name} was imported: no race has judged it",
            "Compare it with the champion below, or try it in the shadow.",
        )
    if found.cycle_at is None:
        return f"The verdict on {name} is not kept", "Its cycle is gone."
    if found.outcome in (None, "failed"):
        return f"No verdict on {name}: its cycle did not end", f"Cycle {found.cycle_id} was interrupted or failed."
    if found.raced_against is None:
        return (
            f"{name} is the first model: there was nothing to beat",
            f"Made by cycle {found.cycle_id}; clauses compare a challenger with a champion.",
        )
    said = found.verdict.reason if found.verdict is not None else "It was not compared with the champion."
    return (
        f"No clause was asked about {name}",
        f"Cycle {found.cycle_id}, policy {ui.plain(found.policy)}: {ui.plain(said)}",
    )


# --- in the shadow ------------------------------------------------------------------------------------------------


def show_shadow(ctx: ui.Context, project: ProjectInfo, versions: list[ModelVersion]) -> None:
    """How the version in the champion's shadow does so far, and what can be done with it."""
    if project.shadow is None:
        return
    from core.services.models import lifecycle

    found = lifecycle.shadow_standing(ctx.ws, project)
    version = next((v for v in versions if v.version == project.shadow), None)
    if found is None or version is None:
        return
    name, champion = f"v{found.version}", f"v{project.champion}"
    right = "nearer" if project.task == "regression" else "right"
    with ui.card(
        shadow_finding(found, champion, right), shadow_caption(ctx, found, champion, right), key="in-the-shadow"
    ):
        with ui.tiles():
            ui.tile("Rows answered", ui.count(found.answered), note=f"beside {champion}")
            ui.tile(
                "Same answer",
                words.share(found.agreed / found.answered if found.answered else None),
                note=f"{ui.count(found.agreed)} rows",
                help="Within 1 % of the champion's value." if project.task == "regression" else None,
            )
            ui.tile(f"Only {name} {right}", ui.count(found.wins), note=f"of {ui.count(found.rows)} labelled")
            ui.tile(f"Only {champion} {right}", ui.count(found.losses), note=f"of {ui.count(found.rows)} labelled")
        with st.container(horizontal=True):
            if st.button(
                "Promote",
                icon=":material/publish:",
                key="promote-shadow",
                disabled=not ctx.may("operator"),
                help=ctx.why_not("operator"),
            ):
                promote_dialog(ctx, project, version)
            if st.button(
                "End the shadow",
                icon=":material/close:",
                key="end-shadow",
                disabled=not ctx.may("operator"),
                help=ctx.why_not("operator"),
            ):
                end_shadow_dialog(ctx, project, found)


def shadow_finding(found: ShadowStanding, champion: str, right: str) -> str:
    """Whether the version in the shadow is better, as far as that can be told."""
    begin = f"In the shadow: v{found.version}"
    if found.rows == 0:
        return f"{begin} waits for labelled rows"
    split = f"alone {right} on {ui.count(found.wins)} rows, {champion} alone on {ui.count(found.losses)}"
    said = {"better": "is better so far", "worse": "is worse so far", "unknown": "cannot be told apart yet"}[
        found.state
    ]
    return f"{begin} {said}, {split}"


def shadow_caption(ctx: ui.Context, found: ShadowStanding, champion: str, right: str) -> str:
    """How sure that is, who put it there, and what happens next."""
    parts = []
    if found.wins + found.losses:
        parts.append(
            f"Evidence {words.odds(found.for_better)} that it is better, {words.odds(found.for_worse)} that it is worse; "
            f"{words.odds(found.needed)} settles it, however often one looks"
        )
    elif found.rows:
        parts.append("On no labelled row is only one of the two " + right)
    if found.since is not None:
        who = "the loop" if found.by == "loop" else ui.plain(found.by)
        parts.append(f"put there by {who} {ui.when(found.since, ctx)}: {ui.plain(found.reason.rstrip('.'))}")
    parts.append(
        f"after {ui.counted(found.wanted, 'labelled row')} the loop decides"
        if found.wanted
        else f"nobody gets its answers; {champion} serves until somebody promotes it"
    )
    return " · ".join(parts)


@st.dialog("Try it in the shadow?", icon=":material/contrast:")
def shadow_dialog(ctx: ui.Context, project: ProjectInfo, version: ModelVersion) -> None:
    """Name the effect, take a reason, put the version into the champion's shadow."""
    leaves = f" v{project.shadow} leaves the shadow." if project.shadow is not None else ""
    wanted = project.policy.shadow_rows
    ends = (
        f" By the policy the loop lets it in or lets it go after {ui.counted(wanted, 'labelled row')}; until then only "
        "a change or somebody by hand starts a race."
        if wanted
        else " It stays there until somebody promotes it or ends the shadow; races go on."
    )
    st.markdown(
        f"**v{version.version}** ({ui.plain(version.family)}) answers every new batch beside v{project.champion} from "
        f"the next check on. Nobody gets its answers; row by row it is counted which of the two was right.{leaves}{ends}"
    )
    reason = st.text_input(
        "Reason, for the audit", max_chars=300, key="shadow-reason", placeholder="e.g. rejected on 100 rows only"
    )
    if st.button("Put it into the shadow", type="primary", key="shadow-yes"):
        from core.services.models import lifecycle

        finish(
            ctx,
            f"v{version.version} is in the shadow. To undo: End the shadow.",
            reason,
            lambda text: lifecycle.shadow(ctx.ws, project, version.version, reason=text, by=ctx.actor, now=ctx.now),
        )


@st.dialog("End the shadow?", icon=":material/close:")
def end_shadow_dialog(ctx: ui.Context, project: ProjectInfo, found: ShadowStanding) -> None:
    """Name the effect, take a reason, take the version out of the champion's shadow."""
    st.markdown(
        f"**v{found.version}** answers no more; v{project.champion} goes on serving. Its record over "
        f"{ui.counted(found.rows, 'labelled row')} stays in the cycles, but a later try begins at 0."
    )
    reason = st.text_input(
        "Reason, for the audit", max_chars=300, key="end-reason", placeholder="e.g. no better after 2,000 rows"
    )
    if st.button("End the shadow", type="primary", key="end-yes"):
        from core.services.models import lifecycle

        finish(
            ctx,
            f"v{found.version} left the shadow.",
            reason,
            lambda text: lifecycle.end_shadow(ctx.ws, project, reason=text, by=ctx.actor, now=ctx.now),
        )


# --- what it remembers --------------------------------------------------------------------------------------------


def show_memory(ctx: ui.Context, project: ProjectInfo) -> None:
    """The matrix of forgetting of the newest cycle that looked."""
    found = lineage.newest_memory(ctx.ws, project)
    if found is None:
        with ui.card(
            "What it remembers: nothing to show yet",
            "Scores on a few rows of every regime that nothing ever learns from",
        ):
            st.markdown(
                "The policy's gate is none: it holds no rows back, so none are set aside for this either."
                if project.policy.gate == "none"
                else "Rows are set aside from the batches after the first model; the matrix comes with the next race."
            )
        return
    memory = found.memory
    rows = sum(int(r["n"]) for r in memory.regimes)
    what = "Mean absolute error in spreads of the target" if memory.metric == "mae" else "Accuracy"
    lower = " (lower is better)" if memory.metric == "mae" else ""
    sign = "error then minus now" if memory.metric == "mae" else "now minus then"
    with ui.card(
        memory_finding(memory),
        f"What it remembers: {what}{lower} on {ui.counted(rows, 'frozen row')} of "
        f"{ui.counted(len(memory.regimes), 'regime')}, from which nothing ever learns · cycle {found.cycle_id}, "
        f"{'v' + str(found.version) if found.version else 'the champion'} as now · framed: when that regime ended",
    ):
        ui.chart(memory_matrix(memory, colors=ctx.colors), key="memory", alt=memory_alt(memory))
        st.caption(
            f"Backward transfer (BWT) is the mean of {sign} over the past regimes: below 0 something was forgotten. "
            "That is no fault as long as the past does not come back."
        )


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
        from core.services.models import lifecycle

        finish(
            ctx,
            f"v{version.version} serves now. To undo: Roll back.",
            reason,
            lambda text: lifecycle.promote(ctx.ws, project, version.version, reason=text, by=ctx.actor, now=ctx.now),
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
        from core.services.models import lifecycle

        finish(
            ctx,
            f"v{previous.version} serves again. To undo: promote v{champion.version}.",
            reason,
            lambda text: lifecycle.rollback(ctx.ws, project, reason=text, by=ctx.actor, now=ctx.now),
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
    from core.services.models import lifecycle

    try:
        with st.status(f"v{a} and v{b} predict the same rows") as status:
            found = lifecycle.compare(ctx.ws, project, a, b)
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
    ui.clauses([clause for clause in said.clauses if clause.decides])
    if not said.clauses:
        st.caption(ui.plain(said.reason))


# --- a model of the user's own ------------------------------------------------------------------------------------------


def show_import(ctx: ui.Context, project: ProjectInfo) -> None:
    """A skops file becomes a challenger once everything in it was found to be on the list."""
    with st.expander(
        "Import a model of your own", icon=":material/upload_file:", key="import", on_change="rerun"
    ) as opened:
        if not opened.open:
            return
        if not ctx.may("admin"):
            st.info("An admin imports models.", icon=":material/lock:")
            return
        st.caption(
            "A fitted scikit-learn pipeline saved with skops; pickle, joblib and cloudpickle are refused. Only estimators on a list are loaded, "
            "and tried in a process of their own first. It never serves by itself: it becomes the challenger."
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
    from core.services.models import lifecycle

    kept = st.session_state.get("inspected")
    if kept is not None and kept[0] == file.file_id:
        return kept[1]
    try:
        with st.status("Reading the types in the file") as status:
            report = lifecycle.inspect_import(path)
            status.update(label=f"{ui.counted(len(report.types), 'type')} found", state="complete")
    except ContinualError as error:
        ui.error_box(error)
        return None
    st.session_state["inspected"] = (file.file_id, report)
    return report


def approve(ctx: ui.Context, project: ProjectInfo, path: Path, report: ImportReport) -> None:
    """What is in the way of the import, or the button for it."""
    from core.services.models import lifecycle

    for problem in report.problems:
        st.error(ui.plain(problem), icon=":material/error:")
    if report.problems:
        return
    st.markdown(f":material/check_circle: All {len(report.types)} types are on the list of those that are loaded.")
    if st.button(
        "Import as challenger",
        type="primary",
        icon=":material/upload:",
        key="import-yes",
    ):
        try:
            with st.status("Loading and check-scoring in a process of its own") as status:
                version = lifecycle.import_challenger(ctx.ws, project, path, by=ctx.actor, now=ctx.now)
                status.update(label=f"Imported as v{version.version}", state="complete")
        except ProofNeeded:
            ui.ask_proof()
            return
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
        pass  # this head has no buttons
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
    show_shadow(ctx, project, versions)
    if spans:
        show_timeline(ctx, spans)
    left, right = st.columns([1.5, 1])
    with left:
        chosen = show_versions(ctx, project, versions)
    with right:
        if chosen is not None:
            show_version(ctx, project, chosen)
    left, right = st.columns(2)
    with left:
        if chosen is not None:
            show_clauses_of(ctx, project, chosen)
    with right:
        show_memory(ctx, project)
    show_comparison(ctx, project, versions)
    show_import(ctx, project)


main()
