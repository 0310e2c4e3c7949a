"""Replay of a stream through the loop, in memory: what would this policy have done?

Prequential: every row is predicted by the model that served when it came, before its label is known; the learning is
`advance`, the very function of the live loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pandas import DataFrame, isna

from core.data.schema import conform, infer_schema
from core.errors import BadInput, NotEnoughRows
from core.learning.field import Answers, plain_labels
from core.learning.learner import Labelled, Step, advance
from core.learning.models import Committee
from core.learning.policy import policy_named
from core.learning.state import LearnerState
from core.performance.realised import mcnemar_exact, measure
from core.records import FeatureSchema, Policy, Task, to_document

JUDGED_ROWS = 1_000  # labelled rows over which an admitted model is compared with the one it replaced
_POOLED: dict[bool, tuple[str, ...]] = {False: ("accuracy", "kappa", "macro_f1"), True: ("mae", "rmse", "r2")}
_PER_BATCH: dict[bool, tuple[str, ...]] = {False: ("accuracy", "kappa"), True: ("mae", "rmse", "r2")}


@dataclass(slots=True, kw_only=True)
class Admission:
    """A model that was let in, and how it did against the one it replaced, both frozen."""

    row: int  # stream position from which it served
    kind: str  # promotion | refresh
    version: int
    replaced: int
    judged: int = 0
    wins: int = 0  # rows that only the new one has right (regression: is nearer)
    losses: int = 0
    ended_by: str | None = None  # rollback | replaced; None = it served to the end
    ended_row: int | None = None

    def to_document(self) -> dict[str, Any]:
        """As in the report, with the two-sided exact McNemar p."""
        names = ("row", "kind", "version", "replaced", "judged", "wins", "losses")
        return {
            **{name: getattr(self, name) for name in names},
            "p": mcnemar_exact(self.wins, self.losses),
            "ended_by": self.ended_by,
            "ended_row": self.ended_row,
        }


@dataclass(slots=True, kw_only=True)
class ReplayReport:
    """What a replay came to. Scores are pooled over every row after the warm-up."""

    task: Task
    policy: str
    seed: int
    rows_scored: int
    batches: int
    fits: int
    promotions: int
    refreshes: int
    rollbacks: int
    seconds: float
    scores: dict[str, float | None]
    per_batch: list[dict[str, Any]]
    admissions: list[Admission]
    predictions: np.ndarray = field(repr=False)  # one a scored row, in stream order

    def to_document(self) -> dict[str, Any]:
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
                "seconds": round(self.seconds, 3),
                "per_batch": self.per_batch,
                "admissions": [admission.to_document() for admission in self.admissions],
            }
        )


def replay(
    frame: DataFrame,
    target: str,
    *,
    batch_rows: int = 500,
    warmup_rows: int = 1000,
    policy: str | Policy = "default",
    seed: int = 0,
    task: Task | Literal["classification"] | None = None,
    categorical: Sequence[str] = (),
    label_delay: int = 0,
    label_fraction: float = 1.0,
    progress: Callable[[float, str], None] | None = None,
) -> ReplayReport:
    """The stream in the order of its rows, predicted and learnt from batch by batch under a policy.

    Args:
        frame: features and target, oldest row first; rows without a label are left out.
        batch_rows: rows that are predicted before any of their labels is known.
        warmup_rows: labelled rows that the first model is made from; they are not scored.
        label_delay: rows that pass before a row's label is known, beyond its batch.
        label_fraction: share of the rows after the warm-up whose label ever becomes known to the loop. All are scored.

    Raises:
        BadInput: an argument out of range, or a target that cannot be taken.
        NotEnoughRows: nothing is left to score after the warm-up.
    """
    for name, value, least in (
        ("batch_rows", batch_rows, 1),
        ("warmup_rows", warmup_rows, 2),
        ("label_delay", label_delay, 0),
    ):
        if value < least:
            raise BadInput(f"{name} is {value}, expected a whole number from {least}.")
    if not 0.0 <= label_fraction <= 1.0:
        raise BadInput(f"label_fraction is {label_fraction}, expected a number from 0 to 1.")
    schema = infer_schema(frame, target=target, task=task, categorical=tuple(categorical))
    rows = conform(frame, schema)
    assert rows.y is not None  # the schema was made from this frame
    known = ~isna(rows.y)
    X = rows.X.loc[known].reset_index(drop=True)
    if len(X) <= warmup_rows:
        raise NotEnoughRows("A replay", needed=warmup_rows + 1, found=len(X))
    chosen = policy_named(policy) if isinstance(policy, str) else policy
    return replay_rows(
        X, plain_labels(rows.y[known]), schema, chosen, batch_rows=batch_rows, warmup_rows=warmup_rows, seed=seed, label_delay=label_delay,
        label_fraction=label_fraction, progress=progress,
    )  # fmt: skip


def replay_rows(
    X: DataFrame,
    y: np.ndarray,
    schema: FeatureSchema,
    policy: Policy,
    *,
    batch_rows: int = 500,
    warmup_rows: int = 1000,
    seed: int = 0,
    label_delay: int = 0,
    label_fraction: float = 1.0,
    progress: Callable[[float, str], None] | None = None,
) -> ReplayReport:
    """As `replay`, over rows that already conform to a schema and all have labels."""
    began = time.perf_counter()
    run = _Run(X, y, schema, policy, warmup_rows, seed, label_fraction)
    run.learn(np.arange(warmup_rows), row=warmup_rows)
    starts = range(warmup_rows, len(y), batch_rows)
    for done, start in enumerate(starts):
        if progress is not None:
            progress(done / len(starts), f"batch {done + 1} of {len(starts)}")
        run.batch(start, min(start + batch_rows, len(y)), label_delay)
    if progress is not None:
        progress(1.0, "done")
    return run.report(time.perf_counter() - began)


class _Run:
    """The working of one replay."""

    def __init__(
        self,
        X: DataFrame,
        y: np.ndarray,
        schema: FeatureSchema,
        policy: Policy,
        warmup: int,
        seed: int,
        fraction: float,
    ) -> None:
        self.X, self.y, self.schema, self.policy, self.warmup, self.seed = X, y, schema, policy, warmup, seed
        self.regression = schema.task == "regression"
        self.predicted = np.empty(len(y), dtype=np.float64 if self.regression else y.dtype)
        reaches = np.random.default_rng(seed).random(len(y)) < fraction
        self.reaches = reaches | (np.arange(len(y)) < warmup)  # whose label ever becomes known
        self.labelled = np.empty(0, dtype=np.int64)  # positions of the rows whose label is known, in order
        self.asked = warmup  # rows before this one have been considered for labelling
        self.state = LearnerState()
        self.version = 0
        self.fits = 0
        self.counts = {"promotion": 0, "refresh": 0, "rollback": 0}
        self.admissions: list[Admission] = []
        self.open: list[tuple[Admission, Committee, Committee]] = []  # still judged: (record, new, replaced)
        self.per_batch: list[dict[str, Any]] = []

    def window(self, n: int | None) -> tuple[DataFrame, np.ndarray]:
        """The newest n rows whose labels are known."""
        rows = self.labelled if n is None else self.labelled[-n:]
        return self.X.iloc[rows], self.y[rows]

    def learn(self, rows: np.ndarray, *, row: int, answers: Answers | None = None) -> Step:
        """One step of the loop on rows whose labels become known; `row` is the stream's position by then."""
        self.labelled = np.concatenate([self.labelled, rows])
        scored = self.state.champion is not None and len(rows) > 0
        fresh = Labelled(
            X=self.X.iloc[rows],
            y=self.y[rows],
            first_row=int(rows[0]) if len(rows) else row,
            y_pred=self.predicted[rows] if scored else None,
            answers=answers,
        )
        before = self.state
        step = advance(
            before, fresh, self.window, schema=self.schema, policy=self.policy, seed=self.seed,
            next_version=self.version + 1,
        )  # fmt: skip
        self.state = step.state
        if step.kind in ("promotion", "refresh"):
            self.version += 1
        if before.champion is not None:
            self.fits += step.fits
            self._record(step, before, row)
        return step

    def _record(self, step: Step, before: LearnerState, row: int) -> None:
        """Counts what happened, and opens the new champion's comparison with the one it replaced."""
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

    def batch(self, start: int, end: int, delay: int) -> None:
        """Predicts the rows of a batch, then learns from the labels that are known by its end."""
        positions = np.arange(start, end)
        served = self.state
        answers = Answers(self.X.iloc[positions], self.schema.task)
        if served.champion is not None:
            self.predicted[positions] = answers.predict(served.champion)
        else:  # not even a constant model could be made: say the commonest label so far
            values, counts = np.unique(self.y[self.labelled], return_counts=True)
            self.predicted[positions] = values[np.argmax(counts)]
        due = np.arange(self.asked, max(self.asked, end - delay))
        self.asked = max(self.asked, end - delay)
        due = due[self.reaches[due]]
        same = len(due) == len(positions) and due[0] == start
        shared = answers if same else Answers(self.X.iloc[due], self.schema.task)
        self._judge(due, shared)
        step = self.learn(due, row=end, answers=shared)
        scores = measure(
            self.schema.task, self.y[positions], self.predicted[positions], metrics=_PER_BATCH[self.regression],
            intervals=False,
        ).scores  # fmt: skip
        self.per_batch.append(
            {
                "rows": len(positions),
                **{name: score.value for name, score in scores.items()},
                "decision": step.decision.action,
                "outcome": step.outcome,
                "champion_version": served.champion_version,
                "fits": step.fits,
                "change_at": step.change_at,
            }
        )

    def _judge(self, rows: np.ndarray, answers: Answers) -> None:
        """Compares every model let in lately with the one it replaced, on rows whose labels are becoming known."""
        still = []
        for admission, new, replaced in self.open:
            use = slice(0, JUDGED_ROWS - admission.judged)
            truth = self.y[rows][use]
            if len(truth):
                a, b = answers.predict(new)[use], answers.predict(replaced)[use]
                right_a, right_b = (
                    (-np.abs(a - truth), -np.abs(b - truth)) if self.regression else (a == truth, b == truth)
                )
                admission.wins += int((right_a > right_b).sum())
                admission.losses += int((right_b > right_a).sum())
                admission.judged += len(truth)
            if admission.judged < JUDGED_ROWS:
                still.append((admission, new, replaced))
        self.open = still

    def report(self, seconds: float) -> ReplayReport:
        """The report after the last batch."""
        truth, predicted = self.y[self.warmup :], self.predicted[self.warmup :]
        scores = measure(self.schema.task, truth, predicted, metrics=_POOLED[self.regression], intervals=False).scores
        return ReplayReport(
            task=self.schema.task,
            policy=self.policy.name,
            seed=self.seed,
            rows_scored=len(truth),
            batches=len(self.per_batch),
            fits=self.fits,
            promotions=self.counts["promotion"],
            refreshes=self.counts["refresh"],
            rollbacks=self.counts["rollback"],
            seconds=seconds,
            scores={name: score.value for name, score in scores.items()},
            per_batch=self.per_batch,
            admissions=self.admissions,
            predictions=predicted,
        )  # fmt: skip
