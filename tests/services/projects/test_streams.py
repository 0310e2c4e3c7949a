"""Streams that are played: the same description, the same rows; what cannot be played says so."""

from __future__ import annotations

from datetime import datetime

import pandas as pd
import pytest

from core.errors import BadInput
from core.services.automation import live
from core.services.projects import projects, streams
from core.storage.workspace import Workspace

TURNED = {
    "sample": "generated",
    "stream": {"task": "binary", "seed": 3, "drift": {"kind": "concept_rotation", "size": 2.0, "at": 0.5}},
}


def test_a_description_gives_the_same_rows_for_ever() -> None:
    first = streams.stream_of(TURNED).frame
    streams._generated.cache_clear()
    pd.testing.assert_frame_equal(first, streams.stream_of(TURNED).frame)
    calm = streams.stream_of({"sample": "generated", "stream": {"task": "binary", "seed": 3}}).frame
    half = len(first) // 2
    assert (first["target"][:half] == calm["target"][:half]).all(), "before the drift nothing differs"
    assert (first["target"][half:] == calm["target"][half:]).mean() < 0.3, "after it the rule is reversed"


def test_a_project_plays_the_stream_that_it_remembers(ws: Workspace, now: datetime) -> None:
    project = streams.create_stream_project(ws, TURNED, name="Turned", policy="careful", by="me", now=now)
    assert (project.rows, project.policy.name, project.policy.threshold) == (1_000, "careful", 0.85)
    run = live.start_live(ws, project, by="me", now=now)
    stored, left = live.store_next(ws, run.id, now=now)
    assert left and (stored.position, stored.total) == (1_500, streams.ROWS)


@pytest.mark.parametrize("described", [None, {}, {"sample": "bees"}, {"rows": 5}])
def test_what_is_no_stream_is_refused(described: dict | None) -> None:
    with pytest.raises(BadInput, match="not made from a stream"):
        streams.stream_of(described)


def test_a_drift_that_cannot_be_made_leaves_no_project(ws: Workspace, now: datetime) -> None:
    wrong = {"sample": "generated", "stream": {"drift": {"kind": "earthquake"}}}
    with pytest.raises(BadInput, match="earthquake"):
        streams.create_stream_project(ws, wrong, name="Wrong", by="me", now=now)
    assert projects.list_projects(ws) == []


@pytest.mark.parametrize(
    ("drift", "size", "stored"),
    [("mean_shift", 2.0, 2.0), ("label_flip", 2.0, 1.0), ("label_flip", 0.4, 0.4)],
)
def test_a_chosen_stream_is_described_with_what_shall_happen_to_it(drift: str, size: float, stored: float) -> None:
    found = streams.described("values", drift, "gradual", size)
    change = {"kind": drift, "shape": "gradual", "size": stored, "at": streams.DRIFT_AT}
    assert found == {
        "sample": streams.GENERATED, "stream": {"task": "regression", "seed": streams.SEED, "drift": change}
    }  # fmt: skip
    assert len(streams.stream_of(found).frame) == streams.ROWS


def test_without_a_drift_nothing_happens_and_a_sample_is_what_it_is() -> None:
    assert streams.described("classes")["stream"] == {"task": "binary", "seed": streams.SEED, "drift": None}
    assert streams.described("insects", "mean_shift", "abrupt", 1.0) == {"sample": "insects"}
