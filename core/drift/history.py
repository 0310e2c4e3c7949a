"""Drift trends over a series of batches, from their stored profiles: no row is read, each feature is one array operation.

Each batch is compared with one reference and with the batch before it. A comparison uses the knots of the batch's
own sketch, so the KS distance is off by at most the rank errors of both sketches, which are subtracted before an alarm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.drift.distances import LEAST_EXPECTED, fisher, together
from core.drift.profile import CategoryProfile, NumericProfile, Profile
from core.drift.rules import ALPHA, GATE, MIN_ROWS
from core.drift.running import NEEDED, Running, running
from core.drift.sketch import Sketch
from core.drift.values import Counts
from core.records import FeatureSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftTrend:
    """One feature over the batches; None where a batch, or its reference, cannot be tested."""

    name: str
    kind: str
    against_reference: tuple[float | None, ...]  # KS distance, or total variation
    against_previous: tuple[float | None, ...]
    alarms: tuple[bool, ...]  # against the reference: significant and above the gate
    miss_rates: tuple[float | None, ...]
    evidence: tuple[
        float | None, ...
    ]  # evidence of a shift, after each batch since the reference (`core.drift.running`)

    @property
    def moved(self) -> bool:
        """True when the evidence has reached its threshold, as of the last batch with evidence."""
        return next((e for e in reversed(self.evidence) if e is not None), 0.0) >= NEEDED

    @property
    def since(self) -> int | None:
        """Index of the first batch of the unbroken run of alarms at the end; None without one."""
        run = len(self.alarms)
        while run and self.alarms[run - 1]:
            run -= 1
        return run if run < len(self.alarms) else None


def drift_trends(
    batches: Sequence[Profile],
    reference: Profile,
    schema: FeatureSchema,
    *,
    alpha: float = ALPHA,
    gate: float = GATE,
    gates: Mapping[str, float] | None = None,
    first: int = 0,
) -> list[DriftTrend]:
    """The trend of every feature.

    Args:
        batches: in chronological order.
        first: index of the first batch after the reference: evidence is collected from there on.
        alpha: family-wise false-alarm probability in one batch, split over the features (Bonferroni).
        gate, gates: as in `measure_drift`.
    """
    level = alpha / max(1, len(schema.features))
    trends = []
    evidence = running(batches[first:], reference, schema, gate=gate, gates=gates)
    for feature in schema.features:
        limit = (gates or {}).get(feature.name, gate)
        parts = [b.features.get(feature.name) for b in batches]
        base = reference.features.get(feature.name)
        if feature.kind == "numeric":
            numeric = [p.sketch if isinstance(p, NumericProfile) else None for p in parts]
            origin = base.sketch if isinstance(base, NumericProfile) else None
            far, alarms, near = _numbers(numeric, origin, limit, level)
        else:
            counts = [p.counts if isinstance(p, CategoryProfile) else None for p in parts]
            start = base.counts if isinstance(base, CategoryProfile) else None
            far, alarms, near = _categories(counts, start, limit, level)
        trends.append(
            DriftTrend(
                name=feature.name, kind=feature.kind, against_reference=far, against_previous=near, alarms=alarms,
                miss_rates=tuple(p.missing / p.rows if p is not None and p.rows else None for p in parts),
                evidence=(*[None] * first, *_evidence(evidence.get(feature.name), len(batches) - first)),
            )
        )  # fmt: skip
    return trends


def _evidence(series: Running | None, n: int) -> tuple[float | None, ...]:
    return series.evidence if series is not None else (None,) * n


_Series = tuple[tuple[float | None, ...], tuple[bool, ...], tuple[float | None, ...]]


def _numbers(sketches: Sequence[Sketch | None], reference: Sketch | None, gate: float, level: float) -> _Series:
    used = [i for i, s in enumerate(sketches) if s is not None and s.n >= MIN_ROWS]
    held = [s for s in sketches if s is not None and s.n >= MIN_ROWS]
    far: list[float | None] = [None] * len(sketches)
    near: list[float | None] = [None] * len(sketches)
    alarms = [False] * len(sketches)
    if not held:
        return tuple(far), tuple(alarms), tuple(near)
    lengths = np.array([len(s.values) for s in held])
    starts = np.cumsum(lengths) - lengths
    values, left, right = (np.concatenate([getattr(s, k) for s in held]) for k in ("values", "left", "right"))
    n = np.array([s.n for s in held])
    own = np.repeat(n, lengths)
    error = np.array([s.rank_error for s in held])
    if reference is not None and reference.n >= MIN_ROWS:
        base = reference.at(values)
        distance = _largest(left / own - base[0] / reference.n, right / own - base[1] / reference.n, starts)
        rows = n * reference.n / (n + reference.n)
        sure = np.maximum(0.0, distance - error - reference.rank_error)
        p = _smirnov(np.sqrt(rows) * sure)
        for i, d, alarm in zip(used, distance.tolist(), ((p < level) & (distance > gate)).tolist(), strict=True):
            far[i], alarms[i] = d, alarm
    if len(held) > 1:
        first = starts[1]
        before = _at_previous(values, left, right, starts, lengths)
        earlier = np.repeat(n[:-1], lengths[1:])
        distance = _largest(
            left[first:] / own[first:] - before[0] / earlier, right[first:] / own[first:] - before[1] / earlier,
            starts[1:] - first,
        )  # fmt: skip
        for i, d in zip(used[1:], distance.tolist(), strict=True):
            near[i] = d
    return tuple(far), tuple(alarms), tuple(near)


def _largest(at_left: np.ndarray, at_right: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The largest distance within each batch."""
    return np.maximum.reduceat(np.maximum(np.abs(at_left), np.abs(at_right)), starts)


def _at_previous(
    values: np.ndarray, left: np.ndarray, right: np.ndarray, starts: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the batch before below, and at or below, each knot of every batch but the first."""
    code = np.unique(values, return_inverse=True)[1]
    width = int(code.max()) + 1
    batch = np.repeat(np.arange(len(lengths)), lengths)
    keys = batch * width + code
    first = int(starts[1])
    previous = batch[first:] - 1
    i = np.searchsorted(keys, previous * width + code[first:], "right")  # one past the last knot at or below
    begin, end = starts[previous], starts[previous] + lengths[previous]
    low, high = np.maximum(i - 1, begin), np.minimum(i, end - 1)
    points = values[first:]
    exact = (i > begin) & (values[low] == points)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        share = (points - values[low]) / (values[high] - values[low])
    share = np.where(np.isfinite(share), np.clip(share, 0.0, 1.0), 0.5)
    between = right[low] + share * (left[high] - right[low])
    between = np.where(i == begin, 0.0, np.where(i == end, right[end - 1], between))
    return np.where(exact, left[low], between), np.where(exact, right[low], between)


def _categories(counts: Sequence[Counts | None], reference: Counts | None, gate: float, level: float) -> _Series:
    def usable(c: Counts | None) -> bool:
        return c is not None and c.known >= MIN_ROWS and bool(c.counts)

    used = [i for i, c in enumerate(counts) if usable(c)]
    held = [c for c in counts if c is not None and usable(c)]
    far: list[float | None] = [None] * len(counts)
    near: list[float | None] = [None] * len(counts)
    alarms = [False] * len(counts)
    base = [reference] if reference is not None and usable(reference) else []
    table = _matrix([*base, *held])
    if base and held:
        effects, p = _tested(table[:1], table[1:])
        for i, effect, alarm in zip(used, effects.tolist(), ((p < level) & (effects > gate)).tolist(), strict=True):
            far[i], alarms[i] = effect, alarm
    batches = table[len(base) :]
    if len(held) > 1:
        for i, effect in zip(used[1:], _tested(batches[:-1], batches[1:])[0].tolist(), strict=True):
            near[i] = effect
    return tuple(far), tuple(alarms), tuple(near)


def _matrix(columns: Sequence[Counts]) -> np.ndarray:
    """Rows per category, shape (columns, K). If rows were not counted by name, only categories named in all get a column."""
    closed = not any(c.other for c in columns)
    names: dict[str, None] = {}
    for c in columns:
        names.update(dict.fromkeys(c.counts))
    shared = [name for name in names if closed or all(name in c.counts or not c.other for c in columns)]
    table = np.array([[c.counts.get(name, 0) for name in shared] for c in columns], dtype=np.float64)
    table = table.reshape(len(columns), len(shared))
    rest = np.array([c.known for c in columns], dtype=np.float64) - table.sum(axis=1)
    return table if closed else np.column_stack([table, rest])


def _tested(before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Total variation and p of `distances.chi_square` for each pair of rows, rare categories pooled as there."""
    n, m = before.sum(axis=1, keepdims=True), after.sum(axis=1, keepdims=True)
    both = before + after
    rare = both * np.minimum(n, m) / (n + m) < LEAST_EXPECTED
    pooled = [
        np.column_stack([np.where(rare, 0.0, x), np.where(rare, x, 0.0).sum(axis=1)])
        for x in np.broadcast_arrays(before, after)
    ]
    total = pooled[0] + pooled[1]
    effects = np.abs(pooled[0] / n - pooled[1] / m).sum(axis=1) / 2
    apart = _rare_apart(pooled, total, n, m)
    total = pooled[0] + pooled[1]
    statistic = np.zeros(len(effects))
    for x, size in zip(pooled, (n, m), strict=True):
        expected = total * size / (n + m)
        statistic += np.divide((x - expected) ** 2, expected, out=np.zeros_like(total), where=total > 0).sum(axis=1)
    cells = (total > 0).sum(axis=1)
    p = np.where(cells > 1, _chi_square(np.maximum(cells - 1, 1), statistic), 1.0)
    for i, p_rare in apart.items():
        p[i] = together(float(p[i]), p_rare, int(cells[i]))
    return effects, p


def _rare_apart(pooled: list[np.ndarray], total: np.ndarray, n: np.ndarray, m: np.ndarray) -> dict[int, float]:
    """p of the rare rows by pair, when they are too few for chi-square; they are merged into the rarest other category.

    The same as `distances.parted`, in place.
    """
    last = total[:, -1]
    few = (last > 0) & (last * (np.minimum(n, m) / (n + m))[:, 0] < LEAST_EXPECTED)
    few &= (total[:, :-1] > 0).any(axis=1)
    sizes = [np.broadcast_to(size, (len(total), 1))[:, 0].astype(int) for size in (n, m)]
    p_values = {}
    for i in np.flatnonzero(few).tolist():
        rare = [int(x[i, -1]) for x in pooled]
        p_values[i] = fisher(rare[0], int(sizes[0][i]), rare[1], int(sizes[1][i]))
        others = np.where(total[i, :-1] > 0, total[i, :-1], np.inf)
        for x in pooled:
            x[i, int(np.argmin(others))] += x[i, -1]
            x[i, -1] = 0.0
    return p_values


# Used when a page is drawn: importing scipy would take longer than the rest of the page.


def _smirnov(x: np.ndarray) -> np.ndarray:
    """Upper tail of Smirnov's limit: 2 sum of (-1)^(k-1) exp(-2 k^2 x^2)."""
    k = np.arange(1, 21)[:, None]
    tail = 2 * ((-1.0) ** (k - 1) * np.exp(-2 * (k * x) ** 2)).sum(axis=0)
    return np.where(x < 0.2, 1.0, np.clip(tail, 0.0, 1.0))


def _chi_square(df: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Upper tail of chi-square with whole degrees of freedom: a finite sum (Abramowitz and Stegun 1964, 26.4.4 and 26.4.5)."""
    tail = np.empty(len(x))
    for d in np.unique(df):
        half = x[df == d] / 2
        if d % 2:
            total = np.array([math.erfc(math.sqrt(v)) for v in half.tolist()])
            term = np.exp(-half) * np.sqrt(half) / math.gamma(1.5)
        else:
            total, term = np.zeros(len(half)), np.exp(-half)
        step = 1.5 if d % 2 else 1.0
        for _ in range(int(d) // 2):
            total, term, step = total + term, term * half / step, step + 1
        tail[df == d] = total
    return tail
