"""Several policies over the same history: one line each, batch by batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from core.plots.theme import LINE_PX, Palette, figure, plain, scale, write


def policies_over_time(
    policies: Sequence[Mapping[str, Any]], metric: str, *, colors: Palette, height: int = 260
) -> go.Figure:
    """Score of each policy on every batch, with a label at the last point; "never" in grey and dotted.

    Args:
        policies: documents of `services.automation.backtests.compare_policies`, with `name` and `turns`.
        metric: the key of the score in a turn.

    Raises:
        ValueError: no turn has a score.
    """
    hues = [colors.current, colors.second, colors.well, colors.estimated, colors.watch, colors.bad]
    lines: list[tuple[str, list[tuple[int, float]], str]] = []
    for policy in policies:
        values = [(i + 1, turn.get(metric)) for i, turn in enumerate(policy["turns"])]
        known = [(x, y) for x, y in values if y is not None]
        if known:
            color = colors.reference if policy["name"] == "never" else hues[len(lines) % len(hues)]
            lines.append((policy["name"], known, color))
    if not lines:
        raise ValueError("No batch was scored: there is nothing to draw.")
    limits = scale([y for _, known, _ in lines for _, y in known], pad=0.06)
    fig = figure(colors, height=height, right=104, bottom=34)
    fig.update_yaxes(limits.axis())
    last = max(x for _, known, _ in lines for x, _ in known)
    fig.update_xaxes(range=[0.5, last + 0.5], title={"text": "batch", "font": {"size": 12, "color": colors.muted}})
    for name, known, color in lines:
        fig.add_scatter(
            x=[x for x, _ in known], y=[y for _, y in known], mode="lines", name=plain(name),
            line={"color": color, "width": 1.6 if name == "never" else 2.2, "dash": "dot" if name == "never" else "solid"},
            hovertemplate=f"{plain(name)} <b>%{{y:.3f}}</b><extra></extra>",
        )  # fmt: skip
    room = (height - 46.0) / (limits.high - limits.low or 1.0)
    taken = -LINE_PX
    for name, known, color in sorted(
        lines, key=lambda line: line[1][-1][1]
    ):  # from the bottom, each above the previous one
        end = (known[-1][1] - limits.low) * room
        taken = max(end, taken + LINE_PX)
        where = {"xref": "paper", "xanchor": "left", "xshift": 6, "yshift": taken - end}
        write(fig, colors, plain(name, at_most=14), 1.0, known[-1][1], color=color, **where)
    return fig
