"""Password checks: at sign-in, as a fresh confirmation, and before a password is changed."""

from __future__ import annotations

from datetime import datetime

from loguru import logger
from sqlalchemy import select

from core.errors import BadInput, CodeNeeded, NotAllowed, NotAuthenticated
from core.services.access import second_factor, trail
from core.services.access.accounts import (
    UserInfo,
    decoy_hash,
    find_user,
    fold_name,
    hashed,
    info_of,
    password_matches,
    put_password,
)
from core.services.access.actors import Actor, require
from core.services.access.addresses import who
from core.services.access.passwords import is_weak, refuse_weak
from core.services.access.throttle import (
    FREE_FAILURES,
    KNOWN_FOR,
    LONGEST_LOCK,
    attempt_key,
    count_attempt,
    expired_attempts,
    uncount_attempt,
)
from core.storage.tables import SignInFailure, User
from core.storage.workspace import Workspace


def change_own_password(ws: Workspace, by: Actor, old: str, new: str, client: str, now: datetime) -> UserInfo:
    """Change one's own password, given the old one; every other session ends.

    Args:
        client: the caller's address; wrong old passwords are throttled like wrong sign-ins.

    Returns:
        The updated person: the calling session continues with this epoch.

    Raises:
        NotAllowed: the session has ended.
        NotAuthenticated: the old password is wrong, or locked.
        BadInput: the new one is not accepted.
    """
    prove(ws, by, old, client, now)
    refuse_weak(new, by)
    if new == old:
        raise BadInput("The new password is the same as the old one, expected a different one.")
    password_hash = hashed(new)
    with ws.database.write() as session:
        row = session.scalar(select(User).where(User.uid == by.uid, User.epoch == by.epoch))
        if row is None:
            raise NotAllowed("Your session has ended, so nothing was done. Sign in again.")
        put_password(row, password_hash, now)
        row.proved_at, row.proved_epoch = now, row.epoch
        trail.record(session, who=by, what="own password changed", after={"user": row.name}, now=now)
        return info_of(row)


def confirm_password_notice(ws: Workspace, by: Actor) -> None:
    """Record that the person has confirmed that somebody else set the password."""
    require(ws, by, "viewer")
    with ws.database.write() as session:
        row = session.scalar(select(User).where(User.uid == by.uid))
        if row is not None:
            row.password_set_by = None


def verify_password(ws: Workspace, name: str, password: str, client: str, now: datetime, *, code: str = "") -> UserInfo:
    """The person with this name and password and, if a second factor is set up, this code.

    Every attempt is counted before it is judged, so many at once do not slip through. After 5 failures on a name from
    one address, or 20 from an address, known or not, it is locked for a minute, then twice as long each time, up to 15
    minutes. After 100 failures on a name from everywhere it is locked for a minute, but not for addresses from which its
    owner has signed in before: nobody can lock others out from elsewhere.

    Args:
        client: the caller's address.
        code: of the authenticator app, or a recovery code.

    Raises:
        NotAuthenticated: wrong name or password (not stating which), a wrong code, or locked, and for how long.
        CodeNeeded: the password is correct and no code was given; this neither counts as a failure nor clears any.
    """
    user = _verify(ws, name, password, client, now, code=code, wrong="The user name or the password is wrong.")
    logger.info("{name} signed in from {client}", name=user.name, client=who(client))
    return user


def _verify(
    ws: Workspace, name: str, password: str, client: str, now: datetime, *, code: str | None, wrong: str
) -> UserInfo:
    """Implements `verify_password`; `wrong` is the message for a wrong password. If `code` is None, none is required."""
    folded, place = fold_name(name), who(client)
    pair = f"{place} {folded}"
    keys = {
        "user": attempt_key("user", folded),
        "pair": attempt_key("pair", pair),
        "client": attempt_key("client", place),
    }
    with ws.database.write() as session:
        session.execute(expired_attempts(now))
        known = session.get(SignInFailure, attempt_key("known", pair))
        if known is not None and now - known.first_at < KNOWN_FOR:
            del keys["user"]
        locked = [row.locked_until for key in keys.values() if (row := session.get(SignInFailure, key)) is not None]
        until = max((at for at in locked if at is not None and at > now), default=None)
        if until is None:
            for kind, key in keys.items():
                count_attempt(session, key, FREE_FAILURES[kind], now, longest=LONGEST_LOCK[kind])
        user = find_user(session, name)
        stored = user.password_hash if user is not None else None
        factor = user is not None and user.totp_secret is not None and code is not None
    if until is not None:
        wait = int((until - now).total_seconds()) + 1
        logger.warning("sign-in of {name!r} from {client} refused: locked", name=folded[:64], client=place)
        raise NotAuthenticated(f"Too many failed sign-ins. Try again in {wait} s.")
    decoy = decoy_hash()
    if not password_matches(password, stored or decoy) or stored is None:
        logger.warning("failed sign-in of {name!r} from {client}", name=folded[:64], client=place)
        raise NotAuthenticated(wrong)
    if factor and not (code or "").strip():
        with ws.database.write() as session:
            for kind, key in keys.items():
                uncount_attempt(session, key, free=FREE_FAILURES[kind])
        raise CodeNeeded("Enter the code that your authenticator app shows, or one of your recovery codes.")
    with ws.database.write() as session:
        user = find_user(session, name)
        if user is None or user.password_hash != stored:
            raise NotAuthenticated(wrong)
        if user.totp_secret is not None and code is not None and not second_factor.take(user, code, now):
            logger.warning("wrong second factor of {name!r} from {client}", name=user.name, client=place)
            raise NotAuthenticated("The code is wrong or was already used. Wait for the app to show the next one.")
        for kind in ("user", "pair"):
            if (row := session.get(SignInFailure, attempt_key(kind, folded if kind == "user" else pair))) is not None:
                session.delete(row)
        # One successful sign-in does not clear a client's failures: only this attempt is uncounted.
        if (row := session.get(SignInFailure, keys["client"])) is not None:
            row.count, row.locked_until = max(row.count - 1, 0), None
        session.merge(
            SignInFailure(key=attempt_key("known", pair), count=0, first_at=now, locked_until=now + KNOWN_FOR)
        )
        user.proved_at, user.proved_epoch = now, user.epoch
        user.weak_password = is_weak(password, user.name)
        return info_of(user)


def prove(ws: Workspace, by: Actor, password: str, client: str, now: datetime) -> None:
    """Confirm one's own password: actions that require it (`require_proof`) are then allowed for ten minutes.

    Raises:
        NotAllowed: the session has ended.
        NotAuthenticated: wrong, or locked after too many wrong ones.
    """
    require(ws, by, "viewer")
    _verify(ws, by, password, client, now, code=None, wrong="Your password is wrong, so nothing was done.")
