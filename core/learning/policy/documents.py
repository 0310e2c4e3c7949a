"""A policy as plain JSON values and back, each field validated by its rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from core.errors import BadInput, FieldProblem
from core.learning.policy.clauses import GATES, HOLD_OUTS
from core.learning.policy.common import AND, FAMILY_LABELS
from core.learning.policy.rules import NumberIn, OneOf, Rule, Whole
from core.learning.policy.schedule import crontab
from core.learning.policy.triggers import TRIGGERS
from core.records import METRICS, JsonObject, Policy, to_document


def policy_to_document(policy: Policy) -> JsonObject:
    """The policy as plain JSON values."""
    return to_document(policy)


def policy_from_document(document: Mapping[str, Any]) -> Policy:
    """The policy that a document describes; absent fields take their default.

    Raises:
        BadInput: with one problem a field: unknown, of the wrong type, or out of range.
    """
    if not isinstance(document, Mapping):
        raise BadInput(f"A policy is an object of fields, found {type(document).__name__}.")
    problems: list[FieldProblem] = []
    values: JsonObject = {}
    for name, value in document.items():
        rule = FIELDS.get(name)
        if rule is None:
            problems.append(FieldProblem(name, "unknown field", f"one of {', '.join(FIELDS)}"))
            continue
        try:
            values[name] = rule(value)
        except (TypeError, ValueError) as error:
            problems.append(FieldProblem(name, repr(value), str(error)))
    if "name" not in document:
        problems.append(FieldProblem("name", "nothing", "text"))
    if problems:
        first = problems[0]
        raise BadInput(
            f"The policy cannot be taken: {first.field} is {first.seen}, expected {first.expected}.", tuple(problems)
        )
    return Policy(**values)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("text")
    return value


def _metric(value: Any) -> str:
    if value not in METRICS:
        raise ValueError(f"one of {', '.join(METRICS)}")
    return value


def _trigger(value: Any) -> str:
    check = OneOf(TRIGGERS)
    if not isinstance(value, str):
        raise ValueError("a trigger's name")
    return AND.join(check(name.strip()) for name in value.split(AND))


def _several(check: Callable[[Any], str]) -> Callable[[Any], tuple[str, ...]]:
    def check_all(value: Any) -> tuple[str, ...]:
        if isinstance(value, str) or not isinstance(value, (list, tuple)):
            raise ValueError("a list of names")
        return tuple(check(item) for item in value)

    return check_all


def _window(value: Any) -> str:
    text = str(value)
    if text not in ("change", "all") and not (text.isdecimal() and int(text) >= 2):
        raise ValueError('"change", "all" or a number of rows from 2')
    return text


FIELDS: Mapping[str, Rule] = {
    "name": _text,
    "metric": _metric,
    "threshold": NumberIn(-math.inf),
    "triggers": _several(_trigger),
    "drift_share": NumberIn(0, 1),
    "new_labels": Whole(1),
    "min_rows": Whole(1),
    "families": _several(OneOf(FAMILY_LABELS)),
    "windows": _several(_window),
    "max_fits": NumberIn(0),
    "min_new_share": NumberIn(0, 1),
    "max_train_rows": Whole(20),
    "gate": OneOf(GATES),
    "hold_out": OneOf(HOLD_OUTS),
    "fit_timeout_s": NumberIn(0),
    "archive": Whole(0),
    "max_forgetting": NumberIn(0),
    "max_predict_ms": NumberIn(0),
    "shadow_rows": Whole(0),
    "cooldown_s": NumberIn(0),
    "races_per_day": Whole(0),
    "schedule": crontab,
    "max_age_s": NumberIn(0),
    "drift_gate": NumberIn(0, 1),
    "drift_alpha": NumberIn(0, 1),
    "false_alarms_per_month": NumberIn(0),
}
