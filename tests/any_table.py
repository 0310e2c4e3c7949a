"""Generated tables of any kind, and every step of the loop on one of them, for the tests that turn them.

What a table is like is drawn: kinds of column, gaps, few or many features, each task. Its rows come as frames, so that
no reader of files is in the way, or as CSV files, of which every cell is text until the schema has looked.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from core.cycle import run_cycle
from core.data.conforming import conform
from core.data.files import write_csv
from core.drift.attribution import MIN_ROWS
from core.drift.explain import explain
from core.drift.frames import compare_frames
from core.drift.multivariate import domain_classifier, pca_reconstruction
from core.errors import NotEnoughRows
from core.learning import replay as replaying
from core.learning.policy import policy_named
from core.records import CycleReport, Policy, ProjectInfo, metric_for, to_document
from core.services.ingestion import ingest, label_intake
from core.services.monitoring import monitoring
from core.services.monitoring.drift_check import IMPORTANCE_FEATURES
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.services.serving import champion_cache, predicting
from core.storage.workspace import Workspace

A_ROUND = 50  # examples between two notes of how far a campaign is
MANY = 60  # further columns of a wide table; one of 200 stands among the known ones
KINDS = (
    "number",
    "whole",
    "text",
    "boolean",
    "date",
    "constant",
    "empty",
    "distinct",
    "single",
    "words and numbers",
    "skewed",
)
GAPS = ("none", "some", "one", "all but one", "all")
TASKS = ("binary", "multiclass", "regression")
TARGETS = {"binary": ("no", "yes"), "multiclass": ("ant", "bee", "fly")}


@dataclass(frozen=True)
class Table:
    """What a generated table is like; its rows follow from it."""

    columns: tuple[tuple[str, str], ...]  # kind and gaps of each feature
    many: int  # further columns of numbers
    task: str
    rows: int
    moved: bool  # whether the later batches come from elsewhere
    seed: int
    families: int = 2  # that race: the first, the second, or both
    late: bool = True  # whether a third batch comes without labels, which come later, or a few rows with theirs
    alone: bool = True  # whether its file is replayed and its frames are compared besides


def cells(kind: str, rng: np.random.Generator, start: int, n: int, moved: bool) -> pd.Series:
    """The values of one column without its gaps."""
    values: Any
    if kind == "number":
        values = rng.normal(2.0 * moved, 1.0, n)
    elif kind == "skewed":
        values = np.exp(rng.normal(0.0, 3.0, n)) * (1e6 if moved else 1.0)
    elif kind == "whole":
        values = rng.integers(0, 5, n) + 3 * moved
    elif kind == "boolean":
        values = rng.random(n) < (0.9 if moved else 0.5)
    elif kind == "date":
        values = [f"2026-01-{1 + (start + i) // 24 % 28:02d} {(start + i) % 24:02d}:00" for i in range(n)]
    elif kind == "constant":
        values = np.full(n, 7.0)
    elif kind == "single":
        values = ["always"] * n
    elif kind == "distinct":
        values = [f"id {start + i}" for i in range(n)]
    elif kind == "empty":
        values = [None] * n
    elif kind == "words and numbers":
        values = [str(v) if v % 3 else f"n{v}" for v in rng.integers(0, 9, n)]
        values[n // 2] = "n0"  # alone, too, a cell that shows what the column holds
    else:
        values = rng.choice(["red", "blue", "dark green", ""] if moved else ["red", "blue", "tan"], n)
    return pd.Series(values)


def with_gaps(column: pd.Series, gaps: str, rng: np.random.Generator) -> pd.Series:
    """The column with cells taken out."""
    n = len(column)
    gone = {
        "none": np.zeros(n, dtype=bool),
        "some": rng.random(n) < 0.3,
        "one": np.arange(n) == n // 2,
        "all but one": np.arange(n) != n // 2,
        "all": np.ones(n, dtype=bool),
    }[gaps]
    return column.where(~gone) if gone.any() else column


def rows_of(table: Table, part: int) -> pd.DataFrame:
    """The rows of the first, second or third batch, with their labels."""
    rng = np.random.default_rng([table.seed, part])
    moved = table.moved and part > 0
    frame = {
        f"{kind} {i}": with_gaps(cells(kind, rng, part * table.rows, table.rows, moved), gaps, rng)
        for i, (kind, gaps) in enumerate(table.columns)
    }
    signal = rng.normal(size=table.rows)
    frame |= {f"more {i}": pd.Series(rng.normal(size=table.rows)) for i in range(table.many)}
    frame["signal"] = pd.Series(signal + 3.0 * moved)  # so far that few rows show it
    value = (-1.0 if moved else 1.0) * signal + rng.normal(0.0, 0.3, table.rows)
    if table.task == "regression":
        frame["y"] = pd.Series(100.0 * value)
    else:
        names = TARGETS[table.task]
        codes = np.digitize(value, np.quantile(value, np.arange(1, len(names)) / len(names)))
        frame["y"] = pd.Series(np.array(names, dtype=object)[codes])
    return pd.DataFrame(frame)


@st.composite
def tables(draw: Any) -> Table:
    """Few features of any kind, or many; no table without a feature that can be learnt from."""
    columns = draw(st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(GAPS)), min_size=1, max_size=7))
    return Table(
        columns=tuple(columns),
        many=(many := draw(st.sampled_from((*[0] * 9, MANY)))),
        task=draw(st.sampled_from(TASKS)),
        rows=draw(st.sampled_from((40, 60, 40, 60, 40, 60, 40, 60 if many else 120))),
        moved=draw(st.booleans()),
        seed=draw(st.integers(0, 2**16)),
        families=draw(st.sampled_from((0, 1, 0, 1, 2))),
        late=draw(st.booleans()),
        alone=draw(st.sampled_from((False, False, False, False, True))),
    )


def cheap(table: Table) -> Policy:
    """A policy under which every step is taken and none is dear."""
    both = ("ridge", "neighbours") if table.task == "regression" else ("logistic", "neighbours")
    families = both if table.families == 2 else (both[table.families],)
    made = policy_named("balanced", families=families, new_labels=30, min_rows=20, max_fits=20.0)
    return replace(made, metric=metric_for(made, table.task))


# --- the steps ------------------------------------------------------------------------------------------------------


@dataclass
class Loop:
    """One project and its clock; where its rows come as files, they and their labels do."""

    ws: Workspace
    project_id: int
    now: datetime
    files: bool

    @property
    def info(self) -> ProjectInfo:
        return projects.project_by_id(self.ws, self.project_id)

    def store(self, frame: pd.DataFrame) -> ingest.IngestReport:
        self.now += timedelta(hours=1)
        target = "y" if self.info.schema is None else None
        if not self.files:
            return ingest.ingest_frame(
                self.ws, self.info, frame, origin="generated", by="test", now=self.now, target=target
            )
        path = self.ws.settings.home_path / "rows.csv"
        path.write_bytes(write_csv(frame))
        stored = ingest.ingest_file(self.ws, self.info, path, by="test", now=self.now, target=target)
        assert stored.rows == len(frame)
        return stored

    def label(self, ids: list[str], labels: list[Any]) -> None:
        self.now += timedelta(minutes=5)
        if self.files:
            data = write_csv(pd.DataFrame({"row_id": ids, "label": labels}))
            label_intake.add_label_file(self.ws, self.info, data, name="labels.csv", by="test", now=self.now)
        else:
            pairs = list(zip(ids, labels, strict=True))
            label_intake.add_labels(self.ws, self.info, pairs, by="test", now=self.now)

    def turn(self, *, force: bool = False) -> CycleReport:
        """A cycle that has news; its record can be stored and read as JSON."""
        self.now += timedelta(minutes=5)
        report = run_cycle(self.ws, self.project_id, cause="cli", now=self.now, force=force)
        assert report is not None
        assert report.status == "done", report.error
        json.dumps(to_document(report), allow_nan=False)
        return report


def race_first(one: Loop, frame: pd.DataFrame) -> None:
    """The first batch makes the first champion."""
    one.store(frame)
    report = one.turn()
    assert report.champion_after == 1, report.reason
    assert all(c.error is None for c in report.candidates), report.candidates


def race_again(one: Loop, frame: pd.DataFrame, *, moved: bool) -> None:
    """The second batch is measured, held against the first, and raced on."""
    one.store(frame)
    report = one.turn(force=True)
    assert report.evidence is not None and report.evidence.set_aside == ()
    assert report.evidence.score is not None
    assert report.comparison is not None
    assert all(c.error is None for c in report.candidates), report.candidates
    found = monitoring.latest_drift(one.ws, one.project_id)
    assert found is not None
    drift = found[1]
    json.dumps(to_document(drift), allow_nan=False)
    assert all(score.reason for score in drift.scores)
    if moved:
        assert drift.drifted
    if len(frame) < MIN_ROWS:  # too few to tell what the champion leans on
        assert drift.importance is None and drift.attribution is None
    elif moved:
        assert drift.importance is not None
        assert len(drift.importance) == min(len(drift.scores), IMPORTANCE_FEATURES)
        assert drift.attribution is None  # there are no earlier rows that the champion has not learnt from
    json.dumps(
        monitoring.performance_history(one.ws, one.project_id)[-1]
        .scores["mae" if one.info.task == "regression" else "accuracy"]
        .value
    )


def label_late(one: Loop, frame: pd.DataFrame) -> None:
    """A batch without labels is estimated; its labels come later and are measured."""
    stored = one.store(frame.drop(columns="y"))
    one.turn()
    before = len(monitoring.performance_history(one.ws, one.project_id))
    one.label([f"b{stored.batch.number}-{i}" for i in range(len(frame))], frame["y"].tolist())
    one.turn()
    assert len(monitoring.performance_history(one.ws, one.project_id)) == before + 1


def trickle(one: Loop, few: pd.DataFrame) -> None:
    """A batch of a few rows is measured like any other."""
    one.store(few)
    report = one.turn()
    assert report.evidence is not None and report.evidence.n_rows == report.evidence.n_labelled == len(few)
    assert report.evidence.set_aside == ()


def ask(one: Loop, frame: pd.DataFrame) -> None:
    """The champion answers every row of it, and a row without any value."""
    served = champion_cache.champion(one.ws, one.info)
    schema = one.info.schema
    assert schema is not None
    X = conform(frame.drop(columns="y"), schema).X
    answered = predicting.predict(served, X)
    assert len(answered.labels) == len(X)
    (alone,) = predicting.predict(served, X.head(1)).labels
    assert alone == pytest.approx(answered.labels[0]) if schema.task == "regression" else alone == answered.labels[0]


def replay(frame: pd.DataFrame, table: Table) -> None:
    """The file alone, from the warm-up on."""
    n = table.rows
    report = replaying.replay(
        frame, "y", pace=replaying.Pace(batch_rows=n // 2, warmup_rows=n, seed=1), policy=cheap(table)
    )
    assert report.rows_scored == 2 * n


def drift_of(before: pd.DataFrame, after: pd.DataFrame, table: Table) -> None:
    """Both frames against each other, with all that a report can hold."""
    schema, report = compare_frames(before, after, target="y")
    assert all(score.reason for score in report.scores)
    assert report.label is not None
    assert not table.moved or "signal" in report.drifted
    try:
        json.dumps(to_document(domain_classifier(before, after, schema)), allow_nan=False)
    except NotEnoughRows:
        assert table.rows < 100
    json.dumps(to_document(pca_reconstruction(before, after, schema)), allow_nan=False)
    found = explain(before, after, schema)
    assert found is None or found.code == "change_is"


def live(ws: Workspace, now: datetime, table: Table, *, files: bool, name: str = "table") -> None:
    """Every step on one table."""
    first, second, third = (rows_of(table, part) for part in range(3))
    made = projects.create_project(ws, name, Origin(source="file"), by="test", now=now, policy=cheap(table))
    one = Loop(ws, made.id, now, files)
    race_first(one, first)
    race_again(one, second, moved=table.moved)
    if table.late:
        label_late(one, third)
    else:
        trickle(one, third.head(1 if table.seed % 2 else 12))
    ask(one, third)
    if table.alone:
        replay(pd.concat([first, second, third], ignore_index=True), table)
        drift_of(first, second, table)


def turn_round(ws: Workspace, now: datetime, number: int, *, files: bool) -> int:
    """How many tables of one round went through every step; each round has tables of its own, the same in every run."""
    seen: list[Table] = []
    names = itertools.count()

    # A table takes half a second: making a failing one smaller would take minutes.
    @seed(2 * number + files)
    @settings(max_examples=A_ROUND, phases=[Phase.generate], derandomize=False, suppress_health_check=list(HealthCheck))
    @given(tables())
    def turned(table: Table) -> None:
        seen.append(table)
        live(ws, now, table, files=files, name=f"table {number} {next(names)}")

    turned()
    return len(seen)
