"""Small frames and a way to drive the loop over them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pandas import DataFrame

from core.learning.learner import advance
from core.learning.policy import policy_named
from core.learning.state import LearnerState
from core.learning.step import Labelled, Run, Situation, Step
from core.records import Feature, FeatureSchema, Policy, Task

CLASSES: dict[str, tuple] = {"binary": ("no", "yes"), "multiclass": ("ant", "bee", "fly"), "regression": ()}


def make_schema(task: Task, *, numeric: int = 3, categorical: int = 1) -> FeatureSchema:
    """Features x0, x1, ... and c0, ..."""
    features = [Feature(name=f"x{i}", kind="numeric") for i in range(numeric)]
    features += [Feature(name=f"c{i}", kind="categorical", categories=("a", "b", "c")) for i in range(categorical)]
    return FeatureSchema(task=task, target="y", features=tuple(features), classes=CLASSES[task])


def make_rows(
    task: Task, n: int, *, seed: int = 0, flip: bool = False, noise: float = 0.1, missing: float = 0.0
) -> tuple[DataFrame, np.ndarray]:
    """Rows with a linear concept; `flip` turns it round. Numbers are float64, categories text or None."""
    rng = np.random.default_rng(seed)
    X = DataFrame(rng.normal(size=(n, 3)), columns=["x0", "x1", "x2"])
    codes = rng.integers(0, 3, n)
    value = (X["x0"] + 0.5 * X["x1"]).to_numpy() + 0.5 * (codes - 1) + rng.normal(0, noise, n)
    if flip:
        value = -value
    X["c0"] = np.array(["a", "b", "c"], dtype=object)[codes]
    if missing:
        for name in X.columns:
            gone = rng.random(n) < missing
            X[name] = X[name].mask(gone, None if name == "c0" else np.nan).astype(object if name == "c0" else float)
    if task == "regression":
        return X, value
    labels = np.asarray(CLASSES[task], dtype=object)
    edges = [0.0] if task == "binary" else [-0.5, 0.5]
    return X, labels[np.digitize(value, edges)]


class Driver:
    """Feeds batches to `advance` and keeps what it returns, as a loop would."""

    def __init__(self, schema: FeatureSchema, policy: Policy, seed: int = 0) -> None:
        self.schema, self.policy, self.seed = schema, policy, seed
        self.state = LearnerState()
        self.version = 0
        self.X: DataFrame | None = None
        self.y = np.empty(0)
        self.steps: list[Step] = []

    def window(self, n: int | None) -> tuple[DataFrame, np.ndarray]:
        assert self.X is not None
        n = len(self.y) if n is None else min(n, len(self.y))
        return self.X.iloc[len(self.y) - n :], self.y[len(self.y) - n :]

    def feed(self, X: DataFrame, y: np.ndarray, **arguments: Any) -> Step:
        first_row = len(self.y)
        X = X.set_axis(np.arange(first_row, first_row + len(X)), axis=0)  # a row keeps its key
        if self.X is None:
            self.X, self.y = X, np.asarray(y)
        elif len(y):
            import pandas as pd

            self.X = pd.concat([self.X, X], ignore_index=True)
            self.y = np.concatenate([self.y, y])
        named = {name: arguments.pop(name) for name in ("clock", "fit_within", "progress") if name in arguments}
        run = Run(schema=self.schema, policy=self.policy, seed=self.seed, next_version=self.version + 1, **named)
        fresh = Labelled(X=X, y=np.asarray(y), first_row=first_row)
        step = advance(self.state, fresh, self.window, Situation(**arguments), run)
        self.state = step.state
        if step.challenger is not None:
            self.version += 1
        self.steps.append(step)
        return step


@pytest.fixture
def schema_of() -> Callable[..., FeatureSchema]:
    return make_schema


@pytest.fixture
def rows_of() -> Callable[..., tuple[DataFrame, np.ndarray]]:
    return make_rows


@pytest.fixture
def driver() -> Callable[..., Driver]:
    """driver(task, policy="balanced", **changes): an empty loop over rows of that task."""

    def make(task: Task, policy: str = "balanced", *, seed: int = 0, **changes: Any) -> Driver:
        return Driver(make_schema(task), policy_named(policy, **changes), seed)

    return make
