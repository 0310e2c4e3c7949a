"""Where a version comes from: batches, cycle, policy and rivals, asked for when somebody opens it."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import BatchInfo, ModelVersion, ProjectInfo
from core.services.models import lineage

NAMED = 5  # undone batches


def show(ctx: ui.Context, project: ProjectInfo, version: ModelVersion) -> None:
    """Closed until somebody opens it."""
    with st.expander("Where it comes from", icon=":material/account_tree:", key="lineage", on_change="rerun") as opened:
        if not opened.open:
            return
        batches = lineage.batches_of(ctx.ws, project, version.version)
        found = lineage.parents(ctx.ws, project, version.version)
        ui.pairs(
            [
                ("Could learn from", _learnt_from(ctx, version, batches)),
                ("Made by", _made_by(ctx, version, found)),
                ("Raced against", f"v{found.raced_against}" if found.raced_against else "nobody"),
                ("Replaced", _replaced(ctx, found)),
                ("Data digest", (version.data_digest or "none")[:16]),
                ("Artefact", f"sha256 {(version.sha256 or 'none')[:16]}"),
                ("MLflow run", (version.run_id or "none yet")[:12]),
            ]
        )
        _warn_of_undone([batch for batch in batches if batch.undone])
        with st.container(horizontal=True):
            _show_links(found)
            if batches:
                name = f"{project.slug}-v{version.version}-batches.csv"
                ui.download_table("The batches as CSV", name, [_line(batch) for batch in batches])


def _warn_of_undone(undone: list[BatchInfo]) -> None:
    """Batches that were taken back since it learnt from them."""
    if not undone:
        return
    numbers = ", ".join(f"{b.number:,}" for b in undone[:NAMED]) + (" and others" if len(undone) > NAMED else "")
    st.warning(
        f"{ui.counted(len(undone), 'batch', 'batches')} of these, number {numbers}, was undone since: it learnt from rows that no longer count.",
        icon=":material/warning:",
    )


def _show_links(found: lineage.Parents) -> None:
    st.page_link(ui.page_path("data"), label="The batches, on the Data page", icon=":material/database:")
    if found.cycle_at is not None:
        st.page_link(
            ui.page_path("automation"),
            label=f"Cycle {found.cycle_id}",
            icon=":material/open_in_new:",
            query_params={"cycle": str(found.cycle_id)},
        )


def _learnt_from(ctx: ui.Context, version: ModelVersion, batches: list[BatchInfo]) -> str:
    """Batches, rows and their span in words."""
    if version.source == "import":
        return "not known: it was imported"
    held = lineage.extent(batches)
    if held is None:
        return "no stored batch"
    named = f"batch {batches[0].number:,}" if len(batches) == 1 else f"{len(batches):,} batches"
    first, last = ui.plain(ui.when(held.first_at, ctx)), ui.plain(ui.when(held.last_at, ctx))
    return f"{named} of {ui.counted(held.rows, 'row')}, {first} to {last}"


def _made_by(ctx: ui.Context, version: ModelVersion, found: lineage.Parents) -> str:
    """Cycle and policy in words."""
    if version.source == "import":
        return f"a person, {ui.plain(ui.when(version.created_at, ctx))}"
    if found.cycle_at is None:
        return "a cycle that is not kept"
    return f"cycle {found.cycle_id}, {ui.plain(ui.when(found.cycle_at, ctx))}, policy {ui.plain(found.policy or 'not kept')}"


def _replaced(ctx: ui.Context, found: lineage.Parents) -> str:
    """Whom it replaced when it last began to serve."""
    if found.replaced_at is None:
        return "nobody: it never served"
    if found.replaced is None:
        return "nobody: it was the first"
    return f"v{found.replaced}, {ui.plain(ui.when(found.replaced_at, ctx))}"


def _line(batch: BatchInfo) -> dict[str, object]:
    """One batch as a line of a file."""
    return {
        "number": batch.number,
        "origin": batch.origin,
        "rows": batch.rows,
        "labelled": batch.labelled,
        "first_at": batch.first_at,
        "last_at": batch.last_at,
        "undone": batch.undone,
        "sha256": batch.sha256,
    }
