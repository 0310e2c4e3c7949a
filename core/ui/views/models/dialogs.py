"""What a person does with a version: each names its effect and figures, takes a reason for the audit, then acts."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import ModelVersion, ProjectInfo
from core.services.models import lifecycle, shadowing
from core.services.models.shadowing import ShadowStanding


@st.dialog("Promote this version?", icon=":material/publish:")
def promote(ctx: ui.Context, project: ProjectInfo, version: ModelVersion) -> None:
    """Let a version serve."""
    now_serving = f"v{project.champion}" if project.champion else "no version"
    measured = _measured(project, version) or "it was never scored in a race"
    ui.confirm_with_reason(
        f"**v{version.version}** ({ui.plain(version.family)}, {measured}) answers every prediction of "
        f"{ui.plain(project.name)} within 2 seconds, in place of {now_serving}, which stays one click away: Roll back.",
        f"Promote v{version.version}",
        lambda reason: lifecycle.promote(ctx.ws, project, version.version, reason=reason, by=ctx.actor, now=ctx.now),
        key="promote",
        done=f"v{version.version} serves now. To undo: Roll back.",
        placeholder="e.g. compared on the newest 2,000 rows",
    )


@st.dialog("Roll back?", icon=":material/undo:")
def roll_back(ctx: ui.Context, project: ProjectInfo, champion: ModelVersion, previous: ModelVersion) -> None:
    """Bring the previous version back."""
    score = _measured(project, previous)
    measured = f", {score}" if score else ""
    ui.confirm_with_reason(
        f"**v{previous.version}** ({ui.plain(previous.family)}{measured}) answers again within 2 seconds, in place of v{champion.version}. Both stay; the next race may promote another one.",
        f"Roll back to v{previous.version}",
        lambda reason: lifecycle.rollback(ctx.ws, project, reason=reason, by=ctx.actor, now=ctx.now),
        key="rollback",
        done=f"v{previous.version} serves again. To undo: promote v{champion.version}.",
        placeholder="e.g. wrong on the night shift's rows",
    )


@st.dialog("Try it in the shadow?", icon=":material/contrast:")
def put_into_shadow(ctx: ui.Context, project: ProjectInfo, version: ModelVersion) -> None:
    """Put a version into the champion's shadow."""
    leaves = f" v{project.shadow} leaves the shadow." if project.shadow is not None else ""
    ui.confirm_with_reason(
        f"**v{version.version}** ({ui.plain(version.family)}) answers every new batch beside v{project.champion} from "
        f"the next check on. Nobody gets its answers; row by row it is counted which of the two was right.{leaves}{_ends(project)}",
        "Put it into the shadow",
        lambda reason: shadowing.shadow(ctx.ws, project, version.version, reason=reason, by=ctx.actor, now=ctx.now),
        key="shadow",
        done=f"v{version.version} is in the shadow. To undo: End the shadow.",
        placeholder="e.g. rejected on 100 rows only",
    )


@st.dialog("End the shadow?", icon=":material/close:")
def end_shadow(ctx: ui.Context, project: ProjectInfo, found: ShadowStanding) -> None:
    """Take the version out of the champion's shadow."""
    ui.confirm_with_reason(
        f"**v{found.version}** answers no more; v{project.champion} goes on serving. Its record over "
        f"{ui.counted(found.rows, 'labelled row')} stays in the cycles, but a later try begins at 0.",
        "End the shadow",
        lambda reason: shadowing.end_shadow(ctx.ws, project, reason=reason, by=ctx.actor, now=ctx.now),
        key="end",
        done=f"v{found.version} left the shadow.",
        placeholder="e.g. no better after 2,000 rows",
    )


def _measured(project: ProjectInfo, version: ModelVersion) -> str:
    """The score of a version in its race, in words; nothing where it was in none."""
    score = version.metrics.get(project.policy.metric)
    return "" if score is None else f"{ui.metric_label(project.policy.metric)} {score:.3f} in its race"


def _ends(project: ProjectInfo) -> str:
    """How long a version stays in the shadow."""
    wanted = project.policy.shadow_rows
    if not wanted:
        return " It stays there until somebody promotes it or ends the shadow; races go on."
    return (
        f" By the policy the loop lets it in or lets it go after {ui.counted(wanted, 'labelled row')}; until then only "
        "a change or somebody by hand starts a race."
    )
