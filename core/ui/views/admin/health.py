"""Every check of the installation, and how to fix what failed."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core import ui
from core.services.operations import doctor
from core.services.operations.doctor import Check
from core.ui.views.admin import channel


def show(ctx: ui.Context) -> None:
    """The summary, the message channel, and each check."""
    with st.spinner("Checking the installation", show_time=False):
        checks = doctor.examine(ctx.ws, now=ctx.now)
    bad = [check for check in checks if not check.ok]
    rows = [_line(check) for check in checks]
    with ui.summary("bad" if bad else "well", _finding(checks, bad), word="Problems" if bad else "OK"):
        ui.download_table("The checks as CSV", "health.csv", rows)
    channel.show(ctx)
    with ui.card("Checks performed", "The same checks as `python -m core.cli doctor`"):
        ui.table(rows, alt=f"{len(checks)} checks, {len(bad)} failed")
        if ui.pressed(
            "Read every stored file too",
            icon=":material/fact_check:",
            key="deep",
            help="Compares each batch and model with its checksum; slow with much data.",
        ):
            _read_files(ctx, {check.name for check in checks})


def _finding(checks: Sequence[Check], bad: Sequence[Check]) -> str:
    if bad:
        return f"**{len(bad)} of {len(checks)} checks failed.** {ui.plain(bad[0].fix)}"
    return f"**All {len(checks)} checks passed.**"


def _line(check: Check) -> dict[str, object]:
    """One check as a line of the table."""
    state = "✓ OK" if check.ok else "✕ Failed"
    return {"Check": check.name, "State": state, "Result": check.detail, "To do": check.fix or None}


def _read_files(ctx: ui.Context, shown: set[str]) -> None:
    """The checks that read whole files.

    Args:
        shown: checks that are in the table already.
    """
    with ui.at_work("Comparing checksums") as status:
        deep = [check for check in doctor.examine(ctx.ws, now=ctx.now, deep=True) if check.name not in shown]
        for check in deep:
            icon = "check_circle" if check.ok else "error"
            st.write(f":material/{icon}: {ui.plain(check.name)}: {ui.plain(check.detail)} {ui.plain(check.fix)}")
        lost = any(not check.ok for check in deep)
        status.update(
            label="Some files are damaged" if lost else "All checksums match",
            state="error" if lost else "complete",
            expanded=True,
        )
