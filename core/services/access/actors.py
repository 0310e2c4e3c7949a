"""Who acts, and whether they may: asked at the moment of the act, whenever the page was drawn.

A page hands services an `Actor` in the place of a name. Dialogs, fragments, callbacks and downloads can be as old as the page around
them; so each service that changes something calls `require` first, which reads the person anew. Names that are no
`Actor` are those of other edges, which know their callers otherwise: the command line (whoever may run it owns the
folder), the API (its token has been checked), the loop itself.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from loguru import logger
from sqlalchemy import select

from core.errors import NotAllowed, ProofNeeded
from core.services.access import trail
from core.storage.tables import User
from core.storage.workspace import Workspace

ROLES = ("viewer", "operator", "admin")
PROOF_LASTS = timedelta(minutes=10)  # that a password given once opens what needs a fresh proof
FACTOR_FIRST = "Admins need a second factor here. Set yours up first: your name at the left, Second factor."


class Actor(str):
    """A person of the app: the name, as the audit trail shows it, and the sign-in that it stands for."""

    __slots__ = ("epoch", "uid")
    uid: str
    epoch: int

    def __new__(cls, name: str, uid: str, epoch: int) -> Actor:
        """An actor of that sign-in."""
        made = super().__new__(cls, name)
        made.uid, made.epoch = uid, epoch
        return made


def includes(role: str, wanted: str) -> bool:
    """Whether a role may do what another may."""
    return ROLES.index(role) >= ROLES.index(wanted)


def require(ws: Workspace, by: str | None, role: str) -> None:
    """Refuse a person who is gone, signed out, or has not (any more) the role.

    Raises:
        NotAllowed: and why.
    """
    if not isinstance(by, Actor):
        return
    with ws.database.read() as session:
        found = session.execute(select(User.epoch, User.role, User.totp_secret).where(User.uid == by.uid)).one_or_none()
    if found is None or found.epoch != by.epoch:
        _refused(by, "the sign-in has ended")
        raise NotAllowed("This sign-in has ended, so nothing was done. Sign in again.")
    if not includes(found.role, role):
        _refused(by, f"the role is {found.role}, needed is {role}")
        raise NotAllowed(f"Your role is {found.role}; this needs {role}. Nothing was done.")
    if role == "admin" and found.totp_secret is None and ws.settings.require_second_factor == "admins":
        raise NotAllowed(f"{FACTOR_FIRST} Nothing was done.")


def _refused(by: Actor, why: str) -> None:
    logger.warning("{name} from {client} refused: {why}", name=str(by), client=trail.address.get(), why=why)


def require_proof(ws: Workspace, by: str | None, role: str, now: datetime) -> None:
    """As `require`, and the person has given the own password within the last ten minutes, in a sign-in of this epoch.

    Raises:
        NotAllowed: and why.
        ProofNeeded: the password is to be given once more.
    """
    require(ws, by, role)
    if not isinstance(by, Actor):
        return
    with ws.database.read() as session:
        proved = session.execute(select(User.proved_at, User.proved_epoch).where(User.uid == by.uid)).one_or_none()
    if (
        proved is None
        or proved.proved_at is None
        or proved.proved_epoch != by.epoch
        or abs(now - proved.proved_at) > PROOF_LASTS  # to either side: clocks are set back
    ):
        raise ProofNeeded("This needs your password once more, so nothing was done yet.")
