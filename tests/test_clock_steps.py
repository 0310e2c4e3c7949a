"""The clock is set between and during batches, in zones with summer time: all is measured once, in its order, and no check
is lost or doubled.

The program's clock is moved by hand here; `end_to_end/test_faked_clock.py` moves that of real processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from conftest import Campaign
from sqlalchemy import select

from core.cycle import run, run_cycle
from core.errors import BadInput, Busy
from core.learning.policy import next_scheduled, policy_named
from core.records import CycleReport, Policy, ProjectInfo
from core.services.automation import due_work
from core.services.ingestion import ingest, label_intake, sealing
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.services.serving import file_answers
from core.storage.tables import Batch, Lease, PerformanceRun, Prediction
from core.storage.workspace import Workspace

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ROWS = 60
# By how much the clock is wrong when a batch arrives; it is set while the batch's check runs, to what the next one finds.
STEPS = {
    "ahead": [1, 1],
    "behind": [-1, -1],
    "to and fro": [0, 1, -1, 1, 0, -1, 0],
}
# A night in which an hour is left out, and one in which an hour comes twice.
NIGHTS = [
    ("Europe/Paris", datetime(2026, 3, 29, 1, 0, tzinfo=UTC)),
    ("Europe/Paris", datetime(2026, 10, 25, 1, 0, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 8, 7, 0, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 6, 0, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, 0, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
]


def rows(seed: int, n: int = ROWS, *, turned: bool = False) -> pd.DataFrame:
    """Labelled rows of a linear concept, or of its opposite."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    return frame.assign(y=((frame["a"] + frame["b"] > 0) ^ turned).astype(int))


class Machine:
    """One project on a machine whose clock can be set."""

    def __init__(self, ws: Workspace, monkeypatch: pytest.MonkeyPatch, start: datetime, policy: Policy) -> None:
        self.ws, self.time, self.wrong = ws, start, timedelta()
        self.project_id = projects.create_project(
            ws, "Clock", Origin(source="file"), by="me", now=self.clock, policy=policy
        ).id
        machine = self

        class Clock(datetime):
            @classmethod
            def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
                return machine.clock

        monkeypatch.setattr("core.cycle.lease.datetime", Clock)
        monkeypatch.setattr("core.storage.mlflow_copy.sync", lambda ws, project_id: None)

    @property
    def clock(self) -> datetime:
        return self.time + self.wrong

    @property
    def project(self) -> ProjectInfo:
        return projects.project_by_id(self.ws, self.project_id)

    def send(self, frame: pd.DataFrame, origin: str, **options: str) -> ingest.IngestReport:
        return ingest.ingest_frame(
            self.ws, self.project, frame, origin=origin, by="me", now=self.clock, target="y", **options
        )

    def check(self, cause: str = "cli") -> CycleReport | None:
        return run_cycle(self.ws, self.project_id, cause=cause, now=self.clock)

    def tick(self) -> CycleReport | None:
        """What scheduler and worker do at a look: a check where one is due."""
        with self.ws.database.read() as session:
            due = due_work.due_projects(session, self.clock)
        return self.check("schedule") if due else None

    def measured(self) -> list[tuple[str, int]]:
        """What was measured in the order in which it was: origin of the batch, rows."""
        with self.ws.database.read() as session:
            statement = (
                select(Batch.origin, PerformanceRun.n)
                .join(Batch, Batch.id == PerformanceRun.batch_id)
                .where(PerformanceRun.role == "champion")
                .order_by(PerformanceRun.id)
            )
            return [(origin, n) for origin, n in session.execute(statement)]

    def batches(self) -> list[Batch]:
        with self.ws.database.read() as session:
            return list(session.scalars(select(Batch).order_by(Batch.id)))

    def leases(self) -> list[str]:
        with self.ws.database.read() as session:
            return list(session.scalars(select(Lease.name)))


@pytest.fixture
def light() -> Policy:
    """Races for a first model only, unless something else is asked for."""
    return policy_named("balanced", families=("logistic",), triggers=("no_champion",))


@pytest.fixture
def machine(ws: Workspace, monkeypatch: pytest.MonkeyPatch, now: datetime, light: Policy) -> Machine:
    return Machine(ws, monkeypatch, now, light)


@pytest.fixture
def set_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets the zone of this process."""

    def _set(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield _set
    monkeypatch.undo()
    time.tzset()


def during(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Do something in the middle of each check."""
    close = run.close_cycle

    def closing(*args: object, **options: object) -> object:
        act()
        return close(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "close_cycle", closing)


@pytest.mark.parametrize("timed", [False, True], ids=["arrival", "own instants"])
@pytest.mark.parametrize("name", list(STEPS))
def test_each_batch_is_measured_once_whatever_the_clock_does(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, name: str, timed: bool
) -> None:
    """Rows with instants of their own got them from a clock that is as wrong."""
    wrong = [timedelta(days=d) for d in STEPS[name]]

    def batch(seed: int, n: int = ROWS) -> ingest.IngestReport:
        frame = rows(seed, n)
        if not timed:
            return machine.send(frame, f"{seed}.csv")
        frame["t"] = pd.date_range(machine.clock - HOUR, machine.clock, periods=n)
        return machine.send(frame, f"{seed}.csv", time_column="t")

    batch(0, 200)
    machine.check()
    following = iter([*wrong[1:], wrong[-1]])
    during(monkeypatch, lambda: setattr(machine, "wrong", next(following)))
    machine.wrong = wrong[0]
    for k in range(1, len(wrong) + 1):
        machine.time += 2 * HOUR
        assert not batch(k).backfill
        report = machine.check("schedule")
        assert report is not None
        assert report.status == "done"
        assert machine.leases() == []
    assert machine.measured() == [(f"{k}.csv", ROWS) for k in range(1, len(wrong) + 1)]
    for ahead in (timedelta(), HOUR, DAY):
        machine.wrong = ahead
        assert machine.check() is None
    assert not any(b.backfill for b in machine.batches())


@pytest.mark.parametrize("wrong", [DAY, -DAY], ids=["ahead", "behind"])
@pytest.mark.parametrize("step", ["before the label", "before the sealing", "during the check"])
def test_answers_and_their_labels_are_measured_once(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, wrong: timedelta, step: str
) -> None:
    machine.send(rows(0, 200).assign(key=[f"r{i}" for i in range(200)]), "0.csv", id_column="key")
    machine.check()
    if step == "during the check":
        during(monkeypatch, lambda: setattr(machine, "wrong", wrong))
    asked = rows(5).assign(key=[f"asked-{i}" for i in range(ROWS)])
    file_answers.predict_file(machine.ws, machine.project, asked.drop(columns="y"), now=machine.clock)
    machine.time += timedelta(seconds=10)
    if step == "before the label":
        machine.wrong = wrong
    pairs = list(zip(asked["key"], asked["y"].tolist(), strict=True))
    label_intake.add_labels(machine.ws, machine.project, pairs, by="me", now=machine.clock)
    machine.time += timedelta(seconds=10)
    if step == "before the sealing":
        machine.wrong = wrong
    assert machine.check() is not None
    machine.wrong = timedelta()
    machine.time += HOUR
    assert machine.check() is None
    assert machine.measured() == [(f"prediction log, {ROWS} rows", ROWS)]
    with machine.ws.database.read() as session:
        assert len(set(session.scalars(select(Prediction.batch_id)))) == 1
    assert sealing.seal_log(machine.ws, machine.project, now=machine.clock, force=True) is None


def test_a_check_whose_lease_the_clock_ended_keeps_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is set in mid-check, before the lease is renewed: another check takes over, and only one counts."""
    machine.send(rows(0, 200), "0.csv")
    machine.check()
    for k, wrong in enumerate((DAY, -DAY), start=1):
        machine.time, machine.wrong = machine.time + 2 * HOUR, timedelta()
        machine.send(rows(k), f"{k}.csv")
        others: list[CycleReport | None] = []

        def another(wrong: timedelta = wrong, others: list[CycleReport | None] = others) -> None:
            if not others:
                machine.wrong = wrong
                others.append(None)
                others.append(machine.check("cli"))

        with monkeypatch.context() as patch:
            during(patch, another)
            with pytest.raises(Busy):
                machine.check("schedule")
        assert others[-1] is not None
        assert others[-1].status == "done"
        assert machine.leases() == []
    assert machine.measured() == [("1.csv", ROWS), ("2.csv", ROWS)]


def test_rows_of_a_right_clock_on_a_machine_that_is_behind_are_refused_in_words(machine: Machine) -> None:
    machine.wrong = -DAY
    frame = rows(0, 200).assign(t=pd.date_range(machine.time - HOUR, machine.time, periods=200))
    with pytest.raises(BadInput, match="rows from the future"):
        machine.send(frame, "0.csv", time_column="t")


# --- checks by a schedule -----------------------------------------------------------------------------------------


def scheduled(machine: Machine, since: datetime, until: datetime, every: timedelta = HOUR / 2) -> list[datetime]:
    """True instants of the races that the schedule asked for; labelled rows come before each look."""
    fired = []
    machine.time = since
    seed = int(since.timestamp()) % 100_000
    while machine.time < until:
        seed += 1
        machine.send(rows(seed, 20), f"{seed}.csv")
        report = machine.tick()
        if report is not None and any(f.trigger == "schedule" for f in report.firings):
            fired.append(machine.time)
        machine.time += every
    return fired


@pytest.fixture
def hourly() -> Policy:
    return policy_named(
        "balanced", families=("logistic",), triggers=("no_champion", "schedule"), schedule="15 * * * *", new_labels=20, min_rows=20,
        cooldown_s=0.0, races_per_day=0,
    )  # fmt: skip


@pytest.mark.campaign
def test_a_schedule_runs_once_an_instant_when_summer_time_begins_or_ends(
    ws: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    set_zone: Callable[[str], None],
    hourly: Policy,
    campaign: Campaign,
) -> None:
    machine = Machine(ws, monkeypatch, datetime(2026, 1, 1, tzinfo=UTC), hourly)
    machine.send(rows(0, 200), "0.csv")
    assert machine.check() is not None
    nights = sorted(NIGHTS, key=lambda night: night[1])
    hours = 3 if campaign.progress else 1
    for zone, change in nights if campaign.progress else nights[::3]:
        set_zone(zone)
        before, after = ((change + d).astimezone(ZoneInfo(zone)).utcoffset() for d in (-HOUR, HOUR))
        assert before != after
        start = change - hours * HOUR
        fired = scheduled(machine, start, change + hours * HOUR)
        assert fired[0] == start, "the instants since the last look are made up for at once"
        wanted, instant = [start], next_scheduled(hourly.schedule, start)
        while instant is not None and (seen := instant + HOUR / 4) < change + hours * HOUR:
            wanted.append(seen)
            instant = next_scheduled(hourly.schedule, instant)
        assert fired == wanted
    names = [origin for origin, _ in machine.measured()]
    assert names == [b.origin for b in machine.batches()[1:]]
    assert not any(b.backfill for b in machine.batches())


@pytest.mark.parametrize(("zone", "change"), NIGHTS, ids=[f"{zone}-{at:%m}" for zone, at in NIGHTS])
def test_local_times_of_the_hour_that_comes_twice_are_no_backfill(
    machine: Machine, set_zone: Callable[[str], None], zone: str, change: datetime
) -> None:
    """A quarter of an hour a batch, stamped by the clock on the wall, without a zone."""
    set_zone(zone)
    offset = max((change + d).astimezone(ZoneInfo(zone)).utcoffset() or timedelta() for d in (-HOUR, HOUR))
    machine.time = change - 2 * HOUR
    for k in range(1, 14):
        at = machine.time
        local = [
            (at - HOUR / 4 + i * HOUR / 4 / ROWS).astimezone(ZoneInfo(zone)).replace(tzinfo=None) for i in range(ROWS)
        ]
        machine.wrong = max(offset, timedelta())  # the machine takes its local time for UTC, as the file does
        report = machine.send(rows(k).assign(t=[t.isoformat() for t in local]), f"{k}.csv", time_column="t")
        assert not report.backfill
        machine.time += HOUR / 4


@pytest.mark.campaign
def test_a_clock_that_was_ahead_skips_no_instant_of_a_schedule(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, now: datetime, hourly: Policy, campaign: Campaign
) -> None:
    machine = Machine(ws, monkeypatch, now, hourly)
    machine.send(rows(0, 200), "0.csv")
    machine.check()
    for ahead in (HOUR, DAY, 400 * DAY) if campaign.progress else (400 * DAY,):
        start = machine.time + HOUR
        machine.time, machine.wrong = start, ahead
        machine.send(rows(int(ahead / DAY), 20), f"ahead {ahead}")
        raced = machine.tick()
        assert raced is not None
        assert raced.decision == "retrain"
        machine.wrong = timedelta()
        fired = scheduled(machine, start + HOUR / 2, start + 3 * HOUR)
        hours = [at for at in fired if at > start + HOUR / 2]
        assert [b - a for a, b in pairwise(hours)] == [HOUR] * (len(hours) - 1)
        assert len(hours) == 2


def test_a_clock_put_back_by_an_hour_runs_no_instant_twice(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, now: datetime, hourly: Policy
) -> None:
    machine = Machine(ws, monkeypatch, now, hourly)
    machine.send(rows(0, 200), "0.csv")
    machine.check()
    fired = scheduled(machine, now + HOUR, now + 3 * HOUR)
    seen = {int((at - now - HOUR / 4) / HOUR) for at in fired}
    assert len(seen) == len(fired)
    machine.wrong = -HOUR
    again = scheduled(machine, now + 3 * HOUR, now + 4 * HOUR - HOUR / 2)
    assert again == []
    assert scheduled(machine, now + 4 * HOUR, now + 6 * HOUR) != []


def test_a_race_of_the_future_holds_up_no_other(ws: Workspace, monkeypatch: pytest.MonkeyPatch, now: datetime) -> None:
    """Neither the cooldown nor the day's budget counts from a race of a clock that was ahead."""
    policy = policy_named("balanced", families=("logistic",), new_labels=50, cooldown_s=600.0, races_per_day=1)
    machine = Machine(ws, monkeypatch, now, policy)
    machine.send(rows(0, 200), "0.csv")
    machine.wrong = DAY
    assert machine.check() is not None
    machine.wrong, machine.time = timedelta(), now + HOUR
    machine.send(rows(1), "1.csv")
    report = machine.check("schedule")
    assert report is not None
    assert report.decision == "retrain"
