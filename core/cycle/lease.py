"""The project's lease, so that button, clock and command line never run the same loop concurrently.

Acquires, renews and releases it; `core.storage.leases` decides the owner. Out of scope: what is done under it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from loguru import logger

from core.errors import Busy
from core.storage import leases
from core.storage.troubles import trouble_of
from core.storage.workspace import Workspace

RENEW_EVERY_S = 15.0
RETURNS, RETURN_EVERY_S = 4, 0.5  # attempts at releasing a lease, and the time between two


@contextmanager
def hold_lease(ws: Workspace, project_id: int) -> Iterator[str]:
    """Hold the project's lease, renewed by a thread, and yield its token; it expires a minute after its process dies.

    Raises:
        Busy: another process holds it.
    """
    owner = leases.new_owner()
    with ws.database.write() as session:
        if not leases.claim(session, project_id, owner, datetime.now(UTC)):
            raise Busy("A check of this project is under way. Wait for it to end; the Automation page shows it.")
    done = threading.Event()

    def renew() -> None:
        while not done.wait(RENEW_EVERY_S):
            try:
                with ws.database.write() as session:
                    leases.renew(session, project_id, owner, datetime.now(UTC))
            except Exception as error:  # the next renewal tries again; the lease outlasts three of them
                logger.warning("lease not renewed: {error}", error=type(error).__name__)

    keeper = threading.Thread(target=renew, name="lease", daemon=True)
    keeper.start()
    try:
        yield owner
    finally:
        done.set()
        keeper.join()
        _release(ws, project_id, owner)


def _release(ws: Workspace, project_id: int, owner: str) -> None:
    """Delete the lease's row; if that fails after a few attempts, the lease expires by itself."""
    for attempt in range(RETURNS):
        try:
            with ws.database.write() as session:
                leases.give_back(session, project_id, owner)
            return
        except Exception as error:  # an error of the cycle itself, if any, takes precedence
            trouble, kind = trouble_of(error), type(error).__name__
        if attempt < RETURNS - 1:
            time.sleep(RETURN_EVERY_S)
    cause = trouble.text if trouble else kind
    seconds = leases.LASTS.total_seconds()
    logger.warning("the lease was not released, it expires within {s:g} s: {cause}", s=seconds, cause=cause)
