"""Label delay: the share of labels that has arrived by a given delay, and how many unlabelled rows can still expect one.

Uses timestamps only: when rows were stored and when their first label arrived. Unlabelled rows are censored, so the
curve can be estimated long before the last label arrives. Out of scope: where the timestamps come from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo

import numpy as np

from core import words
from core.errors import BadInput
from core.performance.intervals import Z95

AT_ONCE_S = 1.0  # a label within a second counts as arriving with its row


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivalCurve:
    """Share of the labels that arrived within each delay after their row (Kaplan and Meier 1958)."""

    delays_s: tuple[float, ...]  # each delay that occurred, ascending; the curve steps there
    share_arrived: tuple[float, ...]  # from that delay on
    low: tuple[float, ...]  # 95 % interval by Greenwood's variance
    high: tuple[float, ...]
    median_s: float | None  # median delay; None = not reached on these rows
    n: int  # rows
    n_waiting: int  # of them without a label
    followed_s: float  # the longest follow-up of any row; the curve ends there
    finding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DueDay:
    """Unlabelled rows of one day."""

    day: date
    rows: int
    expected: float | None  # labels still to arrive, as far as the curve reaches; None = unknown
    reason: str = ""


def arrival_curve(stored_at: Sequence[datetime], labelled_at: Sequence[datetime | None], now: datetime) -> ArrivalCurve:
    """The label-arrival curve as known at `now`.

    Args:
        stored_at: when each row arrived, shape (n,), aware. A row after `now` is left out.
        labelled_at: when its first label arrived; None or after `now` = waiting. A label before its row has delay 0.

    The share at delay d is 1 - S(d), with S the product-limit estimate over the rows followed that long. Its
    interval is Wilson's for the number of rows that gives Greenwood's variance (Rothman 1978): it stays within 0 and 1,
    and has a width even when every label has arrived.

    Raises:
        BadInput: not one instant or None per row, or an instant without time zone.
    """
    if len(stored_at) != len(labelled_at):
        raise BadInput(f"{len(stored_at):,} rows but {len(labelled_at):,} label instants; give one, or None, a row.")
    until = _seconds([now])[0]
    stored = _seconds(stored_at)
    known = np.array([at is not None for at in labelled_at], dtype=bool)
    labelled = np.full(len(stored), np.inf)
    labelled[known] = _seconds([at for at in labelled_at if at is not None])
    here = stored <= until
    stored, labelled = stored[here], labelled[here]
    arrived = labelled <= until
    watched = np.maximum(0.0, np.where(arrived, labelled, until) - stored)
    delays, counts = np.unique(watched[arrived], return_counts=True)
    at_risk = len(watched) - np.searchsorted(np.sort(watched), delays, "left")
    waiting = np.cumprod(1.0 - counts / at_risk) if len(delays) else np.empty(0)
    left = at_risk - counts
    greenwood = np.cumsum(np.divide(counts, at_risk * left, out=np.full(len(delays), np.inf), where=left > 0))
    low, high = _interval(1.0 - waiting, waiting**2 * np.where(waiting > 0, greenwood, 0.0), at_risk)
    share = 1.0 - waiting
    reached = np.flatnonzero(share >= 0.5 - 1e-12)
    median = float(delays[reached[0]]) if len(reached) else None
    n, n_waiting = len(watched), int((~arrived).sum())
    return ArrivalCurve(
        delays_s=tuple(delays.tolist()),
        share_arrived=tuple(share.tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        median_s=median,
        n=n,
        n_waiting=n_waiting,
        followed_s=float(watched.max()) if n else 0.0,
        finding=_finding(delays, share, median, n, n_waiting),
    )


def due_by_day(
    stored_at: Sequence[datetime], curve: ArrivalCurve, now: datetime, *, zone: tzinfo = UTC
) -> tuple[DueDay, ...]:
    """Unlabelled rows by day of arrival, newest day first, with the expected number of labels still to arrive.

    Args:
        stored_at: when each row without a label arrived, aware. A row after `now` is left out.
        zone: time zone of the days.

    A row that has waited for a seconds gets its label with probability (F - F(a)) / (1 - F(a)): F(a) is the curve at
    a, F its end. Labels later than the longest follow-up are not counted, so this is a lower bound.

    Raises:
        BadInput: an instant without time zone.
    """
    until = _seconds([now])[0]
    ages: dict[date, list[float]] = {}
    for at, second in zip(stored_at, _seconds(stored_at), strict=True):
        if second <= until:
            ages.setdefault(at.astimezone(zone).date(), []).append(until - second)
    return tuple(_due(day, np.array(ages[day]), curve) for day in sorted(ages, reverse=True))


def share_within(curve: ArrivalCurve, seconds: np.ndarray) -> np.ndarray:
    """The curve at some delays, shape like `seconds`; 0 before its first step."""
    at = np.searchsorted(np.array(curve.delays_s), seconds, "right")
    return np.r_[0.0, np.array(curve.share_arrived)][at]


def _due(day: date, ages: np.ndarray, curve: ArrivalCurve) -> DueDay:
    if not curve.delays_s:
        return DueDay(day=day, rows=len(ages), expected=None, reason="no label has come yet")
    if (ages > curve.followed_s).any():
        return DueDay(day=day, rows=len(ages), expected=None, reason="has waited longer than any row that was watched")
    by_now, in_the_end = share_within(curve, ages), curve.share_arrived[-1]
    chance = np.divide(in_the_end - by_now, 1.0 - by_now, out=np.zeros(len(ages)), where=by_now < 1.0)
    return DueDay(day=day, rows=len(ages), expected=float(np.maximum(chance, 0.0).sum()))


def _seconds(instants: Sequence[datetime]) -> np.ndarray:
    """Instants as seconds, shape (n,)."""
    naive = next((at for at in instants if at.tzinfo is None), None)
    if naive is not None:
        raise BadInput(f"The instant {naive.isoformat()} has no time zone; give aware ones, e.g. in UTC.")
    return np.array([at.timestamp() for at in instants], dtype=np.float64)


def _interval(share: np.ndarray, variance: np.ndarray, at_risk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval for the number of rows that has this variance.

    Where every label has arrived and there is no such number, that of the previous step is used.
    """
    rows = np.divide(share * (1 - share), variance, out=np.full(len(share), np.nan), where=variance > 1e-15)
    if len(rows) and np.isnan(rows[-1]):
        rows[-1] = rows[-2] if len(rows) > 1 else at_risk[-1]
    z2 = Z95 * Z95
    middle = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    half = Z95 / (1 + z2 / rows) * np.sqrt(share * (1 - share) / rows + z2 / (4 * rows * rows))
    return np.clip(np.minimum(middle - half, share), 0.0, 1.0), np.clip(np.maximum(middle + half, share), 0.0, 1.0)


def _finding(delays: np.ndarray, share: np.ndarray, median: float | None, n: int, n_waiting: int) -> str:
    if not n:
        return "No row yet"
    if not len(delays):
        return f"No label has come yet for {words.counted(n, 'row')}"
    if n_waiting == 0 and delays[-1] <= AT_ONCE_S:
        return "Every label arrived with its row"
    if median is None:
        return (
            f"{words.share(_floored(float(share[-1])))} of the labels arrived within {words.seconds(float(delays[-1]))}"
        )
    half = "Half of the labels come with their row" if median <= AT_ONCE_S else (
        f"Half of the labels come within {words.seconds(median)}"
    )  # fmt: skip
    if share[-1] < 0.9:
        return f"{half}, {words.share(_floored(float(share[-1])))} within {words.seconds(float(delays[-1]))}"
    nine = float(delays[np.flatnonzero(share >= 0.9)[0]])
    if nine <= AT_ONCE_S:
        return f"9 of 10 labels come with their row, the last ones within {words.seconds(float(delays[-1]))}"
    return f"{half}, 9 of 10 within {words.seconds(nine)}"


def _floored(share: float) -> float:
    """A share rounded down, so that it never exceeds what was reached."""
    return math.floor(share * 100) / 100
