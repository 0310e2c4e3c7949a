"""The window's score in a sentence, and what was estimated without labels in another."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from core import ui, words
from core.records import ProjectInfo, Score
from core.services.monitoring.monitoring import PerformancePoint
from core.services.monitoring.window_report import WindowReport
from core.text import scores
from core.ui.views.performance import estimate
from core.ui.views.performance.head import WINDOWS
from core.ui.views.performance.reading import Seen


def show(project: ProjectInfo, seen: Seen) -> None:
    """The sentence, with the window as a download."""
    scores = seen.window_report.report.scores if seen.window_report is not None else seen.history[-1].scores
    score = scores.get(seen.metric)
    by_rule = seen.metric == project.policy.metric
    state, sentence = _state_and_sentence(project, seen.metric, score)
    method = f" Interval: {score.method}." if score is not None and score.method else ""
    waiting = f" {words.counted(seen.due, 'label')} still due." if seen.due else ""
    text = sentence + _served_by(seen.recent) + method + _newest_alone(seen) + waiting
    if guess := estimate.sentence(seen.guesses, seen.metric):
        text += f"\n\n{guess}"
    with ui.summary(state, text, word="Measured" if not by_rule and state == "well" else None):
        if seen.window_report is not None:
            ui.download_json(
                f"{WINDOWS[seen.window]} as JSON",
                f"{project.slug}-performance-{seen.window}.json",
                _document(project, seen, seen.window_report),
            )


def _state_and_sentence(project: ProjectInfo, metric: str, score: Score | None) -> tuple[str, str]:
    """State and sentence of a score: by the policy's threshold, where it is the policy's metric."""
    if metric == project.policy.metric:
        return scores.score_state(score, project.policy.threshold, metric, least=project.policy.min_rows)
    state = "unknown" if score is None or score.value is None else "well"
    return (
        state,
        f"**{words.metric_label(metric)} is {words.score(score)}** on the newest labelled rows ({scores.interval_text(score)}).",
    )


def _served_by(recent: Sequence[PerformancePoint]) -> str:
    """Which versions predicted the window's rows."""
    versions = sorted({p.model_version for p in recent if p.model_version})
    if not versions:
        return ""
    who = f"v{versions[0]}" if len(versions) == 1 else f"v{versions[0]} to v{versions[-1]}"
    return f" {who} predicted them before their labels were known."


def _newest_alone(seen: Seen) -> str:
    """The newest batch, where the window has more than one."""
    newest = seen.history[-1].scores.get(seen.metric)
    if len(seen.recent) < 2 or newest is None or newest.value is None:
        return ""
    return f" The newest batch alone: {words.score(newest)} (n = {seen.history[-1].n:,})."


def _document(project: ProjectInfo, seen: Seen, report: WindowReport) -> Mapping[str, object]:
    """The window's report as it is downloaded."""
    fields = {field.name: getattr(report, field.name) for field in dataclasses.fields(report)}
    return {
        "project": project.slug,
        "labels_due": seen.due,
        "threshold": {project.policy.metric: project.policy.threshold},
        "estimated": seen.guesses[-int(seen.window) :],
        **{name: value for name, value in fields.items() if value is not None},
    }
