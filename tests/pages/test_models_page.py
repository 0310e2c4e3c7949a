"""Models: the shadow by hand, where a version comes from, what its verdict said, what the champion remembers."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from patience import limit
from streamlit.testing.v1 import AppTest

from core.cycle import run_cycle
from core.records import ModelVersion, ProjectInfo
from core.services.ingestion import ingest, stored_batches
from core.services.models import lineage, shadowing
from core.services.projects import projects
from core.storage import registry
from core.storage.tables import Cycle, ModelRow
from core.storage.workspace import Workspace
from tests.pages.grown import BEGAN, ROOT, click, closed, open_page, rows, text_of


def flies(ws: Workspace) -> ProjectInfo:
    return projects.get_project(ws, "flies")


def versions(ws: Workspace) -> list[ModelVersion]:
    with ws.database.read() as session:
        return registry.list_versions(session, flies(ws).id)


def idle(ws: Workspace) -> int:
    """The newest version that does not serve."""
    return next(v.version for v in versions(ws) if "champion" not in v.aliases)


def select(at: AppTest, ws: Workspace, version: int) -> AppTest:
    """The page with that version's line selected."""
    row = [v.version for v in versions(ws)].index(version)
    at.session_state["versions"] = {"selection": {"rows": [row], "columns": [], "cells": []}}
    return at.run()


def put(ws: Workspace, **expected: Any) -> int:
    """A version in the shadow, with a record as the newest cycle would have stored it."""
    version = idle(ws)
    shadowing.shadow(ws, flies(ws), version, reason="rejected *too early*", by="otto", now=BEGAN)
    if expected:
        with ws.database.write() as session:
            newest = session.query(Cycle).order_by(Cycle.id.desc()).first()
            assert newest is not None
            record = {"rows": 400, "wins": 0, "losses": 0, "answered": 500, "agreed": 450, "wanted": None}
            newest.shadow = {**record, "version": version, **expected}
    return version


# --- in the shadow -----------------------------------------------------------------------------------------------


def test_a_version_is_put_into_the_shadow_with_a_reason_and_taken_out_again(grown: Workspace) -> None:
    version = idle(grown)
    at = select(open_page("models", "otto"), grown, version)
    at = click(at, "Run in shadow mode")
    assert "Its predictions are not returned" in text_of(at)
    at.button(key="shadow").click()
    at.button(key="shadow-yes").click()
    at.run()
    assert "A reason is required" in at.error[0].value
    at.text_input(key="shadow-reason").set_value("rejected on few rows")
    at.button(key="shadow").click()
    at.button(key="shadow-yes").click()
    at.run()
    assert not at.exception
    assert flies(grown).shadow == version
    said = text_of(at)
    assert f"Shadow mode: v{version} waits for labelled rows" in said
    assert "started by otto" in said
    assert "◐ Shadow" in " ".join(str(s) for s in at.dataframe[0].value["State"])
    assert not [b for b in select(at, grown, version).button if b.label == "Run in shadow mode"]
    at = click(at, "End shadow mode")
    at.text_input(key="end-reason").set_value("enough")
    at.button(key="end-shadow").click()
    at.button(key="end-yes").click()
    at.run()
    assert not at.exception
    assert flies(grown).shadow is None
    assert "Shadow mode" not in text_of(at)


@pytest.mark.parametrize(
    ("wins", "losses", "said"),
    [
        (41, 9, "is better so far; only v2 right on 41 rows"),
        (2, 20, "is worse so far; only v2 right on 2 rows"),
        (5, 4, "shows no clear difference yet; only v2 right on 5 rows"),
    ],
)
def test_the_shadow_shows_its_record_and_how_sure_that_is(grown: Workspace, wins: int, losses: int, said: str) -> None:
    version = put(grown, wins=wins, losses=losses)
    at = open_page("models")
    assert not at.exception
    text = text_of(at)
    assert f"Shadow mode: v{version} {said}" in text
    assert "is decisive, at any number of looks" in text
    assert r"rejected \*too early\*" in text
    shown = {m.label: m.value for m in at.metric}
    assert shown["Rows predicted"] == "500"
    assert shown["Same prediction"].startswith("90")
    assert (shown[f"Only v{version} right"], shown[f"Only v{flies(grown).champion} right"]) == (str(wins), str(losses))


def test_the_shadow_is_filled_by_the_next_check(grown: Workspace) -> None:
    version = put(grown)
    later = BEGAN + timedelta(hours=9)
    frame = rows(900, 200, flipped=True)
    ingest.ingest_frame(grown, flies(grown), frame, origin="day 4.csv", by="ada", now=later, target="species")
    report = run_cycle(grown, flies(grown).id, cause="schedule", now=later)
    assert report is not None
    assert report.shadow is not None
    assert (report.shadow.version, report.shadow.answered) == (version, 200)
    at = open_page("models")
    assert not at.exception
    assert "Rows predicted" in [m.label for m in at.metric]


def test_the_loop_ends_a_shadow_where_the_policy_says_after_how_many_rows(grown: Workspace) -> None:
    import dataclasses

    policy = dataclasses.replace(flies(grown).policy, shadow_rows=700)
    projects.set_policy(grown, flies(grown), policy, by="ada", now=BEGAN)
    put(grown, wins=1, losses=1)
    assert "after 700 labelled rows the loop decides" in text_of(open_page("models"))


def test_it_is_promoted_from_its_card(grown: Workspace) -> None:
    version = put(grown, wins=31, losses=14)
    at = open_page("models", "otto")
    at.button(key="promote-shadow").click()
    at.run()
    at.text_input(key="promote-reason").set_value("better on 400 rows")
    at.button(key="promote-shadow").click()
    at.button(key="promote-yes").click()
    at.run()
    assert not at.exception
    assert (flies(grown).champion, flies(grown).shadow) == (version, None)
    assert "Shadow mode" not in text_of(at)


def test_a_viewer_only_looks(grown: Workspace) -> None:
    version = put(grown, wins=31, losses=14)
    at = open_page("models", "vera")
    assert at.button(key="promote-shadow").disabled
    assert closed(at, "End shadow mode")
    shadowing.end_shadow(grown, flies(grown), reason="x", by="ada", now=BEGAN)
    at = select(open_page("models", "vera"), grown, version)
    assert closed(at, "Run in shadow mode")


# --- where it comes from -----------------------------------------------------------------------------------------


def lines(at: AppTest) -> dict[str, str]:
    """Names and values of the table in the card of a version."""
    table = next(m.value for m in at.markdown if "Available training data" in m.value)
    cells = [row.strip("| ").split(" | ") for row in table.splitlines()[2:]]
    return {name: value.strip("*") for name, value in cells}


def opened(ws: Workspace, version: int) -> AppTest:
    at = open_page("models")
    at.session_state["lineage"] = True
    return select(at, ws, version)


def test_a_version_names_batches_cycle_policy_and_whom_it_met(grown: Workspace) -> None:
    newest = versions(grown)[0]
    at = opened(grown, newest.version)
    assert not at.exception
    found = lines(at)
    batches = lineage.batches_of(grown, flies(grown), newest.version)
    assert found["Available training data"].startswith(f"{len(batches)} batches of {sum(b.rows for b in batches)} rows")
    assert "policy balanced" in found["Created by"]
    assert f"cycle {newest.cycle_id}" in found["Created by"]
    assert found["Raced against"].startswith("v")
    assert found["Data digest"] == str(newest.data_digest)[:16]
    assert found["MLflow run"] == "none yet"


def test_the_first_version_met_nobody_and_says_why_no_clause_was_asked(grown: Workspace) -> None:
    at = opened(grown, 1)
    found = lines(at)
    assert found["Available training data"].startswith("batch 1 of 300 rows")
    assert (found["Raced against"], found["Replaced"]) == ("none", "none: it was the first")
    assert "v1 is the first model: there was no champion to compare it with" in text_of(at)


def test_a_batch_undone_since_is_reported_beside_the_version(grown: Workspace) -> None:
    newest = versions(grown)[0].version
    batch = lineage.batches_of(grown, flies(grown), newest)[-1]
    stored_batches.undo_batch(grown, flies(grown), batch.id, by="ada", now=BEGAN)
    at = opened(grown, newest)
    assert f"1 batch of these (number {batch.number}) was undone since" in at.warning[0].value


def test_an_import_has_no_cycle_and_says_so(grown: Workspace) -> None:
    with grown.database.write() as session:
        row = session.query(ModelRow).filter(ModelRow.version == versions(grown)[0].version).one()
        row.source, row.cycle_id, row.batch_ids, row.data_digest = "import", None, [], None
        number = row.version
    at = opened(grown, number)
    assert not at.exception
    assert lines(at)["Available training data"] == "unknown: it was imported"
    assert f"v{number} was imported: it has not been in a race" in text_of(at)


# --- clauses and memory ------------------------------------------------------------------------------------------


def test_every_clause_is_reported_and_those_that_do_not_decide_in_grey(grown: Workspace) -> None:
    number = versions(grown)[0].version
    said = lineage.provenance_of(grown, flies(grown), number).verdict
    assert said is not None
    at = select(open_page("models"), grown, number)
    shown = [m.value for m in at.markdown if m.value.startswith((":material/c", ":gray[:material/c"))]
    assert len(shown) == len(said.clauses)
    assert sum(s.startswith(":gray[") for s in shown) == sum(not c.decides for c in said.clauses) > 0


def test_a_cycle_that_did_not_end_has_no_verdict(grown: Workspace) -> None:
    newest = versions(grown)[0]
    with grown.database.write() as session:
        row = session.get_one(Cycle, newest.cycle_id)
        row.status, row.outcome, row.verdict = "failed", "failed", None
    at = select(open_page("models"), grown, newest.version)
    assert f"No verdict on v{newest.version}: its cycle did not finish" in text_of(at)


def test_what_it_remembers_is_drawn_with_the_rows_it_rests_on(grown: Workspace) -> None:
    found = lineage.newest_memory(grown, flies(grown))
    assert found is not None
    regimes = tuple({"number": i, "row": 100 * i, "n": 50} for i in (1, 2))
    with grown.database.write() as session:
        session.get_one(Cycle, found.cycle_id).memory = {
            "metric": "accuracy", "regimes": regimes, "matrix": [[0.98, None], [0.1, 0.9]], "bwt": -0.88,
        }  # fmt: skip
    at = open_page("models")
    assert not at.exception
    said = text_of(at)
    assert "Backward transfer −0.88: it forgets the regimes before row 200" in said
    assert "Accuracy on 100 frozen rows of 2 regimes, never used for training" in said
    assert "below 0 means forgetting" in said


def test_before_there_is_a_matrix_the_card_says_what_will_be_there(grown: Workspace) -> None:
    with grown.database.write() as session:
        for row in session.query(Cycle):
            row.memory = None
    assert "the matrix appears with the next race" in text_of(open_page("models"))


def test_the_page_loads_nothing_heavy_even_with_a_shadow(grown: Workspace) -> None:
    put(grown, wins=31, losses=14)
    reported = subprocess.run(
        [sys.executable, str(ROOT / "tests/pages/fresh.py"), "--as", "ada", str(ROOT / "pages/models.py")],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=limit(150),
        check=True,
    )
    assert '"heavy": []' in reported.stdout
    assert '"errors": []' in reported.stdout
    assert "Shadow mode" in reported.stdout
