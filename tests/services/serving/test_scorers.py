"""The scorer that serves: verified before it answers; a bad one leaves the old champion where it is and says why."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from patience import limit

from core.data.packed import pack, unpack
from core.data.rows import frame_of, rows_to_frame
from core.errors import StorageError
from core.learning.models import fit_family
from core.records import NO_REASON, Change, Feature, FeatureSchema, ProjectInfo
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.services.serving import champion_cache, explaining, predicting
from core.storage import registry, scorers
from core.storage.tables import ModelRow
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
Promote = Callable[..., int]


class Clock:
    """Seconds that pass by assignment."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def rows(n: int = 120) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    size = rng.normal(size=n)
    return frame_of([size, rng.choice(["blue", "red"], n).tolist()], SCHEMA), np.where(size > 0, "yes", "no")


@pytest.fixture
def project(ws: Workspace, now: datetime) -> ProjectInfo:
    return projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now)


@pytest.fixture
def promote(ws: Workspace, project: ProjectInfo, now: datetime) -> Promote:
    """Fits, registers and promotes a model; returns its version."""

    def _promote(family: str = "logistic", seed: int = 0) -> int:
        X, y = rows()
        model = fit_family(family, SCHEMA, X.iloc[seed:], y[seed:], seed=seed)
        version = registry.register_version(
            ws,
            project,
            registry.NewVersion(model=model, family=family, schema=SCHEMA, X_learnt=X, n_rows=len(X)),
            Change(by="test", now=now),
        ).version
        with ws.database.write() as session:
            registry.record_event(session, project.id, version, "promoted", NO_REASON, Change(by="test", now=now))
        return version

    return _promote


def stored(ws: Workspace, project: ProjectInfo) -> scorers.Serving:
    with ws.database.read() as session:
        found = scorers.serving(session, project.id)
    assert found is not None and found.scorer_path is not None and found.scorer_sha256 is not None
    return found


def replace(ws: Workspace, project: ProjectInfo, data: bytes, *, recorded: bool = True) -> None:
    """Put other bytes where the serving scorer lies; `recorded`: the database names their sha256."""
    found = stored(ws, project)
    (ws.models_path / str(found.scorer_path)).write_bytes(data)
    if recorded:
        with ws.database.write() as session:
            session.query(ModelRow).filter_by(version=found.version).update(
                {"scorer_sha256": hashlib.sha256(data).hexdigest()}
            )


def artefact(ws: Workspace, project: ProjectInfo) -> bytes:
    return (ws.models_path / str(stored(ws, project).scorer_path)).read_bytes()


def edited(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The artefact with a changed document."""
    document, views = unpack(data)
    change(document)
    codes = {8: "d", 4: "i", 1: "b"}
    header_end = 8 + int.from_bytes(data[4:8], "little")
    sizes = {name: code for name, code, _ in json.loads(data[8:header_end])["arrays"]}
    assert set(sizes.values()) <= set(codes.values())
    return pack(document, {name: (sizes[name], bytes(view)) for name, view in views.items()}, squeeze=True)


def test_a_promoted_model_answers_by_its_scorer_and_as_the_model_itself(
    ws: Workspace, project: ProjectInfo, promote: Promote
) -> None:
    version = promote("boosting")
    served = champion_cache.champion(ws, project)
    assert type(served.scorer).__name__ == "Trees" and served.version == version
    model = registry.load_model(ws, project.id, version)
    X, _ = rows()
    predicted = predicting.predict(served, X)
    assert predicted.probabilities is not None
    np.testing.assert_allclose(predicted.probabilities, model.predict_proba(X), atol=1e-12)
    label, _, chances = predicting.predict_one(served, [0.5, "red"])
    assert label == "yes" and chances is not None and sum(chances) == pytest.approx(1.0)


BAD: dict[str, tuple[Callable[[bytes], bytes], bool, str]] = {
    "another file": (lambda data: b"damaged", False, "sha256 differs"),
    "one flipped bit": (lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], False, "sha256 differs"),
    "cut off": (lambda data: data[: len(data) // 2], True, "damaged"),
    "empty": (lambda data: b"", True, "damaged"),
    "other answers": (
        lambda data: edited(data, lambda d: d["checks"]["answers"].__setitem__(0, [0.5, 0.5])),
        True,
        "differ from the model",
    ),
    "answers of another width": (
        lambda data: edited(data, lambda d: d["checks"]["answers"].__setitem__(0, [1.0])),
        True,
        "cannot predict its check rows",
    ),
    "a kind of tomorrow": (
        lambda data: edited(data, lambda d: d["part"].__setitem__("kind", "oracle")),
        True,
        "not known to this version",
    ),
    "a document without its parts": (lambda data: edited(data, lambda d: d.pop("ranges")), True, "lacks ranges"),
    "a part without its numbers": (
        lambda data: edited(data, lambda d: d["part"].__setitem__("weights", "none")),
        True,
        "cannot be read",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_scorer_leaves_the_old_champion_serving(
    ws: Workspace, project: ProjectInfo, promote: Promote, kind: str
) -> None:
    change, recorded, reason = BAD[kind]
    clock = Clock()
    champions = champion_cache.Champions(ws, clock=clock)
    first = promote()
    assert champions.get(project.id) is not None
    second = promote(seed=20)
    good = artefact(ws, project)
    replace(ws, project, change(good), recorded=recorded)
    clock.now += 1
    served = champions.get(project.id)
    assert served is not None and served.version == first
    problem = str(champions.problem(project.id))
    assert f"v{second} should serve but cannot be loaded; v{first} still serves" in problem and reason in problem
    with pytest.raises(StorageError, match=reason):
        champion_cache.champion(ws, project)
    replace(ws, project, good)
    clock.now += champion_cache.RETRY_DAMAGED_S + 1
    served = champions.get(project.id)
    assert served is not None and served.version == second and champions.problem(project.id) is None


def test_a_scorer_that_is_gone_is_said_to_be_gone(ws: Workspace, project: ProjectInfo, promote: Promote) -> None:
    promote()
    (ws.models_path / str(stored(ws, project).scorer_path)).unlink()
    with pytest.raises(StorageError, match="backup"):
        champion_cache.champion(ws, project)


def test_a_version_without_a_scorer_answers_by_its_pipeline(
    ws: Workspace, project: ProjectInfo, promote: Promote
) -> None:
    version = promote()
    with_scorer = predicting.predict(champion_cache.champion(ws, project), rows()[0])
    with ws.database.write() as session:
        session.query(ModelRow).update({"scorer_path": None, "scorer_sha256": None})
    served = champion_cache.champion(ws, project)
    assert type(served.scorer).__name__ == "Estimator" and served.version == version
    by_pipeline = predicting.predict(served, rows()[0])
    assert by_pipeline.labels == with_scorer.labels
    np.testing.assert_allclose(by_pipeline.probabilities, with_scorer.probabilities, atol=1e-12)  # type: ignore[arg-type]
    X, _, _ = rows_to_frame([{"size": 0.5, "colour": "red"}], SCHEMA)
    assert predicting.predict_one(served, [0.5, "red"])[2] == served.scorer.one([0.5, "red"])
    assert predicting.predict(served, X).labels == [predicting.predict_one(served, [0.5, "red"])[0]]


def test_a_scorer_is_made_for_a_version_that_had_none(ws: Workspace, project: ProjectInfo, promote: Promote) -> None:
    version = promote("extra_trees")
    before = stored(ws, project)
    with ws.database.write() as session:
        session.query(ModelRow).update({"scorer_path": None, "scorer_sha256": None})
    registry.ensure_scorer(ws, project.id, version, lambda: rows()[0])
    assert stored(ws, project).scorer_sha256 == before.scorer_sha256
    registry.ensure_scorer(ws, project.id, version, lambda: pytest.fail("it has one"))


_ASK = """
import json, sys
from core.services.serving import champion_cache, predicting
from core.storage.workspace import open_workspace
from core.settings import get_settings
ws = open_workspace(get_settings())
champions = champion_cache.Champions(ws)
served = champions.get(int(sys.argv[1]))
answer = predicting.predict_one(served, [0.5, "red"])
loaded = [m for m in ("sklearn", "pandas", "mlflow", "scipy", "numpy", "skops") if m in sys.modules]
print(json.dumps({"answer": answer, "loaded": loaded, "version": served.version}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("family", ["logistic", "boosting"])
def test_a_fresh_process_serves_without_the_libraries_that_trained(
    ws: Workspace, project: ProjectInfo, promote: Promote, family: str
) -> None:
    version = promote(family)
    done = subprocess.run(
        [sys.executable, "-c", _ASK, str(project.id)], capture_output=True, text=True, timeout=limit(120), check=False
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout.splitlines()[-1])
    assert printed["loaded"] == [] and printed["version"] == version and printed["answer"][0] == "yes"


# --- why --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "method"), [("logistic", "linear"), ("boosting", "trees"), ("neighbours", "permutation")]
)
def test_an_answer_is_explained_against_the_check_rows(
    ws: Workspace, project: ProjectInfo, promote: Promote, family: str, method: str
) -> None:
    promote(family)
    served = champion_cache.champion(ws, project)
    assert served.background and all(row[1] in ("blue", "red", None) for row in explaining.background(served))
    found = explaining.explain_row(served, [2.0, "red"])
    assert found.method == method and found.of == "yes"
    size, colour = found.contributions
    assert size[:2] == ("size", 2.0) and colour[:2] == ("colour", "red") and size[2] > abs(colour[2])
    assert found.base + size[2] + colour[2] == pytest.approx(found.answer, abs=1e-9)


def test_a_version_without_check_rows_is_explained_against_middling_values(
    ws: Workspace, project: ProjectInfo, promote: Promote
) -> None:
    promote()
    with ws.database.write() as session:
        session.query(ModelRow).update({"scorer_path": None, "scorer_sha256": None})
    served = champion_cache.champion(ws, project)
    assert explaining.background(served) == [[0.0, "blue"]]
    found = explaining.explain_row(served, [2.0, "red"])
    assert found.method == "permutation" and found.unit == "probability"
    assert found.answer == pytest.approx(predicting.predict_one(served, [2.0, "red"])[2][1])  # type: ignore[index]
