"""The stored batches, page by page: the selected one with its warnings and the button to undo it."""

from __future__ import annotations

import streamlit as st

from core import ui, words
from core.data.problems import text_of
from core.records import BatchInfo, ProjectInfo
from core.services.ingestion import stored_batches
from core.services.models import lineage

PAGE_ROWS = 25


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """One page of manifests; the selected one opens below them."""
    _, total = stored_batches.list_batches(ctx.ws, project.id, limit=0)
    with ui.card(
        "Newest first; a batch is stored once and never edited",
        f"{ui.counted(total, 'batch', 'batches')} · select a row for details",
    ):
        below = st.container()
        page = ui.page_of(total, PAGE_ROWS, key="page")
        batches, _ = stored_batches.list_batches(ctx.ws, project.id, limit=PAGE_ROWS, offset=(page - 1) * PAGE_ROWS)
        with below:
            at = ui.pick(
                [_line(ctx, batch) for batch in batches],
                {"Stored": ui.moment(), "Newest row": ui.moment(), "Rows": ui.whole(), "Labelled": ui.whole()},
                key=f"batches-{page}",
                alt=f"{len(batches)} of {total} batches with their rows, labels and state",
            )
    if at < len(batches):
        _show_batch(ctx, project, batches[at])


def _line(ctx: ui.Context, batch: BatchInfo) -> dict[str, object]:
    """One batch as a line of the table."""
    if batch.undone:
        state = "✕ Undone"
    elif batch.problems:
        state = f"⚠ {ui.counted(len(batch.problems), 'warning')}"
    else:
        state = "✓ No warnings"
    return {
        "Batch": batch.number,
        "State": state + (" · backfill" if batch.backfill else ""),
        "Rows": batch.rows,
        "Labelled": batch.labelled,
        "Newest row": words.wall(batch.last_at, ctx.zone),
        "Stored": words.wall(batch.created_at, ctx.zone),
        "Origin": batch.origin,
    }


def _show_batch(ctx: ui.Context, project: ProjectInfo, batch: BatchInfo) -> None:
    """One batch with its warnings, and the button to undo it."""
    warnings = ui.counted(len(batch.problems), "warning") if batch.problems else "no warnings"
    with ui.card(f"Batch {batch.number}: {warnings}", _about(ctx, batch)):
        for problem in batch.problems:
            st.markdown(f":material/info: {ui.plain(text_of(problem))}")
        if batch.backfill:
            st.markdown(
                ":material/history: Backfill: past rows, stored with their own timestamps. They are not measured and do not count as new data."
            )
        with st.container(horizontal=True, vertical_alignment="center"):
            used = _used_by(lineage.versions_of(ctx.ws, project, batch.id))
            st.caption(f"{used} · sha256 {batch.sha256[:16]}… · id {batch.id}", width="stretch")
            if batch.undone:
                st.badge("Undone: its rows are no longer used", icon=":material/undo:", color="gray")
            elif ui.button(ctx, "Undo this batch", icon=":material/undo:", key="undo"):
                _undo_dialog(ctx, project, batch)


def _about(ctx: ui.Context, batch: BatchInfo) -> str:
    """Origin, size and time span of a batch."""
    first, last = ui.when(batch.first_at, ctx), ui.when(batch.last_at, ctx)
    span = f"rows of {last}" if first == last else f"rows from {first} to {last}"
    return f"{ui.plain(batch.origin)} · {ui.counted(batch.rows, 'row')}, {ui.count(batch.labelled)} labelled · {span}"


def _used_by(versions: list[int]) -> str:
    """Which versions were trained on a batch, in words."""
    if not versions:
        return "no version was trained on it"
    names = [f"v{version}" for version in versions]
    return f"used to train {names[0]} to {names[-1]}" if len(names) > 2 else f"used to train {', '.join(names)}"


@st.dialog("Undo this batch?", icon=":material/undo:")
def _undo_dialog(ctx: ui.Context, project: ProjectInfo, batch: BatchInfo) -> None:
    rows = ui.counted(batch.rows, "row")
    ui.confirm(
        f"The {rows} of batch {batch.number} ({ui.plain(batch.origin)}) are no longer used: they are removed from the windows, the totals and every later race. "
        "Models trained on them and earlier measurements stay unchanged. The file is kept. This cannot be reverted, but the same rows can be stored again.",
        f"Undo batch {batch.number}",
        lambda: stored_batches.undo_batch(ctx.ws, project, batch.id, by=ctx.actor, now=ctx.now),
        key="undo",
        done=f"Batch {batch.number} is undone: {rows} are no longer used.",
        icon=":material/undo:",
    )
