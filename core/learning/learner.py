"""One step of the learning loop: `advance` takes one batch of evidence and returns the champion from now on.

The live cycle, the backtest of a policy, the Live page and the benchmark all call this one function. It is pure: rows
come in through `window`, time through arguments; the state it returns is all that has to be kept.
The committee is a softmax vote of a few families on a few windows, by their recent losses (docs/policy.md).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from pandas import DataFrame

from core.drift.online import detect
from core.learning.candidates import LARGEST_ERROR, Answers, CandidatePool, FitResults, plain_labels, shares_of
from core.learning.change import appended, likeliest_split, recent_inflation, recent_mean
from core.learning.comparing import CompareSettings, Past, Shared, compare, outputs, row_scores, scored, wins_and_losses
from core.learning.evidence import Bets, bet, prepared
from core.learning.label_sampling import weighted_score
from core.learning.memory import frozen_keys, memory_of, score_regimes, with_frozen, with_new_regime
from core.learning.models import Committee
from core.learning.policy import EVIDENCE_NEEDED, GATES, decide, verdict
from core.learning.rising import Rise, update_rise
from core.learning.state import LearnerState, Regime, Shadow, Watch
from core.learning.step import Labelled, Run, Situation, Step, Window
from core.learning.threshold import TUNED, best_threshold
from core.performance.realised import Intervals, measure
from core.records import (
    Candidate,
    Comparison,
    Decision,
    Evidence,
    Kind,
    Memory,
    Outcome,
    Reason,
    Score,
    Verdict,
    WatchedVersion,
    because,
    metric_for,
    outcome_of,
)

TAIL_ROWS = 1_000  # errors kept to find a change in
HELD_OUT_SHARE, HELD_OUT_ROWS = 0.25, 100
LEADING_SHARE = 0.6  # share of the vote above which a family leads: near one half it fluctuates by chance
FITS_PER_ROWS = 500  # rows per accrual of the policy's max_fits
MIN_RESPONSE_FITS = 2.0  # fit budget kept for the response to a change
MAX_SAVED_FITS = 4  # cap of the fit budget, in multiples of max_fits
WATCH_ROWS = 1_000  # rows over which a replaced version is compared with its successor


def advance(state: LearnerState, fresh: Labelled, window: Window, situation: Situation, run: Run) -> Step:
    """Advances the loop by one batch of evidence.

    Args:
        state: of the previous step; `LearnerState()` at first.
        fresh: newly labelled rows, possibly none.
        window: the newest labelled rows, `fresh` among them.
    """
    builder = _StepBuilder(state, fresh, window, run)
    arrived = len(fresh.y) if situation.n_rows is None else situation.n_rows
    builder.accrue_fit_budget(arrived)
    builder.measure()
    evidence = builder.evidence(situation, arrived)
    decision = decide(evidence, run.policy)
    if builder.shadow_done and not builder.changed:
        builder.end_shadow()
    elif decision.action == "retrain":
        builder.race(run.next_version)
    else:
        builder.skip_race()
    return builder.step(evidence, decision, run.next_version)


class _StepBuilder:
    """Assembles the result of one `advance`: the state so far and the results of each phase."""

    def __init__(self, state: LearnerState, fresh: Labelled, window: Window, run: Run) -> None:
        schema, policy = run.schema, run.policy
        self.before, self.state = state, state
        self.fresh, self.schema, self.policy = replace(fresh, y=plain_labels(fresh.y)), schema, policy
        self.window, self.run = window, run
        self.keys = fresh.X.index.to_numpy()
        self.n = len(fresh.y)
        self.gated = bool(GATES[policy.gate])
        self.regression = schema.task == "regression"
        self.metric = metric_for(policy, schema.task)
        self.answers = fresh.answers or Answers(fresh.X, schema.task)
        self.seen = state.seen + self.n
        self.seed = run.seed
        self.rng = np.random.default_rng((run.seed, self.seen, state.serial))
        self.report = run.progress or (lambda share, text: None)
        self.score: Score | None = None
        self.score_rows: int | None = None  # see Evidence
        self.changed = False
        self.rise = state.rise
        self.change_at: int | None = None
        self.rollback_due = False
        self.alarms: tuple[Reason, ...] = ()
        self.fits = 0
        self.reserve = 0.0
        self.candidates: tuple[Candidate, ...] = ()
        self.comparison: Comparison | None = None
        self.verdict: Verdict | None = None
        self.challenger: Committee | None = None
        self.memory: Memory | None = None
        self.kind: Kind = "none"
        self.outcome = Outcome.NONE
        self.unfinished = False
        self.shadow_done = False
        self.fresh_held_out = np.zeros(self.n, dtype=bool)

    def accrue_fit_budget(self, rows: int) -> None:
        """Adds to the fit budget (a token bucket) for the rows that arrived, labelled or not; some is reserved for a change."""
        most, earned = self.policy.max_fits, self.policy.max_fits * rows / FITS_PER_ROWS
        self.reserve = max(MIN_RESPONSE_FITS - earned, 0.0)  # small batches accrue too little to respond to a change
        self.state = replace(self.state, tokens=min(self.state.tokens + earned, MAX_SAVED_FITS * most))

    # --- measuring ------------------------------------------------------------------------------------------

    def measure(self) -> None:
        """Scores the fresh rows' predictions, tests for a change, and holds out a share of the rows."""
        state = self.state
        keep = bool(state.labels_since_race or not self.n)
        held_out, weights = (state.held_out, state.held_out_weights) if keep else ((), ())
        if self.gated and self.n:
            size = min(int(HELD_OUT_SHARE * self.n), HELD_OUT_ROWS)
            newest = np.arange(self.n - size, self.n)
            chosen = newest if self.policy.hold_out == "newest" else self.rng.choice(self.n, size, replace=False)
            self.fresh_held_out[chosen] = True
            held_out = (*held_out, *self.keys[self.fresh_held_out].tolist())[-HELD_OUT_ROWS:]
            stand_for = np.ones(self.n) if self.fresh.weights is None else self.fresh.weights
            weights = (*weights, *stand_for[self.fresh_held_out].tolist())[-HELD_OUT_ROWS:]
        self.state = replace(
            state, seen=self.seen, labels_since_race=state.labels_since_race + self.n, held_out=held_out,
            held_out_weights=weights,
        )  # fmt: skip
        if not self.n or state.champion is None:
            return
        if self.gated and not self.state.regimes:
            self.state = replace(self.state, regimes=with_new_regime((), row=self.fresh.first_row, first=state.seen))
        rows = np.ones(self.n, dtype=bool) if self.fresh.answered is None else self.fresh.answered
        if rows.any():
            self._score(state.champion, rows)
        self._freeze()
        self._watch()
        self._follow_shadow()

    def _score(self, champion: Committee, rows: np.ndarray) -> None:
        """Scores the fresh rows whose predictions are stored, and tests their errors for a change."""
        fresh, y = self.fresh, self.fresh.y[rows]
        served = (fresh.y_pred if fresh.y_pred is not None else self.answers.predict(champion))[rows]
        classes, proba = champion.classes_, fresh.y_proba
        if fresh.y_pred is None and not self.regression:
            proba = self.answers.of(champion)
        proba = proba[rows] if proba is not None and proba.shape[1] == len(classes) else None
        weights = fresh.weights[rows] if fresh.weights is not None else None
        if weights is None:
            task, intervals = self.schema.task, Intervals(seed=self.seed, ordered=True)
            report = measure(task, y, served, proba, list(classes), metrics=[self.metric], intervals=intervals)
            self.score = report.score(self.metric)
        else:
            self.score = weighted_score(self.schema.task, self.metric, y, served, weights, seed=self.seed)
            self.score_rows = max(1, round(self.score.n_effective or self.score.n))
        self._find_change(self._errors(y, served), weights)
        self._store_probabilities(proba, rows)

    def _errors(self, y: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Error of each row: 0 or 1, or the absolute error in units of the target's spread, clipped at 3."""
        if not self.regression:
            return (np.asarray(predicted) != y).astype(np.float64)
        scale = self.state.scale or 1.0
        difference = np.abs(np.asarray(predicted, dtype=np.float64) - y.astype(np.float64))
        return np.minimum(difference / scale, LARGEST_ERROR)

    def _find_change(self, errors: np.ndarray, weights: np.ndarray | None) -> None:
        state = self.state
        if weights is not None:
            # Rows sampled because they are hard are not a change: thinned to a uniform sample of all rows.
            errors = errors[self.rng.random(len(errors)) < weights / weights.max()]
            if not len(errors):
                return
        n = len(errors)
        tail = np.concatenate([np.asarray(state.tail), errors])[-TAIL_ROWS:]
        since = min(state.tail_since + n, len(tail))
        self.alarms = self._online_alarms(tail[-since:], n)
        if state.history:
            past = np.asarray(state.tail[-state.tail_since :]) if state.tail_since else np.empty(0)
            coin = np.random.default_rng((self.seed, self.seen))
            self.rise = update_rise(state.rise, state.history, errors, past=past, rng=coin)
            self.changed = self.rise.found
        value = self.score.value if self.score is not None else None
        scored = None if value is None else (self.score_rows or self.n, value)
        if not self.changed:
            self.state = replace(
                state,
                tail=tuple(tail.tolist()),
                tail_since=since,
                history=appended(state.history, (n, float(errors.mean()))),
                scores=appended(state.scores, scored) if scored else state.scores,
                rise=self.rise,
            )
            return
        split = likeliest_split(tail)
        after = len(tail) - split  # rows since the change
        after += round(min(after, n) * (self.n - n) / n)  # and those that were thinned out
        first = self.fresh.first_row + self.n - after
        self.change_at = max(first, 0)
        self.state = replace(
            state,
            tail=tuple(tail.tolist()),
            tail_since=len(tail) - split,
            history=((len(tail) - split, float(tail[split:].mean())),),
            scores=(scored,) if scored else (),
            rise=Rise(),
            change_start=max(self.seen - after, 0),
            change_row=self.change_at,
            change_pending=True,
            chances=(),
            regimes=self._regime_ended(max(self.seen - after, 0)),
        )

    def _online_alarms(self, errors: np.ndarray, fresh: int) -> tuple[Reason, ...]:
        """Alarms of the online detectors on the fresh rows, the last ones of the errors since the last change."""
        first = self.fresh.first_row + self.n - len(errors)
        return tuple(
            because("error_rose", detector=name, before=a.before, after=a.after, row=first + a.since)
            for name in ("adwin", "page_hinkley")
            for a in detect(errors, detector=name, scale=LARGEST_ERROR if self.regression else 1.0)
            if a.at >= len(errors) - fresh
        )

    def _regime_ended(self, first: int) -> tuple[Regime, ...]:
        """The regimes, with the champion's score on each at the end of the last one, and the new regime."""
        state = self.state
        if not state.regimes or state.champion is None:
            return state.regimes
        X, y = self.window(self.policy.max_train_rows)
        scores = score_regimes(
            state.regimes, state.champion, X, plain_labels(y), task=self.schema.task, scale=state.scale or 1.0
        )
        ended = replace(state.regimes[-1], scores=scores)
        return with_new_regime((*state.regimes[:-1], ended), row=self.change_at or 0, first=first)

    def _freeze(self) -> None:
        """Freezes a few held-out rows of the current regime: no model ever trains on them."""
        if not self.state.regimes:
            return
        inside = np.arange(self.before.seen, self.seen) >= self.state.regimes[-1].first
        keys = self.keys[self.fresh_held_out & inside]
        self.state = replace(self.state, regimes=with_frozen(self.state.regimes, keys.tolist()))

    def _store_probabilities(self, proba: np.ndarray | None, rows: np.ndarray) -> None:
        """Stores the last probabilities with their outcomes, where the policy's metric needs a tuned threshold."""
        champion = self.state.champion
        if self.metric not in TUNED or proba is None or champion is None or len(champion.classes_) != 2:
            return
        y = self.fresh.y[rows]
        known = np.isin(y, champion.classes_) & ~self.fresh_held_out[rows]  # the challenger is tested on those
        if self.changed:
            known &= np.arange(self.before.seen, self.seen)[rows] >= self.state.change_start
        pairs = zip(proba[known, 1].tolist(), (y[known] == champion.classes_[1]).astype(float), strict=True)
        self.state = replace(self.state, chances=(*self.state.chances, *pairs)[-TAIL_ROWS:])

    def _watch(self) -> None:
        """Updates the replaced version's record against the champion with the fresh rows."""
        watch, champion = self.state.watch, self.state.champion
        if watch is None or champion is None:
            return
        wins, losses = self._wins(watch.model, champion)
        watch = replace(
            watch, wins=watch.wins + wins, losses=watch.losses + losses, rows=watch.rows + self.n,
            bets=self._bet(watch.bets, watch.model, champion),
        )  # fmt: skip
        self.rollback_due = watch.bets.for_better >= EVIDENCE_NEEDED
        over = watch.rows >= WATCH_ROWS and not self.rollback_due
        self.state = replace(self.state, watch=None if over else watch)

    def _follow_shadow(self) -> None:
        """Updates the shadow version's record against the champion with the fresh rows."""
        shadow, champion = self.state.shadow, self.state.champion
        if shadow is None or champion is None:
            return
        wins, losses = self._wins(shadow.model, champion)
        shadow = replace(
            shadow, wins=shadow.wins + wins, losses=shadow.losses + losses, rows=shadow.rows + self.n,
            bets=self._bet(shadow.bets, shadow.model, champion),
        )  # fmt: skip
        self.shadow_done = bool(self.policy.shadow_rows) and shadow.rows >= self.policy.shadow_rows
        self.state = replace(self.state, shadow=shadow)

    def _bet(self, bets: Bets, a: Committee, b: Committee) -> Bets:
        """The bets that a is better than b by the policy's metric, after the fresh rows."""
        sides = (outputs(self.answers, model) for model in (a, b))
        return bet(bets, self.schema.task, self.metric, self.fresh.y, *sides, weights=self.fresh.weights)

    def _new_bets(self, a: Committee, b: Committee) -> Bets:
        """New bets, with the scale of a row's gain taken from the fresh rows."""
        if self.metric == "accuracy" or not self.n:
            return Bets()
        sides = (outputs(self.answers, model) for model in (a, b))
        return prepared(self.schema.task, self.metric, self.fresh.y, *sides)

    def _wins(self, a: Committee, b: Committee) -> tuple[int, int]:
        """Fresh rows that only a has right, and only b (regression: is nearer)."""
        new, old = (row_scores(self.answers, self.fresh.y, model) for model in (a, b))
        return wins_and_losses(new, old)

    def evidence(self, situation: Situation, n_rows: int) -> Evidence:
        """The evidence for the decision."""
        score, before, drift, estimate = self.score, self.before, situation.drift, situation.estimate
        mean = recent_mean(before.scores)
        errors = np.asarray(before.tail[-before.tail_since :]) if before.tail_since else np.empty(0)
        return Evidence(
            n_rows=n_rows,
            n_labelled=self.n,
            metric=self.metric,
            score=score.value if score else None,
            score_low=score.low if score else None,
            score_high=score.high if score else None,
            score_n=score.n if score else 0,
            score_rows=self.score_rows,
            recent_mean=mean,
            recent_rows=sum(n for n, _ in before.scores),
            recent_inflation=recent_inflation(before.scores, errors, of_rows=self.metric == "accuracy"),
            share_drifted=drift.share_drifted if drift else None,
            drifted=drift.drifted if drift else (),
            labels_since_race=self.state.labels_since_race,
            change_found=self.changed,
            rise=self.rise.evidence if self.rise.sums else None,
            error_alarms=self.alarms,
            forced=situation.forced,
            watched=self._watched(),
            in_shadow=self.state.shadow is not None and bool(self.policy.shadow_rows) and not self.shadow_done,
            has_champion=self.before.champion is not None,
            seconds_since_race=situation.seconds_since_race,
            races_last_day=situation.races_last_day,
            schedule_due=situation.schedule_due,
            estimated=estimate.value if estimate else None,
            estimated_low=estimate.low if estimate else None,
            estimated_high=estimate.high if estimate else None,
            estimate_trusted=situation.estimate_trusted if estimate else None,
        )

    def _watched(self) -> WatchedVersion | None:
        """The record of the version that was replaced last against the champion, after the fresh rows."""
        watch = self.state.watch
        if watch is None or not self.n:
            return None
        bets = watch.bets
        return WatchedVersion(
            version=watch.version, rows=watch.rows, for_better=bets.for_better, for_worse=bets.for_worse
        )

    # --- learning -------------------------------------------------------------------------------------------

    def skip_race(self) -> None:
        """No race: only updates the members' losses."""
        members = self._pool().update_losses(self.state.members, self.answers, self.fresh.y, self.fresh_held_out)
        self.state = replace(self.state, members=tuple(members))

    def _pool(self) -> CandidatePool:
        return CandidatePool(self.before, self.state, self.run, changed=self.changed, reserve=self.reserve)

    def race(self, version: int) -> None:
        """Fits the members that are due, forms the challenger, and promotes it or not."""
        first = self.state.champion is None
        X, y = self.window(self.policy.max_train_rows)
        y, keys = plain_labels(y), X.index.to_numpy()
        if len(y) == 0:
            self.verdict = Verdict(promote=False, kind="none", reason=because("no_row_to_learn"))
            return
        if self.regression:
            spread = float(np.std(y[-TAIL_ROWS:].astype(np.float64)))
            self.state = replace(self.state, scale=spread if spread > 0 else self.state.scale)
        pool = self._pool()
        held_out = self._held_out(keys, first)
        frozen = np.isin(keys, frozen_keys(self.state.regimes))
        train = ~frozen
        train[held_out] = False
        members = pool.update_losses(pool.candidates(first), self.answers, self.fresh.y, self.fresh_held_out)
        fitted = pool.fit(members, X, y, train, first, self.report)
        self.fits, self.unfinished = fitted.fits, fitted.unfinished
        # In the first race the other held-out rows set the weights.
        test_rows = held_out[1::2] if first and len(held_out) >= 2 else held_out
        if first:
            rows = held_out[::2]
            fitted = replace(fitted, members=pool.first_losses(fitted.members, X.iloc[rows], y[rows]))
        answers = Answers(X.iloc[test_rows], self.schema.task)
        test_weights = np.array(self._weights(keys[test_rows]))
        weights = pool.weights(fitted.members)
        entered = [(member, weight) for member, weight in zip(fitted.members, weights, strict=True) if weight > 0]
        self.candidates = self._candidates(fitted, weights, answers, y[test_rows])
        self.state = replace(
            self.state,
            members=tuple(fitted.members),
            tokens=fitted.fit_budget,
            serial=fitted.serial,
            labels_since_race=0,
            held_out=tuple(keys[test_rows].tolist()) if self.gated else (),
            held_out_weights=tuple(self._weights(keys[test_rows])) if self.gated else (),
        )
        if not entered:
            why = because("nothing_fitted", errors=list(dict.fromkeys(fitted.errors.values())))
            self.verdict = Verdict(promote=False, kind="none", reason=why)
            return
        total = sum(weight for _, weight in entered)
        self.challenger = Committee(
            [member.model for member, _ in entered],
            [weight / total for _, weight in entered],
            [member.info for member, _ in entered],
            self.schema.task,
            best_threshold(self.state.chances, self.metric) if self.metric in TUNED else None,
        )
        self._evaluate(answers, y[test_rows], test_weights, first, version, X[frozen], y[frozen])

    def _held_out(self, keys: np.ndarray, first: bool) -> np.ndarray:
        """Positions in the window that no model may train on in this race: the challenger is tested on them."""
        n_rows = len(keys)
        if first:
            least = int(np.ceil(n_rows * (1 - HELD_OUT_SHARE)))
            return np.arange(least, n_rows) if n_rows >= 4 else np.empty(0, dtype=np.int64)
        if not self.gated:
            return np.empty(0, dtype=np.int64)
        places = np.flatnonzero(np.isin(keys, np.asarray(self.state.held_out, dtype=np.int64)))
        if self.changed:
            places = places[places >= self.state.change_start - self.seen + n_rows]
        return places[-HELD_OUT_ROWS:]

    def _weights(self, keys: np.ndarray) -> list[float]:
        """Weight of each held-out row: rows it represents; 1 where it was not sampled for labelling."""
        known = dict(zip(self.state.held_out, self.state.held_out_weights, strict=True))
        return [known.get(key, 1.0) for key in keys.tolist()]

    def _candidates(
        self, fitted: FitResults, weights: list[float], answers: Answers, y: np.ndarray
    ) -> tuple[Candidate, ...]:
        errors, seconds = fitted.errors, fitted.seconds
        entrants = []
        for i, member in enumerate(fitted.members):
            if member.model is None and i not in errors:
                continue
            why = because("not_fitted") if member.model is None else because("no_unseen_row")
            score = Score(metric=self.metric, value=None, n=0, reason=why)
            if member.model is not None and len(y):
                score = scored(answers, y, member.model, self.metric, seed=self.seed)
            entrants.append(
                Candidate(
                    name=member.name, family=member.family, window=member.window, n_rows=member.n_rows, score=score,
                    loss=member.loss, weight=weights[i] or None, fitted=i in seconds and i not in errors,
                    seconds=seconds.get(i), error=errors.get(i),
                )
            )  # fmt: skip
        return tuple(entrants)

    # --- evaluating -----------------------------------------------------------------------------------------

    def _evaluate(
        self, answers: Answers, y: np.ndarray, weights: np.ndarray, first: bool, version: int, X_frozen: DataFrame,
        y_frozen: np.ndarray,
    ) -> None:  # fmt: skip
        """Compares the challenger with the model that would serve otherwise, and promotes it if the gate passes."""
        state, challenger = self.state, self.challenger
        assert challenger is not None
        rival, _ = self._rival()
        if first or self.gated:
            past = [regime for regime in state.regimes if regime.scores]
            old = np.isin(X_frozen.index.to_numpy(), frozen_keys(past))
            rows_from = (
                f"{len(y):,} labelled rows that neither has learnt from{' (after the change)' if self.changed else ''}"
            )
            self.comparison = compare(
                Shared(answers=answers, y=y, weights=weights, origin=rows_from), challenger, rival,
                CompareSettings(
                    metric=self.metric, schema=self.schema, seed=self.seed, scale=state.scale or 1.0, clock=self.run.clock
                ),
                past=Past(
                    answers=Answers(X_frozen[old], self.schema.task), y=y_frozen[old], regimes=len(past),
                    forgettable=state.change_pending,
                ),
            )  # fmt: skip
        kind: Literal["promotion", "refresh"] = (
            "promotion" if self._is_promotion(challenger, state.champion) else "refresh"
        )
        to_shadow = bool(self.policy.shadow_rows) and rival is not None
        # To enter the shadow a challenger has to be right more often; the policy's own gate decides at the end.
        gate = replace(self.policy, gate="held_back") if to_shadow and self.gated else self.policy
        self.verdict = verdict(self.comparison, gate, first=first, kind=kind)
        if self.verdict.promote and to_shadow:
            bets = self._new_bets(challenger, state.champion) if state.champion is not None else Bets()
            self.state = replace(state, shadow=Shadow(model=challenger, version=version, kind=kind, bets=bets))
            self.outcome = Outcome.SHADOWED
        elif self.verdict.promote:
            self._promote(challenger, version, kind)
        now = score_regimes(
            state.regimes, self.state.champion, X_frozen, y_frozen, task=self.schema.task, scale=state.scale or 1.0
        )
        self.memory = memory_of(state.regimes, now, task=self.schema.task)

    def _promote(self, model: Committee, version: int, kind: Literal["promotion", "refresh"]) -> None:
        """Makes a model the champion; the one that would serve otherwise is watched, for a rollback."""
        rival, rival_version = self._rival()
        watch = None
        if rival is not None and rival_version is not None and self.gated:
            watch = Watch(model=rival, version=rival_version, bets=self._new_bets(rival, model))
        shadow = self.state.shadow
        if shadow is not None:  # one that a person started goes on, against the new champion
            ended = bool(self.policy.shadow_rows) or shadow.version == version
            shadow = None if ended else shadow.restarted()
        self.rollback_due = False
        self.kind, self.outcome = kind, outcome_of(kind)
        self.state = replace(
            self.state, champion=model, champion_version=version, watch=watch, shadow=shadow, change_pending=False
        )

    def end_shadow(self) -> None:
        """Promotes or drops the shadow version, by its record on the rows that it predicted."""
        self.skip_race()
        shadow = self.state.shadow
        assert shadow is not None
        unscored = Score(metric=self.metric, value=None, n=shadow.rows, reason=because("counted_in_shadow"))
        self.comparison = Comparison(
            n=shadow.rows, metric=self.metric, champion=None, challenger=unscored, wins=shadow.wins, losses=shadow.losses,
            difference=Score(metric=self.metric, value=shadow.bets.mean_gain, n=shadow.bets.rows, method="row by row"),
            p=min(1.0, 2.0 / shadow.bets.for_better), test=f"evidence {shadow.bets.for_better:.3g} : 1, row by row",
            rows_from=f"{shadow.rows:,} labelled rows that v{shadow.version} answered in the champion's shadow",
        )  # fmt: skip
        kind: Literal["promotion", "refresh"] = "promotion" if shadow.kind == "promotion" else "refresh"
        self.verdict = verdict(self.comparison, self.policy, kind=kind)
        self.state = replace(self.state, shadow=None)
        if self.verdict.promote:
            self._promote(shadow.model, shadow.version, kind)
        else:
            self.outcome = Outcome.REJECTED

    def _rival(self) -> tuple[Committee | None, int | None]:
        """The model to beat: the champion, or the version that a rollback is about to restore."""
        watch = self.state.watch
        if self.rollback_due and watch is not None:
            return watch.model, watch.version
        return self.state.champion, self.state.champion_version

    def _is_promotion(self, challenger: Committee, champion: Committee | None) -> bool:
        """True for a promotion, False for a refresh: a response to a change, or another family leads the vote."""
        if champion is None or self.state.change_pending:
            return True
        leads = [{f for f, share in shares_of(c).items() if share > LEADING_SHARE} for c in (challenger, champion)]
        return all(leads) and leads[0] != leads[1]

    def step(self, evidence: Evidence, decision: Decision, next_version: int) -> Step:
        """The result, after a rollback if one is due."""
        if self.rollback_due and self.state.watch is not None:
            self.kind, self.outcome = "rollback", Outcome.ROLLED_BACK
            watch = self.state.watch
            self.verdict = Verdict(
                promote=False, kind="rollback",
                reason=because(
                    "rolled_back", version=watch.version, wins=watch.wins, losses=watch.losses, rows=watch.rows,
                    evidence=watch.bets.for_better, needed=EVIDENCE_NEEDED,
                ),
                clauses=self.verdict.clauses if self.verdict else (),
            )  # fmt: skip
            self.state = replace(self.state, champion=watch.model, champion_version=watch.version, watch=None)
        elif self.outcome == Outcome.NONE and self.verdict is not None:
            self.outcome = Outcome.REJECTED if self.challenger is not None else Outcome.FAILED
        has_challenger = self.challenger is not None
        return Step(
            evidence=evidence, decision=decision, candidates=self.candidates, comparison=self.comparison,
            verdict=self.verdict, outcome=self.outcome, kind=self.kind, champion=self.state.champion,
            champion_version=self.state.champion_version, challenger=self.challenger,
            challenger_version=next_version if has_challenger else None, state=self.state, fits=self.fits,
            change_at=self.change_at, scores={self.metric: self.score} if self.score is not None else {},
            memory=self.memory, unfinished=self.unfinished,
        )  # fmt: skip
