"""The candidate pool of a race: which models are kept, what they are fitted on, and their weights in the vote.

Out of scope: when a race starts and which model is promoted (`core.learning.learner`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from pandas import DataFrame

from core.errors import FitTimeout
from core.learning.models import DEFAULT_FAMILIES, MODEL_FAMILIES, Committee, chosen, fit_family, predict_quietly
from core.learning.state import ARCHIVED, LearnerState, Member
from core.performance.formulas import log_losses

if TYPE_CHECKING:
    from core.learning.step import Run

HALF_LIFE_ROWS = 500  # half-life of a member's exponentially weighted loss
INVERSE_TEMPERATURE = {
    False: 12.0,
    True: 40.0,
}  # of the softmax: weight of a member ~ exp(-this * loss); True = regression
MIN_WEIGHT = 0.01  # members with less weight are left out of the vote
MISTAKES_SHARE = 0.5  # share of the 0/1 loss in a row's loss, the rest is log-loss
MISTAKE_LOSS = 2.0  # scale of the 0/1 loss: about the log-loss of a confident mistake
MIN_PROBABILITY = 0.02  # probabilities are clipped here, which bounds the log-loss
AFTER_CHANGE_ROWS = 50  # rows after a change from which losses are measured on them alone
RECOVERY_ROWS = 1_000  # rows of a new regime after which its model is assumed to have recovered half of the loss
WINDOW_ROWS = 30  # minimum rows in a candidate's window
RECURS_AHEAD = (
    0.02  # head start, in loss, of the model of a recurring regime over candidates that are fitted from scratch
)
ARCHIVE_ROWS = 200  # a model fitted on fewer rows is not archived after its regime
BARRED_ROWS = 5_000  # labelled rows before a candidate whose fit timed out is tried again
LARGEST_ERROR = 3.0  # scaled absolute errors are clipped here, so that one outlier is not a change


class Answers:
    """Each model's predictions for one set of rows, computed once."""

    def __init__(self, X: DataFrame, task: str) -> None:
        self.X, self.task = X, task
        self._known: dict[int, np.ndarray] = {}

    def of(self, model: Any) -> np.ndarray:
        """Probabilities, or values in regression, of a committee or one of its members."""
        if id(model) not in self._known:
            if isinstance(model, Committee):
                self._known[id(model)] = model.vote([self.of(member) for member in model.members])
            else:
                self._known[id(model)] = predict_quietly(model, self.X, proba=self.task != "regression")
        return self._known[id(model)]

    def predict(self, model: Any) -> np.ndarray:
        """Classes, or values."""
        answers = self.of(model)
        return answers if self.task == "regression" else model.classes_[chosen(answers, model)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResults:
    """The results of the fits of one race."""

    members: list[Member]
    errors: dict[int, str]  # by index in members: why its fit failed
    seconds: dict[int, float | None]  # by index: duration of each fit that was tried; None = not timed
    fits: int
    fit_budget: float  # what is left
    serial: int
    unfinished: bool  # a fit that timed out may still be running: the process should be restarted


class CandidatePool:
    """The members at one step of the learner: which exist, their losses, which are fitted again."""

    def __init__(
        self,
        before: LearnerState,
        state: LearnerState,
        run: Run,
        *,
        changed: bool,
        reserve: float = 0.0,
    ) -> None:
        self.before, self.state = before, state  # at the start of the step, and after measuring
        self.run, self.schema, self.policy = run, run.schema, run.policy
        self.seed, self.changed = run.seed, changed
        self.reserve = reserve  # part of the fit budget that only the response to a change may spend
        self.seen = state.seen
        self.regression = run.schema.task == "regression"

    def candidates(self, first: bool) -> list[Member]:
        """The members that the policy asks for; one whose window coincides with another's has no model."""
        known = {(member.family, member.window): member for member in self.state.members}
        candidates: list[Member] = []
        for family in self.policy.families or DEFAULT_FAMILIES[self.schema.task]:
            if self.schema.task not in MODEL_FAMILIES[family].tasks:
                continue
            starts: set[int] = set()
            windows = self.policy.windows or MODEL_FAMILIES[family].windows
            for name in sorted(windows, key=lambda w: (w != "all", w != "change")):
                member = known.get((family, name), Member(family=family, window=name))
                start = self._start(name)
                if start in starts or (self.seen - start < WINDOW_ROWS and not first):
                    member = replace(member, model=None, key="")
                elif name == "change" and member.start != start:
                    member = replace(member, model=None, key="")  # fitted on another regime
                starts.add(start)
                candidates.append(member)
        return [*candidates, *self._archive()]

    def _archive(self) -> list[Member]:
        """The best model of each of the last regimes, never refitted; a change adds that of the regime that has ended."""
        archived = [member for member in self.state.members if member.archived]
        most = self.policy.archive
        if self.changed and most:
            known = [m for m in self.before.members if m.model is not None and m.loss is not None and not m.archived]
            best = min((m for m in known if m.n_rows >= ARCHIVE_ROWS), key=lambda m: m.loss or 0.0, default=None)
            window = f"{ARCHIVED}{self.state.change_start}"
            if best is not None and all(m.window != window for m in archived):
                now = next((m for m in self.state.members if m.key == best.key), best)
                archived.append(replace(now, window=window, loss=None))
        return archived[-most:] if most else []

    def _start(self, window: str) -> int:
        """Index of the labelled row at which a window begins now."""
        oldest = max(0, self.seen - self.policy.max_train_rows)
        if window == "all":
            return oldest
        return max(oldest, self.state.change_start if window == "change" else self.seen - int(window))

    def update_losses(
        self, members: Sequence[Member], answers: Answers, y: np.ndarray, held_out: np.ndarray
    ) -> list[Member]:
        """Members with losses updated on the fresh rows that were not held out; a change discards the earlier loss."""
        use, n = ~held_out, len(y)
        if self.changed:
            recent = np.arange(n) >= n - (self.seen - self.state.change_start)
            if (recent & use).sum() >= AFTER_CHANGE_ROWS:
                use = use & recent
        if not use.any():
            return list(members)
        keep = 0.0 if self.changed else 0.5 ** (n / HALF_LIFE_ROWS)
        updated = []
        for member in members:
            if member.model is not None and not self._just_archived(member):
                now = float(self.losses(answers, y, member.model)[use].mean())
                loss = now if member.loss is None else keep * member.loss + (1 - keep) * now
                member = replace(member, loss=loss)
            updated.append(member)
        return updated

    def _just_archived(self, member: Member) -> bool:
        """True for the model of the regime that ends now: it is the least likely to fit the new one."""
        return self.changed and member.window == f"{ARCHIVED}{self.state.change_start}"

    def losses(self, answers: Answers, y: np.ndarray, model: Any) -> np.ndarray:
        """Loss of each row: half clipped log-loss, half 0/1 loss; in regression the clipped squared error.

        Log-loss alone would prefer calibration over accuracy; 0/1 loss alone ignores confidence.
        """
        if self.regression:
            scale = self.state.scale or 1.0
            return np.minimum(np.abs(answers.of(model) - y.astype(np.float64)) / scale, LARGEST_ERROR) ** 2
        classes = model.classes_
        codes = np.searchsorted(classes, y)
        codes = np.where(
            (codes < len(classes)) & (classes[np.minimum(codes, len(classes) - 1)] == y), codes, len(classes)
        )
        log_loss = log_losses(codes, answers.of(model), least=MIN_PROBABILITY)
        wrong = (answers.predict(model) != y).astype(np.float64)
        return (1.0 - MISTAKES_SHARE) * log_loss + MISTAKES_SHARE * MISTAKE_LOSS * wrong

    def weights(self, members: Sequence[Member], *, fitted_only: bool = True) -> list[float]:
        """`weights_of` by the task's temperature."""
        return weights_of(members, INVERSE_TEMPERATURE[self.regression], fitted_only=fitted_only)

    def first_losses(self, members: list[Member], X: DataFrame, y: np.ndarray) -> list[Member]:
        answers = Answers(X, self.schema.task)
        return [
            replace(m, loss=float(self.losses(answers, y, m.model).mean())) if m.model is not None and len(y) else m
            for m in members
        ]

    def fit(
        self,
        members: list[Member],
        X: DataFrame,
        y: np.ndarray,
        train: np.ndarray,
        first: bool,
        report: Callable[[float, str], None],
    ) -> FitResults:
        """Refits the members that are due, most promising first, within the fit budget.

        Args:
            X, y: the newest labelled rows.
            train: which of them may be used for training.
            first: there is no model yet: all are fitted, regardless of the budget.
        """
        leader = min((m for m in members if m.loss is not None and m.model is not None), key=_loss, default=None)
        best = None if leader is None else self._expected_loss(leader)
        members = [self._with_assumed_loss(member, best) for member in members]
        weights = self.weights(members, fitted_only=False)
        fit_budget = self.state.tokens
        shares = [self._share(member) for member in members]
        least = max(self.policy.min_new_share, 1e-9)
        due = [i for i in range(len(members)) if (first or shares[i] >= least) and not self._is_skipped(i, members)]
        urgent = [self.changed and member.window == "change" for member in members]
        due.sort(key=lambda i: (not urgent[i], -(weights[i] + 0.02) * shares[i], i))
        errors: dict[int, str] = {}
        seconds: dict[int, float | None] = {}
        serial, fits, unfinished = self.state.serial, 0, False
        for done, i in enumerate(due):
            member = members[i]
            costs = MODEL_FAMILIES[member.family].fits
            reserved = 0.0 if urgent[i] else self.reserve
            if costs > fit_budget - reserved and costs and not first:
                continue
            report(done / len(due), f"fitting {member.name}")
            began = self.run.clock()
            try:
                fit = partial(self.fit_one, member, X, y, train, serial)
                members[i] = self.run.fit_within(fit, self.policy.fit_timeout_s)
            except FitTimeout as error:  # its thread may still run; not retried for a while
                errors[i], unfinished = str(error), True
                members[i] = replace(member, model=None, key="", barred_until=self.seen + BARRED_ROWS)
                continue
            except Exception as error:  # a candidate whose fit fails drops out; the race goes on
                errors[i] = str(error) or type(error).__name__
                continue
            finally:
                seconds[i] = None if began is None else (self.run.clock() or began) - began
            serial += 1
            fits += costs
            fit_budget -= costs
        if first and all(member.model is None for member in members):
            members, serial = self._constant_fallback(members, X, y, train, serial)
        report(1.0, "comparing")
        left = 0.0 if first else max(fit_budget, 0.0)
        return FitResults(
            members=members,
            errors=errors,
            seconds=seconds,
            fits=fits,
            fit_budget=left,
            serial=serial,
            unfinished=unfinished,
        )

    def _expected_loss(self, leader: Member) -> float | None:
        """Loss to expect of a model of the new regime: between the best loss now and the best before the change.

        The more rows of the new regime there are, the nearer to the loss before the change. Where an old regime recurs (an
        archived model is the best now), that model stays ahead of candidates that have yet to be fitted.
        """
        best = leader.loss
        if best is None or leader.archived:
            return None if best is None else best + RECURS_AHEAD
        before = [m.loss for m in self.before.members if m.loss is not None and m.model is not None]
        if not self.changed or not before or min(before) >= best:
            return best
        rows = self.seen - self.state.change_start
        return best - (best - min(before)) * rows / (rows + RECOVERY_ROWS)

    def _with_assumed_loss(self, member: Member, best: float | None) -> Member:
        """The member, with the expected loss plus its family's lag where it has yet to be fitted (optimistic start)."""
        fresh = member.window == "change" and self.changed
        if best is None or not (fresh or member.model is None):
            return member
        return replace(member, loss=best + self._family_lag(member.family))

    def _family_lag(self, family: str) -> float:
        """Loss of a family's best model minus the best loss of all, at the start of the step; 0 when it had no model.

        After a change it is used in regression only: a relation that was not linear stays so. In classification the family that
        was best on thousands of rows is often not the best on the hundreds after the change.
        """
        if self.changed and not self.regression:
            return 0.0
        known = [(m.family, m.loss) for m in self.before.members if m.loss is not None and m.model is not None]
        own = [loss for name, loss in known if name == family]
        return min(own) - min(loss for _, loss in known) if own else 0.0

    def _share(self, member: Member) -> float:
        """Share of its window that a member was not fitted on; 1 without a model, 0 for archived ones."""
        if member.archived:
            return 0.0
        if member.model is None:
            return 1.0
        size = self.seen - self._start(member.window)
        return min(1.0, (self.seen - member.fitted_at) / max(size, 1))

    def _is_skipped(self, i: int, members: list[Member]) -> bool:
        """True for archived and barred members, for a window that an earlier one of the family has or that is too short."""
        member = members[i]
        if member.archived or self.seen < member.barred_until:
            return True
        start = self._start(member.window)
        same = any(m.family == member.family and not m.archived and self._start(m.window) == start for m in members[:i])
        return same or (self.seen - start < WINDOW_ROWS and self.before.champion is not None)

    def fit_one(self, member: Member, X: DataFrame, y: np.ndarray, train: np.ndarray, serial: int) -> Member:
        start = self._start(member.window)
        first_place = max(0, len(y) - (self.seen - start))
        rows = np.flatnonzero(train[first_place:]) + first_place
        seed = int(np.random.default_rng((self.seed, serial)).integers(2**31))
        model = fit_family(member.family, self.schema, X.iloc[rows], y[rows], seed=seed)
        key = f"{member.family}-{member.window}-{serial}"
        return replace(member, model=model, key=key, start=start, fitted_at=self.seen, n_rows=len(rows))

    def _constant_fallback(
        self, members: list[Member], X: DataFrame, y: np.ndarray, train: np.ndarray, serial: int
    ) -> tuple[list[Member], int]:
        """Adds a constant model where nothing else can be fitted (one class only), so that the loop can go on."""
        constant = self.fit_one(Member(family="constant", window="all"), X, y, train, serial)
        return [*members, constant], serial + 1


def plain_labels(y: np.ndarray) -> np.ndarray:
    """Labels as an array of their natural dtype: sklearn refuses numbers in an object array."""
    return np.asarray(y.tolist()) if y.dtype == object and len(y) else y


def weights_of(members: Sequence[Member], inverse_temperature: float, *, fitted_only: bool = True) -> list[float]:
    """Softmax of the negative losses; 0 for members without a model and for weights below MIN_WEIGHT.

    An archived model counts only while it is better than all current ones.
    """
    best = min((m.loss for m in members if m.loss is not None and not m.archived), default=np.inf)
    usable = [
        m.loss is not None and (m.model is not None or not fitted_only) and not (m.archived and m.loss >= best)
        for m in members
    ]
    if not any(usable):  # nothing measured yet: equal weights
        usable = [m.model is not None for m in members]
        return [1.0 / max(sum(usable), 1) if u else 0.0 for u in usable]
    losses = np.array([m.loss if u and m.loss is not None else np.inf for m, u in zip(members, usable, strict=True)])
    raw = np.exp(-inverse_temperature * (losses - losses.min()))
    raw /= raw.sum()
    if fitted_only:
        raw = np.where(raw < MIN_WEIGHT, 0.0, raw)
        raw /= raw.sum()
    return raw.tolist()


def _loss(member: Member) -> float:
    return np.inf if member.loss is None else member.loss


def shares_of(committee: Committee) -> dict[str, float]:
    """Each family's share of the vote."""
    shares: dict[str, float] = {}
    for info, weight in zip(committee.info, committee.weights, strict=True):
        shares[info["family"]] = shares.get(info["family"], 0.0) + weight
    return shares
