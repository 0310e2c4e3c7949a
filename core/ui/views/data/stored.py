"""Is the stored data all right? The summary with the newest rows as a download, and four figures."""

from __future__ import annotations

from core import ui
from core.data.files import write_csv
from core.records import ProjectInfo
from core.services.ingestion import stored_batches
from core.services.projects import inventory

DOWNLOAD_ROWS = 50_000


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """Summary and tiles."""
    held = inventory.inventory(ctx.ws, project.id)
    _show_summary(ctx, project, held)
    _show_tiles(project, held, stored_batches.labels_due(ctx.ws, project.id))


def _show_summary(ctx: ui.Context, project: ProjectInfo, held: inventory.Inventory) -> None:
    whole = ui.counted(held.batches, "batch", "batches")
    if held.with_problems:
        state, word = "watch", "Warnings"
        have = "has" if held.with_problems == 1 else "have"
        text = f"**{ui.count(held.with_problems)} of {whole} {have} warnings.** Select a batch to read them."
    else:
        state, word, text = "well", "No warnings", f"**{whole} without warnings.**"
    newest = f"; newest row: {ui.when(held.last_at, ctx)}" if held.last_at else ""
    text += f" {ui.counted(project.rows, 'row')}, {ui.count(project.labelled)} of them with a label{newest}."
    with ui.summary(state, text, word=word):
        _offer_rows(ctx, project)


def _offer_rows(ctx: ui.Context, project: ProjectInfo) -> None:
    """Download of the newest rows; read on request, not at every run."""
    ui.download_later(
        f"The newest {ui.count(min(project.rows, DOWNLOAD_ROWS))} rows as CSV",
        f"{project.slug}-rows.csv",
        lambda: write_csv(stored_batches.read_rows(ctx.ws, project, n=DOWNLOAD_ROWS)),
    )


def _show_tiles(project: ProjectInfo, held: inventory.Inventory, due: int) -> None:
    features = len(project.schema.names) if project.schema else 0
    undone = f"{ui.count(held.undone)} undone" if held.undone else "none undone"
    with ui.tiles():
        ui.tile("Rows", ui.count(project.rows), note=f"{features} features")
        ui.tile("Labels", ui.count(project.labelled), note=f"{ui.count(due)} due" if due else "none due")
        ui.tile("Batches", ui.count(held.batches), note=undone)
        ui.tile("With warnings", ui.count(held.with_problems), note="batches")
