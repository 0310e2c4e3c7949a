"""Tables as every page shows them: rows of one height, a dash where there is no value, words for screen readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import streamlit as st

if TYPE_CHECKING:
    import pandas as pd


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
        columns: how a column is written; one that is not named here is written by its values.
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
) -> int:
    """Rows of which one is always selected: which one, the first until somebody selects another."""
    chosen = st.dataframe(
        rows,
        on_select="rerun",
        selection_mode="single-row-required",
        selection_default={"selection": {"rows": [0]}},
        key=key,
        **_look(columns, alt=alt, order=order, height=height),
    )
    return chosen.selection.rows[0] if chosen.selection.rows else 0


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
