"""Four figures, each with its basis."""

from __future__ import annotations

from core import ui, words
from core.records import ProjectInfo
from core.services.monitoring.overview import Overview

NOTHING_MEASURED = "no labelled batch yet"


def show(project: ProjectInfo, seen: Overview) -> None:
    """The score, the first model's, drift, and labels that are missing."""
    with ui.tiles():
        _show_score(project, seen)
        _show_never(project, seen)
        _show_drift(seen)
        ui.tile("Labels still due", words.count(seen.labels_due), note=f"of {words.counted(project.rows, 'row')}")


def _show_score(project: ProjectInfo, seen: Overview) -> None:
    metric, moved = project.policy.metric, seen.since_last_batch
    ui.tile(
        f"{words.metric_label(metric)}, measured",
        words.score(seen.score),
        note=NOTHING_MEASURED if moved is None else f"{words.points(moved, metric)} since last batch",
        help=f"On the newest labelled rows: {ui.interval_text(seen.score)}.",
    )


def _show_never(project: ProjectInfo, seen: Overview) -> None:
    metric, gap = project.policy.metric, seen.by_retraining
    ui.tile(
        f"{words.metric_label(metric)}, never retrained",
        words.score(seen.never),
        note=NOTHING_MEASURED if gap is None else f"{words.points(gap, metric)} by retraining",
        help="The first champion on the same rows. It cannot predict classes that were missing from its training rows.",
    )


def _show_drift(seen: Overview) -> None:
    drift = seen.drift
    ui.tile(
        "Features drifted",
        f"{len(drift.drifted)} of {len(drift.scores)}" if drift else words.ABSENT,
        note="in the newest batch" if drift else "no drift check yet",
    )
