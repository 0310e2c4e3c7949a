"""The profile of a batch: a mergeable summary of every feature, stored with the batch.

Profiles of consecutive batches merge into the profile of a window, and two profiles give the drift between their
windows (`univariate.measure_drift` accepts them instead of frames), so the trend over a thousand batches reads no row.
What a profile does not hold exactly, it bounds: `Sketch.error` for numbers, the uncounted rows for categories.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from core.drift import sketch
from core.drift.sketch import Sketch
from core.drift.values import Counts, Numbers, Unfit, counts_of, numbers_of
from core.errors import StorageError
from core.records import FeatureSchema, JsonObject

if TYPE_CHECKING:
    import pandas as pd

TOP = 1_000  # categories that are counted by name; the rest is "other"
_MAGIC = b"cmlp2\n"  # the rest is compressed, to less than half its size
_UNPACKED = b"cmlp1\n"  # as earlier versions wrote it
_NUMERIC_FIELDS = 8  # fields of a numeric feature in the header; categories have five


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NumericProfile:
    """A numeric feature over the rows of one or more batches."""

    rows: int
    missing: int
    infinite: int
    mean: float | None  # of the finite values
    squares: float | None  # sum of squared distances from the mean
    sketch: Sketch

    @property
    def known(self) -> int:
        """Rows that are not missing."""
        return self.rows - self.missing

    @property
    def sd(self) -> float | None:
        """Sample standard deviation of the finite values; None below two."""
        n = self.known - self.infinite
        return math.sqrt(self.squares / (n - 1)) if self.squares is not None and n > 1 else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CategoryProfile:
    """A feature of categories over the rows of one or more batches."""

    counts: Counts
    unseen: int = 0  # rows whose category was not in the schema when the batch arrived

    @property
    def rows(self) -> int:
        """Rows, missing cells included."""
        return self.counts.rows

    @property
    def known(self) -> int:
        """Rows that are not missing."""
        return self.counts.known

    @property
    def missing(self) -> int:
        """Rows without a value."""
        return self.rows - self.known


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Profile:
    """Every feature of the same rows. A feature that a batch could not provide is left out."""

    rows: int
    features: dict[str, NumericProfile | CategoryProfile]


EMPTY = Profile(rows=0, features={})


def profile(frame: pd.DataFrame, schema: FeatureSchema) -> Profile:
    """The profile of a frame's rows.

    Args:
        frame: columns of the schema; others are ignored, absent and invalid ones are left out of the profile.
    """
    features: dict[str, NumericProfile | CategoryProfile] = {}
    for feature in schema.features:
        if feature.name not in frame.columns:
            continue
        column = frame[feature.name]
        if feature.kind == "numeric":
            try:
                features[feature.name] = profile_of_numbers(numbers_of(column))
            except Unfit:
                continue
        else:
            features[feature.name] = profile_of_counts(counts_of(column), feature.categories)
    return Profile(rows=len(frame), features=features)


def profile_of_numbers(column: Numbers) -> NumericProfile:
    """The profile of one numeric column."""
    values = column.values
    finite = values[np.isfinite(values)] if len(values) else values
    mean: float | None = None
    squares: float | None = None
    if len(finite):
        with np.errstate(over="ignore", invalid="ignore"):  # values near the largest double have no variance: None
            mean = _finite(finite.mean())
            squares = _finite(((finite - mean) ** 2).sum()) if mean is not None else None
    return NumericProfile(
        rows=column.rows,
        missing=column.rows - len(values),
        infinite=len(values) - len(finite),
        mean=mean,
        squares=squares,
        sketch=sketch.sketch(values),
    )


def profile_of_counts(column: Counts, known: Iterable[str] = ()) -> CategoryProfile:
    """The profile of one column of categories.

    Args:
        known: the schema's categories; others are counted as unseen. Empty = unknown, nothing is counted as unseen.
    """
    seen = set(known)
    unseen = sum(n for name, n in column.counts.items() if name not in seen) if seen else 0
    return CategoryProfile(counts=_capped(column), unseen=unseen)


def merge(profiles: Iterable[Profile]) -> Profile:
    """The profile of all rows together; associative up to the order of floating point sums."""
    return reduce(_merged, profiles, EMPTY)


def to_bytes(whole: Profile) -> bytes:
    """The profile as it is stored: a JSON header, then the sketches' knots, then their row counts."""
    sketches = [p.sketch for p in whole.features.values() if isinstance(p, NumericProfile)]
    counts = np.concatenate([np.empty(0), *(x for s in sketches for x in (s.left, s.right))])
    kind = "<u4" if bool((counts == np.floor(counts)).all() and counts.max(initial=0) < 2**32) else "<f8"
    head: JsonObject = {"rows": whole.rows, "counts": kind, "features": {}}
    for name, p in whole.features.items():
        if isinstance(p, NumericProfile):
            k = p.sketch
            head["features"][name] = [p.rows, p.missing, p.infinite, p.mean, p.squares, len(k.values), k.n, k.error]
        else:
            head["features"][name] = [p.rows, p.unseen, p.counts.other, p.counts.distinct, p.counts.counts]
    text = json.dumps(head, separators=(",", ":")).encode()
    values = np.concatenate([np.empty(0), *(s.values for s in sketches)]).astype("<f8")
    content = struct.pack("<I", len(text)) + text + values.tobytes() + counts.astype(kind).tobytes()
    return _MAGIC + zlib.compress(content, level=1)


def from_bytes(stored: bytes) -> Profile:
    """The profile that `to_bytes` wrote.

    Raises:
        StorageError: the bytes are not a profile of this version, or damaged.
    """
    magic, content = stored[: len(_MAGIC)], stored[len(_MAGIC) :]
    if magic not in (_MAGIC, _UNPACKED):
        raise StorageError("A stored profile cannot be read: it was written by another version. It is made again.")
    try:
        return _read(_unpacked(content) if magic == _MAGIC else content)
    except (ValueError, TypeError, KeyError, AttributeError, struct.error, zlib.error) as error:
        raise StorageError("A stored profile cannot be read: it is damaged. It is made again.") from error


def _unpacked(content: bytes) -> bytes:
    """The decompressed content; ValueError or zlib.error when it is truncated or has trailing bytes."""
    reader = zlib.decompressobj()
    unpacked = reader.decompress(content)
    if not reader.eof or reader.unused_data:
        raise ValueError("the compressed part does not end where the bytes do")
    return unpacked


def _read(stored: bytes) -> Profile:
    """The profile; raises ValueError and others when the bytes are inconsistent."""
    start = 4
    (length,) = struct.unpack_from("<I", stored)
    head = orjson.loads(stored[start : start + length])  # a thousand profiles are read for one chart
    knots = sum(f[5] for f in head["features"].values() if len(f) == _NUMERIC_FIELDS)
    values = np.frombuffer(stored, dtype="<f8", count=knots, offset=start + length)
    counts = np.frombuffer(stored, dtype=head["counts"], offset=start + length + 8 * knots).astype(np.float64)
    if len(counts) != 2 * knots:
        raise ValueError(f"{len(counts)} row counts, expected {2 * knots}")
    features: dict[str, NumericProfile | CategoryProfile] = {}
    at = 0
    for name, f in head["features"].items():
        if len(f) != _NUMERIC_FIELDS:
            rows, unseen, other, distinct, named = f
            features[name] = CategoryProfile(counts=Counts(rows, named, other=other, distinct=distinct), unseen=unseen)
            continue
        rows, missing, infinite, mean, squares, k, n, error = f
        left, right = counts[2 * at : 2 * at + k], counts[2 * at + k : 2 * (at + k)]
        features[name] = NumericProfile(
            rows=rows, missing=missing, infinite=infinite, mean=mean, squares=squares,
            sketch=Sketch(values[at : at + k], left, right, n, error),
        )  # fmt: skip
        at += k
    return Profile(rows=head["rows"], features=features)


def _merged(a: Profile, b: Profile) -> Profile:
    names = dict.fromkeys([*a.features, *b.features])
    features = {}
    for name in names:
        one, other = a.features.get(name), b.features.get(name)
        if one is None or other is None:
            features[name] = one or other
        elif isinstance(one, NumericProfile) and isinstance(other, NumericProfile):
            features[name] = _numbers_merged(one, other)
        elif isinstance(one, CategoryProfile) and isinstance(other, CategoryProfile):
            features[name] = _counts_merged(one, other)
        else:  # the feature changed its kind: the newer rows win
            features[name] = other
    return Profile(rows=a.rows + b.rows, features={k: v for k, v in features.items() if v is not None})


def _numbers_merged(a: NumericProfile, b: NumericProfile) -> NumericProfile:
    """Moments by Chan, Golub and LeVeque 1983."""
    n, m = a.known - a.infinite, b.known - b.infinite
    mean, squares = (a.mean, a.squares) if n else (b.mean, b.squares)
    if n and m:
        mean = squares = None
        if a.mean is not None and b.mean is not None:
            step = b.mean - a.mean
            mean = _finite(a.mean + step * m / (n + m))
            if a.squares is not None and b.squares is not None:
                squares = _finite(a.squares + b.squares + step * step * n * m / (n + m))
    return NumericProfile(
        rows=a.rows + b.rows,
        missing=a.missing + b.missing,
        infinite=a.infinite + b.infinite,
        mean=mean,
        squares=squares,
        sketch=sketch.merged(a.sketch, b.sketch),
    )


def _counts_merged(a: CategoryProfile, b: CategoryProfile) -> CategoryProfile:
    counts = dict(a.counts.counts)
    for name, n in b.counts.counts.items():
        counts[name] = counts.get(name, 0) + n
    other = a.counts.other + b.counts.other
    distinct = len(counts) if not other else max(a.counts.distinct, b.counts.distinct, len(counts))
    both = Counts(a.rows + b.rows, counts, other=other, distinct=distinct)
    return CategoryProfile(counts=_capped(both), unseen=a.unseen + b.unseen)


def _capped(column: Counts) -> Counts:
    """The TOP categories by name, the rest as other."""
    if len(column.counts) <= TOP:
        return column
    ranked = sorted(column.counts.items(), key=lambda kv: (-kv[1], kv[0]))
    rest = sum(n for _, n in ranked[TOP:])
    return Counts(column.rows, dict(ranked[:TOP]), other=column.other + rest, distinct=column.distinct)


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
