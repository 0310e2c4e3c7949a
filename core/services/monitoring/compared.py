"""Comparison of two windows of a project's rows: their batches, each feature in both, the report as a file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from core.drift.distribution import Distribution, distribution
from core.records import DriftReport, DriftScore, ProjectInfo
from core.services.monitoring import reports, windows
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

Against = Literal["champion", "before"]  # the champion's training rows, or the batches before
Sides = tuple["pd.DataFrame", "pd.DataFrame"]  # reference, current
DRAWN = 12  # distributions in the report as a file


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two windows and the drift between them."""

    report: DriftReport
    reference: tuple[int, ...] = ()  # ids of the batches; both empty: the windows of the newest check
    current: tuple[int, ...] = ()


def between(ws: Workspace, project: ProjectInfo, stored: DriftReport, n: int | None, against: Against) -> Compared:
    """The newest batches against another window; the stored report where it is that of the check, or none can be made.

    Args:
        stored: of the newest check.
        n: how many batches, at most all but one; None = those of the newest check, which need not be the single newest.
    """
    if n is None and against == "champion":
        return Compared(report=stored)
    batches = windows.batch_profiles(ws, project)
    n = min(n or 1, max(1, len(batches) - 1))
    newest = batches[-n:]
    if against == "before":
        base = batches[-2 * n : -n] or batches[:-n]
    else:
        base = windows.champion_batches(ws, project, batches)
    report = windows.drift_between(project, base, newest)
    if report is None:
        return Compared(report=stored)
    return Compared(report=report, reference=tuple(b.id for b in base), current=tuple(b.id for b in newest))


def rows(
    ws: Workspace, project: ProjectInfo, reference: tuple[int, ...], current: tuple[int, ...]
) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Reference and current rows of compared windows, named as `Compared` does; None where there are none."""
    sides = windows.reference_and_current(ws, project, current_ids=set(current) or None)
    if sides is None:
        return None
    before = windows.frame_of(ws, project, set(reference)) if reference else sides[0].frame
    return None if before is None else (before, sides[1].frame)


def distribution_of(project: ProjectInfo, score: DriftScore, sides: Sides | None) -> Distribution | None:
    """One feature in both windows; None if there is nothing to draw."""
    feature = next((f for f in project.schema.features if f.name == score.name), None) if project.schema else None
    if sides is None or feature is None or not score.judged:
        return None
    try:
        return distribution(sides[0][score.name], sides[1][score.name], feature)
    except ValueError:
        return None


def as_file(project: ProjectInfo, report: DriftReport, sides: Sides | None, *, made_at: datetime) -> bytes:
    """The report as one HTML file that needs nothing else, with the features that moved most drawn in it."""
    drifted = [score for score in report.ranked if score.drifted][:DRAWN]
    distributions = {score.name: distribution_of(project, score, sides) for score in drifted}
    drawn = {name: shown for name, shown in distributions.items() if shown is not None}
    page = reports.drift_page(report, project=project.name, policy=project.policy, made_at=made_at, distributions=drawn)
    return page.encode()
