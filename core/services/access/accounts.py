"""User accounts: created, given a role or another password, removed, listed."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Literal, cast

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.errors import BadInput, ConfigurationError, Conflict, NotFound
from core.services.access import trail
from core.services.access.actors import require_proof
from core.services.access.passwords import MAX_PASSWORD, parts, refuse_weak
from core.services.access.throttle import attempt_key
from core.services.access.tokens import TokenInfo, revoke_all, tokens_made_by
from core.storage.tables import SignInFailure, User
from core.storage.workspace import Workspace

Role = Literal["viewer", "operator", "admin"]


ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")  # each includes the ones before it


FIRST_USER = "admin"


BCRYPT_ROUNDS = 12


NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")  # lower case, because the sign-in form's library converts names to it


@dataclass(frozen=True, slots=True, kw_only=True)
class UserInfo:
    """A person who may sign in."""

    name: str
    uid: str  # never reused: a new account with an old name is another person
    role: Role
    epoch: int  # a cookie of an older epoch is no longer valid
    created_at: datetime
    last_seen_at: datetime | None
    previous_visit_at: datetime | None  # end of the previous visit
    weak_password: bool  # at the last sign-in the password would have been refused as a new one
    password_set_at: datetime | None
    password_set_by: str | None  # somebody else set it, and the person has not confirmed that yet
    second_factor: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstUser:
    """The user created on the first start; `password` only if it was generated, to be shown once."""

    name: str
    password: str | None
    generated: bool


def hashed(password: str) -> str:
    import bcrypt

    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(BCRYPT_ROUNDS)).decode()


@lru_cache(maxsize=1)
def decoy_hash() -> str:
    """The hash for passwords of unknown users, so that checking them takes as long as for known users."""
    return hashed(secrets.token_urlsafe(16))


def password_matches(password: str, password_hash: str) -> bool:
    import bcrypt

    secret = password.encode(errors="surrogatepass")
    fits = len(secret) <= MAX_PASSWORD and b"\0" not in secret
    same = bcrypt.checkpw(secret if fits else b"too long", password_hash.encode())
    return same and fits


def _role(role: str) -> Role:
    if role not in ROLES:
        raise BadInput(f"Role is {role!r}, expected one of {', '.join(ROLES)}.")
    return role


def fold_name(name: str) -> str:
    """The form in which names are compared: characters that databases refuse become "?", which no name contains."""
    return name.strip().lower().replace("\0", "?").encode(errors="replace").decode()


def info_of(row: User) -> UserInfo:
    return UserInfo(
        name=row.name,
        uid=row.uid,
        role=cast(Role, row.role),
        epoch=row.epoch,
        created_at=row.created_at,
        last_seen_at=row.last_seen_at,
        previous_visit_at=row.previous_visit_at,
        weak_password=bool(row.weak_password),
        password_set_at=row.password_set_at,
        password_set_by=row.password_set_by,
        second_factor=row.totp_secret is not None,
    )


def find_user(session: Session, name: str) -> User | None:
    return session.scalar(select(User).where(User.name == fold_name(name)))


def existing_user(session: Session, name: str) -> User:
    row = find_user(session, name)
    if row is None:
        raise NotFound(f"There is no user '{name[:64]}'. `users list` shows them.")
    return row


def _keep_an_admin(session: Session, row: User) -> None:
    admins = session.scalar(select(func.count()).select_from(User).where(User.role == "admin")) or 0
    if row.role == "admin" and admins == 1:
        raise Conflict(f"'{row.name}' is the only admin. Give another user the role admin first.")


def ensure_first_user(ws: Workspace, now: datetime) -> FirstUser | None:
    """Create the admin `admin` if there are no users; None if there are.

    The password is STREAMLIT_PASSWORD if set, and a weak one has to be changed after signing in; else one is
    generated, returned only here and stored as a hash.
    """
    with ws.database.read() as session:
        if session.scalar(select(User.id).limit(1)) is not None:
            return None
    given = ws.settings.streamlit_password
    password = given.get_secret_value() if given is not None else secrets.token_urlsafe(12)
    if parts(password, FIRST_USER) < 3:  # a single word or sequence that attackers try first
        raise ConfigurationError(
            "STREAMLIT_PASSWORD is a common password, expected one that is hard to guess. Choose four unrelated words."
        )
    password_hash = hashed(password)
    with ws.database.write() as session:
        if session.scalar(select(User.id).limit(1)) is not None:  # another process was faster
            return None
        session.add(User(name=FIRST_USER, password_hash=password_hash, role="admin", epoch=1, created_at=now))
        trail.record(session, who="first start", what="user added", after={"user": FIRST_USER}, now=now)
    return FirstUser(name=FIRST_USER, password=None if given is not None else password, generated=given is None)


def create_user(ws: Workspace, name: str, password: str, role: str, *, by: str, now: datetime) -> UserInfo:
    """Add a person.

    Raises:
        BadInput: a name, password or role that cannot be used.
        Conflict: the name is taken.
    """
    require_proof(ws, by, "admin", now)
    folded, checked = fold_name(name), _role(role)
    if NAME.fullmatch(folded) is None:
        raise BadInput(
            f"User name {name[:80]!r} cannot be used, expected 1 to 64 letters a to z, digits, '.', '_', '@' or '-'."
        )
    refuse_weak(password, folded)
    password_hash = hashed(password)
    with ws.database.write() as session:
        if find_user(session, folded) is not None:
            raise Conflict(f"There is already a user '{folded}'.")
        row = User(name=folded, password_hash=password_hash, role=checked, epoch=1, created_at=now)
        session.add(row)
        trail.record(session, who=by, what="user added", after={"user": folded, "role": role}, now=now)
        session.flush()
        return info_of(row)


def set_password(ws: Workspace, name: str, password: str, *, by: str, now: datetime) -> None:
    """Change a password; every open session of that person ends, and a lock on the name is lifted."""
    require_proof(ws, by, "admin", now)
    refuse_weak(password, name)
    password_hash = hashed(password)
    with ws.database.write() as session:
        row = existing_user(session, name)
        put_password(row, password_hash, now)
        row.password_set_by = str(by) if row.name != by else None
        if (failures := session.get(SignInFailure, attempt_key("user", row.name))) is not None:
            session.delete(failures)
        trail.record(session, who=by, what="password set", after={"user": row.name}, now=now)


def put_password(row: User, password_hash: str, now: datetime) -> None:
    row.password_hash, row.password_set_at = password_hash, now
    row.password_set_by, row.weak_password = None, False
    row.epoch += 1


def set_role(ws: Workspace, name: str, role: str, *, by: str, now: datetime) -> None:
    """Change a role, with effect from the person's next click. Conflict for the only admin."""
    require_proof(ws, by, "admin", now)
    role = _role(role)
    with ws.database.write() as session:
        row = existing_user(session, name)
        if row.role == role:
            return
        _keep_an_admin(session, row)
        before, after = {"user": row.name, "role": row.role}, {"user": row.name, "role": role}
        trail.record(session, who=by, what="role changed", before=before, after=after, now=now)
        row.role = role


def remove_user(ws: Workspace, name: str, *, keep_tokens: bool = False, by: str, now: datetime) -> list[TokenInfo]:
    """Remove a person; their sessions end, and the tokens that they created are revoked.

    Args:
        keep_tokens: keep those tokens valid.

    Returns:
        Those tokens, as they were before.

    Raises:
        Conflict: the only admin.
    """
    require_proof(ws, by, "admin", now)
    user = get_user(ws, name)
    made = [] if user is None else tokens_made_by(ws, user.uid, now)
    with ws.database.write() as session:
        row = existing_user(session, name)
        _keep_an_admin(session, row)
        before = {"user": row.name, "role": row.role}
        trail.record(session, who=by, what="user removed", before=before, now=now)
        if not keep_tokens:
            revoke_all(session, [token.id for token in made], by=by, now=now)
        session.delete(row)
    return made


def list_users(ws: Workspace) -> list[UserInfo]:
    """All users, by name."""
    with ws.database.read() as session:
        return [info_of(row) for row in session.scalars(select(User).order_by(User.name))]


def get_user(ws: Workspace, name: str) -> UserInfo | None:
    """One user as stored now; None if removed. Pages call this at each run: role and epoch may have changed."""
    with ws.database.read() as session:
        row = find_user(session, name)
        return None if row is None else info_of(row)
