"""The forgetting matrix: the champion's score on each regime at the end of each regime, and now."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from core import words
from core.plots.theme import SMALL, Palette, figure, mixed
from core.records import Memory, higher_is_better

LEAST_SPAN = 0.2  # minimum range of scores between the lightest and the darkest cell
ROW = 44  # height of a line in pixels
Z_95 = 1.96


def memory_matrix(memory: Memory, *, colors: Palette, height: int | None = None) -> go.Figure:
    """One line per regime's end and one for now, one column per regime; darker = better score.

    Cells at a regime's own end are framed; the last line adds the difference from there. Regimes not reached yet are blank.

    Raises:
        ValueError: there are no scores.
    """
    scored = [value for line in memory.matrix for value in line if value is not None]
    if not scored:
        raise ValueError("No regime was scored: there is nothing to draw.")
    numbers = [r.number for r in memory.regimes]
    ends = [_ended(line) for line in memory.matrix[:-1]]
    then = {j: memory.matrix[i][j] for i, j in enumerate(ends) if j is not None}
    low, high = min(scored), max(scored)
    middle, span = (low + high) / 2, max(high - low, LEAST_SPAN)
    lines = [f"end of {numbers[j]}" if j is not None else "earlier" for j in ends] + ["<b>now</b>"]
    k, n = len(numbers), len(lines)
    sign = 1.0 if higher_is_better(memory.metric) else -1.0
    depth = [[None if v is None else 0.5 + sign * (v - middle) / span for v in line] for line in memory.matrix]
    light, deep = (
        mixed(colors.current, colors.page, s) for s in ((0.06, 0.6) if colors.mode == "light" else (0.1, 0.5))
    )
    fig = figure(colors, height=height or 62 + ROW * n, top=6, bottom=50, hover="closest")
    fig.add_heatmap(
        z=depth, x=list(range(k)), y=list(range(n)), zmin=0, zmax=1, xgap=2, ygap=2, showscale=False, hoverongaps=False,
        colorscale=[[0, light], [1, deep]],
        customdata=[[_hover(memory, lines[i], j, value, then.get(j) if i == n - 1 else None)
                     for j, value in enumerate(line)] for i, line in enumerate(memory.matrix)],
        hovertemplate="%{customdata}<extra></extra>",
    )  # fmt: skip
    written = []
    for i, line in enumerate(memory.matrix):
        for j, value in enumerate(line):
            if value is None:
                continue
            ground = mixed(deep, light, min(max(depth[i][j] or 0.0, 0.0), 1.0))
            text = f"<b>{value:.2f}</b>" if i == n - 1 else f"{value:.2f}"
            before = then.get(j)
            if i == n - 1 and before is not None:
                text += f"<br><span style='font-size:11px'>{words.signed(value - before)}</span>"
            font = {"size": SMALL, "color": _ink(ground, colors)}
            written.append({"x": j, "y": i, "showarrow": False, "font": font, "text": text})
    fig.layout.annotations = written
    for i, at in enumerate(ends):
        if at is not None:
            fig.add_shape(
                type="rect", x0=at - 0.5, x1=at + 0.5, y0=i - 0.5, y1=i + 0.5, line={"color": colors.text, "width": 1.4}
            )
    fig.update_xaxes(
        tickvals=list(range(k)), ticktext=[f"{r.number}<br>{r.row:,}" for r in memory.regimes], tickangle=0, ticks="",
        showline=False, range=[-0.52, k - 0.48],
        title={"text": "regime and its first row", "font": {"size": SMALL, "color": colors.muted}, "standoff": 4},
    )  # fmt: skip
    fig.update_yaxes(
        tickvals=list(range(n)),
        ticktext=lines,
        showgrid=False,
        range=[n - 0.48, -0.52],
        tickfont={"color": colors.text},
    )
    return fig


def memory_finding(memory: Memory) -> str:
    """The finding of the matrix in a sentence, with backward transfer."""
    past = [r for r in memory.regimes if r is not memory.regimes[-1]]
    if memory.bwt is None or not past:
        return "One regime so far: there is nothing to forget yet"
    transfer = f"Backward transfer {words.signed(memory.bwt)}"
    before = f"the regimes before row {memory.regimes[-1].row:,}"
    doubt = _doubt(memory)
    if memory.bwt < -doubt:
        return f"{transfer}: it forgets {before}"
    if memory.bwt > doubt:
        return f"{transfer}: it knows {before} better than at their end"
    return f"{transfer}: it still knows {before}"


def memory_alt(memory: Memory) -> str:
    """The alternative text of the chart: each regime's scores then and now."""
    then = {j: line[j] for line in memory.matrix[:-1] if (j := _ended(line)) is not None}
    parts = []
    for j, (regime, now) in enumerate(zip(memory.regimes, memory.matrix[-1], strict=True)):
        before, after = then.get(j), "not scored" if now is None else f"{now:.2f} now"
        parts.append(f"regime {regime.number}: {f'{before:.2f} at its end, ' if before is not None else ''}{after}")
    return f"{words.listed(parts, at_most=len(parts))}"


def _ended(line: Sequence[float | None]) -> int | None:
    """The column of the regime at whose end a line was measured: its newest regime."""
    return max((j for j, value in enumerate(line) if value is not None), default=None)


def _doubt(memory: Memory) -> float:
    """How far from 0 backward transfer may lie by chance (95 %); 0.05 for errors, whose spread is not stored.

    Two shares of the same rows, treated as independent: they are correlated, so this is conservative.
    """
    then = {j: line[j] for line in memory.matrix[:-1] if (j := _ended(line)) is not None}
    now = memory.matrix[-1]
    pairs = [(a, now[j], memory.regimes[j].n) for j, a in then.items()]
    known = [(a, b, n) for a, b, n in pairs if a is not None and b is not None and n]
    if memory.metric == "mae" or not known:
        return 0.05
    spread = math.fsum((a * (1 - a) + b * (1 - b)) / n for a, b, n in known)
    return Z_95 * math.sqrt(spread) / len(known)


def _hover(memory: Memory, line: str, j: int, value: float | None, then: float | None) -> str:
    regime = memory.regimes[j]
    if value is None:
        return ""
    name = "mean absolute error in units of the target's spread" if memory.metric == "mae" else "accuracy"
    since = f", {words.signed(value - then)} since its end" if then is not None else ""
    return (
        f"<b>{value:.3f}</b> {name}{since}<br>{words.counted(regime.n, 'frozen row')} of regime {regime.number}, {line}"
    )


def _ink(ground: str, colors: Palette) -> str:
    """The text colour or white, whichever has more contrast."""
    inks: list[Any] = [colors.text, "#FFFFFF"]
    return str(max(inks, key=lambda ink: _contrast(ink, ground)))


def _contrast(a: str, b: str) -> float:
    """WCAG contrast of two `#RRGGBB` colours."""
    first, second = sorted((_luminance(a), _luminance(b)))
    return (second + 0.05) / (first + 0.05)


def _luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
