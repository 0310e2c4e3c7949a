"""Which actual class is predicted as which.

The input is rows with labels and the predictions made before these were known; the output is a record with its
finding. Numpy only at import: pages use this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core import words
from core.errors import BadInput
from core.performance.proportions import wilson


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """How often each actual class is predicted as which."""

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]  # rows: actual, columns: predicted
    shares: tuple[tuple[float | None, ...], ...]  # of the actual class; None where it does not occur
    finding: str


def confusion(y_true: Any, y_pred: Any, classes: Sequence[Any]) -> Confusion:
    """Counts and shares per actual class. Classes that occur but are not in `classes` are added at the end.

    Raises:
        BadInput: no row, or not as many predictions as labels.
    """
    true, pred = [str(v) for v in y_true], [str(v) for v in y_pred]
    if not true or len(true) != len(pred):
        raise BadInput(f"{len(true):,} labels and {len(pred):,} predictions; expected as many of each, at least one.")
    names = list(dict.fromkeys([*(str(c) for c in classes), *sorted({*true, *pred})]))
    place = {name: i for i, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(counts, ([place[t] for t in true], [place[p] for p in pred]), 1)
    totals = counts.sum(axis=1)
    shares = tuple(tuple(float(c) / int(n) if n else None for c in row) for row, n in zip(counts, totals, strict=True))
    return Confusion(
        classes=tuple(names),
        counts=tuple(tuple(int(c) for c in row) for row in counts),
        shares=shares,
        finding=_finding(names, counts, totals),
    )


def _finding(names: Sequence[str], counts: np.ndarray, totals: np.ndarray) -> str:
    """The largest share of an actual class that is predicted as another one."""
    wrong = counts.astype(np.float64)
    np.fill_diagonal(wrong, 0)
    if wrong.sum() == 0:
        return f"All {words.counted(int(totals.sum()), 'row')} are right"
    rates = np.divide(wrong, totals[:, None], out=np.zeros_like(wrong), where=totals[:, None] > 0)
    # In a class with few rows a single error would look large, so the lower end of the interval ranks them.
    sure = [[wilson(float(w), float(n))[0] for w in row] for row, n in zip(wrong, totals, strict=True)]
    actual, taken = (int(i) for i in np.unravel_index(np.argmax(sure), wrong.shape))
    return f"{words.share_in_finding(float(rates[actual, taken]))} of {names[actual]} are taken for {names[taken]}"
