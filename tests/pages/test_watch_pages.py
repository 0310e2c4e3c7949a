"""Home, Drift, Performance and Live: empty, with data, for each role, with names that mean something to markdown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import streamlit as st
from sqlalchemy import select

from core.cycle import run_cycle
from core.learning.policy import policy_named
from core.records import EstimateGrade, EstimatePoint, Score, as_written
from core.services.automation import live, workers
from core.services.incidents import status
from core.services.ingestion import ingest, label_intake
from core.services.monitoring import monitoring
from core.services.projects import projects, streams
from core.services.projects.projects import Origin
from core.settings import get_settings
from core.storage.tables import PerformanceRun
from core.storage.workspace import Workspace
from core.ui.components.charts import LINE_POINTS
from tests.pages.grown import BEGAN, click, closed, open_page, rows, settle, sign_in_of, text_of
from tests.pages.signing_in import HOME, visit_as

HOSTILE = "<script>alert(1)</script> **x** [a](http://evil.example) `q`"


@pytest.fixture
def empty(settings: object, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    return settle(get_settings().home_path, monkeypatch, grown=False)


def drawn(at: object) -> list[dict[str, object]]:
    """The figures on a page, as the browser gets them."""
    return [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]  # type: ignore[attr-defined]


def test_the_watch_pages_say_what_to_do_when_there_is_nothing(empty: Workspace) -> None:
    for page in ("drift", "performance"):
        at = open_page(page)
        assert not at.exception
        assert "No project yet." in text_of(at)
    assert "Nothing to play yet." in text_of(open_page("live"))
    projects.create_project(empty, "Void", Origin(source="file"), by="test", now=BEGAN)
    assert "No drift check yet." in text_of(open_page("drift"))
    assert "No measurements yet." in text_of(open_page("performance"))
    assert "was not made from a stream" in text_of(open_page("live"))
    assert "**No model is serving yet.** Store labelled rows first." in text_of(visit_as("ada"))


# --- Home ---------------------------------------------------------------------------------------------------------


def test_one_button_makes_the_sample_project_and_its_live_run(
    empty: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Workspace] = []
    monkeypatch.setattr("core.services.automation.workers.start_worker", started.append)
    at = visit_as("ada")
    assert at.title[0].value == "Welcome"
    click(at, "Create the sample project")
    assert not at.exception
    made = projects.get_project(empty, "insects")
    run = live.latest_live(empty, made.id)
    assert run is not None
    assert (run.status, run.position, run.total) == ("playing", 1000, 24_150)
    assert len(started) == 1  # no scheduler lives here: the page sees to a worker


def test_a_viewer_cannot_make_the_sample_or_ask_for_a_check(empty: Workspace) -> None:
    assert closed(visit_as("vera"), "Create the sample project")
    projects.create_project(empty, "Void", Origin(source="file"), by="test", now=BEGAN)
    assert closed(visit_as("vera"), "Check now")


def test_home_shows_the_newest_measurement_with_what_it_rests_on(grown: Workspace) -> None:
    project = projects.get_project(grown, "flies")
    newest = monitoring.performance_history(grown, project.id)[-1].scores["accuracy"]
    at = visit_as("ada")
    assert at.title[0].value == "Flies"
    said = text_of(at)
    assert f"**Accuracy is {newest.value:.3f}** on the newest {newest.n} labelled rows" in said
    assert f"{newest.low:.3f}–{newest.high:.3f}" in said
    assert "below the threshold of 0.80" in said
    tiles = {m.label: m.value for m in at.metric}
    assert tiles["Accuracy, measured"] == f"{newest.value:.3f}"
    assert tiles["Labels still due"] == "0"
    assert len(drawn(at)) == 1


def test_home_lists_what_the_loop_did_with_a_link_to_each_cycle(grown: Workspace) -> None:
    project = projects.get_project(grown, "flies")
    reports, total = monitoring.cycles(grown, project.id)
    at = visit_as("ada")
    shown = text_of(at) + "".join(str(table.value.to_dict()) for table in at.dataframe)
    assert len(reports) == total == 3
    assert shown.count("/automation?project=flies&cycle=") == total
    assert all(f"/automation?project=flies&cycle={r.id}" in shown for r in reports)


def test_a_long_history_is_summarised_whole_and_drawn_thinned(grown: Workspace) -> None:
    project = projects.get_project(grown, "flies")
    with grown.database.write() as session:
        row = session.scalars(select(PerformanceRun).where(PerformanceRun.role == "champion")).first()
        assert row is not None
        known = {c.name: getattr(row, c.name) for c in PerformanceRun.__table__.columns if c.name != "id"}
        good, bad = ({**known["scores"], "accuracy": {**known["scores"]["accuracy"], "value": v}} for v in (0.95, 0.11))
        for i in range(1000):
            at = known["at"] + timedelta(days=1, minutes=i)
            scores = bad if i == 777 else good
            session.add(PerformanceRun(**{**known, "at": at, "rows_seen": 1000 + i, "scores": scores}))
    lines = [t for t in drawn(visit_as("ada"))[0]["data"] if t.get("mode") == "lines" and not t.get("fill")]  # type: ignore[attr-defined]
    longest = max(lines, key=lambda t: len(t["x"]))
    assert LINE_POINTS / 2 < len(longest["x"]) <= LINE_POINTS
    assert "Accuracy fell below 0.80 twice" in text_of(visit_as("ada"))  # the one bad batch among a thousand too
    assert any(v == 0.11 for v in longest["y"])
    assert len(monitoring.performance_history(grown, project.id)) > 1000


def test_a_new_measurement_is_on_the_page_at_once(grown: Workspace) -> None:
    at = visit_as("ada")
    project = projects.get_project(grown, "flies")
    ingest.ingest_frame(grown, project, rows(900, 200), origin="new", by="t", now=BEGAN + timedelta(days=1))
    run_cycle(grown, project.id, cause="cli", now=BEGAN + timedelta(days=1))
    newest = monitoring.performance_history(grown, project.id)[-1].scores["accuracy"].value
    at.run()
    assert {m.label: m.value for m in at.metric}["Accuracy, measured"] == f"{newest:.3f}"
    assert f"Measured {newest:.3f}" in str(drawn(at)[0])


def test_home_names_what_waits_for_a_person(grown: Workspace) -> None:
    project = projects.get_project(grown, "flies")
    ingest.ingest_frame(
        grown, project, rows(900, 30).drop(columns="species"), origin="x", by="t", now=BEGAN + timedelta(days=1)
    )
    projects.set_paused(grown, project, True, by="t", now=BEGAN)
    said = text_of(visit_as("ada"))
    assert "30 labels due" in said
    assert "Checks are paused" in said


def test_check_now_runs_a_cycle_and_says_how_it_ended(grown: Workspace) -> None:
    project = projects.get_project(grown, "flies")
    ingest.ingest_frame(grown, project, rows(900, 200), origin="new", by="t", now=BEGAN + timedelta(days=1))
    _, before = monitoring.cycles(grown, project.id)
    at = click(visit_as("otto"), "Check now")
    assert not at.exception
    reports, after = monitoring.cycles(grown, project.id)
    assert after == before + 1
    assert (reports[0].cause, reports[0].by) == ("button", "otto")
    assert at.status[0].state == "complete"


def test_a_silent_scheduler_is_reported(grown: Workspace) -> None:
    assert "no scheduler has run here yet" in text_of(visit_as("ada"))
    workers.beat(grown, status.SCHEDULER, owner="test", now=datetime.now(UTC) - timedelta(hours=1))
    assert "the scheduler has been silent for 60" in text_of(visit_as("ada"))


def test_the_project_of_a_link_is_the_one_that_is_shown(grown: Workspace) -> None:
    projects.create_project(grown, "Another one", Origin(source="file"), by="test", now=BEGAN)
    assert "No drift check yet." in text_of(open_page("drift", project="another-one"))
    assert "No drift check yet." not in text_of(open_page("drift", project="flies"))
    assert "No drift check yet." not in text_of(open_page("drift", project="no-such-project"))


# --- Drift --------------------------------------------------------------------------------------------------------


def test_drift_ranks_the_features_and_draws_the_selected_one(grown: Workspace) -> None:
    found = monitoring.latest_drift(grown, projects.get_project(grown, "flies").id)
    assert found is not None
    at = open_page("drift")
    assert not at.exception
    table = at.dataframe[0].value
    assert table["Feature"].tolist() == [s.name for s in found[1].ranked]
    assert table["State"].tolist().count("▲ Drifted") == len(found[1].drifted)
    assert (
        len(drawn(at)) == 3
    )  # the first feature's distribution, effects against the reference and against the batch before
    shown = text_of(at)
    assert "A feature drifts when its change is significant" in shown and "above 0.02" in shown
    assert "nan" not in shown.lower().split()


@pytest.mark.parametrize(("window", "against"), [("check", "before"), ("5", "champion"), ("20", "before"), ("x", "y")])
def test_any_two_windows_are_compared(grown: Workspace, window: str, against: str) -> None:
    at = open_page("drift", window=window, against=against)
    assert not at.exception
    assert len(drawn(at)) == 3


# --- Performance --------------------------------------------------------------------------------------------------


def test_performance_shows_history_slices_confusion_and_calibration(grown: Workspace) -> None:
    at = open_page("performance")
    assert not at.exception
    assert len(drawn(at)) == 4
    history = monitoring.performance_history(grown, projects.get_project(grown, "flies").id)
    table = at.dataframe[0].value
    assert table["Accuracy"].tolist() == [f"{p.scores['accuracy'].value:.3f}" for p in reversed(history)]
    assert table["Rows"].tolist() == [p.n for p in reversed(history)]
    said = text_of(at)
    assert "calibration error 0." in said and "Found automatically" in said
    assert len(at.get("download_button")) == 2  # the window as JSON, every measurement as CSV


def test_the_metric_and_window_of_a_link_are_what_is_reported(grown: Workspace) -> None:
    history = monitoring.performance_history(grown, projects.get_project(grown, "flies").id)
    said = text_of(open_page("performance", metric="kappa", window="1"))
    assert f"**Cohen's kappa is {history[-1].scores['kappa'].value:.3f}**".replace("-", "−") in said
    assert "threshold" not in said  # the policy's threshold is one of accuracy
    assert "Dirichlet 95 %" in said
    assert "**Accuracy is" in text_of(open_page("performance", metric="no-such-metric", window="77"))


def test_a_window_pools_its_rows(grown: Workspace) -> None:
    history = monitoring.performance_history(grown, projects.get_project(grown, "flies").id)
    n = sum(p.n for p in history)
    right = sum(p.n * p.scores["accuracy"].value for p in history)
    at = open_page("performance", window="20")
    assert f"**Accuracy is {right / n:.3f}** on the newest {n} labelled rows (95" in text_of(at)
    assert f"The newest batch alone: {history[-1].scores['accuracy'].value:.3f} (n = {history[-1].n})" in text_of(at)


def test_choosing_a_metric_writes_its_key_into_the_address(grown: Workspace) -> None:
    at = open_page("performance")
    next(box for box in at.selectbox if box.label == "Metric").select("roc_auc").run()
    assert not at.exception
    assert at.query_params["metric"] in ("roc_auc", ["roc_auc"])
    assert "**ROC AUC is" in text_of(at)


def guess(history: list[monitoring.PerformancePoint], **changes: object) -> EstimatePoint:
    """An estimate of the newest batch."""
    known: dict[str, object] = {
        "at": history[-1].at, "rows_seen": 700, "n": 200, "batch_id": history[-1].batch_id, "cycle_id": 3,
        "model_version": 1, "realised": {"accuracy": 0.03},
        "estimates": {"accuracy": Score(metric="accuracy", value=0.9, low=0.85, high=0.95, n=200)},
        "trust": {"accuracy": EstimateGrade(trusted=True, z=0.1, n_chunks=2, reason=as_written("Agrees."))},
    }  # fmt: skip
    return EstimatePoint(**{**known, **changes})  # type: ignore[arg-type]


def test_an_estimate_is_called_one_and_reported_with_its_past_error(
    grown: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = monitoring.performance_history(grown, projects.get_project(grown, "flies").id)
    shown: list[EstimatePoint] = []
    monkeypatch.setattr("core.services.monitoring.monitoring.estimates", lambda ws, project_id: shown)

    def said() -> str:
        st.cache_resource.clear()
        at = open_page("performance")
        assert not at.exception
        dashed = [t for t in drawn(at)[0]["data"] if "dash" in (t.get("line") or {}) and "px,3px" in t["line"]["dash"]]  # type: ignore[attr-defined]
        assert sum(t["line"]["dash"] == "5px,3px" for t in dashed) == (1 if shown else 0)
        return text_of(at)

    assert "estimated" not in said()
    shown.append(guess(history))
    reported = said()
    assert "Before its labels arrived, the newest batch was :violet[**estimated at 0.900**] (95" in reported
    assert "the labels gave 0.030. Past estimates were off by 0.870 on average over 1 batch." in reported
    assert ":violet[dashed: estimated without labels]" in reported and "Not trusted" not in reported
    bad = {"accuracy": EstimateGrade(trusted=False, z=-9.0, n_chunks=2, reason=as_written("labels lie far below."))}
    shown.append(guess(history, realised={}, trust=bad, batch_id=None))
    reported = said()
    assert "The newest 200 rows have no labels yet and are :violet[**estimated at 0.900**]" in reported
    assert "**Not trusted:** labels lie far below." in reported
    shown.append(guess(history, realised={"log_loss": 0.4}, trust={}))
    reported = said()
    assert "those labels alone are not enough" in reported and "It has not been checked against labels yet." in reported
    lost = {"accuracy": Score(metric="accuracy", value=None, reason=as_written("Too few rows."))}
    shown.append(guess(history, estimates=lost, realised={}, trust={}))
    assert "Not estimated without labels: Too few rows." in said()


def test_labels_that_are_due_are_reported_by_day_with_how_they_arrive(grown: Workspace) -> None:
    project = projects.get_project(grown, "flies")
    came = datetime.now(UTC) - timedelta(days=3)
    bare = rows(900, 30).drop(columns="species")
    number = ingest.ingest_frame(grown, project, bare, origin="x", by="t", now=came).batch.number
    label_intake.add_labels(
        grown, projects.project_by_id(grown, project.id), [(f"b{number}-{i}", "musca") for i in range(12)], by="t",
        now=came + timedelta(hours=5),
    )  # fmt: skip
    at = open_page("performance")
    assert not at.exception
    assert len(drawn(at)) == 5
    assert "18 waiting" in text_of(at)
    assert "**18 labels due**" in text_of(at)
    due = at.dataframe[0].value
    assert due["Due"].tolist() == [18]


def test_labels_due_before_the_first_measurement_are_shown_too(empty: Workspace) -> None:
    project = projects.create_project(empty, "Young", Origin(source="file"), by="t", now=BEGAN)
    ingest.ingest_frame(empty, project, rows(0, 60), origin="a", by="t", now=BEGAN, target="species")
    project = projects.project_by_id(empty, project.id)
    ingest.ingest_frame(empty, project, rows(1, 20).drop(columns="species"), origin="b", by="t", now=BEGAN)
    at = open_page("performance")
    assert not at.exception
    assert "No measurements yet." in text_of(at)
    assert "20 labels due" in text_of(at)


def test_regression_has_its_own_metrics_and_no_confusion(empty: Workspace) -> None:
    policy = policy_named("balanced", families=("ridge",), new_labels=200)
    project = projects.create_project(
        empty, "Heat", Origin(source="file", task="regression"), by="t", now=BEGAN, policy=policy
    )
    for i in range(3):
        frame = rows(i * 300, 300).drop(columns="species").assign(heat=lambda f: f["warmth"] * 2.5 + f["speed"] / 3)
        now = BEGAN + timedelta(hours=i)
        project = projects.project_by_id(empty, project.id)
        ingest.ingest_frame(empty, project, frame, origin=f"{i}", by="t", now=now, target="heat", task="regression")
        run_cycle(empty, project.id, cause="cli", now=now)
    at = open_page("performance")
    assert not at.exception
    assert "R²" in text_of(at)
    assert len(drawn(at)) == 2
    assert not visit_as("ada").exception
    assert not open_page("drift").exception


# --- Live ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def sample(empty: Workspace) -> Workspace:
    """The sample project with its run, before the first turn."""
    project = streams.create_sample_project(empty, by="ada", now=BEGAN)
    live.start_live(empty, project, by="ada", now=BEGAN)
    return empty


def run_of(ws: Workspace) -> live.LiveInfo:
    found = live.latest_live(ws, projects.get_project(ws, "insects").id)
    assert found is not None
    return found


def test_live_is_paused_played_and_stopped_from_any_tab(sample: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.services.automation.workers.start_worker", lambda ws: None)
    here, there = open_page("live"), open_page("live", "otto")
    assert "1,000 of 24,150 rows have arrived" in text_of(here)
    click(here, "Pause")
    assert run_of(sample).status == "paused"
    click(there.run(), "Play")
    assert run_of(sample).status == "playing"
    click(here.run(), "Stop")
    assert run_of(sample).status == "stopped"
    assert "Stopped" in text_of(there.run())


def test_another_stream_drift_and_policy_are_chosen_and_play_at_once(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.services.automation.workers.start_worker", lambda ws: None)
    at = open_page("live")
    at.selectbox(key="n-stream").set_value("values")
    at.selectbox(key="n-drift").set_value("concept_rotation")
    at.selectbox(key="n-shape").set_value("recurring")
    at.selectbox(key="n-policy").set_value("fast")
    click(at, "Create and play")
    assert not at.exception
    made = next(p for p in projects.list_projects(sample) if p.name.startswith("Concept rotation, recurring, fast"))
    assert (made.task, made.policy.name, made.policy.metric, made.rows) == ("regression", "fast", "r2", 1_000)
    assert made.generator is not None and made.generator["stream"]["drift"]["shape"] == "recurring"
    run = live.latest_live(sample, made.id)
    assert run is not None and (run.status, run.total) == ("playing", streams.ROWS)
    stored, left = live.store_next(sample, run.id, now=BEGAN)
    assert left and stored.position == 1_500
    closed_to = open_page("live", "vera")
    assert closed(closed_to, "Create and play")


def test_the_speed_that_is_chosen_is_stored(sample: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.services.automation.workers.start_worker", lambda ws: None)
    at = open_page("live")
    at.session_state["speed"] = "fast"
    at.run()
    assert run_of(sample).seconds_per_batch == live.SPEEDS["fast"]


def test_a_viewer_watches_the_run_and_does_not_touch_it(sample: Workspace) -> None:
    at = open_page("live", "vera")
    assert not at.exception
    assert closed(at, "Pause")
    assert closed(at, "Stop")


def test_a_run_that_failed_says_why(sample: Workspace) -> None:
    live.fail_run(sample, run_of(sample).id, "The disk is full.")
    at = open_page("live")
    assert not at.exception
    assert "The disk is full" in text_of(at)


def test_live_closes_for_a_session_that_has_ended(sample: Workspace) -> None:
    at = open_page("live", "vera")
    at.session_state["username"] = sign_in_of("vera", epoch=0)
    at.run()
    assert [i.label for i in at.text_input] == ["Username", "Password"]


# --- names that mean something to markdown ------------------------------------------------------------------------


def test_names_from_users_are_shown_letter_by_letter(empty: Workspace) -> None:
    policy = policy_named("balanced", families=("logistic",), new_labels=200)
    project = projects.create_project(empty, HOSTILE, Origin(source="file"), by="t", now=BEGAN, policy=policy)
    shown = [text_of(at) for at in (visit_as("ada"), open_page("drift"), open_page("performance"), open_page("live"))]
    for i in range(3):
        frame = rows(i * 300, 300, flipped=i == 2).rename(columns={"warmth": HOSTILE, "site": "*b* <i>"})
        now = BEGAN + timedelta(hours=i)
        project = projects.project_by_id(empty, project.id)
        ingest.ingest_frame(empty, project, frame, origin=HOSTILE, by="t", now=now, target="species")
        run_cycle(empty, project.id, cause="cli", now=now)
    for at in (visit_as("ada"), open_page("drift"), open_page("performance"), open_page("live")):
        assert not at.exception
        assert all("<script>" not in str(figure) for figure in drawn(at))
        shown.append(text_of(at))
    for said in shown:
        assert "<script>" not in said
        assert "](http" not in said.replace("](/automation", "")


def test_no_page_draws_html_but_the_stylesheet_and_the_sign_in_cookie() -> None:
    root = Path(HOME).parent
    for file in (Path(HOME), *sorted((root / "pages").glob("*.py")), *sorted((root / "core" / "ui").rglob("*.py"))):
        source = file.read_text()
        assert "unsafe_allow_html" not in source, file.name
        assert source.count("st.html(") == (file.name in {"page.py", "session.py"}), file.name
