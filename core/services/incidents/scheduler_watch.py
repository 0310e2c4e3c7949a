"""Monitors the scheduler's heartbeat from another process, and sends a message if it stops."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select

from core.services.incidents import status
from core.services.incidents.delivery import deliver_due
from core.services.incidents.messages import Facts, Message, sends
from core.services.incidents.notify import put
from core.storage.tables import Heartbeat, Project
from core.storage.workspace import Workspace

SILENT = "There are no automatic checks until it runs again. Start it: `make run`, or `python scheduler.py`."
BACK = "Automatic checks continue. Data that arrived meanwhile is checked now."
SILENCE = "silence"  # heartbeat row that records whether people were notified that the scheduler is not responding


class SchedulerWatch:
    """Checks the scheduler's heartbeat from another process; two checks in a row have to agree, because a machine that slept
    wakes its processes one after another."""

    def __init__(self, ws: Workspace) -> None:
        self._ws = ws
        self._late_before = False

    def check(self, now: datetime) -> str | None:
        """Notify people once that the scheduler is not responding, and once that it runs again; returns the kind that was sent.

        Messages are delivered from here meanwhile, because no other process does so.
        """
        with self._ws.database.read() as session:
            age = status.scheduler_age(session, now)
            row = session.get(Heartbeat, SILENCE)
            notified = row is not None and bool((row.detail or {}).get("silent"))
        late = age is not None and status.is_late(age, self._ws.settings.check_interval_s)
        sure, self._late_before = late and self._late_before, late
        kind = None
        if sure and not notified and self._record(True, age, now):
            kind = "silent"
        elif notified and age is not None and not late and self._record(False, age, now):
            kind = "back"
        if late and (sure or notified):
            deliver_due(self._ws, now)
        return kind

    def _record(self, silent: bool, age: float | None, now: datetime) -> bool:
        """Store that it is silent, or running again, with the message; False if another process has already done so."""
        with self._ws.database.write() as session:
            row = session.get(Heartbeat, SILENCE)
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
            put(self._ws, session, message, now, project_id=None, cycle_id=None)
        return True
