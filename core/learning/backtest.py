"""Replay of a stream through the loop, in memory: what this policy would have done.

Prequential: every row is predicted by the model that served when it arrived, before its label is known; the learning is
`advance`, the same function as in the live loop. A stream is cut into *turns*: rows that arrive, then labels that become known.
`replay` cuts a file into batches; a project's stored history has the turns that really took place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from pandas import DataFrame, isna

from core.data.contract import with_classes
from core.drift.budget import Gates, budget_gates
from core.drift.rules import DriftRules
from core.drift.univariate import measure_drift
from core.learning.candidates import Answers, plain_labels
from core.learning.comparing import row_scores, wins_and_losses
from core.learning.learner import advance
from core.learning.models import Committee
from core.learning.policy import AND, next_scheduled
from core.learning.state import LearnerState
from core.learning.step import Labelled, Run, Situation, Step
from core.performance.head_to_head import mcnemar_exact
from core.performance.realised import measure
from core.records import (
    METRICS,
    DriftReport,
    FeatureSchema,
    JsonObject,
    Policy,
    Problem,
    Score,
    Task,
    replay_metrics,
    to_document,
)

COMPARED_ROWS = 1_000  # labelled rows over which a promoted model is compared with the one it replaced
REFERENCE_ROWS = 5_000  # newest training rows of the champion, the reference for drift
DAY = timedelta(days=1)


@dataclass(slots=True, kw_only=True)
class Admission:
    """A promoted or refreshed model, and its record against the one it replaced, both frozen."""

    row: int  # stream position from which it served
    kind: str  # promotion | refresh
    version: int
    replaced: int
    judged: int = 0
    wins: int = 0  # rows that only the new one predicts correctly (regression: is nearer)
    losses: int = 0
    ended_by: str | None = None  # rollback | replaced; None = it served to the end
    ended_row: int | None = None

    def to_document(self) -> JsonObject:
        """As in the report, with the two-sided exact McNemar p-value."""
        names = ("row", "kind", "version", "replaced", "judged", "wins", "losses")
        return {
            **{name: getattr(self, name) for name in names},
            "p": mcnemar_exact(self.wins, self.losses),
            "ended_by": self.ended_by,
            "ended_row": self.ended_row,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What happened between two checks of the loop: rows that arrived, and labels that became known."""

    arrived: np.ndarray  # positions of rows that arrived: the champion predicts them now
    due: np.ndarray  # positions of rows whose labels became known, in the order in which the loop receives them
    row: int  # stream position at its end
    seed: int
    weights: np.ndarray | None = None  # rows that each due one represents, where they were sampled for labelling
    known: np.ndarray = field(
        default_factory=lambda: np.empty(0, dtype=np.int64)
    )  # labelled rows of the past that were backfilled
    gone: tuple[np.ndarray, ...] = ()  # rows of each batch that was undone since the previous turn, consecutive
    at: datetime | None = None  # None = no clock: cooldown, age, schedule and daily budget do not apply
    checks_per_month: float = 30.0  # by the rows' timestamps: the false-alarm budget is divided by it
    forced: bool = False
    estimate: Score | None = None
    estimate_trusted: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnResult:
    """The result of one turn of a replay."""

    rows: int  # that arrived
    scores: dict[str, float | None]  # metric -> score on those rows; None = not all of their labels are known
    decision: str  # nothing | alert | retrain
    fired: tuple[str, ...]  # keys in TRIGGERS
    outcome: str  # of Outcome
    champion_version: int | None  # that predicted the rows
    fits: int
    change_at: int | None  # stream position of the detected change; None = none
    at: datetime | None  # None = no clock

    def to_document(self) -> JsonObject:
        """As in the report: each metric by its name."""
        return {
            "rows": self.rows,
            **self.scores,
            "decision": self.decision,
            "fired": self.fired,
            "outcome": self.outcome,
            "champion_version": self.champion_version,
            "fits": self.fits,
            "change_at": self.change_at,
            "at": self.at,
        }


@dataclass(slots=True, kw_only=True)
class ReplayReport:
    """The result of a replay. Scores are pooled over every row after the warm-up."""

    task: Task
    policy: str
    seed: int
    rows_scored: int
    batches: int
    fits: int
    promotions: int
    refreshes: int
    rollbacks: int
    scores: dict[str, float | None]
    per_batch: list[TurnResult]
    admissions: list[Admission]
    predictions: np.ndarray = field(repr=False)  # one per scored row, in stream order
    problems: tuple[Problem, ...] = ()  # assumptions about the file's columns, and conversions

    def to_document(self) -> JsonObject:
        """Plain JSON values, as `replay --json` prints them."""
        return to_document(
            {
                **self.scores,
                "task": self.task,
                "policy": self.policy,
                "seed": self.seed,
                "rows_scored": self.rows_scored,
                "batches": self.batches,
                "fits": self.fits,
                "promotions": self.promotions,
                "refreshes": self.refreshes,
                "rollbacks": self.rollbacks,
                "per_batch": [turn.to_document() for turn in self.per_batch],
                "admissions": [admission.to_document() for admission in self.admissions],
            }
        )


def replay_turns(
    X: DataFrame,
    y: np.ndarray,
    schema: FeatureSchema,
    policy: Policy,
    turns: Sequence[Turn],
    *,
    metric: str | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> ReplayReport:
    """Runs the loop over rows in given turns. The first turn is the warm-up: its rows are not scored.

    Args:
        X: conformed features in stream order; turns refer to rows by position.
        y: labels as known at the end, of X's length; None or NaN where none arrived.
        metric: reported besides the usual ones, if it needs no probabilities.
    """
    run = _Run(X.reset_index(drop=True), y, schema, policy, turns[0].seed, metric)
    for done, turn in enumerate(turns):
        if progress is not None and done:
            progress((done - 1) / (len(turns) - 1), f"batch {done} of {len(turns) - 1}")
        run.turn(turn, warm_up=done == 0)
    if progress is not None:
        progress(1.0, "done")
    return run.report()


class _Run:
    """The state of one replay."""

    def __init__(
        self, X: DataFrame, y: np.ndarray, schema: FeatureSchema, policy: Policy, seed: int, metric: str | None
    ) -> None:
        self.X, self.y, self.schema, self.policy, self.seed = X, y, schema, policy, seed
        self.all_classes = np.asarray(schema.classes)  # the columns of `probabilities`, whenever each became known
        self.all_labels, self.task = schema.classes, schema.task
        self.regression = schema.task == "regression"
        extra = (metric,) if metric is not None and METRICS[metric].needs in ("classes", "values") else ()
        reported = replay_metrics(self.task)
        self.pooled = tuple(dict.fromkeys([*reported, *extra]))
        self.each = tuple(dict.fromkeys([*(name for name in reported if name != "macro_f1"), *extra]))
        self.named = {name for entry in policy.triggers for name in entry.split(AND)}
        self.predicted = np.empty(len(y), dtype=np.float64 if self.regression else y.dtype)
        self.by_champion = np.zeros(len(y), dtype=bool)  # predicted in time, by a model
        self.scored: list[np.ndarray] = []  # positions that count in the report
        self.probabilities = None if self.regression else np.zeros((len(y), len(schema.classes)))
        self.known = np.empty(0, dtype=np.int64)  # positions of the rows whose label was known before this turn
        self.fresh = self.known  # those whose label became known in it
        self.learnt = self.known  # positions that the champion's race could train on
        self.filled = self.known  # of the known ones those that were backfilled: in no turn's evidence
        self.gone = self.known  # positions of undone rows
        self.shown: set[Any] = set()  # classes seen in labels, of undone rows too
        self.state = LearnerState()
        self.version = 0
        self.fits = 0
        self.races: list[tuple[datetime, bool]] = []  # when, and whether manual
        self.counts = {"promotion": 0, "refresh": 0, "rollback": 0}
        self.admissions: list[Admission] = []
        self.open: list[tuple[Admission, Committee, Committee]] = []  # still compared: (record, new, replaced)
        self.per_batch: list[TurnResult] = []

    def window(self, n: int | None) -> tuple[DataFrame, np.ndarray]:
        """The newest n rows whose labels are known: in stream order, the fresh ones at the end."""
        rows = np.concatenate([self.known, self.fresh])
        rows = rows if n is None else rows[-n:]
        return self.X.iloc[rows], self.y[rows]

    def turn(self, turn: Turn, *, warm_up: bool) -> None:
        """Predicts the rows that arrived, then learns from the labels that became known."""
        for rows in turn.gone:
            self._undo(rows)
        served = self.state
        self._add_classes(turn)
        answers = Answers(self.X.iloc[turn.arrived], self.schema.task)
        scored = not warm_up and len(turn.arrived) > 0
        if len(turn.arrived):
            self._predict(turn.arrived, answers, scored)
        same = np.array_equal(turn.due, turn.arrived)
        shared = answers if same else Answers(self.X.iloc[turn.due], self.schema.task)
        self._compare_replaced(turn.due, shared)
        step = self._learn(turn, shared, self._drift(turn))
        if warm_up:
            return
        self.fits += step.fits if served.champion is not None else 0
        scores = (
            measure(
                self.task, self.y[turn.arrived], self.predicted[turn.arrived], metrics=self.each,
                intervals=None,
            ).scores
            if scored and self._all_labelled(turn.arrived)
            else {}
        )  # fmt: skip
        self.per_batch.append(
            TurnResult(
                rows=len(turn.arrived),
                scores={name: scores[name].value if name in scores else None for name in self.each},
                decision=step.decision.action,
                fired=tuple(firing.trigger for firing in step.decision.firings),
                outcome=step.outcome,
                champion_version=served.champion_version,
                fits=step.fits,
                change_at=step.change_at,
                at=turn.at,
            )
        )

    def _undo(self, rows: np.ndarray) -> None:
        """Removes a batch that was undone after its labels were counted, as the live loop does."""
        known = np.concatenate([self.known, self.fresh])
        counted = np.intersect1d(np.setdiff1d(rows, self.filled), known)
        if len(counted):
            before = self.state.seen - int((known > rows[-1]).sum()) - len(counted)
            self.state = self.state.without(counted.tolist(), before=max(before, 0))
        self.known, self.fresh = np.setdiff1d(known, rows), np.empty(0, dtype=np.int64)
        self.learnt = np.setdiff1d(self.learnt, rows)
        self.gone = np.concatenate([self.gone, rows])

    def _add_classes(self, turn: Turn) -> None:
        """Extends the schema by the classes seen in labels so far: how models are built depends on their number."""
        if self.regression:
            return
        rows = np.concatenate([self.known, self.fresh, turn.known, turn.due])
        self.shown |= {label for label in plain_labels(self.y[rows]).tolist() if label is not None}
        if len(self.shown) >= 2:
            self.schema = with_classes(
                replace(self.schema, classes=()), [c for c in self.all_labels if c in self.shown]
            )

    def _all_labelled(self, rows: np.ndarray) -> bool:
        """Whether the labels of all these rows are known at the end."""
        return not bool(isna(self.y[rows]).any())

    def _predict(self, rows: np.ndarray, answers: Answers, scored: bool) -> None:
        champion = self.state.champion
        if champion is not None:
            self.predicted[rows] = answers.predict(champion)
            self.by_champion[rows] = True
            if self.probabilities is not None:
                at = np.searchsorted(self.all_classes, champion.classes_)
                self.probabilities[rows[:, None], at[None, :]] = answers.of(champion)
        elif scored and len(
            self.known
        ):  # not even a constant model could be fitted: predict the commonest label so far
            values, counts = np.unique(self.y[self.known], return_counts=True)
            self.predicted[rows] = values[np.argmax(counts)]
        else:
            return
        if scored:
            self.scored.append(rows)

    def _drift(self, turn: Turn) -> DriftReport | None:
        """Drift of the rows that arrived from the champion's training rows, where it could affect the decision."""
        if "drift_share" not in self.named or not len(turn.arrived) or not len(self.learnt):
            return None
        if turn.at is None and self.state.labels_since_race + len(turn.due) >= self.policy.new_labels:
            return None  # without a clock, enough labels start a race whatever the features do
        reference = np.setdiff1d(self.learnt, turn.arrived)[-REFERENCE_ROWS:]
        if not len(reference):
            return None
        names = list(self.schema.names)
        before, now = self.X.iloc[reference][names], self.X.iloc[turn.arrived][names]
        budget, gate, gates = self.policy.false_alarms_per_month, self.policy.drift_gate, Gates()
        if budget > 0:
            gates = budget_gates(
                before, self.schema, current_rows=len(now), checks_per_month=turn.checks_per_month,
                alarms_per_month=budget, gate=gate,
            )  # fmt: skip
        return measure_drift(
            before, now, self.schema, rules=DriftRules(alpha=self.policy.drift_alpha, gate=gate, gates=gates)
        )

    def _learn(self, turn: Turn, answers: Answers, drift: DriftReport | None) -> Step:
        """One step of the loop on the labels that became known."""
        before, due = self.state, turn.due
        self.known, self.fresh = np.sort(np.concatenate([self.known, self.fresh, turn.known])), due
        self.filled = np.concatenate([self.filled, turn.known])
        answered = self.by_champion[due]
        in_time = before.champion is not None and bool(answered.any())
        y_proba = None
        if in_time and self.probabilities is not None and before.champion is not None:
            columns = np.searchsorted(self.all_classes, before.champion.classes_)
            y_proba = self.probabilities[due][:, columns]
        fresh = Labelled(
            X=self.X.iloc[due],
            y=self.y[due],
            first_row=int(due[0]) if len(due) else turn.row,
            y_pred=self.predicted[due] if in_time else None,
            answered=None if answered.all() else answered,
            y_proba=y_proba,
            weights=turn.weights,
            answers=answers,
        )
        situation = Situation(
            drift=drift,
            forced=turn.forced,
            n_rows=len(turn.arrived),
            estimate=turn.estimate,
            estimate_trusted=turn.estimate_trusted,
        )
        run = Run(schema=self.schema, policy=self.policy, seed=turn.seed, next_version=self.version + 1)
        step = advance(before, fresh, self.window, self._with_time(situation, turn.at), run)
        self.state = step.state
        if step.challenger is not None:
            self.version += 1
        if step.decision.action == "retrain" and turn.at is not None:
            self.races.append((turn.at, any(f.trigger == "by_hand" for f in step.decision.firings)))
        if step.kind in ("promotion", "refresh"):
            self.learnt = np.concatenate([self.known, self.fresh])[-self.policy.max_train_rows :]
        if before.champion is not None:
            self._record(step, before, turn.row)
        return step

    def _with_time(self, situation: Situation, at: datetime | None) -> Situation:
        """The situation with the fields that depend on time."""
        if at is None:
            return situation
        last = self.races[-1][0] if self.races else None
        due = next_scheduled(self.policy.schedule, last) if last is not None else None
        return replace(
            situation,
            seconds_since_race=(at - last).total_seconds() if last is not None else None,
            races_last_day=sum(at - race < DAY and not by_hand for race, by_hand in self.races),
            schedule_due=due is not None and due <= at,
        )

    def _record(self, step: Step, before: LearnerState, row: int) -> None:
        """Counts the event, and starts the comparison of a new champion with the one it replaced."""
        if step.kind == "none":
            return
        self.counts[step.kind] += 1
        for admission in self.admissions:
            if admission.version == before.champion_version and admission.ended_by is None:
                admission.ended_by = "rollback" if step.kind == "rollback" else "replaced"
                admission.ended_row = row
        if step.kind != "rollback" and before.champion is not None and before.champion_version is not None:
            assert step.champion is not None and step.champion_version is not None
            admission = Admission(
                row=row, kind=step.kind, version=step.champion_version, replaced=before.champion_version
            )
            self.admissions.append(admission)
            self.open.append((admission, step.champion, before.champion))

    def _compare_replaced(self, rows: np.ndarray, answers: Answers) -> None:
        """Compares each recently promoted model with the one it replaced, on rows whose labels became known."""
        unfinished = []
        for admission, new, replaced in self.open:
            use = slice(0, COMPARED_ROWS - admission.judged)
            truth = self.y[rows]
            if len(truth):
                ours, theirs = (row_scores(answers, truth, model)[use] for model in (new, replaced))
                wins, losses = wins_and_losses(ours, theirs)
                admission.wins += wins
                admission.losses += losses
                admission.judged += len(ours)
            if admission.judged < COMPARED_ROWS:
                unfinished.append((admission, new, replaced))
        self.open = unfinished

    def report(self) -> ReplayReport:
        """The report after the last turn; rows whose label never arrived, or whose batch was undone, are not scored."""
        rows = np.concatenate(self.scored) if self.scored else np.empty(0, dtype=np.int64)
        rows = np.setdiff1d(rows[~isna(self.y[rows])], self.gone)
        truth, predicted = self.y[rows], self.predicted[rows]
        scores = measure(
            self.task, plain_labels(truth), plain_labels(predicted), metrics=self.pooled, intervals=None
        ).scores  # fmt: skip
        return ReplayReport(
            task=self.task,
            policy=self.policy.name,
            seed=self.seed,
            rows_scored=len(truth),
            batches=len(self.per_batch),
            fits=self.fits,
            promotions=self.counts["promotion"],
            refreshes=self.counts["refresh"],
            rollbacks=self.counts["rollback"],
            scores={name: score.value for name, score in scores.items()},
            per_batch=self.per_batch,
            admissions=self.admissions,
            predictions=predicted,
        )  # fmt: skip
