"""The catalogue of all metrics with their properties.

They are computed in `core.performance.formulas` (COMPUTE) and estimated without labels in
`core.performance.estimated`. Their values are formatted in `core.words`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from core.records.data import Task
from core.records.learning import Policy

Needs = Literal["classes", "probabilities", "ranks", "values"]  # confusion counts, probabilities, their order, numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One way to score predictions."""

    label: str  # on pages, charts and in messages
    tasks: tuple[Task, ...]
    needs: Needs
    higher_is_better: bool = True
    in_points: bool = False  # differences are shown in percentage points
    range: tuple[float, float] = (0.0, 1.0)  # range of its values
    least_rows: int = 1
    mean_of_rows: bool = False  # it is the mean of one number per row
    estimated: bool = False  # also estimated without labels, where the task allows it
    shown_by_replays: bool = False
    in_finding: str = ""  # within a sentence; "" = the key with spaces
    in_reason: str = ""  # within a recorded reason; "" = the label


CLASSES: tuple[Task, ...] = ("binary", "multiclass")
NUMBERS: tuple[Task, ...] = ("regression",)
NO_LIMIT = math.inf

METRICS: dict[str, Metric] = {
    "accuracy": Metric(
        label="Accuracy",
        tasks=CLASSES,
        needs="classes",
        in_points=True,
        mean_of_rows=True,
        estimated=True,
        shown_by_replays=True,
    ),
    "balanced_accuracy": Metric(label="Balanced accuracy", tasks=CLASSES, needs="classes", in_points=True),
    "kappa": Metric(
        label="Cohen's kappa",
        tasks=CLASSES,
        needs="classes",
        range=(-1.0, 1.0),
        estimated=True,
        shown_by_replays=True,
    ),
    # With two classes the estimator gives only the F1 of the second one, which is a different metric.
    "macro_f1": Metric(
        label="Macro F1",
        tasks=CLASSES,
        needs="classes",
        in_points=True,
        estimated=True,
        shown_by_replays=True,
        in_finding="macro F1",
    ),
    "mcc": Metric(label="Matthews correlation", tasks=CLASSES, needs="classes", range=(-1.0, 1.0)),
    "log_loss": Metric(
        label="Log-loss",
        tasks=CLASSES,
        needs="probabilities",
        higher_is_better=False,
        range=(0.0, NO_LIMIT),
        mean_of_rows=True,
        estimated=True,
    ),
    "brier": Metric(
        label="Brier score",
        tasks=CLASSES,
        needs="probabilities",
        higher_is_better=False,
        range=(0.0, 2.0),
        mean_of_rows=True,
    ),
    "roc_auc": Metric(label="ROC AUC", tasks=CLASSES, needs="ranks", least_rows=2, estimated=True),
    "mae": Metric(
        label="Mean absolute error",
        tasks=NUMBERS,
        needs="values",
        higher_is_better=False,
        range=(0.0, NO_LIMIT),
        mean_of_rows=True,
        estimated=True,
        shown_by_replays=True,
        in_finding="mean error",
    ),
    "rmse": Metric(
        label="Root mean squared error",
        tasks=NUMBERS,
        needs="values",
        higher_is_better=False,
        range=(0.0, NO_LIMIT),
        estimated=True,
        shown_by_replays=True,
    ),
    # Texts of decisions and comparisons use plain characters only.
    "r2": Metric(
        label="R\u00b2",
        tasks=NUMBERS,
        needs="values",
        range=(-NO_LIMIT, 1.0),
        least_rows=2,
        shown_by_replays=True,
        in_finding="R\u00b2",
        in_reason="R2",
    ),
}


def metrics_of(task: Task) -> tuple[str, ...]:
    """Names of a task's metrics, in the catalogue's order."""
    return tuple(name for name, metric in METRICS.items() if task in metric.tasks)


def estimated_metrics(task: Task) -> tuple[str, ...]:
    """Metrics that are also estimated without labels; those of probabilities last, as estimates are stored."""
    left_out = ("macro_f1",) if task == "binary" else ()
    names = [name for name in metrics_of(task) if METRICS[name].estimated and name not in left_out]
    return tuple(sorted(names, key=lambda name: METRICS[name].needs == "probabilities"))


def replay_metrics(task: Task) -> tuple[str, ...]:
    """Metrics that are reported for a replay."""
    return tuple(name for name in metrics_of(task) if METRICS[name].shown_by_replays)


def default_metric(task: Task) -> str:
    """The metric for a policy that names none of the task's."""
    return "r2" if task == "regression" else "accuracy"


def row_metric(task: Task) -> str:
    """The metric that is defined for a single row: right or wrong, or its error."""
    return "mae" if task == "regression" else "accuracy"


def metric_for(policy: Policy, task: Task) -> str:
    """The metric that the policy measures on this task: its own if the task has it, else accuracy or R2."""
    return policy.metric if policy.metric in metrics_of(task) else default_metric(task)


def higher_is_better(metric: str) -> bool:
    """True if larger values are better; KeyError for an unknown name."""
    return METRICS[metric].higher_is_better


def is_worse(score: float, than: float, metric: str) -> bool:
    """Whether a score is worse than another one or a threshold, by the metric's direction; False if equal."""
    return score < than if higher_is_better(metric) else score > than


def sides(metric: str) -> tuple[str, str]:
    """The bad and the good side of a threshold: ("below", "above") or the reverse."""
    return ("below", "above") if higher_is_better(metric) else ("above", "below")
