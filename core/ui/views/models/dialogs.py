"""What a person does with a version: each names its effect and figures, takes a reason for the audit, then acts."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import ModelVersion, ProjectInfo
from core.services.models import lifecycle, shadowing
from core.services.models.shadowing import ShadowStatus


@st.dialog("Promote this version?", icon=":material/publish:")
def promote(ctx: ui.Context, project: ProjectInfo, version: ModelVersion) -> None:
    """Let a version serve."""
    instead = f", instead of v{project.champion}. Roll back restores v{project.champion}" if project.champion else ""
    measured = _measured(project, version) or "never scored in a race"
    ui.confirm_with_reason(
        f"**v{version.version}** ({ui.plain(version.family)}, {measured}) serves every prediction of "
        f"{ui.plain(project.name)} within 2 seconds{instead}.",
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
        f"**v{previous.version}** ({ui.plain(previous.family)}{measured}) serves again within 2 seconds, instead of v{champion.version}. Both are kept; the next race may promote another one.",
        f"Roll back to v{previous.version}",
        lambda reason: lifecycle.rollback(ctx.ws, project, reason=reason, by=ctx.actor, now=ctx.now),
        key="rollback",
        done=f"v{previous.version} serves again. To undo: promote v{champion.version}.",
        placeholder="e.g. wrong on the night shift's rows",
    )


@st.dialog("Run in shadow mode?", icon=":material/contrast:")
def put_into_shadow(ctx: ui.Context, project: ProjectInfo, version: ModelVersion) -> None:
    """Start shadow mode for a version."""
    leaves = f" v{project.shadow} leaves shadow mode." if project.shadow is not None else ""
    ui.confirm_with_reason(
        f"**v{version.version}** ({ui.plain(version.family)}) runs in shadow mode next to v{project.champion} from the next "
        f"check on. It predicts every new batch. Its predictions are not returned; on each labelled row it is counted which of the two was right.{leaves}{_ends(project)}",
        "Start shadow mode",
        lambda reason: shadowing.shadow(ctx.ws, project, version.version, reason=reason, by=ctx.actor, now=ctx.now),
        key="shadow",
        done=f"v{version.version} runs in shadow mode. To undo: End shadow mode.",
        placeholder="e.g. rejected on 100 rows only",
    )


@st.dialog("End shadow mode?", icon=":material/close:")
def end_shadow(ctx: ui.Context, project: ProjectInfo, status: ShadowStatus) -> None:
    """End shadow mode for the version."""
    ui.confirm_with_reason(
        f"**v{status.version}** stops predicting; v{project.champion} keeps serving. Its record over "
        f"{ui.counted(status.rows, 'labelled row')} stays in the cycles, but a later run starts from 0.",
        "End shadow mode",
        lambda reason: shadowing.end_shadow(ctx.ws, project, reason=reason, by=ctx.actor, now=ctx.now),
        key="end",
        done=f"v{status.version} left shadow mode.",
        placeholder="e.g. no better after 2,000 rows",
    )


def _measured(project: ProjectInfo, version: ModelVersion) -> str:
    """The score of a version in its race, for a sentence; empty where it was in none."""
    score = version.metrics.get(project.policy.metric)
    return "" if score is None else f"{ui.metric_label(project.policy.metric)} {score:.3f} in its race"


def _ends(project: ProjectInfo) -> str:
    """How long a version stays in shadow mode."""
    wanted = project.policy.shadow_rows
    if not wanted:
        return " It stays there until somebody promotes it or ends shadow mode; races continue."
    return (
        f" By the policy, the loop promotes or drops it after {ui.counted(wanted, 'labelled row')}; until then only "
        "a detected change or a manual request starts a race."
    )
