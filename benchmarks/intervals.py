"""How often the 95 % intervals of `measure` hold the true score, over many small simulated models.

Classes: normal scores of two to four classes with shares down to 5 %, right on 50 to 97 % of rows, with honest, timid and
boastful probabilities. Numbers: errors that are normal, uniform, heavy-tailed, mixed, lopsided or off by a constant.
In time: a hidden first-order autoregressive process decides which rows are right. True scores are those of a very large
sample of the same simulation.

    python benchmarks/intervals.py --repeats 200
    python benchmarks/intervals.py --in-time --repeats 500
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.performance.realised import INTERVALS, Intervals, measure
from core.records import METRICS

SHARES = ((0.5, 0.5), (0.8, 0.2), (0.95, 0.05), (0.6, 0.3, 0.1), (0.25,) * 4, (0.7, 0.15, 0.1, 0.05))
ERRORS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "uniform": lambda rng, n: rng.uniform(-1, 1, n),
    "laplace": lambda rng, n: rng.laplace(size=n),
    "t5": lambda rng, n: rng.standard_t(5, n),
    "mixed": lambda rng, n: rng.normal(size=n) * np.where(rng.random(n) < 0.1, 3.0, 0.7),
    "lopsided": lambda rng, n: rng.exponential(size=n) - 1.0,
    "off": lambda rng, n: rng.normal(size=n) + 3.0,
}
LARGE = 200_000
_TRUTH: dict[Any, dict[str, Any]] = {}  # true scores, by simulation
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def drawn(
    rng: np.random.Generator, n: int, shares: tuple[float, ...], apart: float, *, boast: float = 1.0, weighs: bool = True
) -> Rows:  # fmt: skip
    """True classes, answers and probabilities of n rows; `weighs`: the model knows the classes' shares."""
    k = len(shares)
    true = rng.choice(k, n, p=shares)
    evidence = rng.normal(size=(n, k))
    evidence[np.arange(n), true] += apart
    logits = apart * evidence + (np.log(shares) if weighs else 0.0)
    proba = np.exp(boast * (logits - logits.max(axis=1, keepdims=True)))
    return true, logits.argmax(axis=1), proba / proba.sum(axis=1, keepdims=True)


def apart_for(accuracy: float, shares: tuple[float, ...], *, weighs: bool) -> float | None:
    """How far apart classes must be for an accuracy; None where any model reaches it."""
    low, high = 0.0, 8.0
    for _ in range(18):
        middle = (low + high) / 2
        true, answers, _ = drawn(np.random.default_rng(1), 20_000, shares, middle, weighs=weighs)
        low, high = (middle, high) if (true == answers).mean() < accuracy else (low, middle)
    return middle if middle > 0.15 else None


def models() -> Iterator[tuple[str, Callable[[np.random.Generator, int], Rows]]]:
    """Every simulated model of classes, with its name."""
    boasts = (0.5, 1.0, 2.5)
    number = 0
    for shares in SHARES:
        for weighs in (True, False):
            for accuracy in (0.5, 0.7, 0.85, 0.97):
                apart = apart_for(accuracy, shares, weighs=weighs)
                if apart is None:
                    continue
                boast = boasts[number % 3]
                number += 1
                name = f"{shares} {accuracy} {'weighed' if weighs else 'even'} x{boast}"

                def draw(rng: np.random.Generator, n: int, s: Any = shares, a: float = apart, b: float = boast, w: bool = weighs) -> Rows:  # fmt: skip
                    return drawn(rng, n, s, a, boast=b, weighs=w)

                yield name, draw


def held(found: Any, truth: float) -> bool | None:
    """Whether an interval holds the truth; None where there is no score to give one to."""
    if found.value is None:
        return None
    return found.low is not None and found.low <= truth <= found.high


def classes(draw: Callable[[np.random.Generator, int], Rows], n: int, repeats: int, seed: int = 0) -> dict[str, float]:
    """Share of intervals that hold the truth, by metric."""
    rng = np.random.default_rng(seed)
    return _shares(draw, lambda rows: _of(*draw(rng, rows)), n, repeats)


def numbers(errors: str, n: int, repeats: int, seed: int = 0) -> dict[str, float]:
    """The same for one kind of errors."""
    rng = np.random.default_rng(seed)

    def once(rows: int) -> dict[str, Any]:
        true = rng.normal(0, 1.5, rows)
        return measure("regression", true, true + ERRORS[errors](rng, rows), intervals=Intervals(seed=int(rng.integers(1 << 30))) if rows < LARGE else None).scores  # fmt: skip

    return _shares(errors, once, n, repeats)


def _of(true: np.ndarray, answers: np.ndarray, proba: np.ndarray) -> dict[str, Any]:
    k = proba.shape[1]
    return measure(
        "binary" if k == 2 else "multiclass",
        true,
        answers,
        proba,
        list(range(k)),
        intervals=INTERVALS if len(true) < LARGE else None,
    ).scores


def _shares(case: Any, once: Callable[[int], dict[str, Any]], n: int, repeats: int) -> dict[str, float]:
    if case not in _TRUTH:
        _TRUTH[case] = {name: score.value for name, score in once(LARGE).items()}
    truth = _TRUTH[case]
    reported: dict[str, list[bool]] = {name: [] for name in truth}
    for _ in range(repeats):
        for name, score in once(n).items():
            said = held(score, truth[name])
            if said is not None:
                reported[name].append(said)
    return {name: float(np.mean(each)) for name, each in reported.items() if len(each) >= repeats // 2}


def in_time(memory: float, accuracy: float, n: int, repeats: int, seed: int = 0, *, ordered: bool = True) -> dict[str, tuple[float, float]]:  # fmt: skip
    """(share of intervals that hold the truth, mean width) of accuracy and log-loss over rows that hang together."""
    from statistics import NormalDist

    from scipy.signal import lfilter

    rng = np.random.default_rng(seed)
    bar = NormalDist().inv_cdf(accuracy)
    sure, unsure = accuracy, 1.0 - accuracy
    truth = {"accuracy": accuracy, "log_loss": -(sure * math.log(sure) + unsure * math.log(unsure))}
    reported: dict[str, list[tuple[bool, float]]] = {name: [] for name in truth}
    for _ in range(repeats):
        steps = rng.normal(size=n)
        steps[1:] *= math.sqrt(1 - memory**2)
        hidden = lfilter([1.0], [1.0, -memory], steps)
        right = hidden < bar
        true = rng.integers(0, 2, n)
        answers = np.where(right, true, 1 - true)
        proba = np.full((n, 2), unsure)
        proba[np.arange(n), answers] = sure
        scores = measure(
            "binary", true, answers, proba, [0, 1], metrics=list(truth), intervals=Intervals(ordered=ordered)
        ).scores
        for name, score in scores.items():
            assert score.low is not None and score.high is not None
            reported[name].append((bool(held(score, truth[name])), score.high - score.low))
    return {name: (float(np.mean([h for h, _ in each])), float(np.mean([w for _, w in each]))) for name, each in reported.items()}  # fmt: skip


def _print(kind: str, n: int, found: dict[str, dict[str, float]]) -> None:
    for name in METRICS:
        each = {case: shares[name] for case, shares in found.items() if name in shares}
        if each:
            values = np.array(list(each.values()))
            worst = min(each, key=lambda case: each[case])
            inside = np.mean((values >= 0.92) & (values <= 0.98))
            print(f"{kind} n={n:5} {name:18} mean {values.mean():.3f}  least {values.min():.3f}  most {values.max():.3f}  in .92-.98 {inside:.0%}  least at {worst}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--rows", type=int, nargs="*", default=[20, 30, 100, 1000])
    parser.add_argument("--in-time", action="store_true")
    args = parser.parse_args()
    if args.in_time:
        for n in args.rows:
            for memory in (0.0, 0.5, 0.9, 0.98):
                for accuracy in (0.7, 0.85):
                    plain, ordered = (in_time(memory, accuracy, n, args.repeats, ordered=o) for o in (False, True))
                    reported = "  ".join(f"{m} {plain[m][0]:.3f} -> {ordered[m][0]:.3f} (width x {ordered[m][1] / plain[m][1]:.2f})" for m in plain)  # fmt: skip
                    print(f"n={n:5} memory {memory} accuracy {accuracy}  {reported}", flush=True)
        return
    known = list(models())
    for n in args.rows:
        _print("classes", n, {name: classes(draw, n, args.repeats) for name, draw in known})
        _print("numbers", n, {name: numbers(name, n, args.repeats) for name in ERRORS})


if __name__ == "__main__":
    main()
