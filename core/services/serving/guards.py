"""Guards: visible handling of predictions that should not be trusted as they are.

There are three checks: a category that the model has never seen, a number outside its training range, and
a probability below a limit. Each can be ignored (off), reported with the prediction (warn), or withhold the prediction (abstain) or
replace it by a fixed one (override). The model's own prediction is logged and measured in any case.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, get_args

from core.data.cells import refusal, shown
from core.errors import FieldProblem
from core.records import FeatureSchema, JsonObject, Label, to_document

Action = Literal["off", "warn", "abstain", "override"]
ACTIONS: tuple[Action, ...] = get_args(Action)
STRICTEST: tuple[Action, ...] = ("abstain", "override", "warn")  # precedence among the actions of one prediction
KINDS = ("unseen_category", "out_of_range", "low_confidence")


class GuardHit(TypedDict):
    """A triggered guard, as it is returned and logged."""

    guard: str  # of KINDS
    action: Action
    feature: str | None  # None: it concerns the prediction as a whole
    seen: float | str
    expected: str  # as text


class Guarded(TypedDict):
    """The result of the guards for one prediction, as it is logged."""

    action: Action  # the strictest of the hits'
    answer: Label | None  # the returned value: the model's, the fixed one, or none
    hits: list[GuardHit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """A project's guards."""

    unseen_category: Action = "warn"
    out_of_range: Action = "warn"
    low_confidence: Action = "off"
    range_margin: float = 0.1  # share of the training range allowed beyond either end
    least_confidence: float = 0.6  # probability of the predicted class below which it is low
    override: Label | None = None  # the value returned instead


def guards_to_document(guards: Guards) -> JsonObject:
    """Plain values."""
    document: JsonObject = to_document(guards)
    return document


def guards_from_document(document: Mapping[str, Any] | None) -> Guards:
    """The guards with these values; missing ones have their default."""
    return Guards(**(document or {}))


def checked(guards: Guards, schema: FeatureSchema) -> Guards:
    """The guards, if they are valid for the schema.

    Raises:
        BadInput: an unknown action, an invalid share, an override that this project cannot return.
    """
    problems = [
        FieldProblem(kind, shown(getattr(guards, kind)), f"one of {', '.join(ACTIONS)}")
        for kind in KINDS
        if getattr(guards, kind) not in ACTIONS
    ]
    if not 0 <= guards.range_margin <= 100:
        problems.append(FieldProblem("range_margin", shown(guards.range_margin), "a share from 0 to 100"))
    if not 0 < guards.least_confidence <= 1:
        problems.append(FieldProblem("least_confidence", shown(guards.least_confidence), "a probability"))
    if schema.task == "regression" and guards.low_confidence != "off":
        problems.append(
            FieldProblem("low_confidence", shown(guards.low_confidence), "off: a number has no probability")
        )
    if any(getattr(guards, kind) == "override" for kind in KINDS):
        number = isinstance(guards.override, (int, float)) and not isinstance(guards.override, bool)
        if not (number if schema.task == "regression" else guards.override in schema.classes):
            wanted = (
                "a number" if schema.task == "regression" else f"one of {', '.join(map(shown, schema.classes[:10]))}"
            )
            problems.append(FieldProblem("override", shown(guards.override), wanted))
    if problems:
        raise refusal("The guards are not valid", problems)
    return guards


@dataclass(slots=True)
class Watch:
    """A project's guards, ready for the rows of one model."""

    guards: Guards
    numbers: list[tuple[int, str, float, float]] = field(default_factory=list)  # place, name, lowest, highest
    texts: list[tuple[int, str, frozenset[str]]] = field(default_factory=list)
    least: float = 0.0  # 0: confidence is not checked

    def one(self, values: Sequence[Any], label: Label, probability: float | None) -> Guarded | None:
        """The triggered guards of one row; None if there are none."""
        hits: list[GuardHit] = []
        for j, name, low, high in self.numbers:
            v = values[j]
            if not low <= v <= high and v == v:
                hits.append(self._hit("out_of_range", name, v, f"{low:.6g} to {high:.6g}"))
        for j, name, known in self.texts:
            v = values[j]
            if v is not None and v not in known:
                hits.append(self._hit("unseen_category", name, str(v)[:60], f"one of {len(known)} known categories"))
        if probability is not None and probability < self.least:
            hits.append(self._hit("low_confidence", None, probability, f"at least {self.least:g}"))
        return self._result(hits, label) if hits else None

    def many(self, columns: Sequence[Any], labels: Sequence[Label], highest: Any | None) -> dict[int, Guarded]:
        """The same for many rows, by position; only rows with triggered guards.

        Args:
            highest: probability of each row's answer, as an array.
        """
        import numpy as np

        hits_by_row: dict[int, list[GuardHit]] = {}
        for j, name, low, high in self.numbers:
            column = columns[j]
            for i in np.flatnonzero((column < low) | (column > high)).tolist():
                hit = self._hit("out_of_range", name, float(column[i]), f"{low:.6g} to {high:.6g}")
                hits_by_row.setdefault(i, []).append(hit)
        for j, name, known in self.texts:
            expected = f"one of {len(known)} known categories"
            for i, v in enumerate(columns[j]):
                if v is not None and v not in known:
                    hits_by_row.setdefault(i, []).append(self._hit("unseen_category", name, str(v)[:60], expected))
        if highest is not None and self.least:
            for i in np.flatnonzero(highest < self.least).tolist():
                hit = self._hit("low_confidence", None, float(highest[i]), f"at least {self.least:g}")
                hits_by_row.setdefault(i, []).append(hit)
        return {i: self._result(hits, labels[i]) for i, hits in sorted(hits_by_row.items())}

    def _hit(self, kind: str, feature: str | None, seen: float | str, expected: str) -> GuardHit:
        action = getattr(self.guards, kind)
        return {"guard": kind, "action": action, "feature": feature, "seen": seen, "expected": expected}

    def _result(self, hits: list[GuardHit], label: Label) -> Guarded:
        """The strictest action counts: to abstain goes before to override, and that before to warn."""
        actions = {hit["action"] for hit in hits}
        action: Action = next(a for a in STRICTEST if a in actions)
        answer = {"abstain": None, "override": self.guards.override, "warn": label}[action]
        return {"action": action, "answer": answer, "hits": hits}


def tally(results: Iterable[Guarded]) -> list[tuple[str, str, int]]:
    """How often each guard was triggered: guard, action, number; a prediction counts once for each."""
    counts: Counter[tuple[str, str]] = Counter()
    for result in results:
        counts.update({(hit["guard"], hit["action"]) for hit in result["hits"]})
    return [(guard, action, n) for (guard, action), n in sorted(counts.items())]


def watch(guards: Guards, schema: FeatureSchema, ranges: Mapping[str, Any]) -> Watch:
    """Guards for a model with these training ranges: lowest and highest number, or categories, by feature."""
    made = Watch(guards, least=guards.least_confidence if guards.low_confidence != "off" else 0.0)
    for j, f in enumerate(schema.features):
        known = ranges.get(f.name)
        if not known:
            continue
        if f.kind != "numeric" and guards.unseen_category != "off":
            made.texts.append((j, f.name, frozenset(known)))
        elif f.kind == "numeric" and guards.out_of_range != "off":
            low, high = known
            beyond = guards.range_margin * (high - low)
            made.numbers.append((j, f.name, low - beyond, high + beyond))
    return made
