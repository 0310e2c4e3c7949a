"""What the default drift report costs, as ratios in one run: to sorting the numeric columns, and to scipy's tests.

    python benchmarks/drift.py                     the table for 1,000,000 and 100,000 rows
    python benchmarks/drift.py --flags 20          material and trivial changes over many seeds instead
    python benchmarks/drift.py --history           a thousand stored profiles instead

One thread, CPU time, the least of some repeats. Frames go through Parquet first, so that they are what
`pandas.read_parquet` returns. frouros, evidently and others take part where they are installed: only frouros is built in.
"""

from __future__ import annotations

import os

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

import argparse
import io
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.drift.history import drift_trends
from core.drift.profile import from_bytes, merge, profile, to_bytes
from core.drift.univariate import measure_drift
from core.records import Feature, FeatureSchema

NUMBERS, CATEGORIES = 15, (3, 5, 12, 40, 200)
SCHEMA = FeatureSchema(
    task="binary",
    target="y",
    features=(
        *(Feature(name=f"x{j}", kind="numeric") for j in range(NUMBERS)),
        *(Feature(name=f"c{j}", kind="categorical") for j in range(len(CATEGORIES))),
    ),
)


def table(n: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    """Rows with missing values; every seventh number is moved by `shift` standard deviations."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {}
    for j in range(NUMBERS):
        x = (rng.normal(size=n), rng.uniform(size=n) * np.sqrt(12), rng.exponential(size=n))[j % 3]
        columns[f"x{j}"] = np.where(rng.random(n) < 0.05, np.nan, x + shift) if j % 7 == 0 else x
    for j, k in enumerate(CATEGORIES):
        names = np.array([f"category {i}" for i in range(k)], dtype=object)[rng.integers(0, k, n)]
        names[rng.random(n) < 0.03 * (j % 2)] = None
        columns[f"c{j}"] = names
    stored = io.BytesIO()
    pd.DataFrame(columns).to_parquet(stored)
    return pd.read_parquet(stored)


def cost(what: Callable[[], Any], repeats: int) -> float:
    """The least CPU seconds of some runs."""
    found = []
    for _ in range(repeats):
        started = time.process_time()
        what()
        found.append(time.process_time() - started)
    return min(found)


def by_scipy(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    """The usual loop: ks_2samp for numbers, chi2_contingency for categories."""
    from scipy import stats

    for name in reference.columns:
        a, b = reference[name].dropna(), current[name].dropna()
        if name.startswith("x"):
            stats.ks_2samp(a.to_numpy(), b.to_numpy(), method="asymp")
        else:
            counts = pd.concat([a.value_counts(), b.value_counts()], axis=1).fillna(0)
            stats.chi2_contingency(counts.to_numpy().T)


def by_frouros(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    """frouros' two batch tests; raises ImportError where it is not installed."""
    from frouros.detectors.data_drift.batch import ChiSquareTest, KSTest

    for name in reference.columns:
        detector = KSTest() if name.startswith("x") else ChiSquareTest()
        detector.fit(X=reference[name].dropna().to_numpy())
        detector.compare(X=current[name].dropna().to_numpy())


def speed(rows: int, repeats: int) -> None:
    reference, current = table(rows, 1), table(rows, 2, 0.1)
    measure_drift(reference.head(2_000), current.head(2_000), SCHEMA)  # imports
    numbers = [frame[f"x{j}"].to_numpy() for frame in (reference, current) for j in range(NUMBERS)]
    stored = from_bytes(to_bytes(profile(reference, SCHEMA)))
    sort = cost(lambda: [np.sort(x) for x in numbers], repeats)
    found = {
        "sorting the 30 numeric columns": sort,
        "report from two frames": cost(lambda: measure_drift(reference, current, SCHEMA), repeats),
        "report against a stored profile": cost(lambda: measure_drift(stored, current, SCHEMA), repeats),
        "making a profile": cost(lambda: profile(reference, SCHEMA), 1),
        "scipy": cost(lambda: by_scipy(reference, current), 1),
    }
    try:
        found["frouros"] = cost(lambda: by_frouros(reference, current), 1)
    except ImportError:
        print("frouros is not installed", file=sys.stderr)
    tracemalloc.start()
    measure_drift(reference, current, SCHEMA)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(f"{rows:,} x {len(SCHEMA.features)} against {rows:,} x {len(SCHEMA.features)}")
    print(f"  {'':34} {'CPU s':>8} {'/ sort':>8} {'scipy / it':>11}")
    for name, seconds in found.items():
        print(f"  {name:34} {seconds:8.3f} {seconds / sort:8.2f} {found['scipy'] / seconds:11.1f}")
    print(f"  extra memory of a report: {peak / 1e6:.0f} MB")


def flags(seeds: int) -> None:
    for rows, shift in ((1_000, 0.0), (10_000, 0.1), (10_000, 0.01), (1_000_000, 0.1), (1_000_000, 0.01)):
        runs = seeds if rows < 1_000_000 else max(1, seeds // 10)
        hits: Counter[str] = Counter()
        for seed in range(runs):
            hits.update(measure_drift(table(rows, 2 * seed), table(rows, 2 * seed + 1, shift), SCHEMA).drifted)
        moved = {f"x{j}" for j in range(0, NUMBERS, 7)}
        reported = ", ".join(f"{name} {n}" for name, n in sorted(hits.items())) or "nothing"
        print(f"{rows:>9,} rows, {', '.join(sorted(moved))} moved by {shift:g} sd, {runs} runs: flagged {reported}")


def history() -> None:
    some = [to_bytes(profile(table(1_000, seed), SCHEMA)) for seed in range(50)]
    stored = [some[i % 50] for i in range(1_000)]
    started = time.perf_counter()
    profiles = [from_bytes(s) for s in stored]
    reading = time.perf_counter() - started
    found = drift_trends(profiles, merge(profiles[:5]), SCHEMA)
    whole = time.perf_counter() - started
    points = sum(v is not None for c in found for v in c.against_reference)
    print(
        f"1,000 batches x 1,000 rows x {len(found)} features: {points:,} points in {whole:.2f} s ({reading:.2f} s reading)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, action="append", help="1000000 and 100000 by default")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--flags", type=int, metavar="SEEDS")
    parser.add_argument("--history", action="store_true")
    args = parser.parse_args()
    if args.flags:
        flags(args.flags)
    elif args.history:
        history()
    else:
        for rows in args.rows or (1_000_000, 100_000):
            speed(rows, args.repeats)


if __name__ == "__main__":
    main()
