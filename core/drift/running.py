"""Sequential evidence over a series of batches that a feature has shifted from its reference: valid after every batch.

Comparing each batch with the same reference gives dependent p-values: the reference's own sampling error is in all of
them. So that error is allowed for once (`upper_bound`, wrong with probability at most DOUBT over all features), together
with what the gate tolerates. Given that allowance, batches are independent, and shares of their rows above it are bets:
rows below a tenth, a quarter, half ... of the reference, or in each category, or missing. A new bet starts every ROWS
rows, and their wealth is added up: an e-detector of Shiryaev-Roberts form (Shin, Ramdas and Rinaldo 2023), which passes a
level c after at least c x ROWS rows on average. Comparing with an upper confidence bound of the reference follows
Podkopaev and Ramdas (2022).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.drift.profile import CategoryProfile, NumericProfile, Profile
from core.records import FeatureSchema

ROWS = 500.0  # between the starts of two bets
NEEDED = 100.0  # so at most one false alarm of any feature in 50,000 rows on average
DOUBT = 0.01  # probability that the bound is wrong for any share of any feature
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)  # of the reference's rows, below which a batch's rows are counted
ODDS = np.array([1.12, 1.3, 2.0])  # factors by which a bet assumes rows to be more frequent than the reference allows
MOST_CATEGORIES = 20  # counted by name; the rest together
MOST_LOG = 27.0  # logarithm of a sum; larger values are capped


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The evidence on one feature after each batch."""

    evidence: tuple[float | None, ...]  # already divided by the number of features; None = no information in the batch
    since: (
        int | None
    )  # index of the batch since which it has most likely shifted; None if it has not, as of the last one


def running(
    batches: Sequence[Profile],
    reference: Profile,
    schema: FeatureSchema,
    *,
    gate: float,
    gates: Mapping[str, float] | None = None,
) -> dict[str, Running]:
    """The evidence on each feature over the batches; a feature that the reference lacks is left out.

    Args:
        batches: in chronological order, none of them part of the reference.
        gate, gates: by how much a share of the rows may differ from the reference without being drift; `gates` by
            feature, where they differ.

    Rows of one batch are assumed to be independent. If they are correlated, the gate has to cover the extra variation of
    a batch (`core.drift.budget` computes such gates).
    """
    names = [f.name for f in schema.features]
    results: dict[str, Running] = {}
    for name in names:
        base = reference.features.get(name)
        if base is None or not base.known:
            continue
        parts = [b.features.get(name) for b in batches]
        shares, hits, rows = _counted(base, parts)
        limit = (gates or {}).get(name, gate)
        allowed = np.minimum(upper_bound(shares, float(base.rows), DOUBT / (len(names) * len(shares))) + limit, 1.0)
        gains = hits[:, :, None] * np.log(ODDS) - rows[:, None, None] * np.log1p((ODDS - 1.0) * allowed[:, None])
        results[name] = _summed(gains.reshape(len(rows), len(shares) * len(ODDS)), rows, len(names))
    return results


def _summed(gains: np.ndarray, rows: np.ndarray, features: int) -> Running:
    """Evidence after each batch, from the log wealth that each bet gains in it, shape (batches, bets)."""
    sums = np.full(gains.shape[1], -np.inf)
    evidence: list[float | None] = []
    for gain, n in zip(gains, rows, strict=True):
        if n == 0:
            evidence.append(None)
            continue
        sums = np.minimum(np.logaddexp(sums, math.log(n / ROWS)) + gain, MOST_LOG)
        evidence.append(float(np.exp(sums).mean()) / features)
    newest = next((value for value in reversed(evidence) if value is not None), 0.0)
    if newest < NEEDED:
        return Running(evidence=tuple(evidence), since=None)
    wealth = np.cumsum(gains[:, int(np.argmax(sums))][::-1])[::-1]  # of a bet started at each batch
    return Running(evidence=tuple(evidence), since=int(np.argmax(wealth)))


def upper_bound(shares: np.ndarray, n: float, doubt: float) -> np.ndarray:
    """An upper bound of a source's share when n rows showed these shares; wrong with probability at most `doubt` each.

    The largest p with n x KL(share, p) <= ln(1 / doubt): Chernoff's bound for a count, exact for every n.
    """
    low, high = shares.astype(np.float64), np.ones(len(shares))
    limit = math.log(1.0 / doubt) / n
    for _ in range(40):
        middle = (low + high) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            hit = np.where(shares > 0, shares * np.log(shares / middle), 0.0)
            miss = np.where(shares < 1, (1 - shares) * np.log((1 - shares) / (1 - middle)), 0.0)
        inside = hit + miss <= limit
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return high


def _counted(
    base: NumericProfile | CategoryProfile, parts: Sequence[NumericProfile | CategoryProfile | None]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares of the reference, shape (events,), the matching rows of each batch, and the rows of each batch.

    On both sides the error of a sketch counts against an alarm.
    """
    events = _events(base)
    shares = np.clip(_hits(base, events, sure=False) / base.rows, 0.0, 1.0)
    hits, rows = np.zeros((len(parts), len(shares))), np.zeros(len(parts))
    for i, part in enumerate(parts):
        if part is not None and type(part) is type(base) and part.rows:
            hits[i], rows[i] = _hits(part, events, sure=True), part.rows
    return shares, hits, rows


def _events(base: NumericProfile | CategoryProfile) -> np.ndarray | list[str]:
    """Values that divide a numeric feature, or the categories that are counted by name."""
    if isinstance(base, NumericProfile):
        return np.unique([value for share in SHARES if (value := base.sketch.quantile(share)) is not None])
    return sorted(base.counts.counts, key=lambda name: (-base.counts.counts[name], name))[:MOST_CATEGORIES]


def _hits(part: NumericProfile | CategoryProfile, events: np.ndarray | list[str], *, sure: bool) -> np.ndarray:
    """Rows of a batch that match each event: missing; then below and above each value, or in each category and in none.

    Args:
        sure: the lower bound given the sketch's error; else the upper bound.
    """
    missing = float(part.rows - part.known)
    if isinstance(part, NumericProfile):
        below = part.sketch.at(np.asarray(events))[1]
        slack = -part.sketch.error if sure else part.sketch.error
        return np.concatenate([[missing], np.clip(np.r_[below, part.known - below] + slack, 0.0, part.known)])
    named = np.array([float(part.counts.counts.get(str(name), 0)) for name in events])
    unnamed = float(part.counts.other)  # rows that may be of any category
    others = part.known - float(named.sum()) - (unnamed if sure else 0.0)
    return np.concatenate([[missing], named if sure else named + unnamed, [others]])
