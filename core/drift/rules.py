"""When a column counts as drifted, and what rows of two windows may have besides features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.drift.budget import Gates

MIN_ROWS = 30  # minimum values in each window for a column to be tested
ALPHA = 0.004  # probability of any false alarm in a report
GATE = 0.02  # KS distance and total variation from which a change is material: a shift of a normal column by 0.05 sd
NUMERIC, CATEGORIES = "kolmogorov_smirnov", "chi_square"  # the default tests


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRules:
    """What makes a column drift."""

    alpha: float = ALPHA  # probability of any false alarm over all features together; for predictions and labels: each
    # Effect that a significant change must exceed, strictly: KS distance, total variation, miss-rate difference. The
    # other tests' gates follow from it.
    gate: float = GATE
    # A gate for some features by name, where the common one would alarm too often; by name alone it is that of the values.
    gates: Gates | Mapping[str, float] = field(default_factory=Gates)
    min_rows: int = MIN_ROWS  # minimum values of a column in each window; fewer are not tested
    numeric_test: str = NUMERIC  # keys of UNIVARIATE_TESTS
    category_test: str = CATEGORIES


Sides = tuple[Any, Any]  # one value per row of the reference and of the current window; missing ones are left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What the rows of both windows have besides features, if known."""

    labels: Sides = (None, None)
    predictions: Sides = (None, None)
    residuals: Sides = (None, None)  # of regression: label minus prediction


RULES, NO_TARGETS = DriftRules(), Targets()
