"""The usual set-up: predictions by day through the API, every night a file of yesterday's labelled rows with their times.

Every file is measured, and a concept that is turned round is answered within days.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from conftest import Campaign
from sqlalchemy import select

from core.cycle import run_cycle
from core.data.conforming import table_of
from core.errors import BadInput
from core.learning.policy import policy_named
from core.records import CycleReport
from core.services.automation import due_work
from core.services.ingestion import ingest, stored_batches
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.services.serving import answering, champion_cache, prediction_log
from core.storage.tables import Batch, PerformanceRun
from core.storage.workspace import Workspace

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
ROWS, ASKED = 300, 20


class Plant:
    """A project whose rows, requests and nights go on day by day."""

    def __init__(self, ws: Workspace, start: datetime, turns_on: int) -> None:
        self.ws, self.start, self.turns_on = ws, start, turns_on
        policy = policy_named("balanced", families=("logistic",), new_labels=ROWS)
        self.project_id = projects.create_project(
            ws, "Plant", Origin(source="file"), by="me", now=start, policy=policy
        ).id

    def day(self, day: int, part: slice = slice(None)) -> pd.DataFrame:
        """The labelled rows of a day with their instants."""
        rng = np.random.default_rng(day)
        frame = pd.DataFrame(rng.normal(size=(ROWS, 2)), columns=["a", "b"])
        frame["y"] = ((frame["a"] + frame["b"] > 0) ^ (day >= self.turns_on)).astype(int)
        frame["at"] = pd.date_range(self.start + day * DAY, periods=ROWS, freq="4min")
        return frame.iloc[part].reset_index(drop=True)

    def ask(self, day: int, now: datetime) -> None:
        """Answer some of a day's rows as `POST /predict` does."""
        served = champion_cache.champion(self.ws, projects.project_by_id(self.ws, self.project_id))
        table, _, _ = table_of(self.day(day, slice(ASKED))[["a", "b"]], served.schema, latest=now + HOUR)
        answered = answering.many(served, table, now, token_id=1)
        prediction_log.store(self.ws, answered.records)

    def send(self, frame: pd.DataFrame, origin: str, now: datetime) -> ingest.IngestReport:
        project = projects.project_by_id(self.ws, self.project_id)
        return ingest.ingest_frame(
            self.ws, project, frame, origin=origin, by="me", now=now, target="y", time_column="at"
        )

    def look(self, now: datetime) -> CycleReport | None:
        """What scheduler and worker do: a check where one is due."""
        with self.ws.database.read() as session:
            due = due_work.due_projects(session, now)
        return run_cycle(self.ws, self.project_id, cause="schedule", now=now) if due else None

    def measured(self) -> list[tuple[str, int]]:
        with self.ws.database.read() as session:
            statement = (
                select(Batch.origin, PerformanceRun.n)
                .join(Batch, Batch.id == PerformanceRun.batch_id)
                .where(PerformanceRun.role == "champion")
                .order_by(PerformanceRun.id)
            )
            return [(origin, n) for origin, n in session.execute(statement)]


@pytest.mark.campaign
def test_every_nightly_file_is_measured_and_a_turned_concept_answered(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, campaign: Campaign
) -> None:
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)
    days = 30 if campaign.progress else 8
    turns_on, fast, future, halves = days // 2, 1, 2, 3
    start = datetime(2026, 3, 1, tzinfo=UTC)
    plant = Plant(ws, start, turns_on)
    plant.send(plant.day(0), "0", start + DAY + HOUR)
    first = plant.look(start + DAY + HOUR)
    assert first is not None
    assert first.outcome == "promoted"
    sent: list[tuple[str, int]] = []
    raced: list[int] = []
    scores: dict[int, float | None] = {}
    for day in range(1, days + 1):
        noon, night = start + day * DAY + 12 * HOUR, start + (day + 1) * DAY + HOUR
        plant.ask(day, noon)
        plant.look(noon + 11 * MINUTE)  # the log is sealed
        if day == fast:  # for this one the clock is an hour ahead
            night += HOUR
        frame = plant.day(day)
        if day == future:
            wrong = frame.assign(at=[*frame["at"][:-1], pd.Timestamp("2099-01-01", tz="UTC")])
            with pytest.raises(BadInput, match="rows from the future"):
                plant.send(wrong, f"{day}", night)
            frame = frame.iloc[:-1]
        parts = [frame] if day != halves else [plant.day(day, slice(0, 150)), plant.day(day, slice(150, None))]
        for number, part in enumerate(parts):
            name = f"{day}" if len(parts) == 1 else f"{day}, part {number + 1}"
            report = plant.send(part, name, night + number * timedelta(seconds=1))
            assert not report.backfill
            sent.append((name, len(part)))
        report = plant.look(night + MINUTE)
        assert report is not None
        assert report.evidence is not None
        assert report.status == "done"
        scores[day] = report.evidence.score
        if report.decision == "retrain" and day >= turns_on:
            raced.append(day)
    assert plant.measured() == sent
    assert raced
    assert raced[0] - turns_on <= 2
    low, last = scores[turns_on], scores[days]
    assert low is not None
    assert last is not None
    assert low < 0.3
    assert last > 0.8
    batches, _ = stored_batches.list_batches(ws, plant.project_id, limit=1000)
    assert not any(b.backfill for b in batches)
    assert sum(b.rows for b in batches if "prediction log" in b.origin) == days * ASKED


def test_two_uploads_of_one_night_that_cross_are_both_measured(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The later half of the day is stored first, by a call that began after the other."""
    monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)
    start = datetime(2026, 3, 1, tzinfo=UTC)
    plant = Plant(ws, start, 99)
    plant.send(plant.day(0), "0", start + DAY + HOUR)
    plant.look(start + DAY + HOUR)
    night = start + 2 * DAY + HOUR
    plant.send(plant.day(1, slice(150, None)), "evening", night + MINUTE)
    plant.send(plant.day(1, slice(0, 150)), "morning", night)
    plant.look(night + 2 * MINUTE)
    assert plant.measured() == [("evening", 150), ("morning", 150)]
