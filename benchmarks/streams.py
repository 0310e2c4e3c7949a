"""The loop on a folder of drifting streams, policy by policy: `python benchmarks/streams.py FOLDER`.

FOLDER holds files <name>.csv.gz or .csv with the label in the column `--target`. One row at a time is predicted, batch by
batch, before its label is known; the figure is Cohen's kappa, or R2, pooled over everything after the warm-up. With river
installed its adaptive random forest, which learns online, is measured the same way. Labels may come late or in part, and
rows may be shuffled inside their batch.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.learning.backtest import ReplayReport
from core.learning.policy import POLICIES
from core.learning.replay import Pace, replay
from core.performance.realised import measure
from core.records import Task


def forest(
    frame: pd.DataFrame,
    target: str,
    *,
    batch: int,
    warm_up: int,
    categorical: tuple[str, ...],
    label_delay: int = 0,
    label_fraction: float = 1.0,
    seed: int = 0,
) -> float | None:
    """Kappa or R2 of river's adaptive random forest of ten trees, given the same labels at the same time."""
    from river import forest as river_forest

    y = frame[target].to_numpy()
    regression = y.dtype.kind == "f" and len(np.unique(y)) > 50
    kind = river_forest.ARFRegressor if regression else river_forest.ARFClassifier
    model = kind(n_models=10, seed=0)
    features = frame.drop(columns=target)
    for name in categorical:
        features[name] = features[name].astype(str)
    rows = [{k: v for k, v in row.items() if v == v} for row in features.to_dict("records")]  # a gap is an absent key
    reaches = np.random.default_rng(seed).random(len(y)) < label_fraction
    for row, label in zip(rows[:warm_up], y[:warm_up], strict=True):
        model.learn_one(row, label)
    answers: list[Any] = []
    asked = warm_up
    for start in range(warm_up, len(rows), batch):
        end = min(start + batch, len(rows))
        answers += [model.predict_one(row) for row in rows[start:end]]
        until = max(asked, end - label_delay * batch)
        for i in range(asked, until):
            if reaches[i]:
                model.learn_one(rows[i], y[i])
        asked = until
    task: Task = "regression" if regression else "multiclass"
    metric = "r2" if regression else "kappa"
    return measure(task, y[warm_up:], np.asarray(answers), metrics=[metric], intervals=None).score(metric).value


def shuffled(frame: pd.DataFrame, *, batch: int, warm_up: int) -> pd.DataFrame:
    """The rows in another order inside each batch: a model that looks at one row at a time does as well."""
    rng = np.random.default_rng(0)
    order = np.arange(len(frame))
    for start in range(warm_up, len(frame), batch):
        rng.shuffle(order[start : start + batch])
    return frame.iloc[order].reset_index(drop=True)


def worse_admissions(report: ReplayReport) -> tuple[int, int]:
    """Models let in that did significantly worse than what they replaced over the next rows, and how many were let in."""
    reported = [admission.to_document() for admission in report.admissions]
    worse = sum(a["losses"] > a["wins"] and a["p"] is not None and a["p"] < 0.05 for a in reported)
    return worse, len(reported)


def main() -> None:
    """Prints a table of scores and one of what the default policy cost."""
    options = read_arguments()
    every: Mapping[str, int] = {name: int(k) for name, k in (item.split("=") for item in options.every)}
    coded = {name: tuple(columns.split(",")) for name, columns in (item.split("=") for item in options.categorical)}
    files = {file.name.split(".")[0]: file for file in sorted(options.folder.glob("*.csv*"))}
    names = [name for name in files if not options.only or name in options.only]
    if not names:
        sys.exit(f"No stream to measure in {options.folder}: expected files <name>.csv or <name>.csv.gz.")
    with_forest = options.forest and find_spec("river") is not None
    columns = [*options.policies, *(["river ARF"] if with_forest else [])]
    print(f"{'stream':20s}{'metric':>8s}" + "".join(f"{column:>12s}" for column in columns))
    reported: dict[str, list[tuple[str, ReplayReport, float]]] = {}
    means: dict[str, dict[str, list[float]]] = {}
    late = {"label_delay": options.label_delay, "label_fraction": options.label_fraction}
    for name in names:
        frame = pd.read_csv(files[name]).iloc[:: every.get(name, 1)].iloc[options.drop :].reset_index(drop=True)
        if options.shuffle:
            frame = shuffled(frame, batch=options.batch, warm_up=options.warm_up)
        categorical = coded.get(name, ())
        values: dict[str, float | None] = {}
        metric = "kappa"
        for policy in options.policies:
            pace = Pace(batch_rows=options.batch, warmup_rows=options.warm_up, **late)
            began = time.perf_counter()
            report = replay(frame, options.target, policy=policy, categorical=categorical, pace=pace)
            metric = "r2" if report.task == "regression" else "kappa"
            values[policy] = report.scores[metric]
            reported.setdefault(policy, []).append((name, report, time.perf_counter() - began))
        if with_forest:
            values["river ARF"] = forest(
                frame, options.target, batch=options.batch, warm_up=options.warm_up, categorical=categorical, **late
            )
        cells = "".join(f"{v:12.3f}" if (v := values[column]) is not None else f"{'-':>12s}" for column in columns)
        print(f"{name:20s}{metric:>8s}{cells}", flush=True)
        for column, value in values.items():
            if value is not None:
                means.setdefault(metric, {}).setdefault(column, []).append(value)
    for metric, by_column in means.items():
        print(f"{'mean':20s}{metric:>8s}" + "".join(f"{np.mean(by_column.get(c, [np.nan])):12.3f}" for c in columns))
    for policy in options.policies:
        print(
            f"\n{policy:20s}{'fits/batch':>12s}{'s/batch':>9s}{'promoted':>10s}{'refreshed':>10s}{'rolled back':>12s}{'worse/let in':>14s}"
        )
        for name, report, seconds in reported[policy]:
            worse, let_in = worse_admissions(report)
            print(
                f"{name:20s}{report.fits / report.batches:12.2f}{seconds / report.batches:9.2f}{report.promotions:10d}"
                f"{report.refreshes:10d}{report.rollbacks:12d}{f'{worse}/{let_in}':>14s}"
            )


def read_arguments() -> argparse.Namespace:
    """The command line."""
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
    parser.add_argument("--label-delay", type=int, default=0, metavar="BATCHES")
    parser.add_argument("--label-fraction", type=float, default=1.0)
    parser.add_argument("--shuffle", action="store_true", help="rows in another order inside each batch")
    parser.add_argument("--no-forest", dest="forest", action="store_false", help="leave river's forest out")
    return parser.parse_args()


if __name__ == "__main__":
    main()
