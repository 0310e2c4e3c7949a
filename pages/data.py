"""What do I have, is it sound? Rows, batches and their problems; new rows, labels and projects come in here."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import streamlit as st

from core import ui, words
from core.data.cells import listed
from core.data.files import TableRead, write_csv
from core.data.problems import text_of
from core.errors import ContinualError
from core.records import BatchInfo, FeatureKind, FeatureSchema, LabelPlan, ProjectInfo
from core.services.ingestion import ingest, label_changes, label_intake
from core.services.models import lineage
from core.services.projects import projects, streams
from core.services.projects.inventory import inventory

if TYPE_CHECKING:
    import pandas as pd
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from core.services.ingestion.label_changes import LabelChange

PAGE_ROWS = 25
PREVIEW_ROWS = 8
SCHEMA_ROWS = 200  # columns that the editor and the table of columns show; a wide file keeps what was inferred
DOWNLOAD_ROWS = 50_000
VIEWS = {"stored": "Stored", "rows": "Add rows", "labels": "Add labels", "new": "New project"}
SOURCES = {
    "sample": "from a bundled sample",
    "file": "from a file",
    "generator": "from the generator",
    "api": "made over the API",
}
WAYS = {"sample": "Bundled sample", "file": "A file of yours", "generator": "Generator"}
TASKS: dict[Literal["classification", "regression"] | None, str] = {
    None: "as inferred",
    "classification": "one of some classes",
    "regression": "a number",
}
KINDS = ("numeric", "categorical", "boolean")
NONE = "(none)"
KEPT = "as it was"
STRENGTH = "Mean shift: standard deviations. Scale: factor less 1. Label flip: share of labels, at most 1. Concept rotation: right angles."
ROWS_FILE = ["csv", "gz", "parquet", "arrow", "feather"]


# --- what is stored ---------------------------------------------------------------------------------------------


def show_stored(ctx: ui.Context, project: ProjectInfo) -> None:
    """Verdict, tiles, the batches page by page with the selected one in detail, the columns."""
    held = inventory(ctx.ws, project.id)
    due = ingest.labels_due(ctx.ws, project.id)
    whole = ui.counted(held.batches, "batch", "batches")
    if held.with_problems:
        state, found = (
            "watch",
            f"**{ui.count(held.with_problems)} of {whole} came with something to know.** Select a batch to read what.",
        )
    else:
        state, found = "well", f"**{whole}, nothing odd in any of them.**"
    newest = f"; newest row: {ui.when(held.last_at, ctx)}" if held.last_at else ""
    found += f" {ui.counted(project.rows, 'row')}, {ui.count(project.labelled)} of them with a label{newest}."
    with ui.verdict(state, found, word="To know" if held.with_problems else "Sound"):
        offer_rows(ctx, project)
    with ui.tiles():
        ui.tile("Rows", ui.count(project.rows), note=f"{len(project.schema.names) if project.schema else 0} features")
        ui.tile("Labels", ui.count(project.labelled), note=f"{ui.count(due)} due" if due else "none due")
        ui.tile(
            "Batches", ui.count(held.batches), note=f"{ui.count(held.undone)} undone" if held.undone else "none undone"
        )
        ui.tile("To know about", ui.count(held.with_problems), note="batches")
    show_batches(ctx, project)
    show_columns(project)


def offer_rows(ctx: ui.Context, project: ProjectInfo) -> None:
    """Download of the newest rows; read when asked for, not at every run."""
    label = f"The newest {ui.count(min(project.rows, DOWNLOAD_ROWS))} rows as CSV"
    ui.download_later(
        label,
        f"{project.slug}-rows.csv",
        lambda: write_csv(ingest.read_rows(ctx.ws, project, n=DOWNLOAD_ROWS)),
    )


def show_batches(ctx: ui.Context, project: ProjectInfo) -> None:
    """One page of manifests; the selected one opens beside them."""
    _, total = ingest.list_batches(ctx.ws, project.id, limit=0)
    pages = max(math.ceil(total / PAGE_ROWS), 1)
    with ui.card(
        "Newest first; a batch is stored once and never edited",
        f"{ui.counted(total, 'batch', 'batches')} · select a row to see what it brought",
    ):
        below = st.container()
        page = st.pagination(pages, key="page", bind="query-params") if pages > 1 else 1
        batches, _ = ingest.list_batches(ctx.ws, project.id, limit=PAGE_ROWS, offset=(page - 1) * PAGE_ROWS)
        chosen = below.dataframe(
            [batch_line(ctx, batch) for batch in batches],
            hide_index=True,
            row_height=32,
            height="content",
            placeholder="–",
            on_select="rerun",
            selection_mode="single-row-required",
            selection_default={"selection": {"rows": [0]}},
            key=f"batches-{page}",
            alt=f"{len(batches)} of {total} batches with their rows, labels and state",
            column_config={
                "Stored": st.column_config.DatetimeColumn(format="D MMM, HH:mm"),
                "Newest row": st.column_config.DatetimeColumn(format="D MMM, HH:mm"),
                "Rows": st.column_config.NumberColumn(format="localized"),
                "Labelled": st.column_config.NumberColumn(format="localized"),
            },
        )
    at = chosen.selection.rows[0] if chosen.selection.rows else 0
    if at < len(batches):
        show_batch(ctx, project, batches[at])


def batch_line(ctx: ui.Context, batch: BatchInfo) -> dict[str, Any]:
    """One batch as a line of the table."""
    if batch.undone:
        state = "✕ Undone"
    elif batch.problems:
        state = f"⚠ {len(batch.problems)} to know"
    else:
        state = "✓ Sound"
    return {
        "Batch": batch.number,
        "State": state + (" · backfill" if batch.backfill else ""),
        "Rows": batch.rows,
        "Labelled": batch.labelled,
        "Newest row": words.wall(batch.last_at, ctx.zone),
        "Stored": words.wall(batch.created_at, ctx.zone),
        "Origin": batch.origin,
    }


def show_batch(ctx: ui.Context, project: ProjectInfo, batch: BatchInfo) -> None:
    """What one batch brought, and the way to take it back."""
    head = f"Batch {batch.number}: " + (
        f"{ui.counted(len(batch.problems), 'thing')} to know" if batch.problems else "taken whole, nothing odd"
    )
    first, last = ui.when(batch.first_at, ctx), ui.when(batch.last_at, ctx)
    span = f"rows of {last}" if first == last else f"rows from {first} to {last}"
    about = f"{ui.plain(batch.origin)} · {ui.counted(batch.rows, 'row')}, {ui.count(batch.labelled)} labelled · {span}"
    with ui.card(head, about):
        for problem in batch.problems:
            st.markdown(f":material/info: {ui.plain(text_of(problem))}")
        if batch.backfill:
            st.markdown(
                ":material/history: A backfill: rows of the past, stored with their own instants. They are neither measured nor news."
            )
        with st.container(horizontal=True, vertical_alignment="center"):
            learnt = [f"v{version}" for version in lineage.versions_of(ctx.ws, project, batch.id)]
            by = (
                f"learnt from by {learnt[0]} to {learnt[-1]}"
                if len(learnt) > 2
                else f"learnt from by {', '.join(learnt)}"
            )
            st.caption(
                f"{by if learnt else 'no version has learnt from it'} · sha256 {batch.sha256[:16]}… · id {batch.id}",
                width="stretch",
            )
            if batch.undone:
                st.badge("Undone: its rows no longer count", icon=":material/undo:", color="gray")
            elif st.button(
                "Undo this batch",
                icon=":material/undo:",
                key="undo",
                disabled=not ctx.may("operator"),
                help=ctx.why_not("operator"),
            ):
                undo_dialog(ctx, project, batch)


@st.dialog("Undo this batch?", icon=":material/undo:")
def undo_dialog(ctx: ui.Context, project: ProjectInfo, batch: BatchInfo) -> None:
    """Name the effect, then do it."""
    st.markdown(
        f"The {ui.counted(batch.rows, 'row')} of batch {batch.number} ({ui.plain(batch.origin)}) stop counting: they leave the windows, the totals and every later race. "
        "Models that learnt from them and measurements already made stay as they are. The file is kept; the mark cannot be taken back, but the same rows can be stored anew."
    )
    if st.button(f"Undo batch {batch.number}", type="primary", key="undo-yes"):
        try:
            ingest.undo_batch(ctx.ws, project, batch.id, by=ctx.actor, now=ctx.now)
        except ContinualError as error:
            ui.error_box(error)
            return
        ui.toast_next(
            f"Batch {batch.number} is undone: {ui.counted(batch.rows, 'row')} no longer count.", icon=":material/undo:"
        )
        st.rerun()


def show_columns(project: ProjectInfo) -> None:
    """The schema that later batches are held to."""
    schema = project.schema
    if schema is None:
        return
    named = {"Id": schema.id_column, "Time": schema.time_column}
    any_values = any(f.categories for f in schema.features)
    extra = "".join(f" · {role.lower()} column {ui.plain(column)}" for role, column in named.items() if column)
    goal = "a number" if schema.task == "regression" else f"one of {len(schema.classes)} classes"
    with ui.card(
        f"{ui.counted(len(schema.features), 'feature')} predict {ui.plain(schema.target)}, {goal}",
        f"What every later batch is held to{extra}. A new column is kept but unused; a missing one is refused by name.",
    ):
        if len(schema.features) > SCHEMA_ROWS:
            st.caption(f"The first {SCHEMA_ROWS} of {ui.count(len(schema.features))} are shown.")
        st.dataframe(
            [
                {
                    "Feature": f.name,
                    "Kind": f.kind,
                    "Lowest": f.low,
                    "Highest": f.high,
                    "Values": ", ".join(f.categories[:12])
                    + (f" and {len(f.categories) - 12} more" if len(f.categories) > 12 else "")
                    or None,
                }
                for f in schema.features[:SCHEMA_ROWS]
            ],
            hide_index=True,
            row_height=32,
            height="content" if len(schema.features) <= 12 else 430,
            placeholder="–",
            alt=f"{len(schema.features)} features with their kinds and the range seen in the first batch",
            column_order=["Feature", "Kind", "Lowest", "Highest"] + (["Values"] if any_values else []),
            column_config={
                "Lowest": st.column_config.NumberColumn(format="%.4g"),
                "Highest": st.column_config.NumberColumn(format="%.4g"),
            },
        )


# --- rows come in -----------------------------------------------------------------------------------------------


def add_rows(ctx: ui.Context, project: ProjectInfo) -> None:
    """A further batch: from the generator where it made the project, else from a file."""
    if project.source == "generator":
        with ui.card(
            "The generator adds rows that continue where the last ones ended",
            "Left out, noise, balance and drift stay as they were last.",
        ):
            generate_form(ctx, project)
        return
    with ui.card(
        "Add a batch from a file",
        f"CSV, CSV.gz, Parquet or Arrow, up to {ctx.ws.settings.max_upload_mb:g} MB. Rows may come with or without their label.",
    ):
        file = upload(ctx, "Rows", ROWS_FILE, key="rows-file")
        if file is None:
            return
        read = read_upload(ctx, file, target=project.schema.target if project.schema else None)
        if read is None:
            return
        if project.schema is None:
            take_first_file(ctx, file, read, project)
        else:
            take_later_file(ctx, file, read, project, project.schema)


def upload(ctx: ui.Context, label: str, kinds: list[str], *, key: str) -> UploadedFile | None:
    """A file uploader with this installation's limit; closed to viewers."""
    limit = max(math.ceil(ctx.ws.settings.max_upload_mb), 1)
    return st.file_uploader(
        label,
        type=kinds,
        key=key,
        max_upload_size=limit,
        disabled=not ctx.may("operator"),
        help=ctx.why_not("operator"),
    )


def read_upload(ctx: ui.Context, file: UploadedFile, *, target: str | None) -> TableRead | None:
    """The uploaded file's table, read once per file; None when it cannot be read, which is said in place."""
    kept = st.session_state.get("upload")
    if kept is not None and kept[0] == (file.file_id, target):
        return kept[1]
    from core.data.files import read_table

    try:
        with st.status(f"Reading {ui.plain(file.name)}") as status, tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "upload"
            path.write_bytes(file.getbuffer())
            read = read_table(path, name=file.name, max_bytes=ctx.ws.settings.max_upload_bytes, target=target)
            status.update(
                label=f"Read {ui.counted(len(read.frame), 'row')} and {ui.counted(len(read.frame.columns), 'column')}",
                state="complete",
            )
    except ContinualError as error:
        ui.error_box(error)
        return None
    st.session_state["upload"] = ((file.file_id, target), read)
    return read


def preview(frame: pd.DataFrame) -> None:
    """The first rows as they were read."""
    shown = frame.iloc[:PREVIEW_ROWS, :SCHEMA_ROWS]
    st.caption(
        f"{ui.counted(len(frame), 'row')}, {ui.counted(len(frame.columns), 'column')}; the first {len(shown)} as they were read:"
    )
    st.dataframe(
        shown, hide_index=True, row_height=32, height="content", placeholder="–", alt="The first rows of the file"
    )


def take_later_file(
    ctx: ui.Context, file: UploadedFile, read: TableRead, project: ProjectInfo, schema: FeatureSchema
) -> None:
    """Hold a file to the schema before anything is stored; a missing column is refused by name here."""
    from core.data.cells import AHEAD
    from core.data.schema import conform

    frame = read.frame
    preview(frame)
    try:
        taken = conform(frame, schema, latest=ctx.now + AHEAD)
    except ContinualError as error:
        ui.error_box(error)
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
    asked = st.button(
        f"Store {ui.counted(len(frame), 'row')}",
        type="primary",
        icon=":material/save:",
        key="store",
        disabled=not ctx.may("operator"),
    )
    if asked and store(ctx, project, read, origin=file.name, backfill=past):
        open_project(project.slug)


def store(
    ctx: ui.Context,
    project: ProjectInfo,
    read: TableRead,
    *,
    origin: str,
    schema: FeatureSchema | None = None,
    backfill: bool = False,
) -> bool:
    """Store a file's rows as a batch and say what became of it; an error is shown in place."""
    try:
        with st.status(f"Storing {ui.counted(len(read.frame), 'row')}", expanded=True) as status:
            st.write("Checking every row, writing the file, then its manifest")
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
    kept = (
        ""
        if not report.problems
        else f" {ui.counted(len(report.problems), 'thing')} to know: select the batch under Stored."
    )
    ui.toast_next(
        f"Batch {report.batch.number} holds {ui.counted(report.rows, 'row')}, {ui.count(report.labelled)} labelled.{kept}",
        icon=":material/check_circle:",
    )
    return True


# --- a first file: types that the user corrects -------------------------------------------------------------------


def take_first_file(ctx: ui.Context, file: UploadedFile, read: TableRead, project: ProjectInfo | None) -> None:
    """Inferred types, corrected by the user, then stored; makes the project where there is none yet."""
    frame = read.frame
    preview(frame)
    for problem in read.problems:
        st.warning(ui.plain(text_of(problem)), icon=":material/info:")
    schema = choose_schema(file, frame)
    if schema is None:
        return
    read = TableRead(frame, (*read.problems, *st.session_state["inferred"][2]))
    name = (
        project.name
        if project
        else st.text_input(
            "Name of the project",
            value=Path(file.name).stem.split(".")[0].replace("_", " ").capitalize(),
            max_chars=projects.MAX_NAME,
            key="new-name",
        )
    )
    if not st.button(
        f"Store {ui.counted(len(frame), 'row')}",
        type="primary",
        icon=":material/save:",
        key="store",
        disabled=not ctx.may("operator"),
    ):
        return
    if project is not None:
        if store(ctx, project, read, origin=file.name, schema=schema):
            open_project(project.slug)
        return
    try:
        made = projects.create_project(ctx.ws, name, source="file", by=ctx.actor, now=ctx.now, task=schema.task)
    except ContinualError as error:
        ui.error_box(error)
        return
    if store(ctx, made, read, origin=file.name, schema=schema):
        open_project(made.slug)
    else:
        projects.delete_project(ctx.ws, made, by=ctx.actor, now=ctx.now)


def choose_schema(file: UploadedFile, frame: pd.DataFrame) -> FeatureSchema | None:
    """Target, id, time, task and the kind of each column, as inferred and then as the user says."""
    from core.data.schema import first_schema, guess_roles

    columns = [str(c) for c in frame.columns]
    guessed = st.session_state.get("guessed")
    if guessed is None or guessed[0] != file.file_id:
        try:
            roles = guess_roles(frame)
        except ContinualError as error:
            ui.error_box(error)
            return None
        guessed = (file.file_id, roles.target or columns[-1], roles.id_column or NONE, roles.time_column or NONE)
        st.session_state["guessed"] = guessed
    _, likely, id_guess, time_guess = guessed
    with ui.grid():
        target = st.selectbox(
            "Target: what is predicted", columns, index=columns.index(likely), key=f"target-{file.file_id}"
        )
        others = [NONE, *(c for c in columns if c != target)]
        id_column = st.selectbox(
            "Row id",
            others,
            index=others.index(id_guess) if id_guess in others else 0,
            key=f"id-{file.file_id}",
            help="Labels that come later find their row by it. Without one, ids are made.",
        )
        left = [c for c in others if c == NONE or c != id_column]
        time_column = st.selectbox(
            "Time",
            left,
            index=left.index(time_guess) if time_guess in left else 0,
            key=f"time-{file.file_id}",
            help="When a row happened. Without one, the moment of its arrival counts.",
        )
        task = st.selectbox(
            "Task",
            list(TASKS),
            format_func=TASKS.__getitem__,
            key=f"task-{file.file_id}",
            help="Whole numbers with at most 50 values are taken as classes unless you say otherwise.",
        )

    key = (file.file_id, target, id_column, time_column, task)
    kept = st.session_state.get("inferred")
    if kept is None or kept[0] != key:
        try:
            with st.spinner("Looking at every column"):
                inferred, problems = first_schema(
                    frame,
                    target=target,
                    id_column="" if id_column == NONE else id_column,
                    time_column="" if time_column == NONE else time_column,
                    task=task,
                )
        except ContinualError as error:
            ui.error_box(error)
            return None
        kept = (key, inferred, problems)
        st.session_state["inferred"] = kept
    for problem in kept[2]:
        st.markdown(f":material/info: {ui.plain(text_of(problem))}")
    return correct_kinds(file, frame, kept[1])


def correct_kinds(file: UploadedFile, frame: pd.DataFrame, inferred: FeatureSchema) -> FeatureSchema | None:
    """The inferred kind of each feature in an editor; unticked columns are kept in the rows but not learnt from."""
    import pandas as pd

    from core.data.columns import kind_of
    from core.data.schema import first_schema

    goal = (
        "a number"
        if inferred.task == "regression"
        else f"{len(inferred.classes)} classes: {', '.join(map(str, inferred.classes[:8]))}"
    )
    st.markdown(f"**{ui.plain(inferred.target)}** is {ui.plain(goal)}. Correct what was inferred wrongly:")
    shown: list[tuple[str, FeatureKind, bool]] = [(f.name, f.kind, True) for f in inferred.features]
    shown += [(name, kind_of(frame[name]), False) for name in inferred.excluded]
    shown = shown[:SCHEMA_ROWS]
    table = pd.DataFrame(
        {
            "Use": [used for _, _, used in shown],
            "Column": [name for name, _, _ in shown],
            "Kind": [kind for _, kind, _ in shown],
            "Seen": [", ".join(map(str, frame[name].dropna().iloc[:4])) for name, _, _ in shown],
        }
    )
    edited = st.data_editor(
        table,
        hide_index=True,
        row_height=32,
        height=min(38 + 32 * len(shown), 390),
        disabled=["Column", "Seen"],
        key=f"kinds-{file.file_id}-{inferred.target}-{inferred.id_column}-{inferred.time_column}-{inferred.task}",
        column_config={
            "Kind": st.column_config.SelectboxColumn(options=list(KINDS), required=True),
            "Use": st.column_config.CheckboxColumn(help="Unticked: kept with the rows, not learnt from."),
        },
        alt="Columns of the file with their inferred kinds",
    )
    if len(inferred.features) + len(inferred.excluded) > len(shown):
        st.caption(
            f"The first {SCHEMA_ROWS} of {ui.count(len(inferred.features) + len(inferred.excluded))} columns can be corrected here; the others keep what was inferred."
        )
    unused = set(edited.loc[~edited["Use"], "Column"])
    kinds: list[FeatureKind] = edited["Kind"].tolist()
    corrected = {
        name: kind
        for (name, before, used), kind in zip(shown, kinds, strict=True)
        if name not in unused and (kind != before or not used)
    }
    schema = inferred
    try:
        if corrected:
            schema, _ = first_schema(
                frame,
                target=inferred.target,
                id_column=inferred.id_column or "",
                time_column=inferred.time_column or "",
                task=inferred.task,
                kinds=corrected,
            )
    except ContinualError as error:
        ui.error_box(error)
        return None
    features = tuple(f for f in schema.features if f.name not in unused)
    if not features:
        st.error("No column is used; at least one is needed to predict from. Tick one.", icon=":material/error:")
        return None
    excluded = tuple(dict.fromkeys([*schema.excluded, *(f.name for f in schema.features if f.name in unused)]))
    return dataclasses.replace(schema, features=features, excluded=excluded)


# --- labels, generator, projects ------------------------------------------------------------------------------------


def add_labels(ctx: ui.Context, project: ProjectInfo) -> None:
    """Labels that come later, by row id: shown as they would be taken, then stored."""
    due = ingest.labels_due(ctx.ws, project.id)
    found = f"{ui.counted(due, 'row')} wait for their label" if due else "Every stored row has its label"
    with ui.card(
        found,
        "A file with the columns row_id (or prediction_id, or the id column) and label (or the target). The same label twice changes nothing; another one replaces it.",
    ):
        file = upload(ctx, "Labels", ["csv", "gz", "parquet", "arrow"], key="labels-file")
        if file is not None:
            take_labels(ctx, project, file)
    show_label_changes(ctx, project)


def take_labels(ctx: ui.Context, project: ProjectInfo, file: UploadedFile) -> None:
    """The plan of a file of labels, and the button that stores them."""
    try:
        seen = label_intake.plan_label_file(ctx.ws, project, file.getvalue(), name=file.name)
    except ContinualError as error:
        ui.error_box(error)
        return
    plan = seen.plan
    for problem in seen.problems:
        st.markdown(f":material/info: {ui.plain(text_of(problem))}")
    st.markdown(f"{ui.counted(len(seen.results), 'label')}: {label_counts(plan)}.")
    if plan.new_classes:
        st.warning(f"{ui.plain(label_intake.new_classes_text(plan))}.", icon=":material/new_label:")
    if plan.replaced:
        some = len(plan.replacements)
        these = ":" if plan.replaced == some else f"; the first {some}:"
        st.warning(f"{ui.counted(plan.replaced, 'label')} would be replaced{these}", icon=":material/sync_alt:")
        st.dataframe(
            [{"Row": r.row_id, "Now": str(r.before), "Then": str(r.after)} for r in plan.replacements],
            hide_index=True,
            row_height=32,
            height="content",
            alt=f"The first {len(plan.replacements)} labels that would be replaced, with their row, before and after",
        )
    says = f"Store {ui.counted(len(seen.results), 'label')}" + (
        f", replacing {ui.count(plan.replaced)}" if plan.replaced else ""
    )
    asked = st.button(
        says,
        type="primary",
        icon=":material/label:",
        key=f"store-labels-{plan.replaced}-{len(plan.new_classes)}",  # a yes is given to this plan alone
        disabled=not ctx.may("operator"),
    )
    if not asked:
        return
    try:
        with st.status("Storing the labels") as status:
            taken = label_intake.add_label_file(
                ctx.ws, project, file.getvalue(), name=file.name, by=ctx.actor, now=ctx.now,
                replace=plan.needs_consent,
            )  # fmt: skip
            status.update(label=f"{ui.counted(len(taken.results), 'label')} taken", state="complete")
    except ContinualError as error:
        ui.error_box(error)
        return
    st.success(
        f"{ui.counted(len(taken.results), 'label')}: {label_counts(taken.plan)}. The next check measures with them.",
        icon=":material/check_circle:",
    )
    st.toast(f"{ui.counted(len(taken.results), 'label')} taken.", icon=":material/label:")


def label_counts(plan: LabelPlan) -> str:
    """How many labels of each status."""
    counts = {
        "new": plan.stored, "unchanged": plan.unchanged, "replaced": plan.replaced,
        "waiting for their row": plan.waiting,
    }  # fmt: skip
    return ", ".join(f"{ui.count(n)} {status}" for status, n in counts.items() if n)


def show_label_changes(ctx: ui.Context, project: ProjectInfo) -> None:
    """The last calls that replaced labels or added classes, each with the way to take it back."""
    changes = label_changes.newest_changes(ctx.ws, project)
    if not changes:
        return
    with ui.card(
        "Labels that replaced others or added classes", "Newest first; after an undo the labels before them count again"
    ):
        for change in changes:
            new = f", new classes: {ui.plain(listed(change.new_classes))}" if change.new_classes else ""
            source = f" · {ui.plain(change.source)}" if change.source else ""
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(
                    f"{ui.when(change.at, ctx)} · {ui.plain(change.by)}{source} · {ui.counted(change.labels, 'label')} stored, "
                    f"{ui.count(change.replaced)} replaced{new}",
                    width="stretch",
                )
                if change.undone:
                    st.badge("Undone", icon=":material/undo:", color="gray")
                elif st.button(
                    "Undo", icon=":material/undo:", key=f"undo-labels-{change.id}", disabled=not ctx.may("operator"),
                    help=ctx.why_not("operator"),
                ):  # fmt: skip
                    undo_labels_dialog(ctx, project, change)


@st.dialog("Undo these labels?", icon=":material/undo:")
def undo_labels_dialog(ctx: ui.Context, project: ProjectInfo, change: LabelChange) -> None:
    """Name the effect, then do it."""
    st.markdown(
        f"The {ui.counted(change.labels, 'label')} that {ui.plain(change.by)} sent on {ui.when(change.at, ctx)} stop counting, "
        "and the labels before them count again; classes that nothing holds any more go. Models that learnt from them and "
        "measurements already made stay as they are."
    )
    if st.button(f"Undo {ui.counted(change.labels, 'label')}", type="primary", key="undo-labels-yes"):
        try:
            label_changes.undo_labels(ctx.ws, project, change.id, by=ctx.actor, now=ctx.now)
        except ContinualError as error:
            ui.error_box(error)
            return
        ui.toast_next(f"{ui.counted(change.labels, 'label')} undone.", icon=":material/undo:")
        st.rerun()


def generate_form(ctx: ui.Context, project: ProjectInfo | None) -> None:
    """Controlled data: the original's linear rows, with drift on request. Makes the project where there is none yet."""
    from core.data.synthetic import DRIFT_KINDS, DRIFT_SHAPES

    before = (project.generator or {}) if project else {}
    with st.form("generate", border=False):
        name = (
            project.name
            if project
            else st.text_input(
                "Name of the project", value="Generated", max_chars=projects.MAX_NAME, key="generated-name"
            )
        )
        with ui.grid():
            rows = st.number_input("Rows", min_value=1, max_value=1_000_000, value=1_000, step=100, key="g-rows")
            features = st.number_input(
                "Features",
                min_value=1,
                max_value=1_000,
                value=int(before.get("features", 2)),
                key="g-features",
                disabled=project is not None and project.schema is not None,
            )
            noise = st.number_input(
                "Noise",
                min_value=0.0,
                max_value=1.0,
                value=float(before.get("noise", 0.1)),
                step=0.05,
                key="g-noise",
                help="Share of labels that are drawn at random.",
            )
            balance = st.number_input(
                "Balance",
                min_value=0.05,
                max_value=0.95,
                value=float(before.get("balance", 0.5)),
                step=0.05,
                key="g-balance",
                help="Share of class 1.",
            )
            seed = st.number_input(
                "Seed",
                min_value=0,
                value=None,
                step=1,
                key="g-seed",
                placeholder="drawn anew",
                help="The same seed gives the same rows.",
            )
            kind = st.selectbox(
                "Drift",
                [*([KEPT] if before.get("drift") else []), NONE, *DRIFT_KINDS],
                format_func=lambda k: k.replace("_", " "),
                key="g-kind",
            )
            shape = st.selectbox("How it comes", list(DRIFT_SHAPES), key="g-shape")
            size = st.number_input(
                "How strong", min_value=0.0, max_value=10.0, value=1.0, step=0.25, key="g-size", help=STRENGTH
            )
        sent = st.form_submit_button(
            "Generate rows",
            type="primary",
            icon=":material/add:",
            disabled=not ctx.may("operator"),
            help=ctx.why_not("operator"),
        )
    if not sent:
        return
    drift: dict[str, Any] | None = {"kind": kind, "shape": shape, "size": size}
    if kind == KEPT or (kind == NONE and not before.get("drift")):
        drift = None
    elif kind == NONE:
        drift = {"kind": before["drift"]["kind"], "size": 0.0}  # left out, it would stay as it was
    made = project
    try:
        with st.status(f"Generating {ui.counted(rows, 'row')}") as status:
            if made is None:
                made = projects.create_project(
                    ctx.ws,
                    name,
                    source="generator",
                    by=ctx.actor,
                    now=ctx.now,
                    generator={"features": int(features)},
                )
            report = ingest.generate(
                ctx.ws,
                made,
                rows=int(rows),
                features=int(features),
                seed=None if seed is None else int(seed),
                noise=noise,
                balance=balance,
                drift=drift,
                by=ctx.actor,
                now=ctx.now,
            )
            status.update(label=f"Stored as batch {report.batch.number}", state="complete")
    except ContinualError as error:
        ui.error_box(error)
        if project is None and made is not None:
            projects.delete_project(ctx.ws, made, by=ctx.actor, now=ctx.now)
        return
    ui.toast_next(
        f"{ui.counted(report.rows, 'row')} generated as batch {report.batch.number}.", icon=":material/check_circle:"
    )
    open_project(made.slug)


def open_project(slug: str) -> None:
    """Go to a project's stored rows."""
    ui.choose_project(slug)
    st.session_state["open-view"] = "stored"  # the view's own key is taken until the next run
    st.rerun()


def new_project(ctx: ui.Context) -> None:
    """The three ways to a project."""
    if not ctx.may("operator"):
        st.info("A viewer looks; an operator or admin makes projects.", icon=":material/lock:")
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
        sample_form(ctx)
    elif way == "generator":
        with ui.card(
            "Linear data with drift on request",
            "Two classes from a linear rule over features drawn from a normal distribution; the drift, if any, is the one you ask for.",
        ):
            generate_form(ctx, None)
    else:
        with ui.card(
            "Your rows",
            f"CSV, CSV.gz, Parquet or Arrow, up to {ctx.ws.settings.max_upload_mb:g} MB. You see what was read and correct the types before anything is stored.",
        ):
            file = upload(ctx, "Rows", ROWS_FILE, key="first-file")
            read = read_upload(ctx, file, target=None) if file is not None else None
            if file is not None and read is not None:
                take_first_file(ctx, file, read, None)


def sample_form(ctx: ui.Context) -> None:
    """The bundled sample: its first rows as batch 1, the rest for the Live page."""
    with (
        ui.card(
            "Flying insects, told apart by an optical sensor while the temperature drifts",
            "33 sensor readings, six classes. The first 1,000 rows become batch 1; the Live page plays the rest.",
        ),
        st.form("sample", border=False),
    ):
        name = st.text_input("Name of the project", value="Insects", max_chars=projects.MAX_NAME, key="sample-name")
        sent = st.form_submit_button("Create the sample project", type="primary", icon=":material/add:")
    if not sent:
        return
    try:
        with st.status("Storing the first 1,000 rows") as status:
            made = streams.create_sample_project(ctx.ws, by=ctx.actor, now=ctx.now, name=name)
            status.update(label=f"Project {ui.plain(made.name)} holds {ui.counted(made.rows, 'row')}", state="complete")
    except ContinualError as error:
        ui.error_box(error)
        return
    ui.toast_next(
        f"{ui.plain(made.name)}: {ui.counted(made.rows, 'row')} stored. Open Live to watch it learn.",
        icon=":material/check_circle:",
    )
    open_project(made.slug)


# --- the page -----------------------------------------------------------------------------------------------------


def main() -> None:
    """Draw the page."""
    ctx = ui.start_page("Data", choose_project=True)
    project = ctx.project
    if (wanted := st.session_state.pop("open-view", None)) is not None:
        st.session_state["view"] = wanted
    with ui.head_row(
        "Data",
        "nothing stored yet"
        if project is None
        else f"{ui.plain(project.name)}, {SOURCES.get(project.source, project.source)}",
    ):
        view = st.segmented_control(
            "View",
            list(VIEWS),
            format_func=VIEWS.__getitem__,
            default=None if wanted else "stored",
            required=True,
            key="view",
            bind="query-params",
            label_visibility="collapsed",
        )
    if project is None or view == "new":
        if project is None:
            ui.empty(
                "No project yet.",
                "A project is one table with a label to predict. Begin with the bundled sample, a file of yours, or generated rows.",
            )
        new_project(ctx)
    elif view == "rows":
        add_rows(ctx, project)
    elif view == "labels" and project.schema is not None:
        add_labels(ctx, project)
    elif project.schema is None:
        ui.empty("No rows yet.", "The first batch fixes what a row looks like; every later one is held to it.")
        add_rows(ctx, project)
    else:
        show_stored(ctx, project)


main()
