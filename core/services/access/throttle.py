"""Wrong passwords are counted by name and address, by address, and by name; too many lock temporarily."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, or_
from sqlalchemy.orm import Session

from core.storage.tables import SignInFailure

FREE_FAILURES = {"pair": 5, "client": 20, "user": 100}  # a client may be a whole office behind one address


FIRST_LOCK = timedelta(minutes=1)


LONGEST_LOCK = {"pair": timedelta(minutes=15), "client": timedelta(minutes=15), "user": FIRST_LOCK}


KNOWN_FOR = timedelta(days=90)  # how long an address counts as one from which a person has signed in


FORGET_AFTER = timedelta(hours=1)


def attempt_key(kind: str, value: str) -> str:
    # Hashed: clients choose the length of names and addresses, and nobody needs to read them here.
    return f"{kind}:{hashlib.sha256(value.encode(errors='replace')).hexdigest()}"


def expired_attempts(now: datetime) -> Any:
    old = now - FORGET_AFTER
    unlocked = or_(SignInFailure.locked_until.is_(None), SignInFailure.locked_until < old)
    return delete(SignInFailure).where(SignInFailure.first_at < old, unlocked)


def count_attempt(session: Session, key: str, free: int, now: datetime, *, longest: timedelta) -> None:
    row = session.get(SignInFailure, key)
    if row is None:
        row = SignInFailure(key=key, count=0, first_at=now)
        session.add(row)
    row.count += 1
    if row.count >= free:
        row.locked_until = now + min(FIRST_LOCK * 2 ** min(row.count - free, 10), longest)


def uncount_attempt(session: Session, key: str, *, free: int) -> None:
    """Uncount this attempt, but keep a lock that wrong ones have caused."""
    if (row := session.get(SignInFailure, key)) is not None:
        row.count = max(row.count - 1, 0)
        if row.count < free - 1:
            row.locked_until = None
