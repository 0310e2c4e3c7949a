"""What triggers, clauses, documents and descriptions of policies share: names, and how numbers are written in sentences."""

from __future__ import annotations

from core.drift import words
from core.performance.realised import METRICS, higher_is_better, metrics_of
from core.records import Policy, Task

AND = "+"  # joins triggers that have to fire together

# The kinds of model that a policy may name, in words; `models.MODEL_FAMILIES` builds them. Here, because a page that
# offers them does not load sklearn.
FAMILY_LABELS: dict[str, str] = {
    "logistic": "logistic regression",
    "ridge": "ridge regression",
    "boosting": "gradient boosting",
    "dated_boosting": "gradient boosting with row number",
    "linear_boosting": "linear with boosting on its residuals",
    "extra_trees": "extra-trees",
    "neighbours": "nearest neighbours",
    "constant": "constant",
}


def metric_for(policy: Policy, task: Task) -> str:
    """The metric that the policy measures on this task: its own where the task has it, else accuracy or R2."""
    if policy.metric in metrics_of(task):
        return policy.metric
    return "r2" if task == "regression" else "accuracy"


def is_worse(score: float, than: float, metric: str) -> bool:
    """Whether a score is on the wrong side of another one, by the metric's direction; equal ones are not."""
    return score < than if higher_is_better(metric) else score > than


def metric_name(metric: str) -> str:
    """The metric as sentences call it."""
    return METRICS[metric].label


def number(value: float) -> str:
    """A score as sentences write it."""
    return words.score(value)


def duration(seconds: float) -> str:
    """Seconds in the largest unit of which there are at least two."""
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"
