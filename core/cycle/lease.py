"""The project's lease: so that button, clock and command line never turn the same loop together.

How long it is held, renewed and given back; whose it is says `core.storage.leases`. What happens under it is another module's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from loguru import logger
from sqlalchemy.exc import IntegrityError

from core.errors import Busy
from core.storage import leases
from core.storage.troubles import trouble_of
from core.storage.workspace import Workspace

RENEW_EVERY_S = 15.0
RETURNS, RETURN_EVERY_S = 4, 0.5  # attempts at giving a lease back, and the time between two


@contextmanager
def hold_lease(ws: Workspace, project_id: int) -> Iterator[str]:
    """Hold the project's lease, renewed by a thread, and give its token; a process that dies loses it after a minute.

    Raises:
        Busy: somebody else holds it.
    """
    owner = leases.new_owner()
    try:
        with ws.database.write() as session:
            if not leases.claim(session, project_id, owner, datetime.now(UTC)):
                raise Busy("A check of this project is under way. Wait for it to end; the Automation page shows it.")
    except IntegrityError:
        raise Busy("A check of this project began at the same moment. Wait for it to end.") from None
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
        _give_back(ws, project_id, owner)


def _give_back(ws: Workspace, project_id: int, owner: str) -> None:
    """Take the lease's row away; where that cannot be written after a few attempts, it runs out by itself."""
    for attempt in range(RETURNS):
        try:
            with ws.database.write() as session:
                leases.give_back(session, project_id, owner)
            return
        except Exception as error:  # what the cycle itself raised, if anything, is what is told
            trouble, kind = trouble_of(error), type(error).__name__
        if attempt < RETURNS - 1:
            time.sleep(RETURN_EVERY_S)
    said = trouble.text if trouble else kind
    seconds = leases.LASTS.total_seconds()
    logger.warning("the lease was not given back, it runs out within {s:g} s: {said}", s=seconds, said=said)
