"""Colours, axes, labels and thinning."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import limit

from core.plots.theme import DARK, LIGHT, Label, Palette, mixed, palette, place, plain, scale, thin, tint

TEXT_ROLES = ("text", "muted", "current", "estimated", "second", "well", "watch", "bad")


def contrast(a: str, b: str) -> float:
    """WCAG 2 contrast of two colours."""

    def light(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    high, low = sorted((light(a), light(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
def test_every_text_colour_can_be_read_on_the_page(colors: Palette) -> None:
    for role in TEXT_ROLES:
        assert contrast(getattr(colors, role), colors.page) >= 4.49, role
    assert contrast(colors.reference, colors.page) >= 3.0


def test_palettes_by_mode() -> None:
    assert palette("dark") is DARK and palette("light") is LIGHT and palette(None) is LIGHT
    assert tint("#0B5CAD", 0.14) == "rgba(11,92,173,0.14)"
    assert mixed("#000000", "#FFFFFF", 0.5) == "#808080"


def test_text_of_users_is_not_markup() -> None:
    assert plain("<a href='x'>b</a>") == "&lt;a href='x'&gt;b&lt;/a&gt;"
    assert plain("temperature of the room", at_most=11) == "temperatur…"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_an_axis_holds_its_values_with_few_round_ticks(values: list[float]) -> None:
    found = scale(values)
    assert found.low < min(values) + 1e-9 * abs(min(values)) and found.high >= max(values)
    assert 1 <= (found.high - found.low) / found.step <= 9
    assert float(f"{found.step:.0e}") == pytest.approx(found.step)


def test_axis_formats() -> None:
    assert scale([0.6, 0.9]).axis()["tickformat"] == ",.1f"
    assert scale([0.6, 0.9]).axis(least_decimals=2)["tickformat"] == ",.2f"
    assert scale([0.0, 0.13], floor=0.0).axis(percent=True)["tickformat"] == ".0%"
    assert scale([0.0, 0.13], floor=0.0).axis()["range"][0] == 0.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=400), st.integers(10, 60))
def test_thinning_keeps_the_ends_the_extremes_and_the_limit(values: list[float | None], limit: int) -> None:
    kept = thin(values, limit)
    assert len(kept) <= max(limit, 1) and kept == sorted(set(kept))
    assert kept[0] == 0 and kept[-1] == len(values) - 1
    known = [v for v in values if v is not None]
    if known:
        left = [values[i] for i in kept if values[i] is not None]
        assert min(left) == min(known) and max(left) == max(known)  # type: ignore[type-var]


def test_labels_keep_clear_of_each_other_and_of_the_plots_edge() -> None:
    labels = [
        Label("Measured 0.887", "", 560, 100),
        Label("Estimated 0.856", "", 560, 98),
        Label("Never 0.8", "", 560, 96),
    ]
    shifts = place(labels, [], height=190)
    spots = sorted(label.y + s for label, s in zip(labels, shifts, strict=True))
    assert np.diff(spots).min() >= 15
    (low,) = place([Label("low", "", 560, 2)], [], height=190)
    (high,) = place([Label("high", "", 560, 188)], [], height=190)
    assert low > 0 > high


def test_a_label_goes_where_the_line_is_not() -> None:
    line = [(500.0 + i, 100.0 + 13, 1.0) for i in range(60)]  # the line runs just above the last point
    (shift,) = place([Label("Measured 0.887", "", 560, 100)], line, height=190)
    assert shift < 0


def test_the_charts_come_without_heavy_imports() -> None:
    code = "import sys, core.plots; print([m for m in ('sklearn', 'scipy', 'mlflow', 'streamlit', 'pandas') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=limit(60))
    assert found.stdout.strip() == "[]"
