"""An uploaded file of rows: read once, shown as it was read, and stored as a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from core import ui
from core.data.files import TableRead, read_table
from core.data.problems import text_of
from core.errors import ContinualError
from core.records import FeatureSchema, ProjectInfo
from core.services.ingestion import ingest

if TYPE_CHECKING:
    import pandas as pd
    from streamlit.runtime.uploaded_file_manager import UploadedFile

PREVIEW_ROWS = 8
PREVIEW_COLUMNS = 200


def read(ctx: ui.Context, file: UploadedFile, *, target: str | None) -> TableRead | None:
    """The uploaded file's table, read once per file; None when it cannot be read, with the error shown in place."""

    def read_file() -> TableRead:
        with ui.on_disk(file, "upload") as path:
            return read_table(path, name=file.name, max_bytes=ctx.ws.settings.max_upload_bytes, target=target)

    return ui.computed_once(
        "upload",
        (file.file_id, target),
        lambda: ui.attempt(
            read_file, doing=f"Reading {ui.plain(file.name)}", done=lambda table: f"Read {_size(table.frame)}"
        ),
    )


def _size(frame: pd.DataFrame, joint: str = " and ") -> str:
    return f"{ui.counted(len(frame), 'row')}{joint}{ui.counted(len(frame.columns), 'column')}"


def preview(frame: pd.DataFrame) -> None:
    """The first rows as they were read."""
    shown = frame.iloc[:PREVIEW_ROWS, :PREVIEW_COLUMNS]
    st.caption(f"{_size(frame, ', ')}; the first {len(shown)} as they were read:")
    ui.table(shown, alt="The first rows of the file")


def store_button(ctx: ui.Context, read: TableRead) -> bool:
    """Whether the rows are to be stored."""
    label = f"Store {ui.counted(len(read.frame), 'row')}"
    return ui.button(ctx, label, icon=":material/save:", key="store", type="primary")


def store(
    ctx: ui.Context,
    project: ProjectInfo,
    read: TableRead,
    *,
    origin: str,
    schema: FeatureSchema | None = None,
    backfill: bool = False,
) -> bool:
    """Store a file's rows as a batch and show the result; an error is shown in place."""
    try:
        label = f"Storing {ui.counted(len(read.frame), 'row')}"
        steps = "Checking every row, writing the file, then its manifest"
        with ui.at_work(label, expanded=True, note=steps) as status:
            report = ingest.ingest_frame(
                ctx.ws,
                project,
                read.frame,
                origin=origin,
                by=ctx.actor,
                now=ctx.now,
                schema=schema,
                seen=read.problems,
                backfill=backfill,
            )
            for problem in report.problems:
                st.write(f":material/info: {ui.plain(text_of(problem))}")
            status.update(label=f"Stored as batch {report.batch.number}", state="complete")
    except ContinualError as error:
        ui.error_box(error)
        return False
    st.session_state.pop("upload", None)
    n = len(report.problems)
    warnings = f" {ui.counted(n, 'warning')}: select the batch under Stored." if n else ""
    ui.toast_next(
        f"Batch {report.batch.number} has {ui.counted(report.rows, 'row')}, {ui.count(report.labelled)} labelled.{warnings}",
        icon=":material/check_circle:",
    )
    return True
