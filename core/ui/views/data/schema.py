"""The schema that later batches are validated against: what is predicted, from which columns."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import Feature, FeatureSchema, ProjectInfo

SHOWN_COLUMNS = 200  # a wide file's others are counted
SHOWN_VALUES = 12  # of a feature


def show(project: ProjectInfo) -> None:
    """The columns with their kinds and ranges; nothing before the first batch."""
    schema = project.schema
    if schema is None:
        return
    with ui.card(
        f"{ui.counted(len(schema.features), 'feature')} predict {ui.plain(schema.target)}, {_goal(schema)}",
        f"Every later batch is validated against it{_named(schema)}. A new column is stored but not used; a batch with a missing one is refused.",
    ):
        if len(schema.features) > SHOWN_COLUMNS:
            st.caption(f"The first {SHOWN_COLUMNS} of {ui.count(len(schema.features))} are shown.")
        values = ["Values"] if any(f.categories for f in schema.features) else []
        number = st.column_config.NumberColumn(format="%.4g")
        ui.table(
            [_line(f) for f in schema.features[:SHOWN_COLUMNS]],
            {"Minimum": number, "Maximum": number},
            alt=f"{len(schema.features)} features with their kinds and the range seen in the first batch",
            order=["Feature", "Kind", "Minimum", "Maximum", *values],
            height="content" if len(schema.features) <= 12 else 430,
        )


def _goal(schema: FeatureSchema) -> str:
    return "a number" if schema.task == "regression" else f"one of {len(schema.classes)} classes"


def _named(schema: FeatureSchema) -> str:
    """The columns with a role of their own, in words."""
    named = {"id": schema.id_column, "time": schema.time_column}
    return "".join(f" · {role} column {ui.plain(column)}" for role, column in named.items() if column)


def _line(feature: Feature) -> dict[str, object]:
    """One feature as a line of the table."""
    values = ", ".join(feature.categories[:SHOWN_VALUES])
    more = len(feature.categories) - SHOWN_VALUES
    return {
        "Feature": feature.name,
        "Kind": feature.kind,
        "Minimum": feature.low,
        "Maximum": feature.high,
        "Values": (f"{values} and {more} more" if more > 0 else values) or None,
    }
