"""The score measured by the requested labels, and how many more would halve its interval."""

from __future__ import annotations

from collections.abc import Sequence

from core import ui, words
from core.records import ProjectInfo
from core.services.ingestion.label_queue import QueuedRow, QueueResult
from core.ui.views.labels import lines

LEAST_LABELS = 30  # for a comparison with the threshold, unless the policy needs fewer


def show(project: ProjectInfo, rows: Sequence[QueuedRow], result: QueueResult) -> None:
    """Sentence and figures; nothing before any label was requested."""
    if not result.requested:
        return
    state, word, text = _sentence(project, result)
    with ui.summary(state, text, word=word):
        ui.download_table(
            "The rows that wait for a label as CSV",
            f"{project.slug}-labels.csv",
            [lines.of(row, project) for row in rows],
        )
    _show_tiles(len(rows), result)


def _sentence(project: ProjectInfo, result: QueueResult) -> tuple[str, str | None, str]:
    """State, its word, and the sentence."""
    score, policy = result.weighted, project.policy
    if score.value is None:
        text = f"**{result.labelled} of {ui.counted(result.requested, 'requested row')} labelled.** {ui.plain(ui.sentence(score.reason))}"
        return "unknown", "Not measured yet", text
    state, _ = ui.score_state(score, policy.threshold, score.metric, least=min(policy.min_rows, LEAST_LABELS))
    text = (
        f"**{ui.metric_label(score.metric)} of all {ui.counted(result.pool, 'row')} is about {words.number(score.value)}** (95 % interval {ui.interval(score)}), "
        f"based on {ui.counted(result.labelled, 'label')}; the threshold is {policy.threshold:g}. Without weights, hard rows would count too much: "
        f"{words.number(result.unweighted.value)}."
    )
    if result.to_halve is not None:
        text += f" **{result.to_halve:,} more labels** would make the interval half as wide."
    return state, None, text


def _show_tiles(waiting: int, result: QueueResult) -> None:
    score = result.weighted
    with ui.tiles():
        ui.tile("Waiting", f"{waiting:,}", note="rows without their label")
        ui.tile("Labelled", f"{result.labelled:,}", note=f"of {result.requested:,} requested")
        ui.tile(
            f"{ui.metric_label(score.metric)} of all rows",
            words.number(score.value),
            note=ui.interval(score) or "not measured yet",
        )
        more = words.ABSENT if result.to_halve is None else f"{result.to_halve:,}"
        ui.tile("To halve the interval", more, note="more labels")
