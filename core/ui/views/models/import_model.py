"""A model of the user's own: a skops file becomes a challenger once all its types are on the allowlist."""

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
    """Collapsed until somebody opens it; there is nothing to import into before the first batch."""
    if project.schema is None:
        return
    with st.expander(
        "Import a model of your own", icon=":material/upload_file:", key="import", on_change="rerun"
    ) as opened:
        if not opened.open:
            return
        if not ctx.may("admin"):
            st.info("Only an admin can import models.", icon=":material/lock:")
            return
        st.caption(
            "A fitted scikit-learn pipeline saved with skops; pickle, joblib and cloudpickle are refused. Only estimators on an allowlist are loaded, "
            "and tested in a separate process first. The model becomes the challenger; it does not serve automatically."
        )
        file = ui.upload(ctx, "Model file (.skops)", None, key="model-file")
        if file is None:
            return
        with ui.on_disk(file, Path(file.name).name or "model.skops") as path:
            report = _inspect(file, path)
            if report is not None:
                _approve(ctx, project, path, report)


def _inspect(file: UploadedFile, path: Path) -> ImportReport | None:
    """The contents of the file, read once per file."""
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
    """The problems that prevent the import, or the button for it."""
    for problem in report.problems:
        st.error(ui.plain(problem), icon=":material/error:")
    if report.problems:
        return
    st.markdown(f":material/check_circle: All {len(report.types)} types are on the allowlist.")
    if ui.button(
        ctx, "Import as challenger", icon=":material/upload:", key="import-yes", type="primary", needs="admin"
    ):
        _import(ctx, project, path)


def _import(ctx: ui.Context, project: ProjectInfo, path: Path) -> None:
    try:
        version = ui.attempt(
            lambda: importing.import_challenger(ctx.ws, project, path, by=ctx.actor, now=ctx.now),
            doing="Loading and test-scoring in a separate process",
            done=lambda made: f"Imported as v{made.version}",
        )
    except ProofNeeded:
        ui.ask_proof()
        return
    if version is None:
        return
    ui.toast_next(
        f"v{version.version} is the challenger. Compare it with the champion, then promote it.",
        icon=":material/check_circle:",
    )
    st.rerun()
