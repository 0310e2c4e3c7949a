"""The channels that messages are sent to: how they are called, and whether they refuse."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.records import JsonObject
from core.services.access.actors import require
from core.services.incidents.messages import Facts, Message, payload
from core.storage import audit
from core.storage.tables import Channel, Notice
from core.storage.workspace import Workspace

FIRST_WAIT_S = 5.0


TIMEOUT_S = 10.0


STILL_NEWS = timedelta(days=1)  # messages that have waited for a channel longer than this are not sent any more


class Notifier(Protocol):
    """A channel."""

    def send(self, payload: JsonObject) -> float | None:
        """Deliver; returns the seconds to wait if the channel is rate-limited. Raises DeadChannel, Refused or any network error."""


class DeadChannel(Exception):
    """The channel refuses permanently: wrong or deleted address."""


class Refused(Exception):
    """The channel refuses this message permanently."""


class Discord:
    """Discord webhook: one embed per message."""

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, payload: JsonObject) -> float | None:
        """POST the message; honours 429's retry_after; 401, 403 and 404 mean that the webhook no longer exists."""
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
    """The wait in seconds that a 429 requests: in its body or, from a proxy, in its header."""
    try:
        wait_s = float(response.json()["retry_after"])
    except (ValueError, KeyError, TypeError):
        try:
            wait_s = float(response.headers.get("Retry-After", FIRST_WAIT_S))
        except ValueError:
            wait_s = FIRST_WAIT_S
    return wait_s if 0 <= wait_s < float("inf") else FIRST_WAIT_S


def channels(ws: Workspace) -> dict[str, Notifier]:
    """The configured channels."""
    url = ws.settings.discord_webhook_url
    return {name: build(url.get_secret_value()) for name, build in NOTIFIERS.items() if url is not None}


def _fingerprint(ws: Workspace) -> str:
    """A fingerprint of a webhook's address, which does not reveal it."""
    url = ws.settings.discord_webhook_url
    return hashlib.sha256(url.get_secret_value().encode()).hexdigest() if url is not None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelState:
    """The state of a channel."""

    set_up: bool
    dead_since: datetime | None = None
    why: str = ""


def state_of(ws: Workspace, channel: str = "discord") -> ChannelState:
    """Whether the channel is configured, and since when it refuses."""
    with ws.database.read() as session:
        row = dead_row(ws, session, channel)
        return ChannelState(
            set_up=ws.settings.discord_webhook_url is not None,
            dead_since=row.dead_since if row else None,
            why=row.why if row else "",
        )


def dead_row(ws: Workspace, session: Session, channel: str) -> Channel | None:
    """The channel's row, if its current address has refused permanently."""
    row = session.get(Channel, channel)
    return row if row is not None and row.fingerprint == _fingerprint(ws) else None


def reactivate(ws: Workspace, now: datetime, *, worked: bool = False) -> None:
    """If the address of a dead channel was changed, or has just worked, reactivate it and send what is still recent."""
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
    """The result of one message that was sent immediately."""

    outcome: Delivery
    wait_s: float | None = None
    why: str = ""


def send_test(ws: Workspace, *, by: str, now: datetime, notifier: Notifier | None = None) -> Tried:
    """Send a message now, bypassing the outbox, and return the result."""
    require(ws, by, "admin")
    result = _try(ws, notifier or channels(ws).get("discord"), by, now)
    with ws.database.write() as session:
        audit.record(session, who=by, what="test message sent", after={"outcome": result.outcome}, now=now)
        if result.outcome == "dead":
            mark_dead(ws, session, "discord", result.why, now)
    if result.outcome == "delivered":
        reactivate(ws, now, worked=True)
    return result


def _try(ws: Workspace, notifier: Notifier | None, by: str, now: datetime) -> Tried:
    if notifier is None:
        return Tried(outcome="not_set_up")
    message = Message(kind="attention", headline="test message", facts=Facts(by=by), text=TEST)
    try:
        wait = notifier.send(payload(message, ws.settings.public_url, now))
    except DeadChannel as error:
        return Tried(outcome="dead", why=str(error))
    except Refused as error:
        return Tried(outcome="refused", why=str(error))
    except Exception as error:  # its text contains the address
        return Tried(outcome="unreachable", why=type(error).__name__)
    return Tried(outcome="delivered" if wait is None else "later", wait_s=wait)


TEST = "Messages from Continual ML arrive here."


def mark_dead(ws: Workspace, session: Session, channel: str, why: str, now: datetime) -> None:
    """Stop calling the channel while it has this address; its messages stay in the outbox."""
    row = session.get(Channel, channel)
    if row is None:
        session.add(Channel(name=channel, fingerprint=_fingerprint(ws), dead_since=now, why=why))
    elif row.fingerprint != _fingerprint(ws):
        row.fingerprint, row.dead_since, row.why = _fingerprint(ws), now, why
    waiting = (Notice.channel == channel, Notice.sent_at.is_(None), Notice.next_attempt_at.is_not(None))
    session.execute(update(Notice).where(*waiting).values(next_attempt_at=None, error=why))


NOTIFIERS = {"discord": Discord}
