"""Guards of a project: stored with who changed them, obeyed within a second, and counted from the log."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta

import numpy as np
import pytest
from patience import limit
from sqlalchemy import select

from core.data.rows import frame_of
from core.errors import BadInput
from core.learning.models import fit_family
from core.records import NO_REASON, Change, Feature, FeatureSchema, ProjectInfo
from core.services.ingestion import ingest
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.services.serving import answer_records, champion_cache, guarding, predicting
from core.services.serving.guarding import GuardHits
from core.services.serving.guards import Guards
from core.services.serving.prediction_log import store
from core.storage import registry
from core.storage.tables import AuditEntry
from core.storage.workspace import Workspace

SCHEMA = FeatureSchema(
    task="binary",
    target="y",
    features=(
        Feature(name="size", kind="numeric", low=-3.0, high=3.0),
        Feature(name="colour", kind="categorical", categories=("blue", "red")),
    ),
    classes=("no", "yes"),
)


@pytest.fixture
def project(ws: Workspace, now: datetime) -> ProjectInfo:
    """A project with rows and a champion."""
    made = projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now)
    rng = np.random.default_rng(0)
    X = frame_of([rng.uniform(-1, 1, 120), rng.choice(["blue", "red"], 120).tolist()], SCHEMA)
    y = np.where(X["size"] > 0, "yes", "no")
    ingest.ingest_frame(ws, made, X.assign(y=y), origin="x", by="test", now=now, target="y")
    made = projects.get_project(ws, "demo")
    assert made.schema is not None
    version = registry.register_version(
        ws,
        made,
        registry.NewVersion(
            model=fit_family("logistic", made.schema, X, y, seed=0),
            family="logistic",
            schema=made.schema,
            X_learnt=X,
            n_rows=120,
        ),
        Change(by="test", now=now),
    ).version
    with ws.database.write() as session:
        registry.record_event(session, made.id, version, "promoted", NO_REASON, Change(by="test", now=now))
    return made


def answer(ws: Workspace, project: ProjectInfo, sizes: list[float], colour: str, now: datetime) -> None:
    """Answers of the champion, logged as the API logs them."""
    served = champion_cache.champion(ws, project)
    columns = [np.array(sizes), [colour] * len(sizes)]
    predicted = predicting.predict_columns(served, columns, len(sizes))
    guarded = predicting.guarded(served, columns, predicted)
    store(
        ws, answer_records.records(served, predicted, columns, answer_records.PredictionContext(now), guarded=guarded)
    )


def test_guards_are_the_usual_ones_until_somebody_changes_them(
    ws: Workspace, project: ProjectInfo, now: datetime
) -> None:
    assert guarding.guards_of(ws, project) == Guards()
    wanted = Guards(out_of_range="abstain", unseen_category="override", override="no", range_margin=0.5)
    guarding.set_guards(ws, project, wanted, by="otto", now=now)
    assert guarding.guards_of(ws, project) == wanted
    with ws.database.read() as session:
        reported = session.scalars(select(AuditEntry).where(AuditEntry.what == "guards changed")).one()
    assert reported.who == "otto" and reported.before is None and reported.after["out_of_range"] == "abstain"


def test_changed_guards_are_obeyed_without_a_new_model(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    seconds = [0.0]
    champions = champion_cache.Champions(ws, clock=lambda: seconds[0])
    served = champions.get(project.id)
    assert served is not None and served.guards.one([50.0, "red"], "yes", 0.9)["action"] == "warn"  # type: ignore[index]
    guarding.set_guards(ws, project, Guards(out_of_range="abstain"), by="otto", now=now)
    seconds[0] += 1.0
    served = champions.get(project.id)
    assert served is not None and served.guards.one([50.0, "red"], "yes", 0.9)["action"] == "abstain"  # type: ignore[index]


def test_guards_that_make_no_sense_are_not_stored(ws: Workspace, project: ProjectInfo, now: datetime) -> None:
    with pytest.raises(BadInput, match="guards"):
        guarding.set_guards(ws, project, Guards(out_of_range="override", override="maybe"), by="otto", now=now)
    with pytest.raises(BadInput, match="no field 'volume'"):
        guarding.changed(Guards(), {"volume": 3})
    assert guarding.guards_of(ws, project) == Guards()
    bare = projects.create_project(ws, "Bare", Origin(source="file"), by="test", now=now)
    with pytest.raises(BadInput, match="no rows yet"):
        guarding.set_guards(ws, bare, Guards(), by="otto", now=now)


def test_hits_are_counted_by_day_from_single_rows_and_from_blocks(
    ws: Workspace, project: ProjectInfo, now: datetime
) -> None:
    before = now - timedelta(days=1)
    answer(ws, project, [0.5, 50.0], "red", before)
    answer(ws, project, [0.5, 50.0, -50.0] + [0.0] * 47, "red", now)  # one block
    answer(ws, project, [50.0], "green", now)
    answer(ws, project, [50.0], "green", now - timedelta(days=40))
    hits = guarding.guard_hits(ws, project.id, since=now - timedelta(days=30))
    assert hits == [
        GuardHits(day=before.date(), guard="out_of_range", action="warn", n=1),
        GuardHits(day=now.date(), guard="out_of_range", action="warn", n=3),
        GuardHits(day=now.date(), guard="unseen_category", action="warn", n=1),
    ]
    assert guarding.guard_hits(ws, project.id + 1, since=now - timedelta(days=30)) == []


@pytest.mark.slow
def test_the_command_line_shows_and_changes_them(ws: Workspace, project: ProjectInfo) -> None:
    def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "core.cli", "guards", *arguments, "--json"]
        return subprocess.run(command, capture_output=True, text=True, timeout=limit(120), check=False)

    done = cli("set", "--unseen-category", "override", "--override", "NO", "--range-margin", "0.25")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["override"] == "no"
    printed = json.loads(cli("show", "--project", "demo").stdout)
    assert (
        printed["unseen_category"] == "override"
        and printed["range_margin"] == 0.25
        and printed["out_of_range"] == "warn"
    )
    done = cli("set", "--override", "maybe")
    assert done.returncode == 1 and "maybe" in done.stderr
