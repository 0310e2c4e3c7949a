"""Whether the scheduler beats, seen from another process, and the message when it does not."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from core.services.incidents import status
from core.services.incidents.delivery import deliver_due
from core.services.incidents.messages import Facts, Message, sends
from core.services.incidents.notify import put
from core.storage.tables import Heartbeat, Project
from core.storage.workspace import Workspace

SILENT = "Nothing is checked by itself until it runs again. Start it: `make run`, or `python scheduler.py`."
BACK = "Checks go on. What came meanwhile is looked at now."
SILENCE = "silence"  # of the heartbeats: whether people were told that the scheduler is silent


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
                put(self._ws, session, message, now, project_id=None, cycle_id=None)
        except IntegrityError:  # two processes wrote the first row at once
            return False
        return True
