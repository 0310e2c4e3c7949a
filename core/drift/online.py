"""Alarms on a live stream of errors: whether the error rate rose, when that was detected, and since which row.

Owns the detectors `ADWIN` and `PageHinkley`. They process one row at a time in bounded memory, so they can
follow an endless stream. Out of scope: where the errors come from, and what follows an alarm. Both assume independent
rows: autocorrelated errors (weather, prices) raise more false alarms than delta says.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from core.errors import BadInput

DELTA = 0.002  # of ADWIN: lower = fewer false alarms, but later true ones
TOLERANCE = 0.05  # of Page-Hinkley: a tolerated rise of the mean error
THRESHOLD = 25.0  # of Page-Hinkley: the sum of errors beyond mean and tolerance at which it raises the alarm
SCALE_ROWS = 200  # first rows of a stream, which give the scale of its errors
LARGEST = 5.0  # in mean errors: larger errors are capped at it
RECENT_ROWS = 5_000  # kept by ADWIN to locate the start of a change
_CLOCK = 32  # rows between two checks of ADWIN's window
_BLOCK = 8_192  # rows that Page-Hinkley processes at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A change of the mean error as detected. Rows count from 0, the first one passed."""

    at: int  # the row at which it was raised
    since: int  # the first row after the change, as estimated by the detector
    before: float  # mean error from the last change (or the start) to `since`
    after: float  # mean error from `since` to `at`, both included
    detector: str  # key in DETECTORS


class Detector(Protocol):
    """The interface of what an entry of DETECTORS creates."""

    def update(self, x: float) -> bool: ...
    def update_many(self, values: Any) -> list[int]: ...
    def scan(self, values: Any) -> list[Alarm]: ...


def detect(
    errors: Any, *, detector: str = "adwin", rises_only: bool = True, scale: float | None = None, **options: float
) -> tuple[Alarm, ...]:
    """Every alarm in a stream of errors, oldest first.

    Args:
        errors: shape (n,), oldest first: 0 or 1, or any number >= 0.
        detector: key in DETECTORS.
        rises_only: a fall of the error raises no alarm; the detector still restarts after it.
        scale: the error that counts as 1, as do larger ones; by default `error_scale` of the first rows.
        options: of the detector: `delta` for ADWIN, `tolerance` and `threshold` for Page-Hinkley.

    Raises:
        BadInput: an unknown detector or option, or an error that is missing, infinite or below 0.
    """
    if detector not in DETECTORS:
        raise BadInput(f"No detector is called '{detector}'; choose one of {', '.join(DETECTORS)}.")
    values = _checked(errors)
    scale = error_scale(values[:SCALE_ROWS]) if scale is None else scale
    try:
        made = DETECTORS[detector](scale=scale, rises_only=rises_only, **options)
    except TypeError:
        raise BadInput(f"The detector '{detector}' does not take {' and '.join(sorted(options))}.") from None
    return tuple(made.scan(values))


def error_scale(first: Any) -> float:
    """The error that a detector should count as 1: 1 for right/wrong, else LARGEST times the mean of the first rows.

    The bounds of both detectors hold for values in [0, 1]; a limit of a few mean errors also prevents one outlier from
    raising the alarm. 1 when the first rows have no error at all.

    Args:
        first: shape (n,), >= 0: rows from the start of the stream.
    """
    values = _checked(first)
    if bool(np.isin(values, (0.0, 1.0)).all()):
        return 1.0
    # The mean of the scaled values, so that large errors cannot overflow it.
    largest = float(values.max())
    return min(LARGEST * float((values / largest).mean()) * largest, np.finfo(np.float64).max)


class ADWIN:
    """Adaptive windowing (Bifet and Gavalda 2007): the alarm is raised when an older and a newer mean differ significantly.

    The exponential histogram and its cuts are river's; as there, the window restarts after an alarm. The start of the
    change is the most likely split of the rows since the last alarm: the cut itself drops one bucket at a time and is
    thousands of rows too early after a long stable period.
    """

    def __init__(self, *, delta: float = DELTA, scale: float = 1.0, rises_only: bool = True) -> None:
        """See `detect`.

        Args:
            delta: in (0, 1).

        Raises:
            BadInput: delta or scale out of range.
        """
        if not 0.0 < delta < 1.0:
            raise BadInput(f"delta is {delta}; expected a number between 0 and 1.")
        self._delta, self._scale, self._rises_only = delta, _positive(scale, "scale"), rises_only
        self._seen = 0
        self._restart()

    def _restart(self) -> None:
        # `river.drift` loads pandas and sklearn, over a second; its compiled part alone loads in a millisecond.
        # A test verifies that both raise the same alarms.
        from river._river_rust.drift import AdaptiveWindowing

        self._window = AdaptiveWindowing(
            delta=self._delta, clock=_CLOCK, max_buckets=5, min_window_length=5, grace_period=10
        )
        self._old_rows, self._old_total = 0, 0.0  # rows since the start that precede the recent ones
        self._recent = np.empty(0)  # scaled

    def update(self, x: float) -> bool:
        """Process one error; True when it raises the alarm."""
        return bool(self.scan((x,)))

    def update_many(self, values: Any) -> list[int]:
        """Process errors, shape (n,), oldest first; the positions in `values` that raise an alarm."""
        offset = self._seen
        return [alarm.at - offset for alarm in self.scan(values)]

    def scan(self, values: Any) -> list[Alarm]:
        """Process errors, shape (n,), oldest first; the alarms they raise, rows counted from the first ever processed."""
        scaled = np.minimum(_checked(values) / self._scale, 1.0)
        rows, done = scaled.tolist(), 0
        alarms: list[Alarm] = []
        while (at := self._next(rows, done)) is not None:
            self._keep(scaled[done : at + 1])
            done = at + 1
            alarm = self._alarm()
            if alarm.after > alarm.before or not self._rises_only:
                alarms.append(alarm)
            self._restart()
        self._keep(scaled[done:])
        return alarms

    def _next(self, rows: list[float], start: int) -> int | None:
        """Feed rows from `start` on; the position of the first at which the window is cut, or None."""
        update = self._window.update
        for i in range(start, len(rows)):
            if update(rows[i]):
                return i
        return None

    def _keep(self, rows: np.ndarray) -> None:
        self._seen += len(rows)
        both = np.concatenate([self._recent, rows])
        gone = both[: max(0, len(both) - RECENT_ROWS)]
        self._old_rows += len(gone)
        self._old_total += float(gone.sum())
        self._recent = both[len(gone) :].copy()

    def _alarm(self) -> Alarm:
        split = _likeliest_split(self._recent, self._old_rows, self._old_total)
        older = (self._old_total + float(self._recent[:split].sum())) / (self._old_rows + split)
        return Alarm(
            at=self._seen - 1,
            since=self._seen - len(self._recent) + split,
            before=older * self._scale,
            after=float(self._recent[split:].mean()) * self._scale,
            detector="adwin",
        )


def _likeliest_split(rows: np.ndarray, old_rows: int, old_total: float) -> int:
    """The row at which the mean changed: the maximum likelihood of two Bernoulli rates (quasi-likelihood in [0, 1]).

    Args:
        rows: shape (n,), n >= 2, in [0, 1]; they follow old_rows rows with the sum old_total.

    Returns:
        A position in [1, n - 1].
    """
    cuts = np.arange(1, len(rows))
    total = np.cumsum(rows)
    left, right = old_total + total[:-1], total[-1] - total[:-1]
    return int(cuts[np.argmax(_fit(left, cuts + old_rows) + _fit(right, len(rows) - cuts))])


def _fit(ones: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Maximum log-likelihood of n draws, given the number of ones."""
    p = np.clip(ones / n, 1e-12, 1.0 - 1e-12)
    return ones * np.log(p) + (n - ones) * np.log1p(-p)


class PageHinkley:
    """Page-Hinkley test (Page 1954, Hinkley 1971; Gama et al. 2014): a running sum of deviations from the mean so far.

    The sum m of x - mean - tolerance falls as long as nothing changes; the alarm is raised when it is `threshold` above
    its minimum, which is where the change began. A fall of the error is detected the same way. No forgetting factor: a
    fading sum, as in river's default, drifts away from its minimum by chance alone.
    """

    def __init__(
        self,
        *,
        tolerance: float = TOLERANCE,
        threshold: float = THRESHOLD,
        scale: float = 1.0,
        rises_only: bool = True,
    ) -> None:
        """See `detect`; tolerance and threshold are in units of the scale.

        Raises:
            BadInput: threshold or scale not above 0, or a tolerance below 0.
        """
        if not 0.0 <= tolerance < math.inf:
            raise BadInput(f"tolerance is {tolerance}; expected a number from 0 up.")
        self._tolerance, self._threshold = tolerance, _positive(threshold, "threshold")
        self._scale, self._rises_only = _positive(scale, "scale"), rises_only
        self._seen = 0
        self._restart()

    def _restart(self) -> None:
        self._start = self._seen
        self._total = 0.0  # scaled, of all rows since the start
        self._sides = (_Side(1.0, self._start), _Side(-1.0, self._start))  # rise, fall

    def update(self, x: float) -> bool:
        """Process one error; True when it raises the alarm."""
        return bool(self.scan((x,)))

    def update_many(self, values: Any) -> list[int]:
        """Process errors, shape (n,), oldest first; the positions in `values` that raise an alarm."""
        offset = self._seen
        return [alarm.at - offset for alarm in self.scan(values)]

    def scan(self, values: Any) -> list[Alarm]:
        """Process errors, shape (n,), oldest first; the alarms they raise, rows counted from the first ever processed."""
        scaled = np.minimum(_checked(values) / self._scale, 1.0)
        alarms: list[Alarm] = []
        done = 0
        while done < len(scaled):
            taken, alarm = self._take(scaled[done : done + _BLOCK])
            done += taken
            if alarm is not None:
                if alarm.after > alarm.before or not self._rises_only:
                    alarms.append(alarm)
                self._restart()
        return alarms

    def _take(self, block: np.ndarray) -> tuple[int, Alarm | None]:
        """Process rows up to the first alarm, or all; returns how many, and the alarm."""
        n = self._seen - self._start
        totals = self._total + np.cumsum(block)
        deviation = block - totals / np.arange(n + 1, n + len(block) + 1)
        walks = [side.walk(deviation, self._tolerance) for side in self._sides]
        firsts = [_first(walk > self._threshold) for walk, _ in walks]
        hits = [f for f in firsts if f is not None]
        taken = min(hits) + 1 if hits else len(block)
        last = self._seen + taken - 1
        for side, (walk, sums) in zip(self._sides, walks, strict=True):
            side.advance(sums[:taken], walk[:taken], totals[:taken], self._seen)
        self._seen, self._total = last + 1, float(totals[taken - 1])
        if not hits:
            return taken, None
        side = self._sides[0 if firsts[0] == min(hits) else 1]
        old, new = side.since - self._start, self._seen - side.since
        return taken, Alarm(
            at=last,
            since=side.since,
            before=side.total / old * self._scale,
            after=max(0.0, self._total - side.total) / new * self._scale,
            detector="page_hinkley",
        )


class _Side:
    """The running sum of one direction and its minimum."""

    def __init__(self, sign: float, start: int) -> None:
        self._sign = sign
        self._sum, self._least = 0.0, math.inf
        self.since = start  # the row after the minimum
        self.total = 0.0  # of the errors up to the minimum

    def walk(self, deviation: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
        """How far the sum is above its minimum after each row, and the sum."""
        sums = self._sum + np.cumsum(self._sign * deviation - tolerance)
        return sums - np.minimum(np.minimum.accumulate(sums), self._least), sums

    def advance(self, sums: np.ndarray, walk: np.ndarray, totals: np.ndarray, first: int) -> None:
        """Store the state after these rows; the first of them is row `first`."""
        lows = np.flatnonzero(walk == 0.0)
        if len(lows):
            at = int(lows[-1])
            self._least, self.since, self.total = float(sums[at]), first + at + 1, float(totals[at])
        self._sum = float(sums[-1])


def _first(hit: np.ndarray) -> int | None:
    """Position of the first True."""
    at = int(hit.argmax())
    return at if hit[at] else None


def _positive(value: float, name: str) -> float:
    if not 0.0 < value < math.inf:
        raise BadInput(f"{name} is {value}; expected a number above 0.")
    return float(value)


def _checked(values: Any) -> np.ndarray:
    """Errors as numbers, shape (n,), each finite and >= 0."""
    try:
        errors = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise BadInput("The errors are not all numbers; give 0 or 1 for right or wrong, or absolute errors.") from None
    if errors.ndim != 1:
        raise BadInput(f"The errors have the shape {errors.shape}; expected one row of numbers.")
    wrong = ~((errors >= 0.0) & (errors < math.inf))
    if wrong.any():
        at = int(wrong.argmax())
        raise BadInput(
            f"Error {at} of {len(errors):,} is {errors[at]}; expected finite numbers from 0 up. "
            "Leave out rows whose label is not known."
        )
    return errors


DETECTORS: dict[str, Callable[..., Detector]] = {"adwin": ADWIN, "page_hinkley": PageHinkley}
