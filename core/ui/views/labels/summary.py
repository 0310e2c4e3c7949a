"""What the answers say, and how many more would tell it twice as well."""

from __future__ import annotations

from collections.abc import Sequence

from core import ui, words
from core.records import ProjectInfo
from core.services.ingestion.label_queue import DeskResult, DeskRow
from core.ui.views.labels import lines

JUDGED_FROM = 30  # answers, where the policy does not judge by fewer


def show(project: ProjectInfo, rows: Sequence[DeskRow], found: DeskResult) -> None:
    """Sentence and figures; nothing before anything was asked for."""
    if not found.asked:
        return
    state, word, text = _told(project, found)
    with ui.summary(state, text, word=word):
        ui.download_table(
            "The rows that wait for a label as CSV",
            f"{project.slug}-desk.csv",
            [lines.of(row, project) for row in rows],
        )
    _show_tiles(len(rows), found)


def _told(project: ProjectInfo, found: DeskResult) -> tuple[str, str | None, str]:
    """State, its word, and the sentence."""
    score, policy = found.weighted, project.policy
    if score.value is None:
        text = f"**{found.answered} of {ui.counted(found.asked, 'asked row')} answered.** {ui.plain(ui.sentence(score.reason))}"
        return "unknown", "Not told yet", text
    state, _ = ui.standing(score, policy.threshold, score.metric, least=min(policy.min_rows, JUDGED_FROM))
    text = (
        f"**{ui.metric_label(score.metric)} of all {ui.counted(found.pool, 'row')} is about {words.number(score.value)}** (95 % interval {ui.interval(score)}), "
        f"told by {ui.counted(found.answered, 'label')}; the threshold is {policy.threshold:g}. Unweighted, hard rows would count too much: "
        f"{words.number(found.unweighted.value)}."
    )
    if found.to_halve is not None:
        text += f" **{found.to_halve:,} more labels** make the interval half as wide."
    return state, None, text


def _show_tiles(waiting: int, found: DeskResult) -> None:
    score = found.weighted
    with ui.tiles():
        ui.tile("Waiting", f"{waiting:,}", note="rows whose label is asked for")
        ui.tile("Answered", f"{found.answered:,}", note=f"of {found.asked:,} asked")
        ui.tile(
            f"{ui.metric_label(score.metric)} of all",
            words.number(score.value),
            note=ui.interval(score) or "not told yet",
        )
        more = words.ABSENT if found.to_halve is None else f"{found.to_halve:,}"
        ui.tile("To halve the interval", more, note="more labels")
