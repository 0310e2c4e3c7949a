"""A file: upload, progress, head of the result, download."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from core import ui
from core.data.files import read_table, write_csv
from core.records import FeatureSchema, ProjectInfo
from core.services.serving import page_predictions
from core.services.serving.champion_cache import Served
from core.ui.views.predict import champion

if TYPE_CHECKING:
    import pandas as pd
    from streamlit.runtime.uploaded_file_manager import UploadedFile

SHOWN_ROWS = 200
SLOT = "scored"


class Scored(NamedTuple):
    """A file's rows with their predictions."""

    rows: pd.DataFrame
    version: int  # that predicted


def show(ctx: ui.Context, project: ProjectInfo, schema: FeatureSchema) -> None:
    """The upload, and the result once it was requested."""
    with ui.card(
        "Predict for every row of a file",
        f"CSV, CSV.gz, Parquet or Arrow, up to {ctx.ws.settings.max_upload_mb:g} MB, with the {ui.counted(len(schema.features), 'feature column')} of the project",
    ):
        file = ui.upload(ctx, "Rows", ui.ROWS_FILE, key="predict-file")
        if file is None:
            st.session_state.pop(SLOT, None)
            return
        scored = ui.computed_once(SLOT, file.file_id, lambda: _offer(ctx, project, file))
    if scored is not None:
        _show_result(file.name, scored)


def _offer(ctx: ui.Context, project: ProjectInfo, file: UploadedFile) -> Scored | None:
    """The button, and its result; None before, and where the file cannot be used, with the error shown in place."""
    if not ui.pressed("Predict the file", type="primary", icon=":material/online_prediction:", key="predict-run"):
        return None
    served = champion.loaded(ctx, project)
    if served is None:
        return None
    rows = ui.attempt(lambda: _score(ctx, project, served, file))
    if rows is None:
        return None
    st.toast(f"{ui.counted(len(rows), 'row')} predicted and logged.", icon=":material/check_circle:")
    return Scored(rows, served.version)


def _score(ctx: ui.Context, project: ProjectInfo, served: Served, file: UploadedFile) -> pd.DataFrame:
    """Predictions for a file, logged, with the progress shown."""
    with ui.at_work(f"Reading {ui.plain(file.name)}", expanded=True) as status, ui.on_disk(file, "upload") as path:
        limit = ctx.ws.settings.max_upload_bytes
        frame = read_table(path, name=file.name, max_bytes=limit, target=served.schema.target).frame
        st.write(f"{ui.counted(len(frame), 'row')} read")
        status.update(label=f"v{served.version} predicts {ui.counted(len(frame), 'row')}")
        rows = page_predictions.predict_file(ctx.ws, project, frame, by=ctx.actor, now=ctx.now)
        st.write("Predicted and logged")
        done = f"{ui.counted(len(rows), 'row')} predicted by v{served.version}"
        status.update(label=done, state="complete", expanded=False)
    return rows


def _show_result(name: str, scored: Scored) -> None:
    with ui.card(
        f"{ui.counted(len(scored.rows), 'row')} predicted by v{scored.version}",
        f"The first {min(len(scored.rows), SHOWN_ROWS)} rows; the download has all of them. All are in the prediction log.",
    ):
        ui.table(scored.rows.iloc[:SHOWN_ROWS], alt=f"Predictions for the first rows of {name}")
        ui.download_later(
            "All rows with their prediction as CSV",
            f"{Path(name).stem}-predicted.csv",
            lambda: write_csv(scored.rows),
            label="Download CSV",
        )
