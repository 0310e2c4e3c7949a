"""The drift report as one HTML file that needs nothing else: sentences, a table, small drawings, light and dark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from html import escape

from core import words
from core.drift.distribution import Distribution, feature_finding
from core.drift.running import NEEDED as NEEDED
from core.drift.running import ROWS
from core.drift.univariate import headline
from core.records import DriftReport, DriftScore, Policy
from core.text.reasons import sentence

_STYLE = """
:root{color-scheme:light dark;--text:#1B2733;--muted:#5B6875;--page:#fff;--card:#F4F6F8;--line:#DDE3E9;--now:#0B5CAD;--then:#7C8794;--watch:#A15C00}
@media(prefers-color-scheme:dark){:root{--text:#E6EBF0;--muted:#9AA7B4;--page:#11171D;--card:#1A222B;--line:#2E3944;--now:#6CB2F2;--then:#7F8C99;--watch:#F2B24B}}
body{font:15px/1.45 "Source Sans 3","Source Sans Pro",system-ui,sans-serif;color:var(--text);background:var(--page);margin:0 auto;max-width:960px;padding:24px}
h1{font-size:1.5rem;margin:0 0 4px}h2{font-size:1.1rem;margin:28px 0 8px}p{margin:4px 0}.muted{color:var(--muted)}
.verdict{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px 16px;margin:16px 0;font-size:1.05rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:5px 10px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}.drifted{color:var(--watch);font-weight:600;white-space:nowrap}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(280px,1fr));gap:16px}.cards figure{margin:0;border:1px solid var(--line);border-radius:8px;padding:10px 12px}
svg{width:100%;height:auto}.now{fill:none;stroke:var(--now);stroke-width:2}.then{fill:var(--then);opacity:.45}
"""


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
    finding = f"{report.explanation}. " if report.explanation else ""
    parts = [
        f"<h1>Drift of {escape(project)}</h1>",
        f"<p class=muted>{escape(_window(report.current))} against {escape(_window(report.reference))}. Made {escape(made_at.strftime('%d %b %Y, %H:%M %Z'))}.</p>",
        f"<div class=verdict><b>{escape(headline(report))}</b> {escape(finding)}</div>",
        f"<p>{escape(rule_in_words(policy))}</p>",
        "<h2>Features</h2>",
        _features(report.ranked),
    ]
    others = [s for s in (report.prediction, report.label, report.residual) if s is not None]
    if others:
        parts += ["<h2>Predictions and labels</h2>", _features(others)]
    together = [*_together(report)]
    if together:
        parts += ["<h2>All features together</h2>", *(f"<p>{escape(t)}</p>" for t in together)]
    if distributions:
        scores = {s.name: s for s in report.scores}
        cards = [_card(scores[name], found) for name, found in distributions.items() if name in scores]
        parts += ["<h2>Distributions</h2>", "<p class=muted>Share of rows; grey: reference, blue: current.</p>"]
        parts.append(f"<div class=cards>{''.join(cards)}</div>")
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Drift of {escape(project)}</title><style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def rule_in_words(policy: Policy) -> str:
    """What makes a feature drift, with the policy's values."""
    budget = policy.false_alarms_per_month
    raised = (
        f" Gates are raised so that the reference's own ups and downs pass them at most {'once' if budget == 1 else f'{budget:g} times'} a month."
        if budget > 0
        else ""
    )
    return (
        f"A feature drifts when its change is significant (at most {words.share_as_set(policy.drift_alpha)} of steady checks would show any, after Holm's "
        f"correction) and material (KS distance or total variation above {policy.drift_gate:g}; other measures at the same size of change)."
        f"{raised} The policy races when {words.share_as_set(policy.drift_share)} of the features drift."
    )


def evidence_in_words() -> str:
    """What the evidence over many batches may be trusted with."""
    return (
        f"Evidence over all batches since the reference, whatever their size and however often it is looked at: at most one false alarm in "
        f"{NEEDED * ROWS:,.0f} rows on average, from {NEEDED:g} on"
    )


def _together(report: DriftReport) -> list[str]:
    """Sentences on what no single feature shows."""
    told = []
    if report.multivariate is not None:
        m = report.multivariate
        names = words.listed(list(m.features)) if m.features else ""
        carried = f", mostly by {names}" if m.drifted and names else ""
        can = "can be told apart" if m.drifted else "cannot be told apart"
        told.append(f"The windows {can}: AUC {m.auc:.2f} (95 % interval {m.low:.2f}–{m.high:.2f}){carried}.")
    for part in (
        report.reconstruction and sentence(report.reconstruction.reason),
        report.attribution and report.attribution.finding,
    ):
        if part:
            told.append(f"{part[:1].upper()}{part[1:]}.")
    return told


def _window(window: object) -> str:
    return str(getattr(window, "description", "") or getattr(window, "name", ""))


def _features(scores: Sequence[DriftScore]) -> str:
    rows = []
    for s in scores:
        state = "<span class=drifted>▲ Drifted</span>" if s.drifted else "✓ Steady" if s.judged else "? Not judged"
        rows.append(
            f"<tr><td>{escape(s.name)}</td><td>{state}</td><td class=n>{_or_dash(s.effect, words.plain_score)}</td><td class=n>{_or_dash(s.gate, words.plain_score)}</td>"
            f"<td class=n>{_or_dash(s.miss_rate_current, words.share_in_finding)}</td><td>{escape(sentence(s.reason))}</td></tr>"
        )
    head = "<tr><th>Feature</th><th>State</th><th>Effect</th><th>Gate</th><th>Missing</th><th>Why</th></tr>"
    return f"<div class=scroll><table>{head}{''.join(rows)}</table></div>"


def _or_dash(value: float | None, written: Callable[[float], str]) -> str:
    return words.ABSENT if value is None else written(value)


def _card(score: DriftScore, found: Distribution) -> str:
    """Two histograms of one feature, drawn as steps."""
    n = len(found.reference)
    top = max([*found.reference, *found.current, 1e-9])
    width, height = 280.0, 90.0
    step = width / max(n, 1)
    bars = "".join(
        f'<rect class="then" x="{i * step:.1f}" y="{height * (1 - p / top):.1f}" width="{step:.1f}" height="{height * p / top:.1f}"/>'
        for i, p in enumerate(found.reference)
    )
    line = "".join(
        f"L{i * step:.1f} {height * (1 - p / top):.1f}L{(i + 1) * step:.1f} {height * (1 - p / top):.1f}"
        for i, p in enumerate(found.current)
    )
    ends = (
        f"{words.figure(found.edges[0])} to {words.figure(found.edges[-1])}"
        if found.edges
        else words.listed(found.categories, at_most=4)
    )
    sentence = feature_finding(score, found)
    return (
        f"<figure><b>{escape(sentence)}</b>"
        f'<svg viewBox="0 0 {width:.0f} {height + 4:.0f}" role="img" aria-label="{escape(sentence, quote=True)}">{bars}<path class="now" d="M0 {height:.0f}{line}"/></svg>'
        f"<span class=muted>{escape(ends)}</span></figure>"
    )
