"""What reading a CSV file costs, as a ratio to pyarrow's own typed reading in the same run.

    python benchmarks/reading.py [--rows 1000000]

Twenty columns: twelve of fractions, three of whole numbers, five of text. The median of five rounds, asked in turn.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyarrow import csv as arrow_csv

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from core.data.conforming import conform
from core.data.files import read_table
from core.data.inferring import first_schema

ROUNDS = 5


def table(rows: int) -> pd.DataFrame:
    """The rows that are written and read."""
    rng = np.random.default_rng(0)
    made: dict[str, Any] = {f"x{i}": rng.normal(size=rows).round(6) for i in range(12)}
    made |= {f"k{i}": rng.integers(0, 10_000, rows) for i in range(3)}
    made |= {f"c{i}": rng.choice(["red", "green", "blue", "yellow"], rows) for i in range(4)}
    return pd.DataFrame({**made, "y": rng.choice(["yes", "no"], rows)})


def timed(work: Callable[[], Any]) -> float:
    """Wall seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> int:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        table(options.rows).to_csv(path, index=False)

        def read() -> pd.DataFrame:
            return read_table(path, name=path.name, max_bytes=10**10, target="y").frame

        frame = read()
        schema, _ = first_schema(frame, target="y")
        work: dict[str, Callable[[], Any]] = {
            "pyarrow, typed": lambda: arrow_csv.read_csv(path),
            "ours, cells": read,
            "first schema": lambda: first_schema(frame, target="y"),
            "rows by the schema": lambda: conform(frame, schema),
        }
        seconds = {name: statistics.median(timed(f) for _ in range(ROUNDS)) for name, f in work.items()}
    base = seconds["pyarrow, typed"]
    for name, value in seconds.items():
        print(f"  {name:20s} {value:6.2f} s   x {value / base:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
