"""A further batch: from the generator for its own projects, else from a file that is validated against the schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from core import ui
from core.data.problems import text_of
from core.records import FeatureSchema, ProjectInfo
from core.ui.views.data import first_file, generate, upload
from core.ui.views.data.way import open_project

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from core.data.files import TableRead


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """The form that suits the project."""
    if project.source == "generator":
        with ui.card(
            "The generator adds rows that continue where the last ones ended",
            "Noise, balance and drift keep their last values unless you change them.",
        ):
            generate.show(ctx, project)
        return
    with ui.card(
        "Add a batch from a file",
        f"CSV, CSV.gz, Parquet or Arrow, up to {ctx.ws.settings.max_upload_mb:g} MB. Rows may have labels or not.",
    ):
        file = ui.upload(ctx, "Rows", ui.ROWS_FILE, key="rows-file")
        if file is None:
            return
        read = upload.read(ctx, file, target=project.schema.target if project.schema else None)
        if read is None:
            return
        if project.schema is None:
            first_file.take(ctx, file, read, project)
        else:
            _take_later_file(ctx, file, read, project, project.schema)


def _take_later_file(
    ctx: ui.Context, file: UploadedFile, read: TableRead, project: ProjectInfo, schema: FeatureSchema
) -> None:
    """Validate a file against the schema before anything is stored; a missing column is refused by name here."""
    from core.data.cells import AHEAD
    from core.data.conforming import conform

    upload.preview(read.frame)
    checked = ui.attempt(lambda: conform(read.frame, schema, latest=ctx.now + AHEAD))
    if checked is None:
        return
    problems = (*read.problems, *checked.problems)
    for problem in problems:
        st.warning(ui.plain(text_of(problem)), icon=":material/info:")
    if not problems:
        st.success("All columns are present and have the expected types.", icon=":material/check_circle:")
    past = st.checkbox(
        "Past rows (backfill)",
        key="backfill",
        help="They are stored with their own timestamps, not measured, and do not count as new data.",
    )
    if upload.store_button(ctx, read) and upload.store(ctx, project, read, origin=file.name, backfill=past):
        open_project(project.slug)
