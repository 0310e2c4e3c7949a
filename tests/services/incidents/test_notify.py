"""The outbox: one message for what is news, retried, never lost, never with the address."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fake_webhook import FakeWebhook
from pydantic import SecretStr
from sqlalchemy import select

from core import cli
from core.learning.policy import policy_to_document
from core.records import CycleReport, Evidence, as_written, to_document
from core.services.automation import workers
from core.services.incidents import channels, delivery, message_switches, notify, scheduler_watch, status
from core.services.operations import doctor
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage.tables import AuditEntry, Cycle, Notice
from core.storage.workspace import Workspace

POLICY = {"drift_share": 0.3, "threshold": 0.8, "min_rows": 100}


def report(**changes: Any) -> CycleReport:
    """A finished cycle."""
    values: dict[str, Any] = {
        "id": 7,
        "project_id": 1,
        "cause": "schedule",
        "status": "done",
        "started_at": datetime(2026, 1, 1, tzinfo=UTC),
        "finished_at": None,
        "decision": "retrain",
        "reason": as_written("Accuracy 0.61 is below 0.70."),
        "outcome": "promoted",
        "champion_after": 2,
    }
    return CycleReport(**{**values, **changes})


class Channel:
    """A channel with prepared answers."""

    def __init__(self, *answers: float | Exception | None) -> None:
        self.answers = list(answers)
        self.sent: list[dict[str, Any]] = []

    def send(self, payload: dict[str, Any]) -> float | None:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            self.sent.append(payload)
        return answer


@pytest.fixture
def hook() -> Iterator[FakeWebhook]:
    with FakeWebhook() as server:
        yield server


@pytest.fixture
def webhook(ws: Workspace, hook: FakeWebhook, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workspace's messages go to a server of this test."""
    monkeypatch.setattr(ws.settings, "discord_webhook_url", SecretStr(hook.url))


@pytest.fixture
def waiting(ws: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with one message in the outbox."""
    made = projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now)
    for module in (channels, delivery, notify):  # where each looks it up
        monkeypatch.setattr(module, "channels", lambda ws: {"discord": object()})
    with ws.database.write() as session:
        row = Cycle(project_id=made.id, cause="schedule", status="done", started_at=now, seed=1)
        session.add(row)
        session.flush()
        notify.enqueue(ws, session, report(id=row.id, project_id=made.id), now)
    return ws


def notice(ws: Workspace) -> Notice:
    with ws.database.read() as session:
        return session.scalars(select(Notice)).one()


def kinds(expected: CycleReport, **known: Any) -> list[str]:
    return [m.kind for m in notify.messages_of(expected, "Demo", "demo", policy=POLICY, **known)]


def evidence(**changes: Any) -> Evidence:
    values: dict[str, Any] = {
        "n_rows": 200, "n_labelled": 200, "metric": "accuracy", "score": 0.9, "score_low": 0.85, "score_high": 0.94,
        "score_n": 200, "recent_mean": None, "share_drifted": 0.0,
    }  # fmt: skip
    return Evidence(**{**values, **changes})


def quiet(**changes: Any) -> CycleReport:
    """A check that decided to do nothing."""
    return report(decision="nothing", outcome="none", **changes)


def test_a_promotion_is_news_and_a_refresh_is_not() -> None:
    assert kinds(report()) == ["promotion"]
    assert kinds(report(outcome="refreshed")) == []
    assert kinds(quiet()) == []
    assert kinds(report(outcome="rolled_back", champion_after=1)) == ["rollback"]
    assert kinds(report(outcome="rejected", challenger=3)) == ["refused"]
    (failed,) = notify.messages_of(report(status="failed", error="no disk"), "Demo", "demo")
    assert (failed.kind, failed.text) == ("failed", "no disk")
    (needs,) = notify.messages_of(report(decision="alert", outcome="none"), "Demo", "demo")
    assert needs.kind == "attention"


def test_a_shadow_that_begins_ends_or_gives_way_is_reported() -> None:
    assert kinds(report(outcome="shadowed", challenger=3), shadow=(None, 3)) == ["shadow_begun"]
    assert kinds(report(champion_after=3), shadow=(3, None)) == ["promotion", "shadow_ended"]
    assert kinds(report(outcome="shadowed", challenger=4), shadow=(3, 4)) == ["shadow_ended", "shadow_begun"]
    assert kinds(quiet(), shadow=(3, 3)) == []


def test_drift_and_a_low_score_are_reported_when_they_begin_and_not_while_they_last() -> None:
    bad = quiet(evidence=evidence(score=0.5, share_drifted=0.5, drifted=("a",)))
    assert kinds(bad) == ["below_threshold", "drift"]
    assert kinds(bad, before=notify.CheckState(drifting=True, below=True)) == []
    assert kinds(bad, before=notify.CheckState(drifting=False, below=True)) == ["drift"]
    few = quiet(evidence=evidence(score=0.5, score_n=20))
    assert kinds(few) == []  # too few rows to judge
    error = quiet(evidence=evidence(metric="mae", score=0.9))
    assert kinds(error) == ["below_threshold"]  # of an error more is worse


def test_a_state_is_reported_once_over_many_checks_and_anew_when_it_comes_back(
    ws: Workspace, now: datetime, webhook: None
) -> None:
    made = projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now)
    shares = [0.1, 0.5, 0.6, None, 0.5, 0.0, 0.5]
    reported = []
    for share in shares:
        with ws.database.write() as session:
            seen = evidence(share_drifted=share, drifted=("a",) if share else ())
            row = Cycle(
                project_id=made.id, cause="schedule", status="done", started_at=now, seed=1,
                policy=policy_to_document(made.policy), evidence=to_document(seen),
            )  # fmt: skip
            session.add(row)
            session.flush()
            notify.enqueue(ws, session, quiet(id=row.id, project_id=made.id, evidence=seen), now)
        with ws.database.read() as session:
            reported.append(len(session.scalars(select(Notice)).all()))
    assert reported == [0, 1, 1, 1, 1, 1, 2]


def test_switches_are_kept_by_project_with_an_audit_row_and_decide(ws: Workspace, now: datetime, webhook: None) -> None:
    made = projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now)
    message_switches.set_switches(ws, made, {"promotion": False, "refused": True}, by="ann", now=now)
    message_switches.set_switches(ws, made, {"promotion": False}, by="ann", now=now)  # nothing changes: no row
    assert message_switches.switches(ws, made)["promotion"] is False
    with ws.database.write() as session:
        entries = session.scalars(select(AuditEntry).where(AuditEntry.what == message_switches.SWITCHES_SET)).all()
        assert [(e.who, e.before, e.after) for e in entries] == [
            ("ann", {"promotion": True, "refused": False}, {"promotion": False, "refused": True})
        ]
        row = Cycle(project_id=made.id, cause="schedule", status="done", started_at=now, seed=1)
        session.add(row)
        session.flush()
        reported = {"id": row.id, "project_id": made.id}
        notify.enqueue(ws, session, report(**reported), now)
        notify.enqueue(ws, session, report(**reported, outcome="rejected", challenger=5), now)
    assert notice(ws).payload["embeds"][0]["title"] == "Demo: challenger v5 rejected"


def test_the_command_line_sets_and_shows_them(ws: Workspace, now: datetime, capsys: pytest.CaptureFixture[str]) -> None:
    projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now)
    assert cli.main(["notify", "--project", "demo", "--on", "refused", "--off", "drift", "--off", "promotion"]) == 0
    capsys.readouterr()
    assert cli.main(["notify", "--project", "demo", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {name for name, on in said.items() if not on} == {"drift", "promotion"}
    assert cli.main(["notify", "--project", "demo", "--on", "drift", "--off", "drift"]) == 1
    with pytest.raises(SystemExit):
        cli.main(["notify", "--on", "nonsense"])


def test_the_scheduler_is_reported_silent_once_and_back_once(
    ws: Workspace, now: datetime, webhook: None, hook: FakeWebhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now)
    interval = ws.settings.check_interval_s
    one, other = scheduler_watch.SchedulerWatch(ws), scheduler_watch.SchedulerWatch(ws)
    assert one.check(now) is None  # none has ever run here
    workers.beat(ws, status.SCHEDULER, owner="s", now=now)
    late = now + timedelta(seconds=4 * interval)
    assert one.check(late) is None  # one look may be of a machine that has just woken
    assert one.check(late) == "silent"
    assert [other.check(late), other.check(late), one.check(late)] == [None, None, None]
    assert [e["title"] for e in hook.embeds] == ["The scheduler is not responding"]
    assert {f["name"]: f["value"] for f in hook.embeds[0]["fields"]}["Projects"] == "Demo"
    workers.beat(ws, status.SCHEDULER, owner="s", now=late)
    assert one.check(late) == "back"
    assert [one.check(late), other.check(late)] == [None, None]
    delivery.deliver_due(ws, late)  # as the scheduler does
    assert [e["title"] for e in hook.embeds[1:]] == ["The scheduler is running again"]


def test_nobody_is_notified_of_silence_where_every_project_has_switched_it_off(
    ws: Workspace, now: datetime, webhook: None
) -> None:
    made = projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now)
    message_switches.set_switches(ws, made, {"silent": False}, by="ann", now=now)
    workers.beat(ws, status.SCHEDULER, owner="s", now=now)
    watch = scheduler_watch.SchedulerWatch(ws)
    for _ in range(3):
        watch.check(now + timedelta(hours=1))
    with ws.database.read() as session:
        assert session.scalar(select(Notice)) is None


# --- a webhook over HTTP ----------------------------------------------------------------------------------------


def _put(ws: Workspace, now: datetime, n: int = 1) -> None:
    """Messages into the outbox."""
    project = projects.get_project(ws, "demo")
    with ws.database.write() as session:
        for k in range(n):
            notify.enqueue_event(ws, session, "attention", project.id, f"number {k}", now)


@pytest.fixture
def demo(ws: Workspace, now: datetime, webhook: None) -> Workspace:
    projects.create_project(ws, "Demo", Origin(source="file"), by="test", now=now)
    return ws


def _due(ws: Workspace) -> list[datetime | None]:
    with ws.database.read() as session:
        return list(session.scalars(select(Notice.next_attempt_at).where(Notice.sent_at.is_(None)).order_by(Notice.id)))


def test_what_reaches_the_webhook_is_one_embed_without_mentions(
    demo: Workspace, now: datetime, hook: FakeWebhook
) -> None:
    _put(demo, now)
    assert delivery.deliver_due(demo, now) == 1
    (body,) = hook.bodies
    assert body["allowed_mentions"] == {"parse": []}
    assert len(body["embeds"]) == 1


def test_a_limit_counts_for_all_that_waits_and_costs_no_attempt(
    demo: Workspace, now: datetime, hook: FakeWebhook
) -> None:
    _put(demo, now, 3)
    hook.answers = [(429, {"retry_after": 2.5}, {})]
    assert delivery.deliver_due(demo, now) == 0
    assert len(hook.bodies) == 1
    assert _due(demo) == [now + timedelta(seconds=2.5)] * 3
    hook.answers = [(429, None, {"Retry-After": "7"})]  # a proxy in front answers without JSON
    later = now + timedelta(seconds=3)
    delivery.deliver_due(demo, later)
    assert _due(demo) == [later + timedelta(seconds=7)] * 3
    assert delivery.deliver_due(demo, later + timedelta(seconds=7)) == 3


def test_a_server_that_fails_or_does_not_answer_is_tried_again_later(
    demo: Workspace, now: datetime, hook: FakeWebhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "TIMEOUT_S", 0.2)
    _put(demo, now)
    hook.answers = [(503, None, {}), "hang"]
    assert delivery.deliver_due(demo, now) == 0
    assert _due(demo) == [now + timedelta(seconds=5)]
    at = now + timedelta(seconds=5)
    assert delivery.deliver_due(demo, at) == 0
    assert _due(demo) == [at + timedelta(seconds=10)]
    assert delivery.deliver_due(demo, at + timedelta(seconds=10)) == 1


def test_a_message_that_is_refused_does_not_stop_the_others(demo: Workspace, now: datetime, hook: FakeWebhook) -> None:
    _put(demo, now, 2)
    hook.answers = [(400, {"embeds": ["0"]}, {})]
    assert delivery.deliver_due(demo, now) == 1
    assert _due(demo) == [None]
    assert channels.state_of(demo).dead_since is None


@pytest.mark.parametrize("code", [401, 404])
def test_a_webhook_that_is_gone_is_left_alone_until_the_setting_changes(
    demo: Workspace, now: datetime, hook: FakeWebhook, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    _put(demo, now, 3)
    hook.answers = [(code, None, {})]
    delivery.deliver_due(demo, now)
    assert len(hook.bodies) == 1
    state = channels.state_of(demo)
    assert (state.dead_since, state.why) == (now, f"the webhook answered {code}")
    assert any(c.name == "messages" and not c.ok for c in doctor.examine(demo, now=now))
    _put(demo, now)
    channels.reactivate(demo, now)  # a restart with the same address changes nothing
    assert delivery.deliver_due(demo, now + timedelta(hours=1)) == 0
    assert len(hook.bodies) == 1
    monkeypatch.setattr(demo.settings, "discord_webhook_url", SecretStr(hook.url + "/another"))
    assert channels.state_of(demo).dead_since is None
    channels.reactivate(demo, now + timedelta(hours=1))
    assert delivery.deliver_due(demo, now + timedelta(hours=1)) == 4


def test_the_test_message_says_how_it_went(demo: Workspace, now: datetime, hook: FakeWebhook) -> None:
    hook.answers = [(204, None, {}), (429, {"retry_after": 3}, {}), (400, None, {}), (500, None, {}), (404, None, {})]
    outcomes = [channels.send_test(demo, by="ann", now=now) for _ in range(5)]
    assert [o.outcome for o in outcomes] == ["delivered", "later", "refused", "unreachable", "dead"]
    assert outcomes[1].wait_s == 3
    assert channels.state_of(demo).dead_since == now
    assert hook.url not in repr(outcomes)
    assert channels.send_test(demo, by="ann", now=now).outcome == "delivered"
    assert channels.state_of(demo).dead_since is None  # it works again


def test_without_a_webhook_the_test_says_so(ws: Workspace, now: datetime) -> None:
    assert channels.send_test(ws, by="ann", now=now).outcome == "not_set_up"


# --- the outbox ---------------------------------------------------------------------------------------------------


def test_a_message_is_delivered_once(waiting: Workspace, now: datetime) -> None:
    channel = Channel(None)
    assert delivery.deliver_due(waiting, now, notifiers={"discord": channel}) == 1
    assert delivery.deliver_due(waiting, now + timedelta(days=1), notifiers={"discord": channel}) == 0
    assert len(channel.sent) == 1
    assert notice(waiting).sent_at == now


def test_a_failure_is_tried_again_and_its_text_is_not_kept(waiting: Workspace, now: datetime) -> None:
    channel = Channel(ConnectionError("https://secret.example/token"), None)
    assert delivery.deliver_due(waiting, now, notifiers={"discord": channel}) == 0
    row = notice(waiting)
    assert row.error == "ConnectionError"
    assert row.next_attempt_at is not None
    assert delivery.deliver_due(waiting, now, notifiers={"discord": channel}) == 0
    assert delivery.deliver_due(waiting, row.next_attempt_at, notifiers={"discord": channel}) == 1


def test_retry_after_is_kept_to(waiting: Workspace, now: datetime) -> None:
    channel = Channel(42.5, None)
    delivery.deliver_due(waiting, now, notifiers={"discord": channel})
    assert notice(waiting).next_attempt_at == now + timedelta(seconds=42.5)


def test_a_dead_webhook_is_not_called_again(waiting: Workspace, now: datetime) -> None:
    channel = Channel(channels.DeadChannel("the webhook answered 404"))
    delivery.deliver_due(waiting, now, notifiers={"discord": channel})
    row = notice(waiting)
    assert row.next_attempt_at is None
    assert row.error == "the webhook answered 404"
    assert delivery.deliver_due(waiting, now + timedelta(days=30), notifiers={"discord": channel}) == 0
