"""The verdict on a version, clause by clause, or why there is none."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import ModelVersion, ProjectInfo
from core.services.models import lineage
from core.text.reasons import sentence


def show(ctx: ui.Context, project: ProjectInfo, version: ModelVersion) -> None:
    """The verdict of the cycle that made the version."""
    provenance = lineage.provenance_of(ctx.ws, project, version.version)
    if not provenance.clauses:
        with ui.card(*_without_clauses(version, provenance)):
            pass  # the card is its title and sentence
        return
    against = f" against v{provenance.raced_against}" if provenance.raced_against else ""
    with ui.card(
        _finding(f"v{version.version}", provenance),
        f"The verdict of cycle {provenance.cycle_id}{against} · grey: not enforced by policy {ui.plain(provenance.policy)}",
    ):
        ui.clauses(provenance.clauses)
        st.page_link(
            ui.page_path("automation"),
            label=f"Evidence and race: cycle {provenance.cycle_id}",
            icon=":material/open_in_new:",
            query_params={"cycle": str(provenance.cycle_id)},
        )


def _finding(name: str, provenance: lineage.Provenance) -> str:
    """The outcome for the version."""
    deciding, passed = provenance.decided
    if provenance.outcome == "promoted":
        return f"{name} was promoted: it passed all deciding clauses"
    if provenance.outcome == "refreshed":
        return f"{name} was accepted as a refresh: it passed all deciding clauses"
    if provenance.outcome == "shadowed":
        return f"{name} passed all deciding clauses and started in shadow mode"
    if provenance.outcome == "rejected":
        return f"{name} was rejected: {ui.counted(deciding - passed, 'clause')} failed"
    return f"{name} passed {passed} of {deciding} deciding clauses"


def _without_clauses(version: ModelVersion, provenance: lineage.Provenance) -> tuple[str, str]:
    """Why no clause was evaluated for a version: a finding and a sentence."""
    name = f"v{version.version}"
    if version.source == "import":
        return (
            f"{name} was imported: it has not been in a race",
            "Compare it with the champion below, or run it in shadow mode.",
        )
    if provenance.cycle_at is None:
        return f"The verdict on {name} is no longer stored", "Its cycle was removed."
    if provenance.outcome in (None, "failed"):
        return (
            f"No verdict on {name}: its cycle did not finish",
            f"Cycle {provenance.cycle_id} was interrupted or failed.",
        )
    if provenance.raced_against is None:
        return (
            f"{name} is the first model: there was no champion to compare it with",
            f"Created by cycle {provenance.cycle_id}; clauses compare a challenger with a champion.",
        )
    reason = (
        sentence(provenance.verdict.reason)
        if provenance.verdict is not None
        else "It was not compared with the champion."
    )
    return (
        f"No clause was evaluated for {name}",
        f"Cycle {provenance.cycle_id}, policy {ui.plain(provenance.policy)}: {ui.plain(reason)}",
    )
