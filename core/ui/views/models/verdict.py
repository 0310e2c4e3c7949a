"""What the verdict on a version said, clause by clause, or why there is none."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import ModelVersion, ProjectInfo
from core.services.models import lineage
from core.text.reasons import sentence


def show(ctx: ui.Context, project: ProjectInfo, version: ModelVersion) -> None:
    """The verdict of the cycle that made the version."""
    found = lineage.parents(ctx.ws, project, version.version)
    if not found.clauses:
        with ui.card(*_without_clauses(version, found)):
            pass  # the card is its title and sentence
        return
    against = f" against v{found.raced_against}" if found.raced_against else ""
    with ui.card(
        _finding(f"v{version.version}", found),
        f"The verdict of cycle {found.cycle_id}{against} · grey: told, but policy {ui.plain(found.policy)} does not ask for it",
    ):
        ui.clauses(found.clauses)
        st.page_link(
            ui.page_path("automation"),
            label=f"Evidence and race: cycle {found.cycle_id}",
            icon=":material/open_in_new:",
            query_params={"cycle": str(found.cycle_id)},
        )


def _finding(name: str, found: lineage.Parents) -> str:
    """What became of the version."""
    deciding, passed = found.decided
    if found.outcome == "promoted":
        return f"{name} was let in: it passed what decides"
    if found.outcome == "refreshed":
        return f"{name} was let in as a refresh: it passed what decides"
    if found.outcome == "shadowed":
        return f"{name} passed what decides, and went into the shadow first"
    if found.outcome == "rejected":
        return f"{name} was rejected: {ui.counted(deciding - passed, 'clause')} failed"
    return f"{name} passed {passed} of {deciding} deciding clauses"


def _without_clauses(version: ModelVersion, found: lineage.Parents) -> tuple[str, str]:
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
    said = sentence(found.verdict.reason) if found.verdict is not None else "It was not compared with the champion."
    return (
        f"No clause was asked about {name}",
        f"Cycle {found.cycle_id}, policy {ui.plain(found.policy)}: {ui.plain(said)}",
    )
