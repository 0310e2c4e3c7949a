"""The loop on a folder of drifting streams, policy by policy: `python benchmarks/streams.py FOLDER`.

FOLDER holds files <name>.csv.gz or .csv with the label in the column `--target`. One row at a time is predicted, batch by
batch, before its label is known; the figure is Cohen's kappa, or R2, pooled over everything after the warm-up. With river
installed its adaptive random forest, which learns online, is measured the same way.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.learning.backtest import replay
from core.learning.policy import POLICIES
from core.performance.realised import measure
from core.records import Task


def forest(frame: pd.DataFrame, target: str, *, batch: int, warm_up: int, categorical: tuple[str, ...]) -> float | None:
    """Kappa or R2 of river's adaptive random forest of ten trees, labels arriving after each batch."""
    from river import forest as river_forest

    y = frame[target].to_numpy()
    regression = y.dtype.kind == "f" and len(np.unique(y)) > 50
    kind = river_forest.ARFRegressor if regression else river_forest.ARFClassifier
    model = kind(n_models=10, seed=0)
    features = frame.drop(columns=target)
    for name in categorical:
        features[name] = features[name].astype(str)
    rows = features.to_dict("records")
    answers: list[Any] = []
    for start in [0, *range(warm_up, len(rows), batch)]:
        end = warm_up if start == 0 else min(start + batch, len(rows))
        if start:
            answers += [model.predict_one(row) for row in rows[start:end]]
        for row, label in zip(rows[start:end], y[start:end], strict=True):
            model.learn_one(row, label)
    task: Task = "regression" if regression else "multiclass"
    metric = "r2" if regression else "kappa"
    return measure(task, y[warm_up:], np.asarray(answers), metrics=[metric], intervals=False).score(metric).value


def main() -> None:
    """Prints one line a stream."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", help="names of streams; all of the folder otherwise")
    parser.add_argument("--policies", nargs="*", default=list(POLICIES))
    parser.add_argument("--target", default="y")
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--warm-up", type=int, default=1000)
    parser.add_argument("--drop", type=int, default=0, help="first rows left out, so that changes fall inside batches")
    parser.add_argument("--every", nargs="*", default=[], metavar="NAME=K", help="take every k-th row of a stream")
    parser.add_argument(
        "--categorical", nargs="*", default=[], metavar="NAME=A,B", help="numeric columns that are codes"
    )
    options = parser.parse_args()
    every: Mapping[str, int] = {name: int(k) for name, k in (item.split("=") for item in options.every)}
    coded = {name: tuple(columns.split(",")) for name, columns in (item.split("=") for item in options.categorical)}
    files = {file.name.split(".")[0]: file for file in sorted(options.folder.glob("*.csv*"))}
    names = [name for name in files if not options.only or name in options.only]
    if not names:
        sys.exit(f"No stream to measure in {options.folder}: expected files <name>.csv or <name>.csv.gz.")
    try:
        import river  # noqa: F401

        with_forest = True
    except ImportError:
        with_forest = False
    columns = [*options.policies, *(["river ARF"] if with_forest else [])]
    print(f"{'stream':20s}" + "".join(f"{column:>12s}" for column in columns) + "   fits/batch  s/batch (last policy)")
    means: dict[str, list[float]] = {column: [] for column in columns}
    for name in names:
        frame = pd.read_csv(files[name]).iloc[:: every.get(name, 1)].iloc[options.drop :].reset_index(drop=True)
        categorical = coded.get(name, ())
        line, report, spent = f"{name:20s}", None, 0.0
        for policy in options.policies:
            began = time.process_time()
            report = replay(
                frame, options.target, batch_rows=options.batch, warmup_rows=options.warm_up, policy=policy,
                categorical=categorical,
            )  # fmt: skip
            spent = time.process_time() - began
            value = report.scores.get("kappa", report.scores.get("r2"))
            line += f"{value:12.3f}" if value is not None else f"{'-':>12s}"
            means[policy].append(np.nan if value is None else value)
        if with_forest:
            value = forest(frame, options.target, batch=options.batch, warm_up=options.warm_up, categorical=categorical)
            line += f"{value:12.3f}" if value is not None else f"{'-':>12s}"
            means["river ARF"].append(np.nan if value is None else value)
        if report is not None:
            line += f"   {report.fits / report.batches:10.2f}  {spent / report.batches:7.2f}"
        print(line, flush=True)
    print(f"{'mean':20s}" + "".join(f"{np.nanmean(means[column]):12.3f}" for column in columns))


if __name__ == "__main__":
    main()
