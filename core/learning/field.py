"""The field of a race: which models are kept, what they are fitted on, and how much each counts.

Owns the members of the committee; when a race starts and who is let in is the learner's business.
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

HALF_LIFE_ROWS = 500  # a member's loss forgets half of what it was over so many rows
SHARPNESS = {False: 12.0, True: 40.0}  # weight of a member = exp(-sharpness * loss); True = regression
LEAST_WEIGHT = 0.01  # members below are left out of the vote
MISTAKES_SHARE = 0.5  # of a row's loss that counts plain mistakes, the rest is log-loss
MISTAKE_LOSS = 2.0  # of a mistake: about the log-loss of one that was made with confidence
LEAST_PROBABILITY = 0.02  # a sure mistake costs no more than this says
AFTER_CHANGE_ROWS = 50  # rows after a change from which losses are measured on them alone
HOPE_ROWS = 1_000  # rows of a new regime at which its model is trusted to have made up half of what the change cost
WINDOW_ROWS = 30  # a candidate's window has at least so many rows, else it waits
RECURS_AHEAD = 0.02  # loss by which a model of a regime that came back is put before those that start anew
ARCHIVE_ROWS = 200  # a model that learnt from fewer rows is not kept beyond its regime
BARRED_ROWS = 5_000  # a candidate whose fit did not end in time is not tried again before so many more labelled rows
LARGEST_ERROR = 3.0  # scaled absolute errors are cut here: one outlier is no change


class Answers:
    """Each model's answers over one set of rows, asked for once."""

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
class Fitted:
    """What the fits of one race came to."""

    members: list[Member]
    errors: dict[int, str]  # by place in members: why it dropped out
    seconds: dict[int, float | None]  # by place: what was tried, and how long it took; None = not timed
    fits: int
    tokens: float
    serial: int
    unfinished: bool  # some fit was left running: the process should not live for ever


class Field:
    """The members at one turn of the loop: who they are, what they lose, who is fitted again."""

    def __init__(
        self,
        before: LearnerState,
        state: LearnerState,
        run: Run,
        *,
        changed: bool,
        reserve: float = 0.0,
    ) -> None:
        self.before, self.state = before, state  # when the turn began, and now that it has been measured
        self.run, self.schema, self.policy = run, run.schema, run.policy
        self.seed, self.changed = run.seed, changed
        self.reserve = reserve  # saved fits that only the answer to a change may spend
        self.seen = state.seen
        self.regression = run.schema.task == "regression"

    def roster(self, first: bool) -> list[Member]:
        """The members that the policy asks for; those whose window is another's are asleep (no model)."""
        known = {(member.family, member.window): member for member in self.state.members}
        roster: list[Member] = []
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
                    member = replace(member, model=None, key="")  # learnt from another regime
                starts.add(start)
                roster.append(member)
        return [*roster, *self._archive()]

    def _archive(self) -> list[Member]:
        """The best model of each of the last regimes, frozen; a change adds the one of the regime that has ended."""
        kept = [member for member in self.state.members if member.archived]
        most = self.policy.archive
        if self.changed and most:
            known = [m for m in self.before.members if m.model is not None and m.loss is not None and not m.archived]
            best = min((m for m in known if m.n_rows >= ARCHIVE_ROWS), key=lambda m: m.loss or 0.0, default=None)
            window = f"{ARCHIVED}{self.state.change_start}"
            if best is not None and all(m.window != window for m in kept):
                now = next((m for m in self.state.members if m.key == best.key), best)
                kept.append(replace(now, window=window, loss=None))
        return kept[-most:] if most else []

    def _start(self, window: str) -> int:
        """Labelled row at which a window begins now."""
        oldest = max(0, self.seen - self.policy.max_train_rows)
        if window == "all":
            return oldest
        return max(oldest, self.state.change_start if window == "change" else self.seen - int(window))

    def with_losses(
        self, members: Sequence[Member], answers: Answers, y: np.ndarray, held_out: np.ndarray
    ) -> list[Member]:
        """Members with their loss on the fresh rows that were not set aside; a change makes them forget the past."""
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
        """True for the model of the regime that ends now: it is the last that could explain the new one."""
        return self.changed and member.window == f"{ARCHIVED}{self.state.change_start}"

    def losses(self, answers: Answers, y: np.ndarray, model: Any) -> np.ndarray:
        """Loss of each row: log-loss with bounded mistakes, half of it in place of plain mistakes; or the squared error, cut.

        Log-loss alone would prefer the well calibrated to those that are right more often; mistakes alone know no doubt.
        """
        if self.regression:
            scale = self.state.scale or 1.0
            return np.minimum(np.abs(answers.of(model) - y.astype(np.float64)) / scale, LARGEST_ERROR) ** 2
        classes = model.classes_
        codes = np.searchsorted(classes, y)
        codes = np.where(
            (codes < len(classes)) & (classes[np.minimum(codes, len(classes) - 1)] == y), codes, len(classes)
        )
        doubt = log_losses(codes, answers.of(model), least=LEAST_PROBABILITY)
        wrong = (answers.predict(model) != y).astype(np.float64)
        return (1.0 - MISTAKES_SHARE) * doubt + MISTAKES_SHARE * MISTAKE_LOSS * wrong

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
    ) -> Fitted:
        """Members with those refitted that are due, dearest first, as far as the saved-up fits go.

        Args:
            X, y: the newest labelled rows.
            train: which of them may be learnt from.
            first: there is no model yet: all are fitted, whatever it costs.
        """
        leader = min((m for m in members if m.loss is not None and m.model is not None), key=_loss, default=None)
        best = None if leader is None else self._hoped(leader)
        members = [self._lent(member, best) for member in members]
        weights = weights_of(members, SHARPNESS[self.regression], fitted_only=False)
        tokens = self.state.tokens
        shares = [self._share(member) for member in members]
        least = max(self.policy.min_new_share, 1e-9)
        due = [i for i in range(len(members)) if (first or shares[i] >= least) and not self._rests(i, members)]
        urgent = [self.changed and member.window == "change" for member in members]
        due.sort(key=lambda i: (not urgent[i], -(weights[i] + 0.02) * shares[i], i))
        errors: dict[int, str] = {}
        seconds: dict[int, float | None] = {}
        serial, fits, unfinished = self.state.serial, 0, False
        for done, i in enumerate(due):
            member = members[i]
            costs = MODEL_FAMILIES[member.family].fits
            kept = 0.0 if urgent[i] else self.reserve
            if costs > tokens - kept and costs and not first:
                continue
            report(done / len(due), f"fitting {member.name}")
            began = self.run.clock()
            try:
                fit = partial(self.fitted, member, X, y, train, serial)
                members[i] = self.run.fit_within(fit, self.policy.fit_timeout_s)
            except FitTimeout as error:  # the process carries it along; it is left alone for a while
                errors[i], unfinished = str(error), True
                members[i] = replace(member, model=None, key="", barred_until=self.seen + BARRED_ROWS)
                continue
            except Exception as error:  # a candidate that cannot be fitted drops out; the race goes on
                errors[i] = str(error) or type(error).__name__
                continue
            finally:
                seconds[i] = None if began is None else (self.run.clock() or began) - began
            serial += 1
            fits += costs
            tokens -= costs
        if first and all(member.model is None for member in members):
            members, serial = self._stand_in(members, X, y, train, serial)
        report(1.0, "comparing")
        left = 0.0 if first else max(tokens, 0.0)
        return Fitted(
            members=members,
            errors=errors,
            seconds=seconds,
            fits=fits,
            tokens=left,
            serial=serial,
            unfinished=unfinished,
        )

    def _hoped(self, leader: Member) -> float | None:
        """What a model of the new regime may hope for: between the best loss now and the best before the change.

        The more rows there are to learn the new regime from, the nearer to what was reached before. Where what was comes
        back (a model kept from then does best now), that model keeps ahead of those that have still to learn it.
        """
        best = leader.loss
        if best is None or leader.archived:
            return None if best is None else best + RECURS_AHEAD
        before = [m.loss for m in self.before.members if m.loss is not None and m.model is not None]
        if not self.changed or not before or min(before) >= best:
            return best
        rows = self.seen - self.state.change_start
        return best - (best - min(before)) * rows / (rows + HOPE_ROWS)

    def _lent(self, member: Member, best: float | None) -> Member:
        """The benefit of the doubt: what has still to be fitted is lent the best member's loss, and its family's lag behind it."""
        fresh = member.window == "change" and self.changed
        if best is None or not (fresh or member.model is None):
            return member
        return replace(member, loss=best + self._lag(member.family))

    def _lag(self, family: str) -> float:
        """By how much a family's best model lost more than the best of all when the turn began; 0 when it had none.

        After a change in regression alone: what is no line is no line after it either. Classes that are told apart by few
        rows are another matter: what was best on thousands is often not best on hundreds.
        """
        if self.changed and not self.regression:
            return 0.0
        known = [(m.family, m.loss) for m in self.before.members if m.loss is not None and m.model is not None]
        own = [loss for name, loss in known if name == family]
        return min(own) - min(loss for _, loss in known) if own else 0.0

    def _share(self, member: Member) -> float:
        """Share of its window that a member has not seen; 1 without a model, 0 when it is never fitted again."""
        if member.archived:
            return 0.0
        if member.model is None:
            return 1.0
        size = self.seen - self._start(member.window)
        return min(1.0, (self.seen - member.fitted_at) / max(size, 1))

    def _rests(self, i: int, members: list[Member]) -> bool:
        """True for the archived and the barred, when an earlier member of the family has the same window, or it is too short."""
        member = members[i]
        if member.archived or self.seen < member.barred_until:
            return True
        start = self._start(member.window)
        same = any(m.family == member.family and not m.archived and self._start(m.window) == start for m in members[:i])
        return same or (self.seen - start < WINDOW_ROWS and self.before.champion is not None)

    def fitted(self, member: Member, X: DataFrame, y: np.ndarray, train: np.ndarray, serial: int) -> Member:
        start = self._start(member.window)
        first_place = max(0, len(y) - (self.seen - start))
        rows = np.flatnonzero(train[first_place:]) + first_place
        seed = int(np.random.default_rng((self.seed, serial)).integers(2**31))
        model = fit_family(member.family, self.schema, X.iloc[rows], y[rows], seed=seed)
        key = f"{member.family}-{member.window}-{serial}"
        return replace(member, model=model, key=key, start=start, fitted_at=self.seen, n_rows=len(rows))

    def _stand_in(
        self, members: list[Member], X: DataFrame, y: np.ndarray, train: np.ndarray, serial: int
    ) -> tuple[list[Member], int]:
        """A constant model where nothing else can be fitted (one class only): the loop goes on."""
        constant = self.fitted(Member(family="constant", window="all"), X, y, train, serial)
        return [*members, constant], serial + 1


def plain_labels(y: np.ndarray) -> np.ndarray:
    """Labels as an array of their own type: sklearn refuses numbers in an array of objects."""
    return np.asarray(y.tolist()) if y.dtype == object and len(y) else y


def weights_of(members: Sequence[Member], sharpness: float, *, fitted_only: bool = True) -> list[float]:
    """Softmax of the members' losses; 0 for those without a model, and for those that hardly count.

    A model kept from an earlier regime counts only while none of the present ones does better.
    """
    mark = min((m.loss for m in members if m.loss is not None and not m.archived), default=np.inf)
    usable = [
        m.loss is not None and (m.model is not None or not fitted_only) and not (m.archived and m.loss >= mark)
        for m in members
    ]
    if not any(usable):  # nothing measured yet: all models count alike
        usable = [m.model is not None for m in members]
        return [1.0 / max(sum(usable), 1) if u else 0.0 for u in usable]
    losses = np.array([m.loss if u and m.loss is not None else np.inf for m, u in zip(members, usable, strict=True)])
    raw = np.exp(-sharpness * (losses - losses.min()))
    raw /= raw.sum()
    if fitted_only:
        raw = np.where(raw < LEAST_WEIGHT, 0.0, raw)
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
