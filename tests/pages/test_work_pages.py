"""Data, Train and Predict: empty, with data, for each role, with wrong input."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core import ui
from core.services.automation import jobs
from core.services.ingestion import ingest, stored_batches
from core.services.monitoring import monitoring
from core.services.projects import inventory, projects
from core.services.projects.projects import Origin
from core.services.serving import guarding
from core.services.serving.guards import Guards
from core.settings import get_settings
from core.storage.workspace import Workspace
from tests.pages.grown import BEGAN, click, closed, open_page, rows, settle, text_of


@pytest.fixture
def empty(settings: object, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    return settle(get_settings().home_path, monkeypatch, grown=False)


def csv(frame: object) -> bytes:
    return frame.to_csv(index=False).encode()  # type: ignore[attr-defined]


def test_the_work_pages_say_what_to_do_when_there_is_nothing(empty: Workspace) -> None:
    for page in ("data", "train", "predict"):
        at = open_page(page)
        assert not at.exception
        assert "No project yet." in text_of(at)


def test_a_viewer_looks_but_does_not_act(grown: Workspace) -> None:
    at = open_page("data", "vera")
    assert not at.exception
    assert closed(at, "Undo this batch")
    assert open_page("data", "vera", view="Add rows").file_uploader(key="rows-file").disabled
    assert "viewers cannot create projects" in text_of(open_page("data", "vera", view="New project")).lower()
    assert closed(open_page("train", "vera"), "Start a race")
    assert closed(open_page("predict", "vera"), "Predict")


# --- Data --------------------------------------------------------------------------------------------------------


def test_data_shows_the_batches_and_what_there_is_to_know(grown: Workspace) -> None:
    at = open_page("data")
    said = text_of(at)
    assert "1 of 3 batches has warnings" in said
    assert [m.value for m in at.metric] == ["700", "700", "3", "1"]
    assert at.dataframe[0].value["Batch"].tolist() == [3, 2, 1]
    assert "New column 'humidity' is kept but not used." in said.replace("\\", "")
    assert "used to train v3 · sha256" in said, "the way back from a batch to the versions"


def test_a_batch_is_undone_after_its_effect_was_named(grown: Workspace) -> None:
    at = click(open_page("data"), "Undo this batch")
    assert "The 200 rows of batch 3" in text_of(at)
    at.button(key="undo").click()
    at.button(key="undo-yes").click()
    at.run()
    assert not at.exception
    assert inventory.inventory(grown, projects.get_project(grown, "flies").id).undone == 1
    assert projects.get_project(grown, "flies").rows == 500


def test_the_sample_becomes_a_project(empty: Workspace) -> None:
    at = click(open_page("data"), "Create the sample project")
    assert not at.exception
    assert projects.get_project(empty, "insects").rows == 1000
    assert "1,000 rows" in text_of(at)


def test_generated_rows_become_a_project_with_the_drift_that_was_asked_for(empty: Workspace) -> None:
    at = open_page("data", way="Generator")
    at.number_input(key="g-rows").set_value(120)
    at.number_input(key="g-seed").set_value(4)
    at.selectbox(key="g-kind").set_value("mean_shift")
    click(at, "Generate rows")
    assert not at.exception
    project = projects.get_project(empty, "generated")
    assert (project.rows, project.source) == (120, "generator")
    assert project.generator is not None
    assert project.generator["drift"]["kind"] == "mean_shift"
    click(open_page("data", view="Add rows"), "Generate rows")
    assert projects.get_project(empty, "generated").rows == 1120


def test_a_file_is_previewed_and_its_types_corrected_before_it_is_stored(empty: Workspace) -> None:
    at = open_page("data", way="Your own file")
    frame = rows(0, 60)
    frame.insert(0, "id", [f"r{i}" for i in range(60)])
    at.file_uploader(key="first-file").set_value(("flies in may.csv", csv(frame), "text/csv"))
    at.run()
    assert not at.exception
    chosen = {s.label: s.value for s in at.selectbox}
    assert chosen["Row id"] == "id"
    assert chosen["Target: what is predicted"] == "species"
    assert at.data_editor[0].value["Kind"].tolist() == ["numeric", "numeric", "categorical"]
    next(s for s in at.selectbox if s.label.startswith("Target")).set_value("site")
    at.run()
    click(at, "Store 60 rows")
    assert not at.exception
    made = projects.get_project(empty, "flies-in-may")
    assert made.schema is not None
    assert (made.schema.target, made.schema.id_column, made.rows) == ("site", "id", 60)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("ragged.csv", b"a,b,y\n1,2,0\n1,2\n", "ragged"),
        ("latin.csv", "a,y\n1,\xe9t\xe9\n2,b\n".encode("latin-1"), "UTF-8"),
        ("bomb.parquet", b"PK\x03\x04" + b"\0" * 200, "bomb"),
        ("none.csv", b"", "none"),
        ("one.csv", b"a,y\n1,x\n2,x\n", "one class only"),
        ("twice.csv", b"a,a,y\n1,2,x\n2,3,z\n", "unique"),
    ],
)
def test_a_file_that_cannot_be_taken_is_refused_in_place(
    empty: Workspace, name: str, content: bytes, said: str
) -> None:
    at = open_page("data", way="Your own file")
    at.file_uploader(key="first-file").set_value((name, content, "text/csv"))
    at.run()
    assert not at.exception
    assert len(at.error) == 1
    assert said in at.error[0].value.replace("\\", "")
    assert projects.list_projects(empty) == []


def test_signs_in_a_column_name_are_shown_and_not_acted_on(empty: Workspace) -> None:
    name = "<b>x</b>'; DROP TABLE projects;--"
    at = open_page("data", way="Your own file")
    at.file_uploader(key="first-file").set_value(
        ("odd.csv", csv(rows(0, 40).rename(columns={"warmth": name})), "text/csv")
    )
    at.run()
    click(at, "Store 40 rows")
    assert not at.exception
    made = projects.get_project(empty, "odd")
    assert made.schema is not None
    assert name in made.schema.names


def test_a_later_file_with_a_new_column_is_kept_and_one_without_a_column_refused_by_name(grown: Workspace) -> None:
    at = open_page("data", view="Add rows")
    at.file_uploader(key="rows-file").set_value(("more.csv", csv(rows(900, 50).assign(dew=1)), "text/csv"))
    at.run()
    assert "New column 'dew' is kept but not used." in at.warning[0].value.replace("\\", "")
    click(at, "Store 50 rows")
    assert projects.get_project(grown, "flies").rows == 750
    at = open_page("data", view="Add rows")
    at.file_uploader(key="rows-file").set_value(("less.csv", csv(rows(950, 50).drop(columns="speed")), "text/csv"))
    at.run()
    assert "speed" in at.error[0].value
    assert not [b for b in at.button if b.label.startswith("Store")]


def test_labels_are_stored_by_row_id_and_wrong_ones_refused(grown: Workspace) -> None:
    at = open_page("data", view="Add labels")
    at.file_uploader(key="labels-file").set_value(("l.csv", b"row_id,label\nb1-0,musca\nzz,aedes\n", "text/csv"))
    at.run()
    assert "2 labels" in text_of(at) and "waiting for their row" in text_of(at)
    click(at, next(b.label for b in at.button if b.label.startswith("Store 2 labels")))
    assert "waiting for their row" in at.success[0].value
    at = open_page("data", view="Add labels")
    at.file_uploader(key="labels-file").set_value(("l.csv", b"who,what\n1,2\n", "text/csv"))
    at.run()
    assert "row" in at.error[0].value
    assert not [b for b in at.button if b.label.startswith("Store")]


def test_labels_that_replace_others_are_shown_first_and_can_be_taken_back(grown: Workspace) -> None:
    project = projects.get_project(grown, "flies")
    newest = stored_batches.read_rows(grown, project, n=1).iloc[0]
    other = next(c for c in project.schema.classes if c != newest["species"])  # type: ignore[union-attr]
    at = open_page("data", view="Add labels")
    content = f"row_id,label\n{newest['_id']},{other}\nzz,unheard\n".encode()
    at.file_uploader(key="labels-file").set_value(("l.csv", content, "text/csv"))
    at.run()
    said = text_of(at).replace("\\", "")
    assert "1 label would be replaced" in said and "1 class is new: 'unheard'" in said
    assert at.dataframe[0].value["New"].tolist() == [other]
    click(at, "Store 2 labels, replacing 1")
    assert "1 replaced, 1 waiting" in at.success[0].value
    assert stored_batches.read_rows(grown, project, n=1).iloc[0]["species"] == other
    at = click(open_page("data", view="Add labels"), "Undo")
    assert "The 2 labels that ada sent" in text_of(at)
    next(b for b in at.button if b.label == "Undo").click()
    at.button(key="undo-labels-yes").click()
    at.run()
    assert not at.exception
    assert stored_batches.read_rows(grown, project, n=1).iloc[0]["species"] == newest["species"]
    assert "unheard" not in projects.get_project(grown, "flies").schema.classes  # type: ignore[union-attr]


# --- Train -------------------------------------------------------------------------------------------------------


def test_train_shows_the_newest_race_and_earlier_ones_by_their_address(grown: Workspace) -> None:
    races = inventory.races(grown, projects.get_project(grown, "flies").id)
    at = open_page("train")
    assert not at.exception
    table = at.dataframe[0].value
    assert len(table) == len(races[0].candidates)
    assert f"Cycle {races[0].id}," in text_of(at)
    earlier = open_page("train", cycle=str(races[-1].id))
    assert f"Cycle {races[-1].id}," in text_of(earlier)
    assert "v1 won and was accepted" in text_of(earlier)


def test_a_race_is_started_followed_and_shown(grown: Workspace) -> None:
    project = projects.get_project(grown, "flies")
    _, before = monitoring.cycles(grown, project.id, limit=0)
    at = click(open_page("train", "otto"), "Start a race")
    assert not at.exception
    found, after = monitoring.cycles(grown, project.id, limit=1)
    assert after == before + 1
    assert found[0].by == "otto"
    assert f"Cycle {found[0].id}," in text_of(at)


def test_train_asks_for_labels_where_there_are_none(empty: Workspace) -> None:
    project = projects.create_project(empty, "Bare", Origin(source="file"), by="test", now=BEGAN)
    ingest.ingest_frame(empty, project, rows(0, 40), origin="x", by="test", now=BEGAN, target="species")
    assert "No race yet." in text_of(open_page("train"))
    projects.delete_project(empty, project, by="test", now=BEGAN)
    projects.create_project(empty, "Void", Origin(source="file"), by="test", now=BEGAN)
    at = open_page("train")
    assert "Nothing to train on yet." in text_of(at)
    assert closed(at, "Start a race")
    assert "No champion yet." in text_of(open_page("predict"))


# --- Predict -----------------------------------------------------------------------------------------------------


def test_one_row_is_filled_answered_and_logged_with_its_version(grown: Workspace) -> None:
    project = projects.get_project(grown, "flies")
    due = stored_batches.labels_due(grown, project.id)
    at = click(open_page("predict"), "Fill from a recent row")
    newest = rows(500, 200, flipped=True).iloc[-1]
    assert at.number_input(key=f"x-{project.id}-warmth").value == pytest.approx(newest["warmth"])
    assert at.selectbox(key=f"x-{project.id}-site").value == newest["site"]
    click(at, "Predict")
    assert not at.exception
    said = text_of(at)
    assert "species is" in said
    assert f"Predicted by v{project.champion}" in said
    assert stored_batches.labels_due(grown, project.id) == due + 1
    assert "Why: " in said and "contributes most" in said
    assert "for typical rows" in said


def test_what_guards_say_stands_beside_the_answer_and_a_withheld_one_is_said_to_be(grown: Workspace) -> None:
    project = projects.get_project(grown, "flies")

    def asked() -> str:
        at = open_page("predict")
        at.number_input(key=f"x-{project.id}-warmth").set_value(900.0)
        at.number_input(key=f"x-{project.id}-speed").set_value(0.5)
        click(at, "Predict")
        assert not at.exception
        assert ("Model output: species is" in text_of(at)) == bool(at.error)
        return " ".join(box.value for box in (*at.warning, *at.error)).replace("\\", "")

    assert "out of range: warmth is 900, expected" in asked()
    guarding.set_guards(grown, project, Guards(out_of_range="abstain"), by="test", now=BEGAN)
    ui.champions()._slots.clear()
    assert "The prediction is withheld" in asked()
    guarding.set_guards(grown, project, Guards(out_of_range="override", override="aedes"), by="test", now=BEGAN)
    ui.champions()._slots.clear()
    assert "Replaced:" in asked()
    hits = guarding.guard_hits(grown, project.id, since=BEGAN)
    assert {h.action for h in hits} == {"warn", "abstain", "override"} and sum(h.n for h in hits) == 3


def test_a_file_is_predicted_and_one_without_a_column_refused_by_name(grown: Workspace) -> None:
    at = open_page("predict", way="A file")
    questions = rows(0, 30).drop(columns="species")
    at.file_uploader(key="predict-file").set_value(("ask.csv", csv(questions), "text/csv"))
    at.run()
    click(at, "Predict the file")
    assert not at.exception
    assert "30 rows predicted by v" in text_of(at)
    assert set(at.dataframe[0].value["prediction"]) <= {"aedes", "musca"}
    at = open_page("predict", way="A file")
    at.file_uploader(key="predict-file").set_value(("ask.csv", csv(questions.drop(columns="site")), "text/csv"))
    at.run()
    click(at, "Predict the file")
    assert "site" in at.error[0].value


def test_a_file_beyond_the_limit_is_refused(grown: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONTINUAL_MAX_UPLOAD_MB", "0.001")
    get_settings.cache_clear()
    at = open_page("predict", way="A file")
    at.file_uploader(key="predict-file").set_value(("big.csv", csv(rows(0, 200)), "text/csv"))
    at.run()
    click(at, "Predict the file")
    assert "big.csv" in at.error[0].value.replace("\\", "")


def test_a_race_that_somebody_else_started_is_seen_as_it_runs(grown: Workspace) -> None:
    project = projects.get_project(grown, "flies")
    now = datetime.now(UTC)
    job = jobs.request_cycle(grown, project.id, cause="api", force=True, by="otto", now=now)
    assert "Waiting for a worker" in shown_progress(open_page("train"))
    assert jobs.claim_next(grown, "worker", now) is not None
    jobs.report_progress(grown, job, 0.4, "fitting gradient boosting, all rows")
    said = shown_progress(open_page("train", "vera"))
    assert "requested by otto" in said and "fitting gradient boosting, all rows" in said
    jobs.finish(grown, job, {"cycle": None, "outcome": "none"}, now)
    assert shown_progress(open_page("train")) == ""


def shown_progress(at: AppTest) -> str:
    assert not at.exception
    return " ".join(str(element.proto.text) for element in at.get("progress"))
