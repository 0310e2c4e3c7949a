"""All versions in a table, of which one is selected."""

from __future__ import annotations

import streamlit as st

from core import ui, words
from core.records import ModelVersion, ProjectInfo

SHOWN_VERSIONS = 200
STATES = {"champion": "▲ Champion", "challenger": "◇ Challenger", "previous": "▽ Previous"}
IN_SHADOW = "◐ Shadow"


def show(ctx: ui.Context, project: ProjectInfo, versions: list[ModelVersion]) -> ModelVersion | None:
    """The table of versions; returns the selected one."""
    metric = ui.metric_label(project.policy.metric)
    with ui.card(
        f"{ui.counted(len(versions), 'version')}, newest first",
        f"Select one to act on it · score: {metric} on the test rows of its race",
    ):
        at = ui.pick(
            [line(ctx, project, version) for version in versions[:SHOWN_VERSIONS]],
            {
                "Version": st.column_config.TextColumn(width=60),
                "State": st.column_config.TextColumn(width=95),
                "Score": st.column_config.NumberColumn(format="%.3f", width=60),
                "Rows": ui.whole(width=60, help="Rows it was trained on"),
                "Created": ui.moment(width=105),
            },
            key="versions",
            alt=f"{len(versions)} versions with their state, family and score",
            order=["Version", "State", "Score", "Rows", "Created", "Family"],
            height="content" if len(versions) <= 8 else 294,
        )
    return versions[at] if at < len(versions) else None


def line(ctx: ui.Context, project: ProjectInfo, version: ModelVersion) -> dict[str, object]:
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
        "Created": words.wall(version.created_at, ctx.zone),
        "Promoted": words.wall(version.promoted_at, ctx.zone),
        "From": _origin(version),
    }


def _origin(version: ModelVersion) -> str:
    if version.source == "import":
        return "imported"
    return f"cycle {version.cycle_id}" if version.cycle_id else version.source
