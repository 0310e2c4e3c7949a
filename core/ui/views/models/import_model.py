"""A model of the user's own: a skops file becomes a challenger once everything in it was found to be on the list."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from core import ui
from core.errors import ProofNeeded
from core.records import ProjectInfo
from core.services.models import importing
from core.services.models.sandbox import ImportReport

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """Closed until somebody opens it; there is nothing to import into before the first batch."""
    if project.schema is None:
        return
    with st.expander(
        "Import a model of your own", icon=":material/upload_file:", key="import", on_change="rerun"
    ) as opened:
        if not opened.open:
            return
        if not ctx.may("admin"):
            st.info("An admin imports models.", icon=":material/lock:")
            return
        st.caption(
            "A fitted scikit-learn pipeline saved with skops; pickle, joblib and cloudpickle are refused. Only estimators on a list are loaded, "
            "and tried in a process of their own first. It never serves by itself: it becomes the challenger."
        )
        file = ui.upload(ctx, "Model file (.skops)", None, key="model-file")
        if file is None:
            return
        with ui.on_disk(file, Path(file.name).name or "model.skops") as path:
            report = _inspect(file, path)
            if report is not None:
                _approve(ctx, project, path, report)


def _inspect(file: UploadedFile, path: Path) -> ImportReport | None:
    """What is inside the file, looked at once per file."""
    return ui.computed_once(
        "inspected",
        file.file_id,
        lambda: ui.attempt(
            lambda: importing.inspect_import(path),
            doing="Reading the types in the file",
            done=lambda report: f"{ui.counted(len(report.types), 'type')} found",
        ),
    )


def _approve(ctx: ui.Context, project: ProjectInfo, path: Path, report: ImportReport) -> None:
    """What is in the way of the import, or the button for it."""
    for problem in report.problems:
        st.error(ui.plain(problem), icon=":material/error:")
    if report.problems:
        return
    st.markdown(f":material/check_circle: All {len(report.types)} types are on the list of those that are loaded.")
    if ui.button(
        ctx, "Import as challenger", icon=":material/upload:", key="import-yes", type="primary", needs="admin"
    ):
        _import(ctx, project, path)


def _import(ctx: ui.Context, project: ProjectInfo, path: Path) -> None:
    try:
        version = ui.attempt(
            lambda: importing.import_challenger(ctx.ws, project, path, by=ctx.actor, now=ctx.now),
            doing="Loading and check-scoring in a process of its own",
            done=lambda made: f"Imported as v{made.version}",
        )
    except ProofNeeded:
        ui.ask_proof()
        return
    if version is None:
        return
    ui.toast_next(
        f"v{version.version} waits as challenger. Compare it with the champion, then promote it.",
        icon=":material/check_circle:",
    )
    st.rerun()
