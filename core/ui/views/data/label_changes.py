"""The last calls that replaced labels or added classes, each with a button to undo it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from core import ui
from core.data.cells import listed
from core.records import ProjectInfo
from core.services.ingestion import label_changes

if TYPE_CHECKING:
    from core.services.ingestion.label_changes import LabelChange


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """One line per call; nothing while there was none."""
    changes = label_changes.newest_changes(ctx.ws, project)
    if not changes:
        return
    with ui.card("Labels that replaced others or added classes", "Newest first; an undo restores the labels before"):
        for change in changes:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(_described(ctx, change), width="stretch")
                if change.undone:
                    st.badge("Undone", icon=":material/undo:", color="gray")
                elif ui.button(ctx, "Undo", icon=":material/undo:", key=f"undo-labels-{change.id}"):
                    _undo_dialog(ctx, project, change)


def _described(ctx: ui.Context, change: LabelChange) -> str:
    """Who changed what, and when."""
    new = f", new classes: {ui.plain(listed(change.new_classes))}" if change.new_classes else ""
    source = f" · {ui.plain(change.source)}" if change.source else ""
    return (
        f"{ui.when(change.at, ctx)} · {ui.plain(change.by)}{source} · {ui.counted(change.labels, 'label')} stored, "
        f"{ui.count(change.replaced)} replaced{new}"
    )


@st.dialog("Undo these labels?", icon=":material/undo:")
def _undo_dialog(ctx: ui.Context, project: ProjectInfo, change: LabelChange) -> None:
    labels = ui.counted(change.labels, "label")
    ui.confirm(
        f"The {labels} that {ui.plain(change.by)} sent on {ui.when(change.at, ctx)} are removed, "
        "and the labels before them restored; classes without any label are removed. Models trained on them and "
        "earlier measurements stay unchanged.",
        f"Undo {labels}",
        lambda: label_changes.undo_labels(ctx.ws, project, change.id, by=ctx.actor, now=ctx.now),
        key="undo-labels",
        done=f"{labels} undone.",
        icon=":material/undo:",
    )
