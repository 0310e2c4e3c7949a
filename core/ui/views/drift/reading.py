"""What the page shows; read again only after something has changed that it depends on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from core import ui
from core.records import DriftReport, ProjectInfo
from core.services.monitoring import compared, windows
from core.services.monitoring.windows import DriftHistory
from core.ui.views.drift.head import Choice

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The chosen windows, and the trend of every feature."""

    project: ProjectInfo  # without what changes at every check: a cache key
    windows: compared.Compared
    history: DriftHistory | None  # None: no champion

    @property
    def report(self) -> DriftReport:
        """The drift between the windows."""
        return self.windows.report

    def rows(self) -> compared.Sides | None:
        """Reference and current rows; read on request."""
        return _rows(self.project, self.windows.reference, self.windows.current)


def seen(ctx: ui.Context, project: ProjectInfo, stored: DriftReport, choice: Choice) -> Seen:
    """Everything about the chosen windows.

    Args:
        stored: the report of the newest check.
    """
    stable = dataclasses.replace(project, checked_at=None)
    return Seen(
        project=stable,
        windows=compared.between(ctx.ws, project, stored, choice.batches, choice.against),
        history=_history(stable),
    )


@st.cache_data(ttl=600, max_entries=32, show_spinner=False)
def _history(project: ProjectInfo) -> DriftHistory | None:
    """Every feature over the batches, from profiles; again only when the project's rows, champion or policy changed."""
    return windows.drift_history(ui.workspace(), project)


@st.cache_data(ttl=600, max_entries=32, show_spinner=False)
def _rows(
    project: ProjectInfo, reference: tuple[int, ...], current: tuple[int, ...]
) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """The rows of the chosen windows."""
    return compared.rows(ui.workspace(), project, reference, current)
