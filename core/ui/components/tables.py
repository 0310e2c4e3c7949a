"""Tables as every page shows them: rows of one height, a dash where there is no value, words for screen readers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import streamlit as st

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Start:
    """Which row is selected at first, and what is called with a new selection before the page is rerun."""

    at: int = 0
    changed: Callable[[int], None] | None = None


FIRST = Start()


def table(
    rows: Sequence[Mapping[str, Any]] | pd.DataFrame,
    columns: Mapping[str, Any] | None = None,
    *,
    alt: str,
    order: Sequence[str] | None = None,
    height: int | Literal["content"] = "content",
) -> None:
    """Rows to read.

    Args:
        columns: the format of each column; others are formatted by their values.
        order: columns that are shown, in this order; None = all.
    """
    st.dataframe(rows, **_look(columns, alt=alt, order=order, height=height))


def pick(
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, Any] | None = None,
    *,
    key: str,
    alt: str,
    order: Sequence[str] | None = None,
    height: int | Literal["content"] = "content",
    start: Start = FIRST,
) -> int:
    """Rows of which one is always selected: which one, the first until somebody selects another."""

    def selection_changed() -> None:
        selected = st.session_state[key].selection.rows
        if selected and start.changed is not None:
            start.changed(selected[0])

    chosen = st.dataframe(
        rows,
        on_select="rerun" if start.changed is None else selection_changed,
        selection_mode="single-row-required",
        selection_default={"selection": {"rows": [start.at]}},
        key=key,
        **_look(columns, alt=alt, order=order, height=height),
    )
    return chosen.selection.rows[0] if chosen.selection.rows else 0


def page_of(total: int, rows: int, *, key: str, first: int = 1) -> int:
    """The selected page of a long list; the control is drawn here, unless there is a single page.

    Args:
        total: lines of the whole list.
        rows: lines of a page.
        first: page that is shown at first; the address carries the selected one.
    """
    pages = math.ceil(total / rows)
    if pages <= 1:
        return 1
    return st.pagination(pages, default=min(first, pages), key=key, bind="query-params")


def moment(**more: Any) -> Any:
    """A column of instants, as wall time."""
    return st.column_config.DatetimeColumn(format="D MMM, HH:mm", **more)


def whole(**more: Any) -> Any:
    """A column of counts."""
    return st.column_config.NumberColumn(format="localized", **more)


def _look(columns: Mapping[str, Any] | None, *, order: Sequence[str] | None, **more: Any) -> Any:
    return {
        "hide_index": True,
        "row_height": 32,
        "placeholder": "–",
        "column_config": columns,
        "column_order": order,
        **more,
    }
