"""The drift report as one HTML file that needs nothing else: sentences, a table, small drawings, light and dark.

`templates/drift.html` is its form; here is what is put into it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from core import words
from core.drift.distribution import Distribution, feature_finding
from core.drift.running import NEEDED, ROWS
from core.drift.univariate import headline
from core.records import DriftReport, DriftScore, Policy
from core.text.reasons import sentence

WIDTH, HEIGHT = 280, 90  # of a drawing, in its own units


@cache
def _page() -> Template:
    """The page as a template; every text that is put into it is escaped."""
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    pages.filters |= {
        "figure": lambda value: _or_dash(value, words.plain_score),
        "share": lambda value: _or_dash(value, words.share_in_finding),
        "sentence": sentence,
    }
    return pages.get_template("drift.html")


def drift_page(
    report: DriftReport,
    *,
    project: str,
    policy: Policy,
    made_at: datetime,
    distributions: Mapping[str, Distribution] | None = None,
) -> str:
    """The report as HTML. Every text from data is escaped; there is no script and no outside address.

    Args:
        made_at: with its time zone.
        distributions: of features, drawn in the order given.
    """
    scores = {s.name: s for s in report.scores}
    return _page().render(
        project=project,
        current=_window(report.current),
        reference=_window(report.reference),
        made_at=made_at.strftime("%d %b %Y, %H:%M %Z"),
        headline=headline(report),
        finding=f"{sentence(report.explanation)}." if report.explanation else "",
        rule=rule_in_words(policy),
        features=report.ranked,
        others=[s for s in (report.prediction, report.label, report.residual) if s is not None],
        together=_together(report),
        cards=[_card(scores[name], shares) for name, shares in (distributions or {}).items() if name in scores],
        width=WIDTH,
        height=HEIGHT,
    )


def rule_in_words(policy: Policy) -> str:
    """What makes a feature drift, with the policy's values."""
    budget = policy.false_alarms_per_month
    raised = (
        f" The minimum effect of each feature is raised until normal variation of the reference exceeds it at most {'once' if budget == 1 else f'{budget:g} times'} a month."
        if budget > 0
        else ""
    )
    return (
        f"A feature drifts when its change is significant (at most {words.share_as_set(policy.drift_alpha)} of checks without drift would report any, after Holm's "
        f"correction) and material (KS distance or total variation above {policy.drift_gate:g}; other measures at the same size of change)."
        f"{raised} The policy retrains when {words.share_as_set(policy.drift_share)} of the features drift."
    )


def evidence_in_words() -> str:
    """The error rate of the evidence over many batches."""
    return (
        f"Evidence over all batches since the reference, whatever their size and however often it is checked: at most one false alarm in "
        f"{NEEDED * ROWS:,.0f} rows on average, from {NEEDED:g} on"
    )


def _together(report: DriftReport) -> list[str]:
    """Sentences on what no single feature shows."""
    sentences = []
    if report.multivariate is not None:
        m = report.multivariate
        names = words.listed(list(m.features)) if m.features else ""
        carried = f", mostly by {names}" if m.drifted and names else ""
        can = "are distinguishable" if m.drifted else "are not distinguishable"
        sentences.append(f"The windows {can}: AUC {m.auc:.2f} (95 % interval {m.low:.2f}–{m.high:.2f}){carried}.")
    for part in (
        report.reconstruction and sentence(report.reconstruction.reason),
        report.attribution and sentence(report.attribution.finding),
    ):
        if part:
            sentences.append(f"{part[:1].upper()}{part[1:]}.")
    return sentences


def _window(window: object) -> str:
    return str(getattr(window, "description", "") or getattr(window, "name", ""))


def _or_dash(value: float | None, written: Callable[[float], str]) -> str:
    return words.ABSENT if value is None else written(value)


def _card(score: DriftScore, shares: Distribution) -> dict[str, object]:
    """What is drawn of one feature: a bar for each share of the reference, the current shares as one line of steps."""
    top = max([*shares.reference, *shares.current, 1e-9])
    step = WIDTH / max(len(shares.reference), 1)

    def at(value: float) -> str:
        return f"{HEIGHT * (1 - value / top):.1f}"

    bars = [
        {"x": f"{i * step:.1f}", "y": at(p), "width": f"{step:.1f}", "height": f"{HEIGHT * p / top:.1f}"}
        for i, p in enumerate(shares.reference)
    ]
    steps = [f"L{i * step:.1f} {at(p)}L{(i + 1) * step:.1f} {at(p)}" for i, p in enumerate(shares.current)]
    if shares.edges:
        ends = f"{words.figure(shares.edges[0])} to {words.figure(shares.edges[-1])}"
    else:
        ends = words.listed(shares.categories, at_most=4)
    return {
        "finding": feature_finding(score, shares),
        "bars": bars,
        "line": "".join([f"M0 {HEIGHT}", *steps]),
        "ends": ends,
    }
