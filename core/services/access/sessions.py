"""Sessions: cookies, visits, and when they end."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from datetime import datetime, timedelta

from loguru import logger
from sqlalchemy import select

from core.services.access import trail
from core.services.access.accounts import UserInfo, existing_user, find_user, fold_name, info_of
from core.settings import MIN_COOKIE_KEY
from core.storage.tables import User
from core.storage.workspace import Workspace

SEEN_EVERY = timedelta(minutes=1)


VISIT_GAP = timedelta(minutes=30)  # pause after which the next click starts a new visit


def signed_in(ws: Workspace, marked: str | None) -> UserInfo | None:
    """The person of a cookie's or session's "uid@epoch", as stored now; None if that session has ended."""
    uid, _, epoch = (marked or "").partition("@")
    with ws.database.read() as session:
        row = session.scalar(select(User).where(User.uid == uid)) if uid else None
        return None if row is None or str(row.epoch) != epoch else info_of(row)


def of_cookie(ws: Workspace, raw: str | None, key: str) -> tuple[UserInfo, float] | None:
    """The person that a browser's cookie signs in, and until when (Unix seconds); None if it is forged, expired or ended."""
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
    """Whether the person has been idle for so long that the session has ended."""
    return user.last_seen_at is not None and now - user.last_seen_at > timedelta(minutes=ws.settings.idle_minutes)


def cookie_key(ws: Workspace) -> str:
    """Key of the sign-in cookie: the setting, else one generated into the state folder, readable by its owner only."""
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
    """Record that the person is active; written at most once a minute."""
    with ws.database.read() as session:
        row = find_user(session, name)
        if row is None or (row.last_seen_at is not None and now - row.last_seen_at < SEEN_EVERY):
            return
    with ws.database.write() as session:
        row = find_user(session, name)
        if row is not None:
            if row.last_seen_at is not None and now - row.last_seen_at >= VISIT_GAP:
                row.previous_visit_at = row.last_seen_at
            row.last_seen_at = now


def sign_out_everywhere(ws: Workspace, name: str) -> None:
    """End every session of that person: older cookies carry an older epoch."""
    with ws.database.write() as session:
        existing_user(session, name).epoch += 1
    logger.info("{name} signed out from {client}", name=fold_name(name), client=trail.address.get())
