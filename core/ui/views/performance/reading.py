"""What the page shows; read again only after something has changed that it depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import streamlit as st

from core import ui
from core.records import EstimatePoint, ProjectInfo
from core.services.ingestion import stored_batches
from core.services.monitoring import label_arrival, monitoring, window_report
from core.services.monitoring.label_arrival import Arrival
from core.services.monitoring.monitoring import PerformancePoint
from core.services.monitoring.window_report import WindowReport
from core.services.projects import projects
from core.ui.views.performance.head import Choice

MOST_ROWS = 20_000  # of a window
Newest = tuple[object, ...]  # changes with every measurement, row and label


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All measurements, and what is still missing."""

    newest: Newest
    points: Sequence[PerformancePoint]  # one a batch
    due: int  # labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything about the chosen metric and window."""

    metric: str
    window: str  # one of head.WINDOWS
    history: Sequence[PerformancePoint]
    never: Sequence[PerformancePoint]  # of the first model, never retrained
    window_report: WindowReport | None
    guesses: Sequence[EstimatePoint]
    due: int

    @property
    def recent(self) -> Sequence[PerformancePoint]:
        """The measurements of the window."""
        return self.history[-int(self.window) :]


def history(ctx: ui.Context, project: ProjectInfo) -> History:
    """The measurements of a project; none before its first champion has been measured."""
    stored = monitoring.performance_history(ctx.ws, project.id, limit=1)
    newest = (*((p.cycle_id, p.batch_id, p.rows_seen, p.n) for p in stored), project.rows, project.labelled)
    return History(
        newest=newest,
        points=_measured(_home(ctx), project.id, "champion", newest) if stored else [],
        due=stored_batches.labels_due(ctx.ws, project.id),
    )


def window(ctx: ui.Context, project: ProjectInfo, measured: History, choice: Choice) -> Seen:
    """The report of the newest rows, and the estimates without labels."""
    n = min(sum(p.n for p in measured.points[-int(choice.window) :]), MOST_ROWS)
    return Seen(
        metric=choice.metric,
        window=choice.window,
        history=measured.points,
        never=_measured(_home(ctx), project.id, "never", measured.newest),
        window_report=_windowed(_home(ctx), project.id, n, measured.newest),
        guesses=_estimated(_home(ctx), project.id, measured.newest),
        due=measured.due,
    )


def arrival(ctx: ui.Context, project: ProjectInfo, due: int) -> Arrival:
    """How labels arrive."""
    return _arrived(_home(ctx), project.id, project.rows, project.labelled, due, ctx.timezone)


def _home(ctx: ui.Context) -> str:
    return str(ctx.ws.settings.home_path)


@st.cache_data(ttl=600, max_entries=32, show_spinner=False)
def _windowed(home: str, project_id: int, n: int, newest: Newest) -> WindowReport | None:
    """The report of the newest n labelled rows; read again only after another measurement."""
    ws = ui.workspace()
    return window_report.window_report(ws, projects.project_by_id(ws, project_id), n=n)


# Shared and never changed: copying thousands of measurements at each click takes longer than all the rest.
@st.cache_resource(ttl=600, max_entries=32, show_spinner=False)
def _measured(home: str, project_id: int, role: str, newest: Newest) -> list[PerformancePoint]:
    """One measurement a batch; read again only after another one is stored."""
    ws = ui.workspace()
    return label_arrival.measured_by_batch(ws, projects.project_by_id(ws, project_id), role=role)


@st.cache_resource(ttl=600, max_entries=32, show_spinner=False)
def _estimated(home: str, project_id: int, newest: Newest) -> list[EstimatePoint]:
    """The estimates with their grades; read again only after another measurement or other rows."""
    return monitoring.estimates(ui.workspace(), project_id)


@st.cache_data(ttl=60, max_entries=32, show_spinner=False)
def _arrived(home: str, project_id: int, rows: int, labelled: int, due: int, zone: str) -> Arrival:
    """How labels arrive; read again after other rows or labels, and each minute, since waiting goes on."""
    ws = ui.workspace()
    return label_arrival.arrival(ws, projects.project_by_id(ws, project_id), now=datetime.now(UTC), zone=ZoneInfo(zone))
