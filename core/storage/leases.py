"""The lease of a project: one row: which process runs its cycle, and until when.

Every rule about it is here: when it may be taken over, whether it is held, who ends a transaction under it. A lease
lives in real time, whatever instant a cycle is given. `core.cycle.lease` holds one while a cycle runs.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from core.storage.tables import Lease

LASTS = timedelta(seconds=60)
FAR_AHEAD = 10 * LASTS  # an end beyond this was written by a clock that was wrong


def new_owner() -> str:
    """A token that names this host, process and thread, and is never given twice."""
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}:{time.monotonic_ns()}"


def claim(session: Session, project_id: int, owner: str, clock: datetime) -> bool:
    """Take a lease that nobody holds; True when it is the owner's from now on."""
    row = session.get(Lease, _name(project_id))
    if row is None:
        session.add(Lease(name=_name(project_id), owner=owner, expires_at=clock + LASTS))
        return True
    if _holds(row, clock):
        return False
    row.owner, row.expires_at = owner, clock + LASTS
    return True


def renew(session: Session, project_id: int, owner: str, clock: datetime) -> None:
    """Let a lease that the owner holds last from now on; one that was taken over stays with the other."""
    own = update(Lease).where(Lease.name == _name(project_id), Lease.owner == owner)
    session.execute(own.values(expires_at=clock + LASTS))


def give_back(session: Session, project_id: int, owner: str) -> None:
    """Take the owner's lease away; one that was taken over stays with the other."""
    session.execute(delete(Lease).where(Lease.name == _name(project_id), Lease.owner == owner))


def is_held(session: Session, project_id: int, clock: datetime) -> bool:
    """Whether a check of the project is under way: a lease that has not run out, of a process that still runs."""
    row = session.get(Lease, _name(project_id))
    return row is not None and _holds(row, clock)


def owner_until_commit(session: Session, project_id: int) -> str | None:
    """Who holds the lease; in a transaction that writes, nobody takes it over before it ends."""
    return session.scalar(select(Lease.owner).where(Lease.name == _name(project_id)))


def run_out(session: Session, clock: datetime) -> list[str]:
    """Names of the leases that the next cycle takes over."""
    return [row.name for row in session.scalars(select(Lease)) if not _holds(row, clock)]


def _name(project_id: int) -> str:
    return f"project:{project_id}"


def _holds(row: Lease, clock: datetime) -> bool:
    return clock < row.expires_at <= clock + FAR_AHEAD and _runs(row.owner)


def _runs(owner: str) -> bool:
    """Whether a lease's owner can still be running: on this host its process is looked up, elsewhere the expiry decides."""
    host, pid, *_ = owner.split(":")
    if host != socket.gethostname():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
