"""Is what is stored sound? The verdict with the newest rows to take away, and four figures."""

from __future__ import annotations

from core import ui
from core.data.files import write_csv
from core.records import ProjectInfo
from core.services.ingestion import stored_batches
from core.services.projects import inventory

DOWNLOAD_ROWS = 50_000


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """Verdict and tiles."""
    held = inventory.inventory(ctx.ws, project.id)
    _show_verdict(ctx, project, held)
    _show_tiles(project, held, stored_batches.labels_due(ctx.ws, project.id))


def _show_verdict(ctx: ui.Context, project: ProjectInfo, held: inventory.Inventory) -> None:
    whole = ui.counted(held.batches, "batch", "batches")
    if held.with_problems:
        state, word = "watch", "To know"
        found = (
            f"**{ui.count(held.with_problems)} of {whole} came with something to know.** Select a batch to read what."
        )
    else:
        state, word, found = "well", "Sound", f"**{whole}, nothing odd in any of them.**"
    newest = f"; newest row: {ui.when(held.last_at, ctx)}" if held.last_at else ""
    found += f" {ui.counted(project.rows, 'row')}, {ui.count(project.labelled)} of them with a label{newest}."
    with ui.summary(state, found, word=word):
        _offer_rows(ctx, project)


def _offer_rows(ctx: ui.Context, project: ProjectInfo) -> None:
    """Download of the newest rows; read when asked for, not at every run."""
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
        ui.tile("To know about", ui.count(held.with_problems), note="batches")
