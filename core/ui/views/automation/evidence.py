"""The evidence of a decision, as pairs of name and value."""

from __future__ import annotations

from core import words
from core.learning.policy import RISE_NEEDED
from core.records import Evidence

NAMED = 4  # drifted features that are written out


def lines(evidence: Evidence) -> list[tuple[str, str]]:
    """Everything that was measured, looked up or requested, in the order of the triggers."""
    pairs = [
        ("New rows", f"{evidence.n_rows:,}, {evidence.n_labelled:,} newly labelled"),
        (words.metric_label(evidence.metric), _score(evidence)),
        ("Its recent mean", "none yet" if evidence.recent_mean is None else words.number(evidence.recent_mean)),
        ("Drifted", _drift(evidence)),
        ("Labels since the last race", f"{evidence.labels_since_race:,}"),
        ("Errors rose", _rise(evidence)),
    ]
    if evidence.estimated is not None:
        pairs.append(("Estimated without labels", words.number(evidence.estimated)))
    if (watched := evidence.watched) is not None:
        better = f"evidence {words.odds(watched.for_better)} that it is better, after {watched.rows:,} rows"
        pairs.append((f"v{watched.version}, which was replaced", better))
    if evidence.in_shadow:
        pairs.append(("Shadow mode", "a challenger is running"))
    pairs += [(f"Batch {entry.batch} skipped", words.plain(entry.cause)) for entry in evidence.set_aside]
    if evidence.forced:
        pairs.append(("Requested manually", "yes"))
    return pairs


def _score(evidence: Evidence) -> str:
    if evidence.score is None:
        return "not measured: no newly labelled rows"
    low, high = evidence.score_low, evidence.score_high
    span = f" ({words.number(low)}–{words.number(high)})" if low is not None and high is not None else ""
    return f"{words.number(evidence.score)}{span}, n = {evidence.score_n:,}"


def _drift(evidence: Evidence) -> str:
    if evidence.share_drifted is None:
        return "not tested"
    names = ", ".join(map(words.plain, evidence.drifted[:NAMED]))
    more = len(evidence.drifted) - NAMED
    return f"{evidence.share_drifted:.0%} of the features" + (
        f": {names}{f' and {more} more' if more > 0 else ''}" if names else ""
    )


def _rise(evidence: Evidence) -> str:
    rose = "yes, within these rows" if evidence.change_found else "no"
    if evidence.rise is None:
        return rose
    return f"{rose}: evidence {words.number(min(evidence.rise, 1e6))} (alarm at {RISE_NEEDED:g})"
