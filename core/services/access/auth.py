"""Who may: people with passwords and roles, the throttle on sign-ins, the trail of changes; tokens are in `tokens.py`.

Passwords are kept as bcrypt hashes and never logged or shown again. Cookies are the pages' affair.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import os
import re
import secrets
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, cast

from loguru import logger
from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from core.errors import BadInput, CodeNeeded, ConfigurationError, Conflict, NotAllowed, NotAuthenticated, NotFound
from core.services.access import second_factor, trail
from core.services.access.actors import Actor, require, require_proof
from core.services.access.addresses import who
from core.services.access.passwords import MAX_PASSWORD, is_weak, parts, refuse_weak
from core.services.access.tokens import MOST_A_MINUTE as MOST_A_MINUTE
from core.services.access.tokens import SCOPES as SCOPES
from core.services.access.tokens import Scope as Scope
from core.services.access.tokens import TokenInfo as TokenInfo
from core.services.access.tokens import Tokens as Tokens
from core.services.access.tokens import create_token as create_token
from core.services.access.tokens import list_tokens as list_tokens
from core.services.access.tokens import revoke_all
from core.services.access.tokens import revoke_token as revoke_token
from core.services.access.tokens import tokens_made_by as tokens_made_by
from core.settings import MIN_COOKIE_KEY
from core.storage import audit as audit_log
from core.storage.tables import AuditEntry, SignInFailure, User
from core.storage.workspace import Workspace

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")  # each includes those before it

FIRST_USER = "admin"
BCRYPT_ROUNDS = 12
NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")  # lower case: the sign-in form's library folds names

FREE_FAILURES = {"pair": 5, "client": 20, "user": 100}  # a client may be a whole office behind one address
FIRST_LOCK = timedelta(minutes=1)
LONGEST_LOCK = {"pair": timedelta(minutes=15), "client": timedelta(minutes=15), "user": FIRST_LOCK}
KNOWN_FOR = timedelta(days=90)  # that an address counts as one from which somebody has signed in
FORGET_AFTER = timedelta(hours=1)

SEEN_EVERY = timedelta(minutes=1)
VISIT_GAP = timedelta(minutes=30)  # after so long a pause the next click is a new visit


@dataclass(frozen=True, slots=True, kw_only=True)
class UserInfo:
    """A person who may sign in."""

    name: str
    uid: str  # never given twice: a name made again is another person
    role: Role
    epoch: int  # a cookie of an older epoch has ended
    created_at: datetime
    last_seen_at: datetime | None
    previous_visit_at: datetime | None  # end of the visit before this one
    weak_password: bool  # as seen at the last sign-in: it would be refused today
    password_set_at: datetime | None
    password_set_by: str | None  # somebody else set it, and the person has not yet said that they know
    second_factor: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstUser:
    """The user made on the first start; `password` only when it was generated, to be shown once."""

    name: str
    password: str | None
    generated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditInfo:
    """One entry of the trail: who changed what outside the cycles."""

    id: int
    at: datetime
    who: str
    what: str
    project_id: int | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None


# --- people -----------------------------------------------------------------------------------------------------


def _hash(password: str) -> str:
    import bcrypt

    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(BCRYPT_ROUNDS)).decode()


@lru_cache(maxsize=1)
def _nobodys_hash() -> str:
    """What the password of an unknown user is compared with, so that it takes as long as a known one's."""
    return _hash(secrets.token_urlsafe(16))


def _matches(password: str, password_hash: str) -> bool:
    import bcrypt

    secret = password.encode(errors="surrogatepass")
    fits = len(secret) <= MAX_PASSWORD and b"\0" not in secret
    same = bcrypt.checkpw(secret if fits else b"too long", password_hash.encode())
    return same and fits


def _role(role: str) -> Role:
    if role not in ROLES:
        raise BadInput(f"Role is {role!r}, expected one of {', '.join(ROLES)}.")
    return role


def _fold(name: str) -> str:
    """The form in which names are compared: what no database takes stands as "?", which no name holds."""
    return name.strip().lower().replace("\0", "?").encode(errors="replace").decode()


def _user(row: User) -> UserInfo:
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


def _find(session: Session, name: str) -> User | None:
    return session.scalar(select(User).where(User.name == _fold(name)))


def _existing(session: Session, name: str) -> User:
    row = _find(session, name)
    if row is None:
        raise NotFound(f"There is no user '{name[:64]}'. `users list` shows them.")
    return row


def _keep_an_admin(session: Session, row: User) -> None:
    admins = session.scalar(select(func.count()).select_from(User).where(User.role == "admin")) or 0
    if row.role == "admin" and admins == 1:
        raise Conflict(f"'{row.name}' is the only admin. Make another user admin first.")


def ensure_first_user(ws: Workspace, now: datetime) -> FirstUser | None:
    """Make the admin `admin` when there is no user at all; None when there is one.

    With STREAMLIT_PASSWORD set that is the password, and a weak one is to be changed after signing in; else one is
    generated, returned this once and kept as a hash.
    """
    with ws.database.read() as session:
        if session.scalar(select(User.id).limit(1)) is not None:
            return None
    given = ws.settings.streamlit_password
    password = given.get_secret_value() if given is not None else secrets.token_urlsafe(12)
    if parts(password, FIRST_USER) < 3:  # one word or run that everybody tries first
        raise ConfigurationError("STREAMLIT_PASSWORD is a common password, expected one that is not tried first.")
    password_hash = _hash(password)
    with ws.database.write() as session:
        if session.scalar(select(User.id).limit(1)) is not None:  # another process was quicker
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
    folded, checked = _fold(name), _role(role)
    if NAME.fullmatch(folded) is None:
        raise BadInput(
            f"User name {name[:80]!r} cannot be used, expected 1 to 64 letters a to z, digits, '.', '_', '@' or '-'."
        )
    refuse_weak(password, folded)
    password_hash = _hash(password)
    with ws.database.write() as session:
        if _find(session, folded) is not None:
            raise Conflict(f"There is already a user '{folded}'.")
        row = User(name=folded, password_hash=password_hash, role=checked, epoch=1, created_at=now)
        session.add(row)
        trail.record(session, who=by, what="user added", after={"user": folded, "role": role}, now=now)
        session.flush()
        return _user(row)


def set_password(ws: Workspace, name: str, password: str, *, by: str, now: datetime) -> None:
    """Change a password; every open session of that person ends, and a lock on the name is lifted."""
    require_proof(ws, by, "admin", now)
    refuse_weak(password, name)
    password_hash = _hash(password)
    with ws.database.write() as session:
        row = _existing(session, name)
        _put_password(row, password_hash, now)
        row.password_set_by = str(by) if row.name != by else None
        if (failures := session.get(SignInFailure, _key("user", row.name))) is not None:
            session.delete(failures)
        trail.record(session, who=by, what="password set", after={"user": row.name}, now=now)


def _put_password(row: User, password_hash: str, now: datetime) -> None:
    row.password_hash, row.password_set_at = password_hash, now
    row.password_set_by, row.weak_password = None, False
    row.epoch += 1


def change_own_password(ws: Workspace, by: Actor, old: str, new: str, client: str, now: datetime) -> UserInfo:
    """Change the own password, giving the old one; every other session ends.

    Args:
        client: the caller's address; wrong old passwords are throttled like wrong sign-ins.

    Returns:
        The person as of now: the session that asked goes on with this epoch.

    Raises:
        NotAllowed: the sign-in has ended.
        NotAuthenticated: the old password is wrong, or locked.
        BadInput: the new one cannot be used.
    """
    prove(ws, by, old, client, now)
    refuse_weak(new, by)
    if new == old:
        raise BadInput("The new password is the old one, expected another.")
    password_hash = _hash(new)
    with ws.database.write() as session:
        row = session.scalar(select(User).where(User.uid == by.uid, User.epoch == by.epoch))
        if row is None:
            raise NotAllowed("This sign-in has ended, so nothing was done. Sign in again.")
        _put_password(row, password_hash, now)
        row.proved_at, row.proved_epoch = now, row.epoch
        trail.record(session, who=by, what="own password changed", after={"user": row.name}, now=now)
        return _user(row)


def know_of_password(ws: Workspace, by: Actor) -> None:
    """The person has read that somebody else set the password."""
    require(ws, by, "viewer")
    with ws.database.write() as session:
        row = session.scalar(select(User).where(User.uid == by.uid))
        if row is not None:
            row.password_set_by = None


def set_role(ws: Workspace, name: str, role: str, *, by: str, now: datetime) -> None:
    """Change a role; it counts from the person's next click on. Conflict for the only admin."""
    require_proof(ws, by, "admin", now)
    role = _role(role)
    with ws.database.write() as session:
        row = _existing(session, name)
        if row.role == role:
            return
        _keep_an_admin(session, row)
        before, after = {"user": row.name, "role": row.role}, {"user": row.name, "role": role}
        trail.record(session, who=by, what="role changed", before=before, after=after, now=now)
        row.role = role


def remove_user(ws: Workspace, name: str, *, keep_tokens: bool = False, by: str, now: datetime) -> list[TokenInfo]:
    """Remove a person; open sessions end, and so do the tokens that the person made and may know.

    Args:
        keep_tokens: let those tokens work on.

    Returns:
        Those tokens, as they were before.

    Raises:
        Conflict: the only admin.
    """
    require_proof(ws, by, "admin", now)
    user = get_user(ws, name)
    made = [] if user is None else tokens_made_by(ws, user.uid, now)
    with ws.database.write() as session:
        row = _existing(session, name)
        _keep_an_admin(session, row)
        before = {"user": row.name, "role": row.role}
        trail.record(session, who=by, what="user removed", before=before, now=now)
        if not keep_tokens:
            revoke_all(session, [token.id for token in made], by=by, now=now)
        session.delete(row)
    return made


def list_users(ws: Workspace) -> list[UserInfo]:
    """Everybody, by name."""
    with ws.database.read() as session:
        return [_user(row) for row in session.scalars(select(User).order_by(User.name))]


def get_user(ws: Workspace, name: str) -> UserInfo | None:
    """One person as stored now; None when removed. Pages ask at each run: role and epoch may have changed."""
    with ws.database.read() as session:
        row = _find(session, name)
        return None if row is None else _user(row)


def signed_in(ws: Workspace, marked: str | None) -> UserInfo | None:
    """The person whom "uid@epoch" of a cookie or session stands for, as stored now; None where that sign-in has ended."""
    uid, _, epoch = (marked or "").partition("@")
    with ws.database.read() as session:
        row = session.scalar(select(User).where(User.uid == uid)) if uid else None
        return None if row is None or str(row.epoch) != epoch else _user(row)


def of_cookie(ws: Workspace, raw: str | None, key: str) -> tuple[UserInfo, float] | None:
    """Whom a browser's cookie signs in, and until when (Unix seconds); None where it is forged, expired or ended."""
    import jwt

    try:
        token = jwt.decode(raw or "", key, algorithms=["HS256"])
    except (jwt.InvalidTokenError, UnicodeError):
        return None
    marked, ends = token.get("username"), token.get("exp_date", 0)
    if not isinstance(marked, str) or not isinstance(ends, (int, float)) or ends <= time.time():
        return None
    user = signed_in(ws, marked)
    return None if user is None else (user, float(ends))


def is_idle(ws: Workspace, user: UserInfo, now: datetime) -> bool:
    """Whether the person has not clicked for so long that the sign-in has ended."""
    return user.last_seen_at is not None and now - user.last_seen_at > timedelta(minutes=ws.settings.idle_minutes)


def cookie_key(ws: Workspace) -> str:
    """Key of the sign-in cookie: the setting, else one generated into the state folder, for its owner alone to read."""
    given = ws.settings.cookie_key
    if given is not None:
        return given.get_secret_value()
    place = ws.settings.home_path / "cookie.key"
    with (
        contextlib.suppress(FileExistsError),
        open(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file,
    ):
        file.write(secrets.token_hex(MIN_COOKIE_KEY))
        file.flush()
        os.fsync(file.fileno())
    return place.read_text()


def note_visit(ws: Workspace, name: str, now: datetime) -> None:
    """Remember that the person is here; written at most once a minute."""
    with ws.database.read() as session:
        row = _find(session, name)
        if row is None or (row.last_seen_at is not None and now - row.last_seen_at < SEEN_EVERY):
            return
    with ws.database.write() as session:
        row = _find(session, name)
        if row is not None:
            if row.last_seen_at is not None and now - row.last_seen_at >= VISIT_GAP:
                row.previous_visit_at = row.last_seen_at
            row.last_seen_at = now


def sign_out_everywhere(ws: Workspace, name: str) -> None:
    """End every session of that person: older cookies carry an older epoch."""
    with ws.database.write() as session:
        _existing(session, name).epoch += 1
    logger.info("{name} signed out from {client}", name=_fold(name), client=trail.address.get())


def authenticator_credentials(ws: Workspace) -> dict[str, Any]:
    """What streamlit-authenticator wants to be given, by sign-in: a copy of its own, with hashes only."""
    with ws.database.read() as session:
        people = {
            f"{row.uid}@{row.epoch}": {
                "name": row.name,
                "email": "",
                "password": row.password_hash,
                "roles": [row.role],
            }
            for row in session.scalars(select(User))
        }
    return copy.deepcopy({"usernames": people})


# --- signing in -------------------------------------------------------------------------------------------------


def verify_password(ws: Workspace, name: str, password: str, client: str, now: datetime, *, code: str = "") -> UserInfo:
    """The person whose password this is, and whose code, where a second factor is set up.

    Every attempt is counted before it is judged, so many at once do not slip through. After 5 failures on a name from
    one address, or 20 from an address, known or not, it is locked for a minute, then twice as long each time, up to 15
    minutes. After 100 failures on a name from everywhere it is locked for a minute, but not for addresses from which its
    owner has signed in before: nobody can lock others out from elsewhere.

    Args:
        client: the caller's address.
        code: of the authenticator app, or a recovery code.

    Raises:
        NotAuthenticated: wrong name or password (which of them is not told), a wrong code, or locked, and for how long.
        CodeNeeded: the password is right and no code was given; this counts as no failure, and washes none away.
    """
    user = _verify(ws, name, password, client, now, code=code, wrong="The user name or the password is wrong.")
    logger.info("{name} signed in from {client}", name=user.name, client=who(client))
    return user


def _verify(
    ws: Workspace, name: str, password: str, client: str, now: datetime, *, code: str | None, wrong: str
) -> UserInfo:
    """What `verify_password` does; `wrong` is what to say of a wrong password. No code is asked for where it is None."""
    folded, place = _fold(name), who(client)
    pair = f"{place} {folded}"
    keys = {"user": _key("user", folded), "pair": _key("pair", pair), "client": _key("client", place)}
    with ws.database.write() as session:
        session.execute(_forgotten(now))
        known = session.get(SignInFailure, _key("known", pair))
        if known is not None and now - known.first_at < KNOWN_FOR:
            del keys["user"]
        locked = [row.locked_until for key in keys.values() if (row := session.get(SignInFailure, key)) is not None]
        until = max((at for at in locked if at is not None and at > now), default=None)
        if until is None:
            for kind, key in keys.items():
                _count_attempt(session, key, FREE_FAILURES[kind], now, longest=LONGEST_LOCK[kind])
        found = _find(session, name)
        stored = found.password_hash if found is not None else None
        factor = found is not None and found.totp_secret is not None and code is not None
    if until is not None:
        wait = int((until - now).total_seconds()) + 1
        logger.warning("sign-in of {name!r} from {client} refused: locked", name=folded[:64], client=place)
        raise NotAuthenticated(f"Too many failed sign-ins. Try again in {wait} s.")
    nobody = _nobodys_hash()
    if not _matches(password, stored or nobody) or stored is None:
        logger.warning("failed sign-in of {name!r} from {client}", name=folded[:64], client=place)
        raise NotAuthenticated(wrong)
    if factor and not (code or "").strip():
        with ws.database.write() as session:
            for kind, key in keys.items():
                _take_back(session, key, free=FREE_FAILURES[kind])
        raise CodeNeeded("Type the code that your authenticator app shows, or one of your recovery codes.")
    with ws.database.write() as session:
        user = _find(session, name)
        if user is None or user.password_hash != stored:
            raise NotAuthenticated(wrong)
        if user.totp_secret is not None and code is not None and not second_factor.take(user, code, now):
            logger.warning("wrong second factor of {name!r} from {client}", name=user.name, client=place)
            raise NotAuthenticated("The code is wrong or was used already. Wait for the next one that the app shows.")
        for kind in ("user", "pair"):
            if (row := session.get(SignInFailure, _key(kind, folded if kind == "user" else pair))) is not None:
                session.delete(row)
        # One good account does not wash a client clean: only this attempt is taken back.
        if (row := session.get(SignInFailure, keys["client"])) is not None:
            row.count, row.locked_until = max(row.count - 1, 0), None
        session.merge(SignInFailure(key=_key("known", pair), count=0, first_at=now, locked_until=now + KNOWN_FOR))
        user.proved_at, user.proved_epoch = now, user.epoch
        user.weak_password = is_weak(password, user.name)
        return _user(user)


def prove(ws: Workspace, by: Actor, password: str, client: str, now: datetime) -> None:
    """Take the own password once more: what needs a fresh proof (`require_proof`) is open for ten minutes then.

    Raises:
        NotAllowed: the sign-in has ended.
        NotAuthenticated: wrong, or locked after too many wrong ones.
    """
    require(ws, by, "viewer")
    _verify(ws, by, password, client, now, code=None, wrong="Your password is wrong, so nothing was done.")


def _key(kind: str, value: str) -> str:
    # Hashed: names and addresses are as long as a stranger likes, and nobody needs to read them here.
    return f"{kind}:{hashlib.sha256(value.encode(errors='replace')).hexdigest()}"


def _forgotten(now: datetime) -> Any:
    old = now - FORGET_AFTER
    unlocked = or_(SignInFailure.locked_until.is_(None), SignInFailure.locked_until < old)
    return delete(SignInFailure).where(SignInFailure.first_at < old, unlocked)


def _count_attempt(session: Session, key: str, free: int, now: datetime, *, longest: timedelta) -> None:
    row = session.get(SignInFailure, key)
    if row is None:
        row = SignInFailure(key=key, count=0, first_at=now)
        session.add(row)
    row.count += 1
    if row.count >= free:
        row.locked_until = now + min(FIRST_LOCK * 2 ** min(row.count - free, 10), longest)


def _take_back(session: Session, key: str, *, free: int) -> None:
    """Uncount this attempt, but lift no lock that wrong ones have brought about."""
    if (row := session.get(SignInFailure, key)) is not None:
        row.count = max(row.count - 1, 0)
        if row.count < free - 1:
            row.locked_until = None


# --- the trail --------------------------------------------------------------------------------------------------


def audit(
    ws: Workspace,
    who: str,
    what: str,
    project_id: int | None,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    now: datetime,
) -> None:
    """Add an entry that belongs to no other change of ours, such as a download."""
    with ws.database.write() as session:
        audit_log.record(session, who=who, what=what, project_id=project_id, before=before, after=after, now=now)


def audit_entries(ws: Workspace, limit: int = 50, offset: int = 0) -> tuple[list[AuditInfo], int]:
    """One page of the trail, newest first, and how many entries there are."""
    with ws.database.read() as session:
        total = session.scalar(select(func.count()).select_from(AuditEntry)) or 0
        rows = session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit).offset(offset))
        entries = [
            AuditInfo(
                id=row.id,
                at=row.at,
                who=row.who,
                what=row.what,
                project_id=row.project_id,
                before=row.before,
                after=row.after,
            )
            for row in rows
        ]
    return entries, total
