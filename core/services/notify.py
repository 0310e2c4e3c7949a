"""Messages to people: written to an outbox with the cycle's own transaction, sent later, retried, never lost.

What is news: a promotion, a rollback, a score below the threshold that no retrain mended, a failed cycle, a
batch that could not be scored. A
refresh or a quiet check is an audit row and no message. A failed delivery never fails a cycle.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Protocol

from loguru import logger
from sqlalchemy import select
from sqlalchemy.orm import Session

from core import words
from core.records import CycleReport
from core.storage import queries
from core.storage.tables import Notice
from core.storage.workspace import Workspace

GREEN, AMBER, RED, BLUE = 0x0E7C66, 0xA15C00, 0xB3261E, 0x0B5CAD
MAX_ATTEMPTS = 10
FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 3600.0
TIMEOUT_S = 10.0


class Notifier(Protocol):
    """A channel."""

    def send(self, payload: dict[str, Any]) -> float | None:
        """Deliver; returns seconds to wait when the channel says "later". Raises DeadChannel or any network error."""


class DeadChannel(Exception):
    """The channel refuses for good: wrong or deleted address."""


class Discord:
    """Discord webhook: one embed a message."""

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, payload: dict[str, Any]) -> float | None:
        """POST the message; honours 429's retry_after; 401 and 404 mean that the webhook is gone."""
        import httpx

        response = httpx.post(self._url, json=payload, timeout=TIMEOUT_S)
        if response.status_code == 429:
            return float(response.json().get("retry_after", FIRST_WAIT_S))
        if response.status_code in (401, 403, 404):
            raise DeadChannel(f"the webhook answered {response.status_code}")
        response.raise_for_status()
        return None


def channels(ws: Workspace) -> dict[str, Notifier]:
    """The channels that are set up."""
    url = ws.settings.discord_webhook_url
    return {name: build(url.get_secret_value()) for name, build in NOTIFIERS.items() if url is not None}


def message_of(project: str, report: CycleReport) -> tuple[str, str, int] | None:
    """Title, text and colour of what is news in a cycle; None when nothing is."""
    news, aside = _news_of(project, report), "\n".join(words.set_aside(report.evidence))
    if not aside:
        return news
    if news is None:
        return f"{project}: rows set aside", aside, AMBER
    return news[0], f"{news[1]}\n{aside}", news[2]


def _news_of(project: str, report: CycleReport) -> tuple[str, str, int] | None:
    """What the check itself came to."""
    verdict = report.verdict.reason if report.verdict else ""
    if report.status == "failed":
        return f"{project}: a check failed", report.error or "The reason is in the log.", RED
    if report.outcome == "promoted":
        return f"{project}: v{report.champion_after} promoted", f"{report.reason}\n{verdict}", GREEN
    if report.outcome == "rolled_back":
        return f"{project}: rolled back to v{report.champion_after}", verdict or report.reason, AMBER
    if report.outcome == "rejected" and any(f.trigger == "below_threshold" for f in report.firings):
        return f"{project}: below the threshold, challenger rejected", f"{report.reason}\n{verdict}", AMBER
    if report.decision == "alert":
        return f"{project}: needs a look", report.reason, AMBER
    return None


def enqueue(ws: Workspace, session: Session, project_name: str, report: CycleReport, now: datetime) -> None:
    """Add the cycle's message, if it is news, to the outbox of each channel."""
    message = message_of(project_name, report)
    if message is None:
        return
    title, text, colour = message
    footer = f"Continual ML, cycle {report.id}"
    tell(ws, session, title, text, colour, now, project_id=report.project_id, cycle_id=report.id, footer=footer)


def tell(
    ws: Workspace,
    session: Session,
    title: str,
    text: str,
    colour: int,
    now: datetime,
    *,
    project_id: int,
    cycle_id: int | None = None,
    footer: str = "Continual ML",
) -> None:
    """Add a message to the outbox of each channel."""
    payload = {
        "embeds": [
            {
                "title": title[:256],
                "description": text[:4096],
                "color": colour,
                "timestamp": now.isoformat(),
                "footer": {"text": footer},
            }
        ],
        "allowed_mentions": {"parse": []},
    }
    for channel in channels(ws):
        session.add(
            Notice(
                project_id=project_id,
                cycle_id=cycle_id,
                channel=channel,
                payload=payload,
                created_at=now,
                next_attempt_at=now,
            )
        )


def deliver_due(ws: Workspace, now: datetime, *, notifiers: dict[str, Notifier] | None = None) -> int:
    """Send what waits in the outbox; returns how many were delivered. Errors are kept with the notice."""
    ready = channels(ws) if notifiers is None else notifiers
    with ws.database.read() as session:
        due = [
            (n.id, n.channel, n.payload, n.attempts)
            for n in session.scalars(
                select(Notice)
                .where(Notice.sent_at.is_(None), queries.has_come(Notice.next_attempt_at, now))
                .order_by(Notice.id)
                .limit(20)
            )
        ]
    sent = 0
    for notice_id, channel, payload, attempts in due:
        error: str | None = None
        wait: float | None = min(FIRST_WAIT_S * 2**attempts, LONGEST_WAIT_S)
        try:
            if channel not in ready:
                raise DeadChannel(f"the channel {channel} is no longer set up")
            later = ready[channel].send(payload)
            if later is not None:
                wait, error = min(later, LONGEST_WAIT_S), "the channel asked to wait"
        except DeadChannel as refused:
            error, wait = str(refused), None
        except Exception as failure:  # whatever a network can do must not stop the sender
            error = type(failure).__name__  # never its text: that holds the address
        with ws.database.write() as session:
            row = session.get(Notice, notice_id)
            if row is None:
                continue
            row.attempts += 1
            row.error = error
            if error is None:
                row.sent_at, row.next_attempt_at = now, None
                sent += 1
            else:
                row.next_attempt_at = (
                    now + timedelta(seconds=wait) if wait is not None and row.attempts < MAX_ATTEMPTS else None
                )
                logger.warning(
                    "notice {id} not delivered to {channel}: {error}", id=notice_id, channel=channel, error=error
                )
    return sent


NOTIFIERS = {"discord": Discord}
