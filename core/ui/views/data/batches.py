"""The stored batches, page by page: the selected one with what it brought and the way to take it back."""

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
        f"{ui.counted(total, 'batch', 'batches')} · select a row to see what it brought",
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


def _show_batch(ctx: ui.Context, project: ProjectInfo, batch: BatchInfo) -> None:
    """What one batch brought, and the way to take it back."""
    told = f"{ui.counted(len(batch.problems), 'thing')} to know" if batch.problems else "taken whole, nothing odd"
    with ui.card(f"Batch {batch.number}: {told}", _about(ctx, batch)):
        for problem in batch.problems:
            st.markdown(f":material/info: {ui.plain(text_of(problem))}")
        if batch.backfill:
            st.markdown(
                ":material/history: A backfill: rows of the past, stored with their own instants. They are neither measured nor news."
            )
        with st.container(horizontal=True, vertical_alignment="center"):
            learnt = _learnt(lineage.versions_of(ctx.ws, project, batch.id))
            st.caption(f"{learnt} · sha256 {batch.sha256[:16]}… · id {batch.id}", width="stretch")
            if batch.undone:
                st.badge("Undone: its rows no longer count", icon=":material/undo:", color="gray")
            elif ui.button(ctx, "Undo this batch", icon=":material/undo:", key="undo"):
                _undo_dialog(ctx, project, batch)


def _about(ctx: ui.Context, batch: BatchInfo) -> str:
    """Where a batch came from, how much it holds, and of when."""
    first, last = ui.when(batch.first_at, ctx), ui.when(batch.last_at, ctx)
    span = f"rows of {last}" if first == last else f"rows from {first} to {last}"
    return f"{ui.plain(batch.origin)} · {ui.counted(batch.rows, 'row')}, {ui.count(batch.labelled)} labelled · {span}"


def _learnt(versions: list[int]) -> str:
    """Which versions learnt from a batch, in words."""
    if not versions:
        return "no version has learnt from it"
    names = [f"v{version}" for version in versions]
    return f"learnt from by {names[0]} to {names[-1]}" if len(names) > 2 else f"learnt from by {', '.join(names)}"


@st.dialog("Undo this batch?", icon=":material/undo:")
def _undo_dialog(ctx: ui.Context, project: ProjectInfo, batch: BatchInfo) -> None:
    rows = ui.counted(batch.rows, "row")
    ui.confirm(
        f"The {rows} of batch {batch.number} ({ui.plain(batch.origin)}) stop counting: they leave the windows, the totals and every later race. "
        "Models that learnt from them and measurements already made stay as they are. The file is kept; the mark cannot be taken back, but the same rows can be stored anew.",
        f"Undo batch {batch.number}",
        lambda: stored_batches.undo_batch(ctx.ws, project, batch.id, by=ctx.actor, now=ctx.now),
        key="undo",
        done=f"Batch {batch.number} is undone: {rows} no longer count.",
        icon=":material/undo:",
    )
