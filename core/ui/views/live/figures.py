"""Four figures of a run."""

from __future__ import annotations

from core import ui, words
from core.records import EventKind
from core.ui.views.live.reading import Seen


def show(seen: Seen) -> None:
    """Progress, score, drift and races."""
    run = seen.run
    with ui.tiles():
        ui.tile("Batch", f"{run.batches} of {run.total_batches}", note=f"{run.position:,} rows")
        _show_score(seen)
        _show_drift(seen)
        _show_races(seen)


def _show_score(seen: Seen) -> None:
    metric, gap = seen.project.policy.metric, seen.by_retraining
    ui.tile(
        f"{words.metric_label(metric)} now",
        words.number(seen.points[-1].value if seen.points else None),
        note="not measured yet" if gap is None else f"{words.points(gap, metric)} by retraining",
        help="Compared with the first champion on the same rows, which cannot predict classes that were missing from its training rows.",
    )


def _show_drift(seen: Seen) -> None:
    drift, schema = seen.drift, seen.project.schema
    ui.tile(
        "Features drifted",
        words.share(drift.share_drifted) if drift else words.ABSENT,
        note=f"{len(drift.drifted)} of {len(schema.names) if schema else 0}" if drift else "no check yet",
    )


def _show_races(seen: Seen) -> None:
    promoted = max(seen.happened(EventKind.PROMOTED) - 1, 0)
    ui.tile(
        "Races",
        str(seen.races),
        note=f"{promoted} promoted · {seen.happened(EventKind.REFRESHED)} refreshed",
        help=f"{seen.happened(EventKind.ROLLED_BACK)} rolled back; the first model is not counted as a promotion.",
    )
