"""What one more step costs a project that has lived long, as a ratio to what it cost when the project was young.

    python benchmarks/growth.py                      10 against 1,000 batches of 1,000 rows (some minutes, 2 GB of disk)
    python benchmarks/growth.py --batches 200 --predictions 200000 --bar 2

CPU seconds of this process, medians of some repeats in one run: rows that come with ids and instants of their own, a label of an old row,
a check of both, predictions that become a batch, pages of the prediction log, the list of projects. The first batches and checks are real ones; the others
are copies of the newest in every table that a check writes to. Exits with 1 when a step costs more than `--bar` times
what it did.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from loguru import logger
from sqlalchemy import func, select, text

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from states import opened

from core.cycle import run_cycle
from core.services.ingestion import ingest, label_intake, sealing
from core.services.projects import projects
from core.services.serving import file_answers, logged_predictions
from core.storage import history, mlflow_copy
from core.storage.tables import Batch, BatchIds, Cycle, DriftRun, EstimateRun, PerformanceRun, Project
from core.storage.workspace import Workspace

BATCH_ROWS, FEATURES, YOUNG = 1_000, 20, 10
UNLABELLED = 50  # rows of each batch whose label has not come
PAGE = 1_000
AT_ONCE = 100  # batches in one transaction of the filling
RUNS = (PerformanceRun, EstimateRun, DriftRun)
BY = "benchmark"


class Grown:
    """A project that grows, and what a step of its life costs it."""

    def __init__(self, ws: Workspace, policy: str) -> None:
        self.ws, self.now = ws, datetime(2026, 1, 1, tzinfo=UTC)
        self.id = projects.create_project(
            ws, "grown", projects.Origin(source="file"), by=BY, now=self.now, policy=policy
        ).id
        self.named = 0  # batches, by the names of their rows
        self.labelled = 0  # old rows that a step has labelled

    def rows(self) -> pd.DataFrame:
        """One batch as somebody would send it."""
        self.named += 1
        values = np.random.default_rng(self.named).normal(size=(BATCH_ROWS, FEATURES))
        frame = pd.DataFrame(values, columns=[f"f{j}" for j in range(FEATURES)])
        frame["y"] = pd.array((values[:, 0] + values[:, 1] > 0).astype(int), dtype="Int64")
        frame.loc[BATCH_ROWS - UNLABELLED :, "y"] = pd.NA
        frame.insert(0, "id", [f"k{self.named}-{i}" for i in range(BATCH_ROWS)])
        frame.insert(1, "at", [f"{self.now + timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}"] * BATCH_ROWS)
        return frame

    def live(self, batches: int) -> None:
        """Real batches and checks."""
        for _ in range(batches):
            self.ingest(self.rows())
            self.check()

    # --- steps ------------------------------------------------------------------------------------------------------

    def ingest(self, frame: pd.DataFrame) -> None:
        self.now += timedelta(minutes=1)
        project = projects.project_by_id(self.ws, self.id)
        named = ingest.Options(target="y", id_column="id", time_column="at")
        options = ingest.Options() if project.schema else named
        ingest.ingest_frame(self.ws, project, frame, origin="rows.csv", by=BY, now=self.now, **options)

    def label(self) -> None:
        """The label of a row of the oldest batch."""
        self.labelled += 1
        project, row_id = projects.project_by_id(self.ws, self.id), f"k1-{BATCH_ROWS - self.labelled}"
        label_intake.add_labels(self.ws, project, [(row_id, 1)], by=BY, now=self.now)

    def check(self) -> None:
        report = run_cycle(self.ws, self.id, cause="cli", now=self.now)
        assert report is not None and report.status == "done"

    def predict(self, frame: pd.DataFrame) -> None:
        """Predictions for such rows, in the log."""
        project = projects.project_by_id(self.ws, self.id)
        file_answers.predict_file(self.ws, project, frame.drop(columns=["id", "y"]), now=self.now)

    def seal(self) -> None:
        sealed = sealing.seal_log(self.ws, projects.project_by_id(self.ws, self.id), now=self.now, force=True)
        assert sealed is not None and sealed.rows == BATCH_ROWS

    def page(self, share: float) -> None:
        """A page of the prediction log, behind this share of it."""
        with self.ws.database.read() as session:
            last = session.scalar(text("SELECT max(id) FROM predictions")) or 0
        found, _ = logged_predictions.logged(self.ws, self.id, limit=PAGE, after=(int(last * share), 0))
        assert len(found) == PAGE

    def steps(self, repeats: int) -> dict[str, float]:
        """CPU seconds of each step, medians; the first time of each does not count."""
        spent: dict[str, list[float]] = {}

        def timed(name: str, work: Callable[[], Any], times: int = 1) -> None:
            began = time.process_time()
            for _ in range(times):
                work()
            spent.setdefault(name, []).append((time.process_time() - began) / times)

        for _ in range(repeats + 1):
            frame = self.rows()
            timed("rows with ids of their own", functools.partial(self.ingest, frame))
            timed("one label", self.label)
            timed("a check of both", self.check)
            self.predict(frame)
            timed("sealing the log", self.seal)
            timed("first page of the log", lambda: self.page(0.0), 3)
            timed("page by cursor", lambda: self.page(0.75), 3)
            timed("list of projects", lambda: projects.list_projects(self.ws), 20)
        return {name: statistics.median(values[1:]) for name, values in spent.items()}

    # --- filling ----------------------------------------------------------------------------------------------------

    def fill(self, batches: int, predictions: int) -> None:
        """Bring the project to so many batches, and the log to so many predictions."""
        with self.ws.database.read() as session:
            there = session.scalar(select(func.count()).select_from(Batch).where(Batch.project_id == self.id)) or 0
        for start in range(there, batches, AT_ONCE):
            self._copy(min(AT_ONCE, batches - start))
        self._log(predictions)

    def _copy(self, many: int) -> None:
        """Batches like the newest, each with its check; all their labels but a few come by row id."""
        ws = self.ws
        with ws.database.read() as session:
            newest = session.scalars(select(Batch).order_by(Batch.id.desc()).limit(1)).one()
            cycle = session.scalars(select(Cycle).order_by(Cycle.id.desc()).limit(1)).one()
            schema = projects.project_by_id(ws, self.id).schema
            measured = {
                table: list(session.scalars(select(table).where(table.batch_id == newest.id))) for table in RUNS
            }
        assert schema is not None
        with ws.database.write() as session:
            owner = session.get_one(Project, self.id)
            for _ in range(many):
                frame = self.rows()
                self.now += timedelta(minutes=1)
                ids = frame.pop("id").tolist()
                frame = frame.drop(columns="at")
                stored = frame.copy()
                stored["y"] = history.encode_target([None] * len(frame), schema.task).to_numpy()
                stored.insert(0, "_time", pd.DatetimeIndex([self.now] * len(frame)).as_unit("us"))
                stored.insert(0, "_id", ids)
                number = newest.number + self.named
                path = f"p{self.id}/filled-{number}.parquet"
                scores = path.removesuffix(".parquet") + "-scores.parquet"
                p = np.clip(0.5 + 0.1 * (frame["f0"] + frame["f1"]).to_numpy(), 0, 1)
                answers, version = (p > 0.5).astype(int).tolist(), newest.scored_by or 1
                stamps = {"first_at": self.now, "last_at": self.now, "created_at": self.now}
                batch = Batch(**{**_values(newest), **stamps, "number": number, "path": path, "digest": f"filled {number}", "labelled": 0})  # fmt: skip
                batch.sha256 = ws.batches.write_frame(path, stored)
                batch.scores_path = scores
                batch.scores_sha256 = history.write_scores(ws, scores, answers, np.column_stack([1 - p, p]), schema.classes, [version] * len(ids))  # fmt: skip
                session.add(batch)
                turn = Cycle(**{**_values(cycle), "started_at": self.now, "finished_at": self.now})
                session.add(turn)
                session.flush()
                turn.batch_ids = [batch.id]
                session.add(BatchIds(batch_id=batch.id, hashes=history.hashed(ids).tobytes()))
                for table, runs in measured.items():
                    for run in runs:
                        session.add(table(**{**_values(run), "batch_id": batch.id, "cycle_id": turn.id, "at": self.now, "created_at": self.now}))  # fmt: skip
                known = frame["y"].notna()
                session.execute(
                    text("INSERT INTO labels (project_id, row_id, value, created_at, created_by) VALUES (:p, :r, :v, :t, :b)"),
                    [{"p": self.id, "r": r, "v": str(v), "t": f"{self.now:%Y-%m-%d %H:%M:%S.%f}", "b": BY} for r, v in zip(np.array(ids)[known].tolist(), frame["y"][known].tolist(), strict=True)],
                )  # fmt: skip
                owner.rows += len(ids)
                owner.labelled += int(known.sum())
                owner.batch_watermark = batch.id
            owner.label_watermark = owner.labels_checked = session.scalar(text("SELECT max(id) FROM labels")) or 0
            owner.clock_at = self.now

    def _log(self, predictions: int) -> None:
        """Answered predictions, one row of the log each, sealed into the batches in turn."""
        with self.ws.database.write() as session:
            there = session.scalar(text("SELECT count(*) FROM predictions")) or 0
            ids = list(session.scalars(select(Batch.id).order_by(Batch.id)))
            features = "{" + ", ".join(f'"f{j}": 0.{j}' for j in range(FEATURES)) + "}"
            session.execute(
                text(
                    "INSERT INTO predictions (project_id, prediction_id, row_id, model_version, prediction, probabilities, "
                    "classes, features, observed_at, created_at, batch_id, rows, anonymous) "
                    "WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :last) "
                    "SELECT :project, printf('20260101T000000-%012d', i), printf('asked-%d', i), 1, '1', '[0.25, 0.75]', "
                    "'[0, 1]', :features, :at, :at, :base + i * :batches / :last, 1, 0 FROM n"
                ),
                {"first": there, "last": predictions, "project": self.id, "features": features,
                 "at": f"{self.now:%Y-%m-%d %H:%M:%S.%f}", "base": ids[0], "batches": len(ids)},
            )  # fmt: skip


def _values(row: Any) -> dict[str, Any]:
    """What a row holds, its id aside."""
    return {c.name: getattr(row, c.name) for c in type(row).__table__.columns if c.name != "id"}


def main() -> int:
    """Measure young, fill, measure grown, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=1_000)
    parser.add_argument("--predictions", type=int, default=2_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bar", type=float, default=2.0, help="a step may cost so many times what it did")
    parser.add_argument("--policy", default="original", help="one that seldom races: a race costs what its rows do")
    options = parser.parse_args()
    logger.remove()
    mlflow_copy.sync = lambda ws, project_id: None  # the copy for people is made apart, and costs no step anything
    with tempfile.TemporaryDirectory(prefix="growth-") as folder:
        ws = opened(Path(folder), migrate=True)
        grown = Grown(ws, options.policy)
        grown.live(3)
        grown.fill(YOUNG, YOUNG * options.predictions // options.batches)
        young = grown.steps(options.repeats)
        grown.fill(options.batches, options.predictions)
        old = grown.steps(options.repeats)
        ws.database.dispose()
    print(f"{'CPU milliseconds':<28} {YOUNG:>6} batches {options.batches:>6,} batches   ratio")
    above = False
    for name, before in young.items():
        ratio = old[name] / before
        above |= ratio > options.bar
        print(f"{name:<28} {before * 1e3:14.1f} {old[name] * 1e3:14.1f}   x {ratio:.2f}{' <- above the bar' if ratio > options.bar else ''}")  # fmt: skip
    return int(above)


if __name__ == "__main__":
    sys.exit(main())
