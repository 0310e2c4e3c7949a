"""Charts about predictions: each feature's contribution to one, and how often guards were triggered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import plotly.graph_objects as go

from core import words
from core.plots.theme import SMALL, Palette, figure, plain, write

GUARD_NAMES = {
    "out_of_range": "out of range",
    "unseen_category": "unseen category",
    "low_confidence": "low confidence",
}


def contributions(
    items: Sequence[tuple[str, Any, float]], *, colors: Palette, height: int | None = None, most: int = 10
) -> go.Figure:
    """Each feature's contribution to a prediction, largest first; features beyond `most` are summed up.

    Args:
        items: feature, its value (None = missing), contribution.

    Raises:
        ValueError: no feature.
    """
    if not items:
        raise ValueError("There is no feature to draw.")
    ordered = sorted(items, key=lambda f: -abs(f[2]))
    shown = [(f"{feature} = {_value(value)}", amount) for feature, value, amount in ordered[:most]]
    if len(ordered) > most:
        shown.append((f"{len(ordered) - most:,} others", sum(amount for *_, amount in ordered[most:])))
    rows = list(range(len(shown)))[::-1]
    amounts = [amount for _, amount in shown]
    fig = figure(colors, height=height or 20 + 30 * len(shown), top=4, bottom=8, right=12, hover="closest")
    fig.add_bar(
        x=amounts, y=rows, orientation="h", width=0.58,
        marker={"color": [colors.current if a >= 0 else colors.second for a in amounts], "cornerradius": 3},
        text=[words.contribution(a) for a in amounts], textposition="outside", cliponaxis=False,
        textfont={"color": colors.text, "size": SMALL},
        customdata=[[plain(name), words.contribution(a)] for name, a in shown],
        hovertemplate="%{customdata[0]}: <b>%{customdata[1]}</b><extra></extra>",
    )  # fmt: skip
    low, high = min(0.0, *amounts), max(0.0, *amounts)
    span = high - low or 1.0
    # Beside a bar its amount is written: about a fifth of a narrow chart on each side.
    left, right = (0.38 if low < 0 else 0.02), (0.32 if high > 0 else 0.02)
    fig.update_xaxes(showticklabels=False, showline=False, range=[low - left * span, high + right * span])
    fig.add_shape(
        type="line", x0=0, x1=0, y0=-0.5, y1=len(shown) - 0.5, line={"color": colors.border, "width": 1}, layer="below"
    )
    fig.update_yaxes(
        tickvals=rows, ticktext=[plain(name, at_most=28) for name, _ in shown], showgrid=False,
        tickfont={"color": colors.text}, range=[-0.6, len(shown) - 0.4],
    )  # fmt: skip
    return fig


def _value(value: Any) -> str:
    if value is None:
        return "missing"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def guard_hits(
    items: Sequence[tuple[date, str, int]], *, colors: Palette, until: date, days: int = 30, height: int = 170
) -> go.Figure:
    """Predictions that triggered each guard, day by day, stacked; days up to `until`.

    Args:
        items: day, guard, number; several entries of a day and guard add up.

    Raises:
        ValueError: no hits in those days.
    """
    span = [until - timedelta(days=back) for back in range(days - 1, -1, -1)]
    inks = dict(zip(GUARD_NAMES, (colors.current, colors.second, colors.estimated), strict=True))
    totals = {g: sum(n for day, guard, n in items if guard == g and day in span) for g in GUARD_NAMES}
    if not any(totals.values()):
        raise ValueError("No guard was triggered in these days: there is nothing to draw.")
    fig = figure(colors, height=height, top=24, hover="x unified")
    at = 0.0
    for guard, name in GUARD_NAMES.items():
        if not totals[guard]:
            continue
        fig.add_bar(
            x=span, y=[sum(n for day, g, n in items if g == guard and day == d) for d in span], name=name,
            marker={"color": inks[guard]}, hovertemplate=f"{name}: <b>%{{y:,}}</b><extra></extra>",
        )  # fmt: skip
        text = f"<b>{name}</b> {words.counted(totals[guard], 'prediction')}"
        write(
            fig, colors, text, at, 1.0, xref="paper", yref="paper", xanchor="left", yanchor="bottom", color=inks[guard]
        )
        at += 0.012 * (len(text) - 5)
    fig.update_layout(barmode="stack", bargap=0.25)
    fig.update_xaxes(tickformat="%-d %b", nticks=6)
    fig.update_yaxes(rangemode="tozero", nticks=4, tickformat=",d")
    return fig
