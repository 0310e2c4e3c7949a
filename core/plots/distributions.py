"""The two distributions of one column, drawn: steps for numbers, joined dots for categories."""

from __future__ import annotations

import itertools

import plotly.graph_objects as go

from core import words
from core.drift.distribution import OTHER, Distribution
from core.plots.theme import CHARACTER_PX, SMALL, Palette, figure, plain, scale, tint, write

WIDTH = 300  # assumed width of the plot in pixels when its names are placed


def distribution_chart(pair: Distribution, *, colors: Palette, unit: str = "", height: int = 310) -> go.Figure:
    """Reference against current, with the region that gained rows.

    Args:
        unit: appended to the values of the axis, e.g. "°C".

    Raises:
        ValueError: neither bins nor categories.
    """
    if not pair.reference:
        raise ValueError(f"The distribution of {pair.feature} is empty: there is nothing to draw.")
    return _steps(pair, colors, unit, height) if pair.edges else _dots(pair, colors, height)


def _steps(pair: Distribution, colors: Palette, unit: str, height: int) -> go.Figure:
    edges, p, q = pair.edges, pair.reference, pair.current
    top = scale([0.0, *p, *q], floor=0.0, pad=0.2)
    fig = figure(colors, height=height)
    fig.update_yaxes(**top.axis(percent=True))
    fig.update_xaxes(range=[edges[0], edges[-1]], nticks=6, ticksuffix=f" {plain(unit)}" if unit else "")
    centres = [(a + b) / 2 for a, b in itertools.pairwise(edges)]
    region = pair.region
    if region is not None:
        low, high = (
            (edges[0] if region.low is None else region.low),
            (edges[-1] if region.high is None else region.high),
        )
        fig.add_shape(
            type="rect", x0=low, x1=high, yref="paper", y0=0, y1=1, fillcolor=tint(colors.watch, 0.13), line={"width": 0},
            layer="below",
        )  # fmt: skip
        middle = (max(low, edges[0]) + min(high, edges[-1])) / 2
        at = (middle - edges[0]) / (edges[-1] - edges[0])
        anchor = "right" if at > 0.66 else "left" if at < 0.34 else "center"
        x = {"right": 1.0, "left": 0.0, "center": at}[anchor]
        write(
            fig, colors,
            f"{region.text}: {words.share_in_finding(region.reference)} → <b>{words.share_in_finding(region.current)}</b>",
            x, 1, xref="paper", yref="paper", xanchor=anchor, yanchor="top", yshift=-2, color=colors.watch,
        )  # fmt: skip
    for name, shares, style in (
        ("Reference", p, {"line": {"color": colors.reference, "width": 1.2, "shape": "hvh"}, "fill": "tozeroy",
                          "fillcolor": tint(colors.reference, 0.26)}),
        ("Current", q, {"line": {"color": colors.current, "width": 2.4, "shape": "hvh"}}),
    ):  # fmt: skip
        fig.add_scatter(
            x=[edges[0], *centres, edges[-1]], y=[shares[0], *shares, shares[-1]], mode="lines",
            customdata=[*_bins(edges, first=True), *_bins(edges)[-1:]],
            hovertemplate=f"{name} <b>%{{y:.1%}}</b> of rows, %{{customdata}}<extra></extra>", **style,
        )  # fmt: skip
    fig.update_xaxes(unifiedhovertitle={"text": plain(pair.feature)})
    _names_at_peaks(fig, pair, centres, top.high, height, colors)
    return fig


def _bins(edges: tuple[float, ...], *, first: bool = False) -> list[str]:
    """Each bin as text for the hover; the first one twice when the line begins at the edge."""
    step = 10 * (edges[1] - edges[0])
    texts = [
        f"{words.figure(a, step)} to {words.figure(b, step)}" for a, b in itertools.pairwise(edges)
    ]  # fmt: skip
    return [texts[0], *texts] if first else texts


def _names_at_peaks(
    fig: go.Figure, pair: Distribution, centres: list[float], top: float, height: int, colors: Palette
) -> None:
    """Each line's name above its peak, moved if the two would overlap."""
    span, plot = pair.edges[-1] - pair.edges[0], height - 40
    names = ("Reference", "Current")
    halves = [CHARACTER_PX * len(name) / 2 + 3 for name in names]
    xs, ys = [], []
    for shares, half in zip((pair.reference, pair.current), halves, strict=True):
        i = max(range(len(shares)), key=lambda j: shares[j])
        xs.append(min(max((centres[i] - pair.edges[0]) / span * WIDTH, half), WIDTH - half))
        ys.append(shares[i] / top * plot)
    if abs(xs[0] - xs[1]) < sum(halves) and abs(ys[0] - ys[1]) < 17:
        # The name over the higher peak moves up one line.
        ys[0 if ys[0] > ys[1] else 1] = min(ys) + 17
    for name, x, y, color in zip(names, xs, ys, (colors.muted, colors.current), strict=True):
        write(fig, colors, name, x / WIDTH, y / plot * top, xref="paper", yanchor="bottom", yshift=2, color=color)


def _dots(pair: Distribution, colors: Palette, height: int) -> go.Figure:
    names = [plain(c, at_most=16) for c in pair.categories]
    rows = list(range(len(names)))[::-1]
    top = scale([0.0, *pair.reference, *pair.current], floor=0.0, pad=0.14)
    fig = figure(colors, height=max(height, 60 + 24 * len(names)), top=22, hover="closest")
    fig.update_xaxes({**top.axis(percent=True), "range": [-0.03 * top.high, top.high]}, showgrid=True, showline=False)
    fig.update_yaxes(
        tickvals=rows, ticktext=names, range=[-0.6, len(rows) - 0.4], showgrid=False, tickfont={"color": colors.text}
    )
    fig.add_scatter(
        x=[v for a, b in zip(pair.reference, pair.current, strict=True) for v in (a, b, None)],
        y=[v for r in rows for v in (r, r, None)], mode="lines", line={"color": colors.border, "width": 4},
        hoverinfo="skip",
    )  # fmt: skip
    for name, shares, color in (
        ("Reference", pair.reference, colors.reference), ("Current", pair.current, colors.current),
    ):  # fmt: skip
        fig.add_scatter(
            x=shares, y=rows, mode="markers", marker={"color": color, "size": 10}, customdata=names,
            hovertemplate=f"%{{customdata}}, {name.lower()}: <b>%{{x:.1%}}</b> of rows<extra></extra>", cliponaxis=False,
        )  # fmt: skip
    for category, row, a, b in zip(pair.categories, rows, pair.reference, pair.current, strict=True):
        word = "new" if category in pair.new else "gone" if category in pair.gone else ""
        if word and category != OTHER:
            write(fig, colors, f"<b>{word}</b>", max(a, b), row, xanchor="left", xshift=8, color=colors.watch)
    # Named once, at the row where they are farthest apart, facing away from each other.
    i = max(range(len(rows)), key=lambda j: abs(pair.current[j] - pair.reference[j]))
    right = pair.current[i] >= pair.reference[i]
    for name, share, color, at_right in (
        ("Reference", pair.reference[i], colors.muted, not right), ("Current", pair.current[i], colors.current, right),
    ):  # fmt: skip
        near_left = share / top.high * WIDTH < CHARACTER_PX * len(name)
        fig.add_annotation(
            text=name, x=share, y=rows[i], yshift=13, xanchor="left" if at_right or near_left else "right",
            xshift=-6 if at_right or near_left else 6, showarrow=False, font={"size": SMALL, "color": color},
        )  # fmt: skip
    return fig
