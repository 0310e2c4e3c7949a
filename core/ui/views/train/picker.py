"""Which race is shown: the newest by default; the address carries the selected one."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core import ui
from core.records import CycleReport, ProjectInfo
from core.services.automation import race_results
from core.services.projects import inventory
from core.text import vocabulary

OFFERED = 100  # newest races


def show(ctx: ui.Context, project: ProjectInfo) -> CycleReport | None:
    """The race that is picked; None before there is one."""
    races = inventory.races(ctx.ws, project.id, limit=OFFERED)
    if not races:
        return None
    shown = race_results.chosen(races, st.query_params.get("cycle", ""))
    return shown if len(races) == 1 else _pick(ctx, races, shown)


def _pick(ctx: ui.Context, races: Sequence[CycleReport], shown: CycleReport) -> CycleReport:
    by_id = {race.id: race for race in races}
    ids = list(by_id)
    cycle_id = st.selectbox(
        "Race",
        ids,
        index=ids.index(shown.id),
        format_func=lambda i: _name(ctx, by_id[i]),
        key=f"race-{races[0].id}",  # a new race is shown as soon as it is there
        label_visibility="collapsed",
    )
    st.query_params["cycle"] = str(cycle_id)
    return by_id[cycle_id]


def _name(ctx: ui.Context, race: CycleReport) -> str:
    result = vocabulary.outcome(race.outcome).race.format(v=race.champion_after)
    return f"Cycle {race.id} · {ui.when(race.started_at, ctx)} · {ui.counted(len(race.candidates), 'candidate')} · {result}"
