"""Messages to people: written to an outbox with the transaction that makes them news, sent later, retried, never lost.

What is news: the kinds of `core.services.incidents.messages`, each switched on or off by project. A state is told when it begins and
not again while it lasts. A refresh or a quiet check is an audit row and no message. A failed delivery never fails a cycle.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from loguru import logger
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core import words
from core.records import SERVING, CycleReport, Outcome, ProjectInfo, Score, is_worse
from core.services.access.actors import require
from core.services.incidents import status
from core.services.incidents.messages import Facts, Message, changed, chosen, payload, sends
from core.storage import audit, queries
from core.storage.tables import Channel, Cycle, Heartbeat, Notice, Project
from core.storage.workspace import Workspace
from core.text import vocabulary
from core.text.reasons import sentence

MAX_ATTEMPTS = 30  # over a day
FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 3600.0
TIMEOUT_S = 10.0
CLAIM = timedelta(seconds=60)  # for which nobody else sends what one process is sending
STILL_NEWS = timedelta(days=1)  # what waited for a channel for longer is not sent any more
AT_ONCE = 20
SILENCE = "silence"  # of the heartbeats: whether people were told that the scheduler is silent
SWITCHES_SET = "messages changed"  # in the audit


# --- channels ---------------------------------------------------------------------------------------------------


class Notifier(Protocol):
    """A channel."""

    def send(self, payload: dict[str, Any]) -> float | None:
        """Deliver; returns seconds to wait when the channel says "later". Raises DeadChannel, Refused or any network error."""


class DeadChannel(Exception):
    """The channel refuses for good: wrong or deleted address."""


class Refused(Exception):
    """The channel refuses this message, now and later."""


class Discord:
    """Discord webhook: one embed a message."""

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, payload: dict[str, Any]) -> float | None:
        """POST the message; honours 429's retry_after; 401, 403 and 404 mean that the webhook is gone."""
        import httpx

        response = httpx.post(self._url, json=payload, timeout=TIMEOUT_S)
        code = response.status_code
        if code == 429:
            return _retry_after(response)
        if code in (401, 403, 404):
            raise DeadChannel(f"the webhook answered {code}")
        if code != 408 and 400 <= code < 500:
            raise Refused(f"the webhook answered {code}")
        response.raise_for_status()
        return None


def _retry_after(response: Any) -> float:
    """Seconds that a 429 asks for: in its body, or where a proxy answered in its header."""
    try:
        asked = float(response.json()["retry_after"])
    except (ValueError, KeyError, TypeError):
        try:
            asked = float(response.headers.get("Retry-After", FIRST_WAIT_S))
        except ValueError:
            asked = FIRST_WAIT_S
    return asked if 0 <= asked < float("inf") else FIRST_WAIT_S


def channels(ws: Workspace) -> dict[str, Notifier]:
    """The channels that are set up."""
    url = ws.settings.discord_webhook_url
    return {name: build(url.get_secret_value()) for name, build in NOTIFIERS.items() if url is not None}


def _fingerprint(ws: Workspace) -> str:
    """Tells one webhook from another without holding it."""
    url = ws.settings.discord_webhook_url
    return hashlib.sha256(url.get_secret_value().encode()).hexdigest() if url is not None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelState:
    """How a channel is."""

    set_up: bool
    dead_since: datetime | None = None
    why: str = ""


def state_of(ws: Workspace, channel: str = "discord") -> ChannelState:
    """Whether the channel is set up, and since when it refuses."""
    with ws.database.read() as session:
        row = _dead(ws, session, channel)
        return ChannelState(
            set_up=ws.settings.discord_webhook_url is not None,
            dead_since=row.dead_since if row else None,
            why=row.why if row else "",
        )


def _dead(ws: Workspace, session: Session, channel: str) -> Channel | None:
    """The channel's row, if its present address has refused for good."""
    row = session.get(Channel, channel)
    return row if row is not None and row.fingerprint == _fingerprint(ws) else None


def start_again(ws: Workspace, now: datetime, *, worked: bool = False) -> None:
    """Where the address of a dead channel was changed, or has just worked, forget that and send what is still news."""
    with ws.database.read() as session:
        if session.scalar(select(Channel.name).limit(1)) is None:
            return
    with ws.database.write() as session:
        for row in session.scalars(select(Channel)).all():
            if row.fingerprint == _fingerprint(ws) and not worked:
                continue
            session.execute(
                update(Notice)
                .where(
                    Notice.channel == row.name,
                    Notice.sent_at.is_(None),
                    Notice.next_attempt_at.is_(None),
                    Notice.error == row.why,
                    Notice.created_at > now - STILL_NEWS,
                )
                .values(next_attempt_at=now, attempts=0)
            )
            session.delete(row)


Delivery = Literal["delivered", "later", "dead", "refused", "unreachable", "not_set_up"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of one message that was sent at once."""

    outcome: Delivery
    wait_s: float | None = None
    why: str = ""


def send_test(ws: Workspace, *, by: str, now: datetime, notifier: Notifier | None = None) -> Tried:
    """Send a message now, past the outbox, and tell what came of it."""
    require(ws, by, "admin")
    found = _try(ws, notifier or channels(ws).get("discord"), by, now)
    with ws.database.write() as session:
        audit.record(session, who=by, what="test message sent", after={"outcome": found.outcome}, now=now)
        if found.outcome == "dead":
            _mark_dead(ws, session, "discord", found.why, now)
    if found.outcome == "delivered":
        start_again(ws, now, worked=True)
    return found


def _try(ws: Workspace, notifier: Notifier | None, by: str, now: datetime) -> Tried:
    if notifier is None:
        return Tried(outcome="not_set_up")
    message = Message(kind="attention", headline="a test of the messages", facts=Facts(by=by), text=TEST)
    try:
        wait = notifier.send(payload(message, ws.settings.public_url, now))
    except DeadChannel as error:
        return Tried(outcome="dead", why=str(error))
    except Refused as error:
        return Tried(outcome="refused", why=str(error))
    except Exception as error:  # its text holds the address
        return Tried(outcome="unreachable", why=type(error).__name__)
    return Tried(outcome="delivered" if wait is None else "later", wait_s=wait)


TEST = "Messages of Continual ML arrive here."


# --- which kinds a project sends ----------------------------------------------------------------------------------


def switches(ws: Workspace, project: ProjectInfo) -> dict[str, bool]:
    """Which kinds of messages the project sends."""
    with ws.database.read() as session:
        return chosen(queries.project_row(session, project.id).messages)


def set_switches(
    ws: Workspace, project: ProjectInfo, changes: Mapping[str, bool], *, by: str, now: datetime
) -> dict[str, bool]:
    """Set some; the others stay. Returns them all.

    Raises:
        BadInput: a kind that there is not.
    """
    require(ws, by, "operator")
    with ws.database.write() as session:
        row = queries.project_row(session, project.id)
        before, stored = chosen(row.messages), changed(row.messages, changes)
        after = chosen(stored)
        if after != before:
            flipped = [name for name in after if after[name] != before[name]]
            audit.record(
                session,
                who=by,
                what=SWITCHES_SET,
                project_id=row.id,
                before={name: before[name] for name in flipped},
                after={name: after[name] for name in flipped},
                now=now,
            )
            row.messages = stored or None
        return after


# --- what is news -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a check found to be so; told where the check before had not."""

    drifting: bool | None = None  # None: it was not measured
    below: bool | None = None


def standing(evidence: Any, policy: Mapping[str, Any]) -> Standing:
    """Drift and score of a check's evidence (a record or its document) against the policy that it was decided by."""
    if evidence is None:
        return Standing()
    told = evidence if isinstance(evidence, dict) else {k: getattr(evidence, k) for k in _LOOKED_AT}
    share, score = told["share_drifted"], told["score"]
    drifting = None if share is None else share >= policy["drift_share"] and bool(told["drifted"])
    below = None
    if score is not None and told["score_n"] >= policy["min_rows"]:
        below = is_worse(score, policy["threshold"], told["metric"])
    return Standing(drifting=drifting, below=below)


_LOOKED_AT = ("share_drifted", "drifted", "score", "score_n", "metric")


def messages_of(
    report: CycleReport,
    project: str,
    slug: str,
    *,
    policy: Mapping[str, Any] | None = None,
    before: Standing | None = None,
    shadow: tuple[int | None, int | None] = (None, None),
) -> list[Message]:
    """What is news in a cycle, what weighs most first.

    Args:
        policy: that the cycle was decided by.
        before: how drift and score stood when they were last measured.
        shadow: version in the shadow before and after.
    """
    verdict, facts = sentence(report.verdict.reason) if report.verdict else "", _facts(report, policy)
    found: list[Message] = []

    def _add(kind: str, *reasons: str, version: int | None = None) -> None:
        said = "\n".join(dict.fromkeys(r for r in reasons if r))
        told = dataclasses.replace(facts, version=version)
        found.append(Message(kind=kind, text=said, project=project, slug=slug, cycle=report.id, facts=told))

    if report.status == "failed":
        _add("failed", report.error or "The reason is in the log.")
    elif (kind := vocabulary.outcome(report.outcome).message) is not None:
        # What led to a race says nothing of why an earlier version came back.
        said = (verdict or report.reason,) if report.outcome == Outcome.ROLLED_BACK else (report.reason, verdict)
        _add(kind, *said, version=report.champion_after if report.outcome in SERVING else report.challenger)
    if shadow[0] != shadow[1]:
        if shadow[0] is not None:
            _add("shadow_ended", verdict, version=shadow[0])
        if shadow[1] is not None:
            _add("shadow_begun", report.reason, verdict, version=shadow[1])
    now, then = standing(report.evidence, policy) if policy else Standing(), before or Standing()
    if now.below and not then.below:
        _add("below_threshold", report.reason)
    if now.drifting and not then.drifting:
        _add("drift", report.reason)
    if report.decision == "alert" and not found:
        _add("attention", report.reason)
    return found


def _facts(report: CycleReport, policy: Mapping[str, Any] | None) -> Facts:
    seen, race = report.evidence, report.comparison
    if seen is None:
        return Facts(before=report.champion_before, after=report.champion_after)
    score = Score(metric=seen.metric, value=seen.score, low=seen.score_low, high=seen.score_high, n=seen.score_n)
    return Facts(
        before=report.champion_before,
        after=report.champion_after,
        metric=seen.metric,
        score=score if seen.score is not None else None,
        threshold=policy["threshold"] if policy and seen.score is not None else None,
        difference=race.difference if race else None,
        share=seen.share_drifted,
        share_limit=policy["drift_share"] if policy and seen.share_drifted is not None else None,
        drifted=seen.drifted,
        rows=seen.n_rows,
        labelled=seen.n_labelled,
    )


def enqueue(
    ws: Workspace,
    session: Session,
    report: CycleReport,
    now: datetime,
    *,
    shadow: tuple[int | None, int | None] = (None, None),
) -> None:
    """Add what is news in a cycle to the outbox of each channel, as far as its project wants to hear of it."""
    row = queries.project_row(session, report.project_id)
    policy = session.scalar(select(Cycle.policy).where(Cycle.id == report.id)) or row.policy
    before = _stood(session, report)
    news = messages_of(report, row.name, row.slug, policy=policy, before=before, shadow=shadow)
    wanted = [message for message in news if sends(row.messages, message.kind)]
    aside = "\n".join(words.set_aside(report.evidence))
    if aside and wanted:
        wanted[0] = dataclasses.replace(wanted[0], text=f"{wanted[0].text}\n{aside}")
    elif aside and sends(row.messages, "attention"):
        headline = "rows set aside"
        wanted = [
            Message(kind="attention", headline=headline, text=aside, project=row.name, slug=row.slug, cycle=report.id)
        ]
    for message in wanted:
        _put(ws, session, message, now, project_id=row.id, cycle_id=report.id)


def _stood(session: Session, report: CycleReport) -> Standing:
    """How drift and score stood when an earlier check last measured each."""
    earlier = session.execute(
        select(Cycle.evidence, Cycle.policy)
        .where(Cycle.project_id == report.project_id, Cycle.id < report.id, Cycle.status == "done")
        .order_by(Cycle.id.desc())
        .limit(LOOK_BACK)
    )
    drifting = below = None
    for evidence, policy in earlier:
        if evidence is None or policy is None:
            continue
        then = standing(evidence, policy)
        drifting = then.drifting if drifting is None else drifting
        below = then.below if below is None else below
        if drifting is not None and below is not None:
            break
    return Standing(drifting=drifting, below=below)


LOOK_BACK = 50  # checks in which nothing was measured are passed over


def tell(
    ws: Workspace,
    session: Session,
    message: Message,
    now: datetime,
    *,
    project_id: int,
    cycle_id: int | None = None,
) -> None:
    """Add a message about a project to the outbox of each channel, if the project sends its kind."""
    if sends(queries.project_row(session, project_id).messages, message.kind):
        _put(ws, session, message, now, project_id=project_id, cycle_id=cycle_id)


def tell_of(ws: Workspace, session: Session, kind: str, project_id: int, text: str, now: datetime, **told: Any) -> None:
    """The same from its parts: facts by name, and `headline`."""
    row = queries.project_row(session, project_id)
    headline = told.pop("headline", None)
    message = Message(kind=kind, text=text, project=row.name, slug=row.slug, headline=headline, facts=Facts(**told))
    tell(ws, session, message, now, project_id=project_id)


def _put(
    ws: Workspace, session: Session, message: Message, now: datetime, *, project_id: int | None, cycle_id: int | None
) -> None:
    body = payload(message, ws.settings.public_url, now)
    for channel in channels(ws):
        dead = _dead(ws, session, channel)
        session.add(
            Notice(
                project_id=project_id,
                cycle_id=cycle_id,
                channel=channel,
                payload=body,
                created_at=now,
                next_attempt_at=None if dead else now,
                error=dead.why if dead else None,
            )
        )


# --- the scheduler's silence --------------------------------------------------------------------------------------


class SchedulerWatch:
    """Looks from another process whether the scheduler beats; two looks in a row have to agree, for a machine that slept
    wakes its processes one after another."""

    def __init__(self, ws: Workspace) -> None:
        self._ws = ws
        self._late_before = False

    def look(self, now: datetime) -> str | None:
        """Tell people once that the scheduler is silent, and once that it is back; returns the kind that was told.

        Messages are sent from here while it is silent, for nobody else does.
        """
        with self._ws.database.read() as session:
            age = status.scheduler_age(session, now)
            row = session.get(Heartbeat, SILENCE)
            told = row is not None and bool((row.detail or {}).get("silent"))
        late = age is not None and status.is_late(age, self._ws.settings.check_interval_s)
        sure, self._late_before = late and self._late_before, late
        kind = None
        if sure and not told and self._turn(True, age, now):
            kind = "silent"
        elif told and age is not None and not late and self._turn(False, age, now):
            kind = "back"
        if late and (sure or told):
            deliver_due(self._ws, now)
        return kind

    def _turn(self, silent: bool, age: float | None, now: datetime) -> bool:
        """Write that it is silent, or back, with the message; False where another process has done so."""
        try:
            with self._ws.database.write() as session:
                row = session.get(Heartbeat, SILENCE, with_for_update=True)
                if row is None:
                    row = Heartbeat(name=SILENCE, at=now, owner=None, detail={"silent": False})
                    session.add(row)
                    session.flush()
                if bool((row.detail or {}).get("silent")) == silent:
                    return False
                began = now - timedelta(seconds=max(age or 0.0, 0.0)) if silent else row.at
                lasted = max((now - began).total_seconds(), 0.0)
                row.at, row.detail = (began if silent else now), {"silent": silent}
                listening = [p for p in session.scalars(select(Project)) if sends(p.messages, "silent")]
                if not listening:
                    return True
                facts = Facts(silent_s=lasted, projects=tuple(p.name for p in listening))
                text = status.CLOCK_SET_BACK if silent and (age or 0.0) < 0 else SILENT if silent else BACK
                message = Message(kind="silent" if silent else "back", text=text, facts=facts)
                _put(self._ws, session, message, now, project_id=None, cycle_id=None)
        except IntegrityError:  # two processes wrote the first row at once
            return False
        return True


SILENT = "Nothing is checked by itself until it runs again. Start it: `make run`, or `python scheduler.py`."
BACK = "Checks go on. What came meanwhile is looked at now."


# --- the outbox -----------------------------------------------------------------------------------------------


def deliver_due(ws: Workspace, now: datetime, *, notifiers: Mapping[str, Notifier] | None = None) -> int:
    """Send what waits in the outbox; returns how many were delivered. Errors are kept with the notice."""
    ready = channels(ws) if notifiers is None else notifiers
    with ws.database.read() as session:
        due = session.execute(
            select(Notice.id, Notice.channel, Notice.payload, Notice.attempts)
            .where(Notice.sent_at.is_(None), queries.has_come(Notice.next_attempt_at, now))
            .order_by(Notice.id)
            .limit(AT_ONCE)
        ).all()
    sent = 0
    stopped: set[str] = set()  # channels that asked to wait, or are gone
    for notice_id, channel, body, attempts in due:
        if channel in stopped or not _claim(ws, notice_id, now):
            continue
        error: str | None = None
        wait: float | None = min(FIRST_WAIT_S * 2 ** min(attempts, 20), LONGEST_WAIT_S)
        asked = dead = False
        try:
            if channel not in ready:
                raise Refused(f"the channel {channel} is no longer set up")
            later = ready[channel].send(body)
            if later is not None:
                wait, error, asked = later, "the channel asked to wait", True
        except DeadChannel as refused:
            error, wait, dead = str(refused), None, True
        except Refused as refused:
            error, wait = str(refused), None
        except Exception as failure:  # whatever a network can do must not stop the sender
            error = type(failure).__name__  # never its text: that holds the address
        if asked or dead:
            stopped.add(channel)
        with ws.database.write() as session:
            row = session.get(Notice, notice_id)
            if row is None:
                continue
            row.attempts += 0 if asked else 1
            row.error = error
            if error is None:
                row.sent_at, row.next_attempt_at = now, None
                sent += 1
                continue
            again = wait is not None and row.attempts < MAX_ATTEMPTS
            row.next_attempt_at = now + timedelta(seconds=wait) if again and wait is not None else None
            if dead:
                _mark_dead(ws, session, channel, error, now)
            elif asked:
                _put_off(session, channel, row.next_attempt_at)
        logger.warning("notice {id} not delivered to {channel}: {error}", id=notice_id, channel=channel, error=error)
    return sent


def _claim(ws: Workspace, notice_id: int, now: datetime) -> bool:
    """Take a message for a while: the scheduler that comes back and the API may both be sending."""
    with ws.database.write() as session:
        taken = session.scalar(
            update(Notice)
            .where(Notice.id == notice_id, Notice.sent_at.is_(None), queries.has_come(Notice.next_attempt_at, now))
            .values(next_attempt_at=now + CLAIM)
            .returning(Notice.id)
        )
    return taken is not None


def _put_off(session: Session, channel: str, until: datetime | None) -> None:
    """A limit counts for the channel, not for one message."""
    waiting = (Notice.channel == channel, Notice.sent_at.is_(None), Notice.next_attempt_at.is_not(None))
    session.execute(update(Notice).where(*waiting, Notice.next_attempt_at < until).values(next_attempt_at=until))


def _mark_dead(ws: Workspace, session: Session, channel: str, why: str, now: datetime) -> None:
    """Call the channel no more while its address is this one; what waits for it stays in the outbox."""
    row = session.get(Channel, channel)
    if row is None:
        session.add(Channel(name=channel, fingerprint=_fingerprint(ws), dead_since=now, why=why))
    elif row.fingerprint != _fingerprint(ws):
        row.fingerprint, row.dead_since, row.why = _fingerprint(ws), now, why
    waiting = (Notice.channel == channel, Notice.sent_at.is_(None), Notice.next_attempt_at.is_not(None))
    session.execute(update(Notice).where(*waiting).values(next_attempt_at=None, error=why))


NOTIFIERS = {"discord": Discord}
