"""The label desk's page: empty, asked, answered, for each role."""

from __future__ import annotations

from datetime import timedelta

import pytest

from core.cycle import run_cycle
from core.services.ingestion import ingest, label_queue
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.settings import get_settings
from core.storage.workspace import Workspace
from tests.pages.grown import BEGAN, click, closed, open_page, rows, settle, text_of


@pytest.fixture
def grown(settings: object, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    ws = settle(get_settings().home_path, monkeypatch, grown=True)
    project = projects.get_project(ws, "flies")
    unlabelled = rows(900, 150).drop(columns="species").assign(humidity=0.5)
    ingest.ingest_frame(ws, project, unlabelled, origin="day 4.csv", by="ada", now=BEGAN + timedelta(hours=4))
    run_cycle(ws, project.id, cause="schedule", now=BEGAN + timedelta(hours=4))
    return ws


@pytest.fixture
def empty(settings: object, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    return settle(get_settings().home_path, monkeypatch, grown=False)


def test_the_labelling_queue_says_what_to_do_when_there_is_nothing(empty: Workspace) -> None:
    assert "No project yet." in text_of(open_page("labels"))
    projects.create_project(empty, "Void", Origin(source="file"), by="test", now=BEGAN)
    assert "No champion yet." in text_of(open_page("labels"))


def test_rows_are_drawn_answered_and_reported(grown: Workspace) -> None:
    at = open_page("labels")
    assert not at.exception and "No labels are requested." in text_of(at)
    at.number_input(key="queue-n").set_value(40)
    at = click(at.run(), "Select rows")
    assert not at.exception
    assert "40 rows waiting for a label" in text_of(at) and "0 of 40 requested rows labelled" in text_of(at)
    project = projects.get_project(grown, "flies")
    waiting = label_queue.open_requests(grown, project)
    truth = rows(900, 150)["species"]
    given = {row.row_id: truth[int(row.row_id.split("-")[1])] for row in waiting[:30]}
    label_queue.store_labels(grown, project, given, by="ada", now=BEGAN + timedelta(hours=5))
    said = text_of(open_page("labels"))
    assert "10 rows waiting for a label" in said
    assert "**Accuracy of all 150 rows is about" in said and "based on 30 labels" in said and "half as wide" in said
    at = click(open_page("labels"), "Withdraw open requests")
    assert not at.exception and label_queue.open_requests(grown, project) == []


def test_a_viewer_sees_and_changes_nothing(grown: Workspace) -> None:
    project = projects.get_project(grown, "flies")
    label_queue.request_labels(grown, project, label_queue.LabelRequest(n=5, seed=1), by="ada", now=BEGAN)
    at = open_page("labels", "vera")
    assert not at.exception
    for label in ("Save labels", "Select rows", "Withdraw open requests"):
        assert closed(at, label)


def test_what_cannot_be_drawn_is_reported_on_the_page(grown: Workspace) -> None:
    project = projects.get_project(grown, "flies")
    label_queue.request_labels(grown, project, label_queue.LabelRequest(n=5, seed=1), by="ada", now=BEGAN)
    at = click(open_page("labels"), "Select rows")
    assert "each batch is sampled once" in text_of(at)
