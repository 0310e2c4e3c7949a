"""The project's lease: so that button, clock and command line never turn the same loop together.

Who holds it, how it is renewed and given back. What happens under it is another module's.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from loguru import logger
from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError

from core.errors import Busy
from core.storage.tables import Lease
from core.storage.troubles import trouble_of
from core.storage.workspace import Workspace

LEASE = timedelta(seconds=60)
RENEW_EVERY_S = 15.0
RETURNS, RETURN_EVERY_S = 4, 0.5  # attempts at giving a lease back, and the time between two


@contextmanager
def hold_lease(ws: Workspace, project_id: int) -> Iterator[str]:
    """Hold the project's lease, renewed by a thread, and give its token; a process that dies loses it after a minute."""
    name, owner = (
        f"project:{project_id}",
        f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}:{time.monotonic_ns()}",
    )
    clock = datetime.now(UTC)  # leases live in real time, whatever instant the cycle is given
    try:
        with ws.database.write() as session:
            row = session.get(Lease, name)
            if row is None:
                session.add(Lease(name=name, owner=owner, expires_at=clock + LEASE))
            else:
                stale = not clock < row.expires_at <= clock + 10 * LEASE  # far ahead: of a clock that was
                free = stale or not _alive(row.owner)
                # Whoever else saw it free at the same moment finds another owner here.
                held = update(Lease).where(Lease.name == name, Lease.owner == row.owner)
                taken = free and session.execute(held.values(owner=owner, expires_at=clock + LEASE)).rowcount == 1  # type: ignore[attr-defined]
                if not taken:
                    raise Busy(
                        "A check of this project is under way. Wait for it to end; the Automation page shows it."
                    )
    except IntegrityError:
        raise Busy("A check of this project began at the same moment. Wait for it to end.") from None
    done = threading.Event()

    def renew() -> None:
        while not done.wait(RENEW_EVERY_S):
            try:
                with ws.database.write() as session:
                    session.execute(
                        update(Lease)
                        .where(Lease.name == name, Lease.owner == owner)
                        .values(expires_at=datetime.now(UTC) + LEASE)
                    )
            except Exception as error:  # the next renewal tries again; the lease outlasts three of them
                logger.warning("lease not renewed: {error}", error=type(error).__name__)

    keeper = threading.Thread(target=renew, name="lease", daemon=True)
    keeper.start()
    try:
        yield owner
    finally:
        done.set()
        keeper.join()
        _give_back(ws, name, owner)


def _give_back(ws: Workspace, name: str, owner: str) -> None:
    """Take the lease's row away; where that cannot be written after a few attempts, it runs out by itself."""
    for attempt in range(RETURNS):
        try:
            with ws.database.write() as session:
                session.execute(delete(Lease).where(Lease.name == name, Lease.owner == owner))
            return
        except Exception as error:  # what the cycle itself raised, if anything, is what is told
            trouble, kind = trouble_of(error), type(error).__name__
        if attempt < RETURNS - 1:
            time.sleep(RETURN_EVERY_S)
    said = trouble.text if trouble else kind
    logger.warning(
        "the lease was not given back, it runs out within {s:g} s: {said}", s=LEASE.total_seconds(), said=said
    )


def _alive(owner: str) -> bool:
    """Whether a lease's owner can still be running: on this host its process is looked up, elsewhere time tells."""
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
