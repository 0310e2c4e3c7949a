"""Drift of predictions through the live loop: a model's answers to rows that it learnt from are no reference for new ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from core.cycle import run_cycle
from core.cycle.predictions import predict
from core.learning.policy import policy_named
from core.records import DriftScore, Policy, ProjectInfo
from core.services.ingestion import ingest
from core.services.monitoring import monitoring
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.services.serving.predicting import Predicted
from core.storage.workspace import Workspace
from core.text.reasons import sentence

ALPHA = 0.004  # of each check
Maker = Callable[[np.random.Generator, int], pd.DataFrame]


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)


def weak(rng: np.random.Generator, n: int) -> pd.DataFrame:
    """One row in five is positive, and little tells which."""
    frame = pd.DataFrame(rng.normal(size=(n, 5)), columns=list("abcde"))
    frame["y"] = rng.random(n) < 1 / (1 + np.exp(1.5 - 0.5 * frame["a"]))
    return frame


def three(rng: np.random.Generator, n: int) -> pd.DataFrame:
    """Three classes that overlap."""
    frame = pd.DataFrame(rng.normal(size=(n, 5)), columns=list("abcde"))
    frame["y"] = np.digitize(frame["a"] + 2 * rng.normal(size=n), [-1.0, 1.5]).astype(str)
    return frame


def strong(rng: np.random.Generator, n: int, positive: float = 0.3) -> pd.DataFrame:
    y = rng.random(n) < positive
    frame = pd.DataFrame(rng.normal(size=(n, 3)), columns=list("abc"))
    frame["a"] += 4.0 * y
    frame["y"] = y
    return frame


def played(
    ws: Workspace, now: datetime, frames: list[pd.DataFrame], policy: Policy, *, name: str = "Demo"
) -> list[DriftScore]:
    """What each check of the loop said of the predictions."""
    made = projects.create_project(ws, name, Origin(source="file"), by="test", now=now, policy=policy)
    for i, frame in enumerate(frames):
        at = now + timedelta(hours=i)
        info: ProjectInfo = projects.project_by_id(ws, made.id)
        ingest.ingest_frame(ws, info, frame, origin=f"{i}.csv", by="test", now=at, target="y")
        run_cycle(ws, made.id, cause="cli", now=at)
    return [r.prediction for _, _, r in monitoring.drift_history(ws, made.id) if r.prediction is not None]


def at_most(checks: int) -> int:
    """Alarms that so many checks at the nominal rate exceed in one of a thousand runs."""
    return int(binom.ppf(0.999, checks, ALPHA))


QUICK = {"families": ("neighbours", "boosting"), "windows": ("all",), "max_fits": 4.0}


@pytest.mark.campaign
@pytest.mark.parametrize("maker", [weak, three])
@pytest.mark.parametrize("retrains", [True, False])
def test_steady_rows_raise_no_alarm_on_predictions(ws: Workspace, now: datetime, maker: Maker, retrains: bool) -> None:
    runs = 12 if "CONTINUAL_SOAK" in os.environ else 1
    policy = policy_named("balanced" if retrains else "never", **QUICK)
    said = []
    for run in range(runs):
        rng = np.random.default_rng(run)
        frames = [maker(rng, n) for n in [1000] + [500] * (24 if runs > 1 else 5)]
        said += played(ws, now, frames, policy, name=f"Demo {run}")
    judged = [s for s in said if s.judged]
    assert len(judged) >= len(said) - runs  # all but the first new batch, before which there is nothing to compare with
    alarms = sum(s.drifted for s in judged)
    assert alarms <= at_most(len(judged)), [sentence(s.reason) for s in judged if s.drifted]


@pytest.mark.parametrize("retrains", [True, False])
def test_a_mix_of_answers_that_moves_is_found_within_two_batches(ws: Workspace, now: datetime, retrains: bool) -> None:
    policy = policy_named("balanced" if retrains else "never", families=("logistic",), windows=("all",))
    found = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        frames = [strong(rng, n) for n in (600, 500, 500, 500)] + [strong(rng, 500, positive=0.4) for _ in range(2)]
        said = played(ws, now, frames, policy, name=f"Demo {seed}")
        assert not any(s.drifted for s in said[:3])
        found.append(any(s.drifted for s in said[3:]))
    # Ten points of 500 rows against 1,000 are 3.8 standard errors, 2.9 are asked for: found at once in five of six.
    assert sum(found) >= 4


def test_what_a_model_leans_on_is_compared_on_rows_that_it_has_not_learnt_from(
    ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    frames = [three(rng, n) for n in (1000, 500, 500, 500)]
    frames[-1]["e"] += 1.0
    asked: set[float] = set()

    def spied(ws: Workspace, project: ProjectInfo, version: int, frame: pd.DataFrame) -> Predicted:
        asked.update(frame["a"])
        return predict(ws, project, version, frame)

    monkeypatch.setattr("core.cycle.measure.predict", spied)
    played(ws, now, frames, policy_named("never", families=("neighbours",), windows=("all",)))
    newest = monitoring.latest_drift(ws, projects.get_project(ws, "demo").id)
    assert newest is not None and newest[1].drifted == ("e",)
    found = newest[1].attribution
    assert found is not None and (found.version, found.weighed, found.features) == (1, 5, 5)
    assert sentence(found.finding).startswith("The model relies")
    assert asked >= set(frames[-1]["a"]) and not asked & set(frames[0]["a"])


def test_before_a_model_has_answered_rows_it_did_not_learn_from_the_check_says_so(ws: Workspace, now: datetime) -> None:
    rng = np.random.default_rng(5)
    said = played(ws, now, [strong(rng, n) for n in (600, 250, 250)], policy_named("never", families=("logistic",)))
    assert not said[0].judged and "too few predictions for rows that the model was not trained on" in sentence(
        said[0].reason
    )
    assert said[1].judged and "v1 on 250 earlier rows that it was not trained on" in sentence(said[1].reason)


def test_a_model_that_is_refreshed_by_each_small_batch_is_still_judged(ws: Workspace, now: datetime) -> None:
    rng = np.random.default_rng(5)
    policy = policy_named("fast", families=("logistic",), windows=("all",))
    said = played(ws, now, [strong(rng, n) for n in (600, *[60] * 8)], policy)
    assert [s.judged for s in said] == [False] * 4 + [True] * 4
    assert not any(s.drifted for s in said)
