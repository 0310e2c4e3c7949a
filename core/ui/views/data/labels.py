"""Labels that arrive later, by row id: previewed, then stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from core import ui
from core.data.problems import text_of
from core.records import LabelPlan, ProjectInfo
from core.services.ingestion import label_intake, label_plans, stored_batches

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """How many rows wait for their labels, and the upload."""
    due = stored_batches.labels_due(ctx.ws, project.id)
    heading = f"{ui.counted(due, 'row')} waiting for a label" if due else "All stored rows have labels"
    with ui.card(
        heading,
        "A file with the columns row_id (or prediction_id, or the id column) and label (or the target). Sending the same label again changes nothing; a different one replaces it.",
    ):
        file = ui.upload(ctx, "Labels", ["csv", "gz", "parquet", "arrow"], key="labels-file")
        if file is not None:
            _take(ctx, project, file)


def _take(ctx: ui.Context, project: ProjectInfo, file: UploadedFile) -> None:
    """The plan of a file of labels, and the button that stores them."""
    seen = ui.attempt(lambda: label_intake.plan_label_file(ctx.ws, project, file.getvalue(), name=file.name))
    if seen is None:
        return
    plan = seen.plan
    for problem in seen.problems:
        st.markdown(f":material/info: {ui.plain(text_of(problem))}")
    labels = ui.counted(len(seen.results), "label")
    st.markdown(f"{labels}: {_counts(plan)}.")
    _warn(plan)
    says = f"Store {labels}" + (f", replacing {ui.count(plan.replaced)}" if plan.replaced else "")
    key = f"store-labels-{plan.replaced}-{len(plan.new_classes)}"  # consent is for this plan only
    if ui.button(ctx, says, icon=":material/label:", key=key, type="primary"):
        _store(ctx, project, file, replace=plan.needs_consent)


def _warn(plan: LabelPlan) -> None:
    """Warn of new classes, and of labels that would be replaced."""
    if plan.new_classes:
        st.warning(f"{ui.plain(label_plans.new_classes_text(plan))}.", icon=":material/new_label:")
    if plan.replaced:
        some = len(plan.replacements)
        these = ":" if plan.replaced == some else f"; the first {some}:"
        st.warning(f"{ui.counted(plan.replaced, 'label')} would be replaced{these}", icon=":material/sync_alt:")
        ui.table(
            [{"Row": r.row_id, "Current": str(r.before), "New": str(r.after)} for r in plan.replacements],
            alt=f"The first {some} labels that would be replaced, with their row, before and after",
        )


def _store(ctx: ui.Context, project: ProjectInfo, file: UploadedFile, *, replace: bool) -> None:
    stored = ui.attempt(
        lambda: label_intake.add_label_file(
            ctx.ws, project, file.getvalue(), name=file.name, by=ctx.actor, now=ctx.now, replace=replace
        ),
        doing="Storing the labels",
        done=lambda stored: f"{ui.counted(len(stored.results), 'label')} stored",
    )
    if stored is None:
        return
    labels = ui.counted(len(stored.results), "label")
    st.success(f"{labels}: {_counts(stored.plan)}. The next check uses them.", icon=":material/check_circle:")
    st.toast(f"{labels} stored.", icon=":material/label:")


def _counts(plan: LabelPlan) -> str:
    """How many labels of each status."""
    counts = {
        "new": plan.stored,
        "unchanged": plan.unchanged,
        "replaced": plan.replaced,
        "waiting for their row": plan.waiting,
    }
    return ", ".join(f"{ui.count(n)} {status}" for status, n in counts.items() if n)
