"""Provenance of a version: batches, cycle, policy and rivals, read when somebody opens it."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import BatchInfo, ModelVersion, ProjectInfo
from core.services.models import lineage

NAMED = 5  # undone batches


def show(ctx: ui.Context, project: ProjectInfo, version: ModelVersion) -> None:
    """Collapsed until somebody opens it."""
    with st.expander("Provenance", icon=":material/account_tree:", key="lineage", on_change="rerun") as opened:
        if not opened.open:
            return
        batches = lineage.batches_of(ctx.ws, project, version.version)
        provenance = lineage.provenance_of(ctx.ws, project, version.version)
        ui.pairs(
            [
                ("Available training data", _training_data(ctx, version, batches)),
                ("Created by", _made_by(ctx, version, provenance)),
                ("Raced against", f"v{provenance.raced_against}" if provenance.raced_against else "none"),
                ("Replaced", _replaced(ctx, provenance)),
                ("Data digest", (version.data_digest or "none")[:16]),
                ("Artefact", f"sha256 {(version.sha256 or 'none')[:16]}"),
                ("MLflow run", (version.run_id or "none yet")[:12]),
            ]
        )
        _warn_of_undone([batch for batch in batches if batch.undone])
        with st.container(horizontal=True):
            _show_links(provenance)
            if batches:
                name = f"{project.slug}-v{version.version}-batches.csv"
                ui.download_table("The batches as CSV", name, [_line(batch) for batch in batches])


def _warn_of_undone(undone: list[BatchInfo]) -> None:
    """Batches that were undone after it was trained on them."""
    if not undone:
        return
    numbers = ", ".join(f"{b.number:,}" for b in undone[:NAMED]) + (" and others" if len(undone) > NAMED else "")
    were = "was" if len(undone) == 1 else "were"
    st.warning(
        f"{ui.counted(len(undone), 'batch', 'batches')} of these (number {numbers}) {were} undone since: the version was trained on rows that no longer count.",
        icon=":material/warning:",
    )


def _show_links(provenance: lineage.Provenance) -> None:
    st.page_link(ui.page_path("data"), label="The batches, on the Data page", icon=":material/database:")
    if provenance.cycle_at is not None:
        st.page_link(
            ui.page_path("automation"),
            label=f"Cycle {provenance.cycle_id}",
            icon=":material/open_in_new:",
            query_params={"cycle": str(provenance.cycle_id)},
        )


def _training_data(ctx: ui.Context, version: ModelVersion, batches: list[BatchInfo]) -> str:
    """Batches, rows and their span in words."""
    if version.source == "import":
        return "unknown: it was imported"
    held = lineage.extent(batches)
    if held is None:
        return "no stored batches"
    named = f"batch {batches[0].number:,}" if len(batches) == 1 else f"{len(batches):,} batches"
    first, last = ui.plain(ui.when(held.first_at, ctx)), ui.plain(ui.when(held.last_at, ctx))
    return f"{named} of {ui.counted(held.rows, 'row')}, {first} to {last}"


def _made_by(ctx: ui.Context, version: ModelVersion, provenance: lineage.Provenance) -> str:
    """Cycle and policy in words."""
    if version.source == "import":
        return f"a person, {ui.plain(ui.when(version.created_at, ctx))}"
    if provenance.cycle_at is None:
        return "a cycle that is no longer stored"
    return f"cycle {provenance.cycle_id}, {ui.plain(ui.when(provenance.cycle_at, ctx))}, policy {ui.plain(provenance.policy or 'no longer stored')}"


def _replaced(ctx: ui.Context, provenance: lineage.Provenance) -> str:
    """Which version it replaced when it last began to serve."""
    if provenance.replaced_at is None:
        return "none: it never served"
    if provenance.replaced is None:
        return "none: it was the first"
    return f"v{provenance.replaced}, {ui.plain(ui.when(provenance.replaced_at, ctx))}"


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
