"""The rows that wait, with a cell for each label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from core import ui, words
from core.records import FeatureSchema, Label, ProjectInfo
from core.services.ingestion import label_queue
from core.services.ingestion.label_queue import QueuedRow
from core.ui.views.labels import lines
from core.ui.views.labels.lines import LABEL


def show(ctx: ui.Context, project: ProjectInfo, rows: Sequence[QueuedRow]) -> None:
    """The table to fill in, and the button that stores the labels."""
    assert project.schema is not None
    with ui.card(
        f"{ui.counted(len(rows), 'row')} waiting for a label",
        "In random order: label from the top, as many as you like · confidence: probability of the predicted class · selection: probability of being selected",
    ):
        edited = _show_table(ctx, project, project.schema, rows)
        given = label_queue.entered_labels(project.schema, {line["Row"]: line[LABEL] for line in edited})
        if ui.button(
            ctx,
            f"Save {ui.counted(len(given), 'label')}" if given else "Save labels",
            type="primary",
            icon=":material/save:",
            key="queue-save",
            closed=not given,
        ):
            _store(ctx, project, given)


def _show_table(
    ctx: ui.Context, project: ProjectInfo, schema: FeatureSchema, rows: Sequence[QueuedRow]
) -> Sequence[Mapping[str, Any]]:
    """The lines as they were filled in."""
    table = [lines.of(row, project) for row in rows]
    edited: Any = st.data_editor(
        table,
        hide_index=True,
        row_height=32,
        height=min(420, 70 + 32 * len(rows)),
        placeholder=words.ABSENT,
        disabled=[name for name in table[0] if name != LABEL] if ctx.may("operator") else True,
        key=f"queue-{project.id}-{rows[0].row_id}-{len(rows)}",
        column_config={
            LABEL: _label_column(schema),
            "Row": st.column_config.TextColumn(width=90),
            "Confidence": st.column_config.NumberColumn(format="%d %%", width=84),
            "Selection": st.column_config.NumberColumn(format="%.1f %%", width=74),
        },
    )
    return list(edited)


def _label_column(schema: FeatureSchema) -> Any:
    if schema.task == "regression":
        return st.column_config.NumberColumn(LABEL, width=100, help="The true value")
    options = [str(label) for label in schema.classes]
    return st.column_config.SelectboxColumn(LABEL, options=options, width=110, help="The true class")


def _store(ctx: ui.Context, project: ProjectInfo, given: Mapping[str, Label]) -> None:
    ui.change(
        lambda: label_queue.store_labels(ctx.ws, project, given, by=ctx.actor, now=ctx.now),
        done=f"{ui.counted(len(given), 'label')} stored. The next check uses them.",
    )
