"""The newest cycle in a sentence."""

from __future__ import annotations

from core import ui, words
from core.records import Evidence, Score
from core.text import vocabulary
from core.ui.views.live.reading import Seen

SHOWN = {"playing": "Playing", "paused": "Paused", "stopped": "Stopped", "done": "All rows played", "failed": "Failed"}
STATES = {"playing": "well", "paused": "unknown", "failed": "failed"}  # of the summary; else unknown


def show(seen: Seen) -> None:
    """The state of the run, and its last outcome."""
    status = seen.run.status
    with ui.summary(STATES.get(status, "unknown"), _sentence(seen), word=SHOWN[status]):
        pass  # this summary has no buttons


def _sentence(seen: Seen) -> str:
    run, project, newest = seen.run, seen.project, seen.newest
    if run.error:
        return f"**{'Waiting' if run.status == 'playing' else 'Stopped'}: {words.plain(run.error)}**"
    place = f"{run.position:,} of {run.total:,} rows have arrived."
    if newest is None or newest.evidence is None or newest.evidence.score is None:
        return f"{place} The loop trains the first champion on the first {project.rows:,}."
    policy, metric = project.policy, newest.evidence.metric
    _, score_text = ui.score_state(_score(newest.evidence), policy.threshold, metric, least=policy.min_rows)
    after = vocabulary.outcome(newest.outcome).live.format(v=newest.champion_after)
    return " ".join(filter(None, (score_text, after, place)))


def _score(evidence: Evidence) -> Score:
    """The measured score."""
    return Score(
        metric=evidence.metric,
        value=evidence.score,
        low=evidence.score_low,
        high=evidence.score_high,
        n=evidence.score_n,
    )
