"""How labels arrive, and which are overdue since when."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core import plots, ui, words
from core.performance.arrival import DueDay
from core.services.monitoring.label_arrival import Arrival

SHOWN = 50  # days in the table


def show(ctx: ui.Context, arrival: Arrival, due: int) -> None:
    """The curve, and the days with rows that still wait for their labels."""
    curve = arrival.curve
    with ui.card(
        words.plain(curve.finding),
        f"Share of labels by the time since the row arrived · {words.counted(curve.n, 'row')}, {words.count(curve.n_waiting)} waiting · band: 95 % interval",
        key="labels",
    ):
        if curve.delays_s:
            ui.chart(plots.label_arrival(curve, colors=ctx.colors, height=200), key="arrival", alt=curve.finding)
        if not arrival.due:
            st.caption("No labels are due.")
            return
        expected = arrival.expected
        if expected is not None:
            st.markdown(f"**{words.counted(due, 'label')} due**, about {expected:,.0f} of them expected to arrive.")
        else:
            st.markdown(f"**{words.counted(due, 'label')} due.** Upload them by row id on the Data page.")
        _show_days(arrival.due[:SHOWN])


def _show_days(days: Sequence[DueDay]) -> None:
    rows: list[dict[str, object]] = [
        {"Row arrived": day.day, "Due": day.rows, "Expected": day.expected} for day in days
    ]
    if any(day.reason for day in days):
        rows = [row | {"Why no estimate": day.reason or None} for row, day in zip(rows, days, strict=True)]
    ui.table(
        rows,
        {
            "Row arrived": st.column_config.DateColumn(format="D MMM YYYY", width=90),
            "Due": ui.whole(width=60),
            "Expected": st.column_config.NumberColumn(
                format="%.0f", width=70, help="Labels still expected, from the curve above"
            ),
        },
        alt=f"{len(days)} days with rows whose labels are due",
        height=min(36 + 32 * len(rows), 164),
    )
