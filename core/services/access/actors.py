"""Who acts, and whether they are allowed to: checked at the moment of the action, whenever the page was drawn.

A page passes an `Actor` to the services instead of a name. Dialogs, fragments, callbacks and downloads can be as old as the page around
them; so each service that changes something calls `require` first, which reads the person again. Plain
names come from callers that are authenticated elsewhere: the command line (its user owns the folder), the API (its
token has been checked), the loop itself.
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
PROOF_LASTS = timedelta(minutes=10)  # how long a confirmed password allows protected actions
FACTOR_FIRST = "Admins need a second factor here. Set up yours first: your name on the left, Second factor."


class Actor(str):
    """A person of the app: the name, as the audit trail shows it, and the sign-in that it belongs to."""

    __slots__ = ("epoch", "uid")
    uid: str
    epoch: int

    def __new__(cls, name: str, uid: str, epoch: int) -> Actor:
        """An actor of that sign-in."""
        made = super().__new__(cls, name)
        made.uid, made.epoch = uid, epoch
        return made


def includes(role: str, wanted: str) -> bool:
    """Whether a role includes another one's permissions."""
    return ROLES.index(role) >= ROLES.index(wanted)


def require(ws: Workspace, by: str | None, role: str) -> None:
    """Refuse a person who was removed, is signed out, or does not have the role (any more).

    Raises:
        NotAllowed: with the reason.
    """
    if not isinstance(by, Actor):
        return
    with ws.database.read() as session:
        user = session.execute(select(User.epoch, User.role, User.totp_secret).where(User.uid == by.uid)).one_or_none()
    if user is None or user.epoch != by.epoch:
        _refused(by, "the session has ended")
        raise NotAllowed("Your session has ended, so nothing was done. Sign in again.")
    if not includes(user.role, role):
        _refused(by, f"the role is {user.role}, required is {role}")
        raise NotAllowed(f"Your role is {user.role}; this requires {role}. Nothing was done.")
    if role == "admin" and user.totp_secret is None and ws.settings.require_second_factor == "admins":
        raise NotAllowed(f"{FACTOR_FIRST} Nothing was done.")


def _refused(by: Actor, why: str) -> None:
    logger.warning("{name} from {client} refused: {why}", name=str(by), client=trail.address.get(), why=why)


def require_proof(ws: Workspace, by: str | None, role: str, now: datetime) -> None:
    """As `require`, and the person has entered their password within the last ten minutes, in a session of this epoch.

    Raises:
        NotAllowed: with the reason.
        ProofNeeded: the password has to be entered again.
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
        or abs(now - proved.proved_at) > PROOF_LASTS  # in both directions, because clocks may be set back
    ):
        raise ProofNeeded("This requires your password again, so nothing was done yet. Enter it to continue.")
