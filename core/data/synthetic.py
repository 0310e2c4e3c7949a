"""The original program's linear data, with optional drift: rows with a known rule, so every alarm can be verified.

Features are independent standard normals. Class 1 is where the weighted sum of the features lies above a threshold
that gives it the share `balance`; the weights come from `concept_seed`, so batches of other seeds share the rule.
`noise` is the share of labels drawn again at random, independent of the features: at balance .5 and noise .1 the best
possible accuracy is .95.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from core.data.cells import nearest, refusal, shown
from core.errors import BadInput, FieldProblem

DriftKind = Literal["mean_shift", "scale", "label_flip", "concept_rotation"]
DriftShape = Literal["sudden", "gradual", "recurring"]
DRIFT_KINDS: tuple[DriftKind, ...] = get_args(DriftKind)
DRIFT_SHAPES: tuple[DriftShape, ...] = get_args(DriftShape)
MAX_ROWS = 1_000_000
MAX_FEATURES = 1_000
MAX_CELLS = 100_000_000  # rows x features of one call: 800 MB
MAX_SIZE = 10.0
TARGET = "target"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSpec:
    """What changes in generated rows, when and how.

    Whole numbers are positions in the stream (row 0 is its first row), fractions are shares of the call's own rows.
    """

    kind: DriftKind
    shape: DriftShape = "sudden"
    at: float = 0.0  # where it begins
    # mean_shift: standard deviations; scale: factor - 1; label_flip: share of labels, at most 1; concept_rotation:
    # right angles, so 2 reverses the rule.
    size: float = 1.0
    width: float | None = None  # gradual: rows from zero to the full size; None = the remaining rows of the call
    period: float | None = (
        None  # recurring: rows for which it lasts, and then pauses; None = a quarter of the call's rows
    )

    def anchored(self, *, rows: int, start_row: int) -> DriftSpec:
        """The same drift placed by whole rows of the stream, so that a later call continues where this one ends."""
        at = start_row + round(self.at * rows) if isinstance(self.at, float) else self.at
        left = max(start_row + rows - at, 1)
        return dataclasses.replace(
            self,
            at=at,
            width=left if self.width is None else _rows_of(self.width, rows),
            period=max(rows // 4, 1) if self.period is None else _rows_of(self.period, rows),
        )

    def amount(self, rows: int, start_row: int) -> np.ndarray:
        """The extent of the drift in each row, from 0 to 1; shape (rows,)."""
        fixed = self.anchored(rows=rows, start_row=start_row)
        since = np.arange(start_row, start_row + rows, dtype=np.float64) - fixed.at
        if self.shape == "gradual":
            assert fixed.width is not None
            return np.clip((since + 1) / fixed.width, 0.0, 1.0)
        if self.shape == "recurring":
            assert fixed.period is not None
            return ((since >= 0) & (since // fixed.period % 2 == 0)).astype(np.float64)
        return (since >= 0).astype(np.float64)


def _rows_of(value: float, rows: int) -> int:
    return max(round(value * rows), 1) if isinstance(value, float) else value


def drift_from_document(document: Mapping[str, Any]) -> DriftSpec:
    """The drift that a request describes: `{"kind", "shape", "at", "size", "width", "period"}`, all but kind optional.

    Raises:
        BadInput: every field that is unknown, of another type or out of its range, by name.
    """
    if not isinstance(document, Mapping):
        raise BadInput(
            f"drift is {shown(document)}, expected an object.",
            (FieldProblem("drift", shown(document), "an object with kind and shape"),),
        )
    problems: list[FieldProblem] = []
    fields = {f.name for f in dataclasses.fields(DriftSpec)}
    for key in document:
        if key not in fields:
            near = nearest(str(key), fields)
            expected = f"'{near}'" if near else f"one of {', '.join(sorted(fields))}"
            problems.append(FieldProblem(f"drift.{key}", "an unknown field", expected))
    spec: dict[str, Any] = {}
    for key, choices in (("kind", DRIFT_KINDS), ("shape", DRIFT_SHAPES)):
        value = document.get(key, "sudden" if key == "shape" else None)
        spec[key] = value
        if value not in choices:
            problems.append(FieldProblem(f"drift.{key}", _seen(value), f"one of {', '.join(choices)}"))
    most = 1.0 if spec["kind"] == "label_flip" else MAX_SIZE
    for key, low in (("at", 0.0), ("size", 0.0), ("width", 1.0), ("period", 1.0)):
        value = document.get(key)
        if value is None:
            continue
        if key == "size":
            fits = _is_number(value) and 0 <= value <= most
            expected = f"a number from 0 to {most:g}"
        else:
            fits = _is_number(value) and (value >= low if value == int(value) else 0 < value < 1)
            fits = fits or (key != "at" and isinstance(value, float) and 0 < value <= 1)
            expected = f"a row from {low:g} on, or a share of the rows between 0 and 1"
        if fits:
            spec[key] = float(value) if key == "size" or (isinstance(value, float) and value <= 1) else int(value)
        else:
            problems.append(FieldProblem(f"drift.{key}", _seen(value), expected))
    if problems:
        raise refusal("This drift cannot be generated", problems)
    return DriftSpec(**spec)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _seen(value: Any) -> str:
    return "missing" if value is None else shown(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How rows are generated: the rule of the target, noise and drift."""

    features: int = 2  # 1 to 1,000
    noise: float = (
        0.1  # share of labels drawn at random; regression: standard deviation of the noise, 1 = that of the target
    )
    balance: float = 0.5  # share of class 1 without drift, above 0 and below 1; nothing for regression
    drift: DriftSpec | None = None
    task: Literal["binary", "regression"] = "binary"
    concept_seed: int = 0  # of the rule


def generate(rows: int, recipe: Recipe | None = None, *, seed: int, start_row: int = 0) -> pd.DataFrame:
    """Rows with the columns feature1, feature2, ... and target; the same arguments give the same rows.

    Args:
        rows: 1 to 1,000,000; together with the features at most 100,000,000 cells.
        start_row: position of the first row in the stream, for drift placed at a row.

    Raises:
        BadInput: every argument that is out of its range, by name.
    """
    recipe = recipe or Recipe()
    _check_arguments(rows, recipe, seed, start_row)
    drift, noise = recipe.drift, recipe.noise
    # Each draw has its own generator, so drift and noise change only what they concern.
    source, labels, flips = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
    X = source.standard_normal((rows, recipe.features))
    amount = np.zeros(rows) if drift is None else drift.amount(rows, start_row)
    kind, size = ("", 0.0) if drift is None else (drift.kind, drift.size)
    if kind == "mean_shift":
        X += (size * amount)[:, None]
    elif kind == "scale":
        X *= (1.0 + size * amount)[:, None]
    score = _score(X, amount * size if kind == "concept_rotation" else np.zeros(rows), recipe.concept_seed)
    chance = flips.random(rows)
    flipped = chance < amount * size if kind == "label_flip" else np.zeros(rows, dtype=bool)
    target: np.ndarray
    if recipe.task == "regression":
        target = np.where(flipped, -score, score) + noise * labels.standard_normal(rows)
    else:
        above = score > -NormalDist().inv_cdf(recipe.balance)
        drawn = labels.random((rows, 2))
        above = np.where(drawn[:, 0] < noise, drawn[:, 1] < recipe.balance, above)
        target = (above ^ flipped).astype(np.int64)
    frame = pd.DataFrame(X, columns=[f"feature{i + 1}" for i in range(recipe.features)], copy=False)
    frame[TARGET] = target
    return frame


def _score(X: np.ndarray, right_angles: np.ndarray, concept_seed: int) -> np.ndarray:
    """The weighted sum by a rule of length 1, rotated by the given right angles row by row."""
    rng = np.random.default_rng(concept_seed)
    rule = _unit(rng.standard_normal((X.shape[1],)))
    straight = X @ rule
    if not right_angles.any():
        return straight
    across = rng.standard_normal((X.shape[1],))
    across = _unit(across - (across @ rule) * rule)
    angle = right_angles * (np.pi / 2)
    return np.cos(angle) * straight + np.sin(angle) * (X @ across)


def _unit(vector: np.ndarray) -> np.ndarray:
    return np.divide(vector, np.linalg.norm(vector))


def _check_arguments(rows: Any, recipe: Recipe, seed: Any, start_row: Any) -> None:
    """Refuse values of any type that are out of range: they may come from a request."""
    features, noise, balance, drift = recipe.features, recipe.noise, recipe.balance, recipe.drift
    problems: list[FieldProblem] = []

    def whole(name: str, value: Any, low: int, high: int | None) -> None:
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, np.integer))
            or value < low
            or (high and value > high)
        ):
            expected = f"a whole number from {low:,}" + (f" to {high:,}" if high else "")
            problems.append(FieldProblem(name, shown(value), expected))

    whole("rows", rows, 1, MAX_ROWS)
    whole("features", features, 1, MAX_FEATURES)
    if not problems and rows * features > MAX_CELLS:
        seen = f"{rows:,} rows x {features:,} features"
        problems.append(FieldProblem("rows", seen, f"at most {MAX_CELLS:,} cells in one call"))
    whole("seed", seed, 0, None)
    whole("start_row", start_row, 0, None)
    whole("concept_seed", recipe.concept_seed, 0, None)
    if not _is_number(noise) or not 0 <= noise <= 1:
        problems.append(FieldProblem("noise", shown(noise), "a number from 0 to 1"))
    if not _is_number(balance) or not 0 < balance < 1:
        problems.append(FieldProblem("balance", shown(balance), "a number above 0 and below 1"))
    if recipe.task not in ("binary", "regression"):
        problems.append(FieldProblem("task", shown(recipe.task), "binary or regression"))
    if drift is not None and drift.kind == "concept_rotation" and features == 1:
        problems.append(FieldProblem("drift.kind", "concept_rotation of 1 feature", "at least 2 features"))
    if problems:
        raise refusal("These rows cannot be generated", problems)
