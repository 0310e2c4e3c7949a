"""Every check of the installation, and how to mend what is not well."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core import ui
from core.services.operations import doctor
from core.services.operations.doctor import Check
from core.ui.views.admin import channel


def show(ctx: ui.Context) -> None:
    """What was found, the channel of messages, and each check."""
    with st.spinner("Looking at the installation", show_time=False):
        checks = doctor.examine(ctx.ws, now=ctx.now)
    bad = [check for check in checks if not check.ok]
    rows = [_line(check) for check in checks]
    with ui.summary("bad" if bad else "well", _finding(checks, bad), word="Not well" if bad else "Well"):
        ui.download_table("The checks as CSV", "health.csv", rows)
    channel.show(ctx)
    with ui.card("What was looked at", "The same checks as `python -m core.cli doctor`"):
        ui.table(rows, alt=f"{len(checks)} checks, {len(bad)} not well")
        if st.button(
            "Read every stored file too",
            icon=":material/fact_check:",
            key="deep",
            help="Compares each batch and model with its digest; takes long with much data.",
        ):
            _read_files(ctx, {check.name for check in checks})


def _finding(checks: Sequence[Check], bad: Sequence[Check]) -> str:
    if bad:
        return f"**{len(bad)} of {len(checks)} checks found something.** {ui.plain(bad[0].mend)}"
    return f"**All {len(checks)} checks are well.**"


def _line(check: Check) -> dict[str, object]:
    """One check as a line of the table."""
    state = "✓ Well" if check.ok else "✕ Not well"
    return {"Check": check.name, "State": state, "Found": check.detail, "To do": check.mend or None}


def _read_files(ctx: ui.Context, told: set[str]) -> None:
    """The checks that read whole files.

    Args:
        told: checks that stand in the table already.
    """
    with st.status("Comparing files with their digests") as status:
        deep = [check for check in doctor.examine(ctx.ws, now=ctx.now, deep=True) if check.name not in told]
        for check in deep:
            icon = "check_circle" if check.ok else "error"
            st.write(f":material/{icon}: {ui.plain(check.name)}: {ui.plain(check.detail)} {ui.plain(check.mend)}")
        lost = any(not check.ok for check in deep)
        status.update(
            label="Something is damaged" if lost else "Every file is as it was written",
            state="error" if lost else "complete",
            expanded=True,
        )
