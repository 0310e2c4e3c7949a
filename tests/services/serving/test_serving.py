"""The champion in memory: swapped when another one is promoted, kept when that one is damaged; every answer logged."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select

from core.data.rows import columns_of, rows_to_frame
from core.errors import BadInput, NoChampion
from core.learning.models import fit_family
from core.records import NO_REASON, Change, Feature, FeatureSchema, Label, ProjectInfo
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.services.serving import answer_records, champion_cache, file_answers, predicting
from core.services.serving.prediction_log import store
from core.storage import registry, scorers
from core.storage.tables import Prediction
from core.storage.workspace import Workspace

FEATURES = (
    Feature(name="size", kind="numeric", low=-3.0, high=3.0),
    Feature(name="colour", kind="categorical", categories=("blue", "red")),
)


class Clock:
    """Seconds that pass by assignment."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def rows(classes: tuple[Label, ...], n: int = 200) -> tuple[FeatureSchema, pd.DataFrame, np.ndarray]:
    """A schema and rows; without classes it is a regression."""
    rng = np.random.default_rng(0)
    size = rng.normal(size=n)
    colour = rng.choice(["blue", "red"], size=n)
    task = "regression" if not classes else "binary" if len(classes) == 2 else "multiclass"
    schema = FeatureSchema(task=task, target="y", features=FEATURES, classes=classes)
    X, _, _ = rows_to_frame([{"size": s, "colour": c} for s, c in zip(size, colour, strict=True)], schema)
    if not classes:
        return schema, X, size * 2.0
    codes = np.digitize(size, np.quantile(size, np.arange(1, len(classes)) / len(classes)))
    y = np.empty(n, dtype=object)
    y[:] = [classes[k] for k in codes]
    return schema, X, np.array(y.tolist())


Promote = Callable[..., int]


@pytest.fixture
def project(ws: Workspace, now: datetime) -> ProjectInfo:
    """An empty project."""
    return projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now)


@pytest.fixture
def promote(ws: Workspace, project: ProjectInfo, now: datetime) -> Promote:
    """Fits, registers and promotes a model; returns its version."""

    def _promote(classes: tuple[Label, ...] = ("no", "yes"), *, seed: int = 0) -> int:
        schema, X, y = rows(classes)
        family = "logistic" if classes else "ridge"
        model = fit_family(family, schema, X.iloc[seed:], y[seed:], seed=seed)
        version = registry.register_version(
            ws,
            project,
            registry.NewVersion(model=model, family=family, schema=schema, X_learnt=X.head(), n_rows=len(X)),
            Change(by="test", now=now),
        ).version
        with ws.database.write() as session:
            registry.record_event(session, project.id, version, "promoted", NO_REASON, Change(by="test", now=now))
        return version

    return _promote


def test_a_promotion_is_served_within_a_second(ws: Workspace, project: ProjectInfo, promote: Promote) -> None:
    clock = Clock()
    champions = champion_cache.Champions(ws, clock=clock)
    assert champions.get(project.id) is None
    first = promote()
    assert champions.get(project.id) is None  # looked a moment ago
    clock.now += 0.6
    served = champions.get(project.id)
    assert served is not None and served.version == first and champions.problem(project.id) is None
    second = promote(seed=1)
    clock.now += 0.6
    swapped = champions.get(project.id)
    assert swapped is not None and swapped.version == second and swapped.scorer is not served.scorer


def test_a_damaged_new_champion_leaves_the_old_one_serving_and_is_reported(
    ws: Workspace, project: ProjectInfo, promote: Promote
) -> None:
    clock = Clock()
    champions = champion_cache.Champions(ws, clock=clock)
    first = promote()
    clock.now += 1
    assert champions.get(project.id) is not None
    second = promote(seed=1)
    with ws.database.read() as session:
        found = scorers.serving(session, project.id)
    assert found is not None and found.version == second and found.scorer_path is not None
    path = ws.models_path / found.scorer_path
    good = path.read_bytes()
    path.write_bytes(b"damaged")
    clock.now += 1
    served = champions.get(project.id)
    assert served is not None and served.version == first
    assert f"v{second} should serve but cannot be loaded; v{first} still serves" in str(champions.problem(project.id))
    path.write_bytes(good)
    clock.now += 6
    served = champions.get(project.id)
    assert served is not None and served.version == second and champions.problem(project.id) is None


def test_threads_share_one_champion_and_are_never_left_without_while_it_is_swapped(
    ws: Workspace, project: ProjectInfo, promote: Promote
) -> None:
    first = promote()
    champions = champion_cache.Champions(ws)
    seen: list[int | None] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            served = champions.get(project.id)
            seen.append(served.version if served else None)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    second = promote(seed=1)
    assert _until(lambda: seen and seen[-1] == second, stop)
    stop.set()
    for thread in threads:
        thread.join()
    assert set(seen) == {first, second}


def _until(reached: Callable[[], Any], pace: threading.Event) -> bool:
    for _ in range(200):
        if reached():
            return True
        pace.wait(0.02)
    return False


@pytest.mark.parametrize("classes", [("no", "yes"), (0, 1, 2), (False, True)])
def test_classes_come_back_as_in_the_data(
    ws: Workspace, project: ProjectInfo, promote: Promote, classes: tuple[Label, ...]
) -> None:
    promote(classes)
    served = champion_cache.champion(ws, project)
    X, _, _ = rows_to_frame([{"size": 3.0, "colour": "red"}, {"size": None, "colour": "green"}], served.schema)
    predicted = predicting.predict(served, X)
    assert predicted.classes == classes and type(predicted.classes[0]) is type(classes[0])
    assert predicted.labels[0] == classes[-1] and type(predicted.labels[0]) is type(classes[-1])
    assert predicted.probabilities is not None
    np.testing.assert_allclose(predicted.probabilities.sum(axis=1), 1.0)
    assert predicted.probability(0) == predicted.probabilities[0].max()


def test_regression_answers_floats_and_refuses_to_answer_infinity(
    ws: Workspace, project: ProjectInfo, promote: Promote
) -> None:
    promote(())
    served = champion_cache.champion(ws, project)
    X, _, _ = rows_to_frame([{"size": 1.0, "colour": "red"}], served.schema)
    predicted = predicting.predict(served, X)
    assert type(predicted.labels[0]) is float and predicted.labels[0] == pytest.approx(2.0, abs=0.1)
    assert predicted.probabilities is None and predicted.probability(0) is None
    X["size"] = [1e308]
    with pytest.raises(BadInput, match=r"rows\[0\]"):
        predicting.predict(served, X)


def test_logged_rows_hold_everything_that_sealing_and_measuring_need(
    ws: Workspace, project: ProjectInfo, promote: Promote, now: datetime
) -> None:
    version = promote()
    served = champion_cache.champion(ws, project)
    given = [{"size": 1.5, "colour": "red", "_id": "a7"}, {"size": None, "colour": None}]
    X, ids, _ = rows_to_frame(given, served.schema)
    predicted = predicting.predict(served, X)
    earlier = now - timedelta(days=1)
    columns = columns_of(X, served.schema)
    logged = answer_records.records(
        served, predicted, columns, answer_records.PredictionContext(now), ids=ids, times=[earlier, None]
    )
    store(ws, logged)
    with ws.database.read() as session:
        first, second = session.scalars(select(Prediction).order_by(Prediction.id)).all()
    assert first.row_id == "a7" and second.row_id == second.prediction_id != first.prediction_id
    assert (first.observed_at, second.observed_at, first.created_at) == (earlier, now, now)
    assert json.loads(first.features) == {"size": 1.5, "colour": "red"}
    assert json.loads(second.features) == {"size": None, "colour": None}
    assert json.loads(first.prediction) == predicted.labels[0] and first.model_version == version
    assert json.loads(first.classes or "") == ["no", "yes"]
    assert json.loads(first.probabilities or "") == predicted.probabilities[0].tolist()  # type: ignore[index]


def test_a_file_gets_its_answers_in_front_of_its_own_columns(
    ws: Workspace, project: ProjectInfo, promote: Promote, now: datetime
) -> None:
    frame = pd.DataFrame(
        {"colour": ["red", "blue"], "size": [2.0, -2.0], "prediction": ["mine", "mine"], "y": ["?", "!"]}
    )
    with pytest.raises(NoChampion):
        file_answers.predict_file(ws, project, frame, now=now)
    promote()
    answered = file_answers.predict_file(ws, project, frame, now=now)
    assert answered["prediction"].tolist() == ["yes", "no"]
    assert list(answered.columns[:3]) == ["row_id", "prediction", "probability"]
    assert answered["prediction (given)"].tolist() == ["mine", "mine"]
    with ws.database.read() as session:
        assert session.scalars(select(Prediction.row_id).order_by(Prediction.id)).all() == answered["row_id"].tolist()
    file_answers.predict_file(ws, project, frame, now=now, log=False)
    with ws.database.read() as session:
        assert len(session.scalars(select(Prediction.id)).all()) == 2
