"""How the version in shadow mode does so far, and the actions on it."""

from __future__ import annotations

import streamlit as st

from core import ui, words
from core.records import ProjectInfo
from core.services.models import shadowing
from core.services.models.shadowing import ShadowStatus
from core.services.models.versions import Registered
from core.ui.views.models import dialogs

FINDINGS = {"better": "is better so far", "worse": "is worse so far", "unknown": "shows no clear difference yet"}


def show(ctx: ui.Context, project: ProjectInfo, held: Registered) -> None:
    """Its card; nothing while no version is in shadow mode."""
    if project.shadow is None:
        return
    status, version = shadowing.shadow_status(ctx.ws, project), held.find(project.shadow)
    if status is None or version is None:
        return
    champion = f"v{project.champion}"
    right = "closer" if project.task == "regression" else "right"
    with ui.card(_finding(status, champion, right), _caption(ctx, status, champion, right), key="in-the-shadow"):
        _show_tiles(project, status, champion, right)
        with st.container(horizontal=True):
            if ui.button(ctx, "Promote", icon=":material/publish:", key="promote-shadow"):
                dialogs.promote(ctx, project, version)
            if ui.button(ctx, "End shadow mode", icon=":material/close:", key="end-shadow"):
                dialogs.end_shadow(ctx, project, status)


def _show_tiles(project: ProjectInfo, status: ShadowStatus, champion: str, right: str) -> None:
    labelled = f"of {ui.count(status.rows)} labelled"
    with ui.tiles():
        ui.tile("Rows predicted", ui.count(status.answered), note=f"next to {champion}")
        ui.tile(
            "Same prediction",
            words.share(status.agreement),
            note=f"{ui.count(status.agreed)} rows",
            help="Within 1 % of the champion's value." if project.task == "regression" else None,
        )
        ui.tile(f"Only v{status.version} {right}", ui.count(status.wins), note=labelled)
        ui.tile(f"Only {champion} {right}", ui.count(status.losses), note=labelled)


def _finding(status: ShadowStatus, champion: str, right: str) -> str:
    """Whether the version in shadow mode is better, as far as that can be determined."""
    begin = f"Shadow mode: v{status.version}"
    if status.rows == 0:
        return f"{begin} waits for labelled rows"
    split = (
        f"only v{status.version} {right} on {ui.count(status.wins)} rows, only {champion} on {ui.count(status.losses)}"
    )
    return f"{begin} {FINDINGS[status.state]}; {split}"


def _caption(ctx: ui.Context, status: ShadowStatus, champion: str, right: str) -> str:
    """How sure that is, who started it, and what happens next."""
    parts = []
    if status.wins or status.losses:
        parts.append(
            f"Evidence {words.odds(status.for_better)} that it is better, {words.odds(status.for_worse)} that it is worse; "
            f"{words.odds(status.needed)} is decisive, at any number of looks"
        )
    elif status.rows:
        parts.append(f"There is no labelled row yet on which only one of the two is {right}")
    if status.since is not None:
        who = "the loop" if status.by == "loop" else ui.plain(status.by)
        parts.append(
            f"started by {who} {ui.when(status.since, ctx)}: {ui.plain(ui.sentence(status.reason).rstrip('.'))}"
        )
    parts.append(
        f"after {ui.counted(status.wanted, 'labelled row')} the loop decides"
        if status.wanted
        else f"its predictions are not returned; {champion} serves until somebody promotes v{status.version}"
    )
    return " · ".join(parts)
