"""Sequential evidence over a series of batches that a feature has shifted from its reference: valid after every batch.

Comparing each batch with the same reference gives p-values that hang together: the reference's own chance is in all of
them. So what the reference leaves open is put aside once (`upper_bound`, wrong with a chance of at most DOUBT over all
features), and beside it what the gate lets pass. Of what is left each batch is independent, and shares of its rows that
lie beyond are bets: rows below a tenth, a quarter, half ... of the reference, or in each category, or missing. Bets begin
all the time, ROWS rows apart, and their wealth is added up: an e-detector in the form of Shiryaev and Roberts (Shin,
Ramdas and Rinaldo 2023), which passes a level c after c x ROWS rows on average at the earliest. Comparing with the upper
end of what is known of the reference follows Podkopaev and Ramdas (2022).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.drift.profile import CategoryProfile, NumericProfile, Profile
from core.records import FeatureSchema

ROWS = 500.0  # between two beginnings of bets
NEEDED = 100.0  # so one false alarm of any feature in 50,000 rows on average, at most
DOUBT = 0.01  # chance that the reference misleads on any share of any feature
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)  # of the reference's rows, below which a batch's rows are counted
ODDS = np.array([1.12, 1.3, 2.0])  # by which a bet takes rows to be more frequent than the reference allows
MOST_CATEGORIES = 20  # counted by name; the rest together
MOST_LOG = 27.0  # of a sum: larger values are capped


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The evidence on one feature after each batch."""

    evidence: tuple[float | None, ...]  # already divided by the number of features; None = no information in the batch
    since: int | None  # index of the batch from which on it most likely moved; None when it has not, as of the last one


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
        batches: in the order of time, none of them part of the reference.
        gate, gates: by how much a share of the rows may differ from the reference without being drift; `gates` by
            feature, where they differ.

    Rows of one batch are taken for independent. Where they hang together, the gate has to cover what that does to a
    batch (`core.drift.budget` finds such gates).
    """
    names = [f.name for f in schema.features]
    found: dict[str, Running] = {}
    for name in names:
        base = reference.features.get(name)
        if base is None or not base.known:
            continue
        parts = [b.features.get(name) for b in batches]
        shares, hits, rows = _counted(base, parts)
        limit = (gates or {}).get(name, gate)
        allowed = np.minimum(upper_bound(shares, float(base.rows), DOUBT / (len(names) * len(shares))) + limit, 1.0)
        gains = hits[:, :, None] * np.log(ODDS) - rows[:, None, None] * np.log1p((ODDS - 1.0) * allowed[:, None])
        found[name] = _summed(gains.reshape(len(rows), len(shares) * len(ODDS)), rows, len(names))
    return found


def _summed(gains: np.ndarray, rows: np.ndarray, features: int) -> Running:
    """Evidence after each batch, from the log wealth that each bet of shape (batches, bets) gains in it."""
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
    """The share that a source may have of which n rows showed these shares, wrong with at most this chance each.

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
    """Shares of the reference, shape (events,), how many rows of each batch are so, and the rows of each batch.

    What a sketch leaves open counts against an alarm, on both sides.
    """
    events = _events(base)
    shares = np.clip(_hits(base, events, sure=False) / base.rows, 0.0, 1.0)
    hits, rows = np.zeros((len(parts), len(shares))), np.zeros(len(parts))
    for i, part in enumerate(parts):
        if part is not None and type(part) is type(base) and part.rows:
            hits[i], rows[i] = _hits(part, events, sure=True), part.rows
    return shares, hits, rows


def _events(base: NumericProfile | CategoryProfile) -> np.ndarray | list[str]:
    """Values that part a numeric feature, or the categories that are counted by name."""
    if isinstance(base, NumericProfile):
        return np.unique([value for share in SHARES if (value := base.sketch.quantile(share)) is not None])
    return sorted(base.counts.counts, key=lambda name: (-base.counts.counts[name], name))[:MOST_CATEGORIES]


def _hits(part: NumericProfile | CategoryProfile, events: np.ndarray | list[str], *, sure: bool) -> np.ndarray:
    """Rows of a batch that are so, event by event: missing; then below and above each value, or in each category and in none.

    Args:
        sure: the least that there can be, for what a sketch leaves open; else the most.
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
