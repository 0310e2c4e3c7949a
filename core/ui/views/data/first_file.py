"""A first file: the inferred column types are corrected by a person, then stored with its rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import streamlit as st

from core import ui
from core.data.files import TableRead
from core.data.problems import text_of
from core.records import FeatureSchema, Problem, ProjectInfo
from core.services.projects import projects
from core.ui.views.data import upload
from core.ui.views.data.way import open_project

if TYPE_CHECKING:
    import pandas as pd
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from core.data.review import ColumnReview

SHOWN_COLUMNS = 200  # that the editor shows; the others of a wide file keep their inferred types
NONE = "(none)"
TASKS: dict[Literal["classification", "regression"] | None, str] = {
    None: "as inferred",
    "classification": "classification",
    "regression": "regression",
}
KINDS = ("numeric", "categorical", "boolean")


class Roles(NamedTuple):
    """The roles of the columns, as chosen."""

    target: str
    id_column: str = NONE
    time_column: str = NONE
    task: Literal["classification", "regression"] | None = None


class Inferred(NamedTuple):
    """The types of a file's columns, and the assumptions made."""

    schema: FeatureSchema
    problems: tuple[Problem, ...]


def take(ctx: ui.Context, file: UploadedFile, read: TableRead, project: ProjectInfo | None) -> None:
    """Inferred types, corrected by the user, then stored; makes the project where there is none yet."""
    upload.preview(read.frame)
    for problem in read.problems:
        st.warning(ui.plain(text_of(problem)), icon=":material/info:")
    roles = _choose_roles(file, read.frame)
    inferred = _infer(file, read.frame, roles) if roles is not None else None
    if inferred is None:
        return
    for problem in inferred.problems:
        st.markdown(f":material/info: {ui.plain(text_of(problem))}")
    schema = _correct(file, read.frame, inferred.schema)
    if schema is None:
        return
    read = TableRead(read.frame, (*read.problems, *inferred.problems))
    if project is not None:
        if upload.store_button(ctx, read) and upload.store(ctx, project, read, origin=file.name, schema=schema):
            open_project(project.slug)
        return
    name = st.text_input("Name of the project", value=_named(file.name), max_chars=projects.MAX_NAME, key="new-name")
    if upload.store_button(ctx, read):
        _make_project(ctx, name, read, file.name, schema)


def _named(file_name: str) -> str:
    """A project's name from a file's: night_shift.csv.gz -> Night shift."""
    return Path(file_name).stem.split(".")[0].replace("_", " ").capitalize()


def _make_project(ctx: ui.Context, name: str, read: TableRead, origin: str, schema: FeatureSchema) -> None:
    """A project with these rows; none where they cannot be stored."""
    made = ui.attempt(
        lambda: projects.create_project(
            ctx.ws, name, projects.Origin(source="file", task=schema.task), by=ctx.actor, now=ctx.now
        )
    )
    if made is None:
        return
    if upload.store(ctx, made, read, origin=origin, schema=schema):
        open_project(made.slug)
    else:
        projects.delete_project(ctx.ws, made, by=ctx.actor, now=ctx.now)


def _choose_roles(file: UploadedFile, frame: pd.DataFrame) -> Roles | None:
    """Target, id, time and task, as guessed and then as the user chooses."""
    columns = [str(c) for c in frame.columns]
    likely = ui.computed_once("guessed", file.file_id, lambda: ui.attempt(lambda: _guess(frame, columns[-1])))
    if likely is None:
        return None
    with ui.grid():
        target = _choose(file, "Target: what is predicted", columns, likely.target, key="target")
        others = [NONE, *(c for c in columns if c != target)]
        id_column = _choose(
            file,
            "Row id",
            others,
            likely.id_column,
            key="id",
            help="Later labels are matched to their rows by it. Without one, ids are generated.",
        )
        left = [c for c in others if c == NONE or c != id_column]
        time_column = _choose(
            file,
            "Time",
            left,
            likely.time_column,
            key="time",
            help="When a row occurred. Without one, its arrival time is used.",
        )
        task = st.selectbox(
            "Task",
            list(TASKS),
            format_func=TASKS.__getitem__,
            key=f"task-{file.file_id}",
            help="Whole numbers with at most 50 distinct values are treated as classes unless you choose otherwise.",
        )
    return Roles(target, id_column, time_column, task)


def _guess(frame: pd.DataFrame, last: str) -> Roles:
    """The likely roles; the last column is the target where it is unclear."""
    from core.data.roles import guess_roles

    guess = guess_roles(frame)
    return Roles(guess.target or last, guess.id_column or NONE, guess.time_column or NONE)


def _choose(
    file: UploadedFile, label: str, options: list[str], likely: str, *, key: str, help: str | None = None
) -> str:
    """A column of the file; the likely one by default."""
    at = options.index(likely) if likely in options else 0
    return st.selectbox(label, options, index=at, key=f"{key}-{file.file_id}", help=help)


def _infer(file: UploadedFile, frame: pd.DataFrame, roles: Roles) -> Inferred | None:
    """The type of every column, inferred once per file and choice."""
    from core.data.inferring import first_schema

    def infer() -> Inferred:
        with st.spinner("Inspecting every column"):
            return Inferred(
                *first_schema(
                    frame,
                    target=roles.target,
                    id_column="" if roles.id_column == NONE else roles.id_column,
                    time_column="" if roles.time_column == NONE else roles.time_column,
                    task=roles.task,
                )
            )

    return ui.computed_once("inferred", (file.file_id, roles), lambda: ui.attempt(infer))


def _correct(file: UploadedFile, frame: pd.DataFrame, inferred: FeatureSchema) -> FeatureSchema | None:
    """The inferred kind of each feature in an editor; unticked columns are stored but not used for training."""
    from core.data.review import columns_to_review, reviewed_schema

    st.markdown(f"**{ui.plain(inferred.target)}** is {ui.plain(_goal(inferred))}. Correct any type that is wrong:")
    shown = columns_to_review(frame, inferred, limit=SHOWN_COLUMNS)
    key = f"kinds-{file.file_id}-{inferred.target}-{inferred.id_column}-{inferred.time_column}-{inferred.task}"
    wanted = _edit(shown, key)
    whole = len(inferred.features) + len(inferred.excluded)
    if whole > len(shown):
        st.caption(
            f"The first {SHOWN_COLUMNS} of {ui.count(whole)} columns can be corrected here; the others keep their inferred types."
        )
    return ui.attempt(lambda: reviewed_schema(frame, inferred, shown, wanted))


def _goal(inferred: FeatureSchema) -> str:
    if inferred.task == "regression":
        return "a number"
    return f"{len(inferred.classes)} classes: {', '.join(map(str, inferred.classes[:8]))}"


def _edit(shown: list[ColumnReview], key: str) -> list[ColumnReview]:
    """The columns as the user leaves them; use and kind can be changed."""
    import pandas as pd

    from core.data.review import ColumnReview

    table = pd.DataFrame(
        {
            "Use": [column.used for column in shown],
            "Column": [column.name for column in shown],
            "Kind": [column.kind for column in shown],
            "Seen": [column.seen for column in shown],
        }
    )
    edited = st.data_editor(
        table,
        hide_index=True,
        row_height=32,
        height=min(38 + 32 * len(shown), 390),
        disabled=["Column", "Seen"],
        key=key,
        column_config={
            "Kind": st.column_config.SelectboxColumn(options=list(KINDS), required=True),
            "Use": st.column_config.CheckboxColumn(help="Unticked: stored with the rows, but not used for training."),
        },
        alt="Columns of the file with their inferred kinds",
    )
    corrected = zip(edited["Column"].tolist(), edited["Kind"].tolist(), edited["Use"].tolist(), strict=True)
    return [ColumnReview(name=name, kind=kind, used=used) for name, kind, used in corrected]
