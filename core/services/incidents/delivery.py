"""Delivery of the outbox: each message is claimed by one process at a time, retried, and given up if the channel refuses it."""

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

MAX_ATTEMPTS = 30  # more than a day in all


LONGEST_WAIT_S = 3600.0


CLAIM = timedelta(seconds=60)  # how long a process holds the claim on a message


AT_ONCE = 20


def deliver_due(ws: Workspace, now: datetime, *, notifiers: Mapping[str, Notifier] | None = None) -> int:
    """Send the queued messages of the outbox; returns how many were delivered. Errors are stored with the notice."""
    ready = channels(ws) if notifiers is None else notifiers
    with ws.database.read() as session:
        due = session.execute(
            select(Notice.id, Notice.channel, Notice.payload, Notice.attempts)
            .where(Notice.sent_at.is_(None), queries.is_due(Notice.next_attempt_at, now))
            .order_by(Notice.id)
            .limit(AT_ONCE)
        ).all()
    sent = 0
    stopped: set[str] = set()  # channels that are rate-limited or no longer exist
    for notice_id, channel, body, attempts in due:
        if channel in stopped or not _claim(ws, notice_id, now):
            continue
        error: str | None = None
        wait: float | None = min(FIRST_WAIT_S * 2 ** min(attempts, 20), LONGEST_WAIT_S)
        limited = dead = False
        try:
            if channel not in ready:
                raise Refused(f"the channel {channel} is no longer configured")
            later = ready[channel].send(body)
            if later is not None:
                wait, error, limited = later, "the channel is rate-limited", True
        except DeadChannel as refused:
            error, wait, dead = str(refused), None, True
        except Refused as refused:
            error, wait = str(refused), None
        except Exception as failure:  # no network error may stop the sender
            error = type(failure).__name__  # never its text: that contains the address
        if limited or dead:
            stopped.add(channel)
        with ws.database.write() as session:
            row = session.get(Notice, notice_id)
            if row is None:
                continue
            row.attempts += 0 if limited else 1
            row.error = error
            if error is None:
                row.sent_at, row.next_attempt_at = now, None
                sent += 1
                continue
            again = wait is not None and row.attempts < MAX_ATTEMPTS
            row.next_attempt_at = now + timedelta(seconds=wait) if again and wait is not None else None
            if dead:
                mark_dead(ws, session, channel, error, now)
            elif limited:
                _postpone(session, channel, row.next_attempt_at)
        logger.warning("notice {id} not delivered to {channel}: {error}", id=notice_id, channel=channel, error=error)
    return sent


def _claim(ws: Workspace, notice_id: int, now: datetime) -> bool:
    """Claim a message for some time: a scheduler that has just restarted and the API may both be sending."""
    with ws.database.write() as session:
        taken = session.scalar(
            update(Notice)
            .where(Notice.id == notice_id, Notice.sent_at.is_(None), queries.is_due(Notice.next_attempt_at, now))
            .values(next_attempt_at=now + CLAIM)
            .returning(Notice.id)
        )
    return taken is not None


def _postpone(session: Session, channel: str, until: datetime | None) -> None:
    """A rate limit applies to the channel, not to one message."""
    waiting = (Notice.channel == channel, Notice.sent_at.is_(None), Notice.next_attempt_at.is_not(None))
    session.execute(update(Notice).where(*waiting, Notice.next_attempt_at < until).values(next_attempt_at=until))
