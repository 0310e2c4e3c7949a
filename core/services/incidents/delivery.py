"""Sending what waits in the outbox: claimed by one process at a time, retried, given up where the channel refuses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from loguru import logger
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.services.incidents.channels import FIRST_WAIT_S, DeadChannel, Notifier, Refused, channels, mark_dead
from core.storage import queries
from core.storage.tables import Notice
from core.storage.workspace import Workspace

MAX_ATTEMPTS = 30  # over a day


LONGEST_WAIT_S = 3600.0


CLAIM = timedelta(seconds=60)  # for which nobody else sends what one process is sending


AT_ONCE = 20


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
                mark_dead(ws, session, channel, error, now)
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
