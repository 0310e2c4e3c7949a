"""How the version in shadow mode does so far, and the actions on it."""

from __future__ import annotations

import streamlit as st

from core import ui, words
from core.records import ProjectInfo
from core.services.models import shadowing
from core.services.models.shadowing import ShadowStanding
from core.services.models.versions import Registered
from core.ui.views.models import dialogs

FINDINGS = {"better": "is better so far", "worse": "is worse so far", "unknown": "shows no clear difference yet"}


def show(ctx: ui.Context, project: ProjectInfo, held: Registered) -> None:
    """Its card; nothing while no version is in shadow mode."""
    if project.shadow is None:
        return
    standing, version = shadowing.shadow_standing(ctx.ws, project), held.find(project.shadow)
    if standing is None or version is None:
        return
    champion = f"v{project.champion}"
    right = "closer" if project.task == "regression" else "right"
    with ui.card(_finding(standing, champion, right), _caption(ctx, standing, champion, right), key="in-the-shadow"):
        _show_tiles(project, standing, champion, right)
        with st.container(horizontal=True):
            if ui.button(ctx, "Promote", icon=":material/publish:", key="promote-shadow"):
                dialogs.promote(ctx, project, version)
            if ui.button(ctx, "End shadow mode", icon=":material/close:", key="end-shadow"):
                dialogs.end_shadow(ctx, project, standing)


def _show_tiles(project: ProjectInfo, standing: ShadowStanding, champion: str, right: str) -> None:
    labelled = f"of {ui.count(standing.rows)} labelled"
    with ui.tiles():
        ui.tile("Rows predicted", ui.count(standing.answered), note=f"next to {champion}")
        ui.tile(
            "Same prediction",
            words.share(standing.agreement),
            note=f"{ui.count(standing.agreed)} rows",
            help="Within 1 % of the champion's value." if project.task == "regression" else None,
        )
        ui.tile(f"Only v{standing.version} {right}", ui.count(standing.wins), note=labelled)
        ui.tile(f"Only {champion} {right}", ui.count(standing.losses), note=labelled)


def _finding(standing: ShadowStanding, champion: str, right: str) -> str:
    """Whether the version in shadow mode is better, as far as that can be determined."""
    begin = f"Shadow mode: v{standing.version}"
    if standing.rows == 0:
        return f"{begin} waits for labelled rows"
    split = f"only v{standing.version} {right} on {ui.count(standing.wins)} rows, only {champion} on {ui.count(standing.losses)}"
    return f"{begin} {FINDINGS[standing.state]}; {split}"


def _caption(ctx: ui.Context, standing: ShadowStanding, champion: str, right: str) -> str:
    """How sure that is, who started it, and what happens next."""
    parts = []
    if standing.wins or standing.losses:
        parts.append(
            f"Evidence {words.odds(standing.for_better)} that it is better, {words.odds(standing.for_worse)} that it is worse; "
            f"{words.odds(standing.needed)} is decisive, at any number of looks"
        )
    elif standing.rows:
        parts.append(f"There is no labelled row yet on which only one of the two is {right}")
    if standing.since is not None:
        who = "the loop" if standing.by == "loop" else ui.plain(standing.by)
        parts.append(
            f"started by {who} {ui.when(standing.since, ctx)}: {ui.plain(ui.sentence(standing.reason).rstrip('.'))}"
        )
    parts.append(
        f"after {ui.counted(standing.wanted, 'labelled row')} the loop decides"
        if standing.wanted
        else f"its predictions are not returned; {champion} serves until somebody promotes v{standing.version}"
    )
    return " · ".join(parts)
