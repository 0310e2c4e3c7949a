"""A further batch: from the generator where it made the project, else from a file that is held to the schema first."""

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
    """The way in that the project has."""
    if project.source == "generator":
        with ui.card(
            "The generator adds rows that continue where the last ones ended",
            "Left out, noise, balance and drift stay as they were last.",
        ):
            generate.show(ctx, project)
        return
    with ui.card(
        "Add a batch from a file",
        f"CSV, CSV.gz, Parquet or Arrow, up to {ctx.ws.settings.max_upload_mb:g} MB. Rows may come with or without their label.",
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
    """Hold a file to the schema before anything is stored; a missing column is refused by name here."""
    from core.data.cells import AHEAD
    from core.data.conforming import conform

    upload.preview(read.frame)
    taken = ui.attempt(lambda: conform(read.frame, schema, latest=ctx.now + AHEAD))
    if taken is None:
        return
    problems = (*read.problems, *taken.problems)
    for problem in problems:
        st.warning(ui.plain(text_of(problem)), icon=":material/info:")
    if not problems:
        st.success("Every column is there and of its kind.", icon=":material/check_circle:")
    past = st.checkbox(
        "Rows of the past (backfill)",
        key="backfill",
        help="They are stored with their own instants, and are neither measured nor taken for news.",
    )
    if upload.store_button(ctx, read) and upload.store(ctx, project, read, origin=file.name, backfill=past):
        open_project(project.slug)
