"""How the version in the champion's shadow does so far, and what can be done with it."""

from __future__ import annotations

import streamlit as st

from core import ui, words
from core.records import ProjectInfo
from core.services.models import shadowing
from core.services.models.shadowing import ShadowStanding
from core.services.models.versions import Registered
from core.ui.views.models import dialogs

SAID = {"better": "is better so far", "worse": "is worse so far", "unknown": "cannot be told apart yet"}


def show(ctx: ui.Context, project: ProjectInfo, held: Registered) -> None:
    """Its card; nothing while no version is in the shadow."""
    if project.shadow is None:
        return
    found, version = shadowing.shadow_standing(ctx.ws, project), held.find(project.shadow)
    if found is None or version is None:
        return
    champion = f"v{project.champion}"
    right = "nearer" if project.task == "regression" else "right"
    with ui.card(_finding(found, champion, right), _caption(ctx, found, champion, right), key="in-the-shadow"):
        _show_tiles(project, found, champion, right)
        with st.container(horizontal=True):
            if ui.button(ctx, "Promote", icon=":material/publish:", key="promote-shadow"):
                dialogs.promote(ctx, project, version)
            if ui.button(ctx, "End the shadow", icon=":material/close:", key="end-shadow"):
                dialogs.end_shadow(ctx, project, found)


def _show_tiles(project: ProjectInfo, found: ShadowStanding, champion: str, right: str) -> None:
    labelled = f"of {ui.count(found.rows)} labelled"
    with ui.tiles():
        ui.tile("Rows answered", ui.count(found.answered), note=f"beside {champion}")
        ui.tile(
            "Same answer",
            words.share(found.agreement),
            note=f"{ui.count(found.agreed)} rows",
            help="Within 1 % of the champion's value." if project.task == "regression" else None,
        )
        ui.tile(f"Only v{found.version} {right}", ui.count(found.wins), note=labelled)
        ui.tile(f"Only {champion} {right}", ui.count(found.losses), note=labelled)


def _finding(found: ShadowStanding, champion: str, right: str) -> str:
    """Whether the version in the shadow is better, as far as that can be told."""
    begin = f"In the shadow: v{found.version}"
    if found.rows == 0:
        return f"{begin} waits for labelled rows"
    split = f"alone {right} on {ui.count(found.wins)} rows, {champion} alone on {ui.count(found.losses)}"
    return f"{begin} {SAID[found.state]}, {split}"


def _caption(ctx: ui.Context, found: ShadowStanding, champion: str, right: str) -> str:
    """How sure that is, who put it there, and what happens next."""
    parts = []
    if found.wins or found.losses:
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
