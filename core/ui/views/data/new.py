"""The three ways to a project: the bundled sample, a file, the generator."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.services.projects import projects, streams
from core.ui.views.data import first_file, generate, upload
from core.ui.views.data.way import open_project

WAYS = {"sample": "Bundled sample", "file": "Your own file", "generator": "Generator"}


def show(ctx: ui.Context) -> None:
    """The choice of the way, and its form."""
    if not ctx.may("operator"):
        st.info("Viewers cannot create projects; operators and admins can.", icon=":material/lock:")
        return
    way = st.segmented_control(
        "Where the rows come from",
        list(WAYS),
        format_func=WAYS.__getitem__,
        default="sample",
        required=True,
        key="way",
        bind="query-params",
    )
    if way == "sample":
        _from_sample(ctx)
    elif way == "generator":
        _from_generator(ctx)
    else:
        _from_file(ctx)


def _from_generator(ctx: ui.Context) -> None:
    with ui.card(
        "Linear data with optional drift",
        "Two classes from a linear rule over features drawn from a normal distribution; with the drift that you choose, if any.",
    ):
        generate.show(ctx, None)


def _from_file(ctx: ui.Context) -> None:
    with ui.card(
        "Your rows",
        f"CSV, CSV.gz, Parquet or Arrow, up to {ctx.ws.settings.max_upload_mb:g} MB. You can check and correct the types before anything is stored.",
    ):
        file = ui.upload(ctx, "Rows", ui.ROWS_FILE, key="first-file")
        read = upload.read(ctx, file, target=None) if file is not None else None
        if file is not None and read is not None:
            first_file.take(ctx, file, read, None)


def _from_sample(ctx: ui.Context) -> None:
    """Its first rows as batch 1, the rest for the Live page."""
    with (
        ui.card(
            "Flying insects, classified from an optical sensor's readings while the temperature drifts",
            "33 sensor readings, six classes. The first 1,000 rows become batch 1; the Live page plays the rest.",
        ),
        st.form("sample", border=False),
    ):
        name = st.text_input("Name of the project", value="Insects", max_chars=projects.MAX_NAME, key="sample-name")
        sent = ui.submit(ctx, "Create the sample project", icon=":material/add:")
    if not sent:
        return
    made = ui.attempt(
        lambda: streams.create_sample_project(ctx.ws, by=ctx.actor, now=ctx.now, name=name),
        doing="Storing the first 1,000 rows",
        done=lambda project: f"Project {ui.plain(project.name)} has {ui.counted(project.rows, 'row')}",
    )
    if made is None:
        return
    ui.toast_next(
        f"{ui.plain(made.name)}: {ui.counted(made.rows, 'row')} stored. Open Live to watch it learn.",
        icon=":material/check_circle:",
    )
    open_project(made.slug)
