"""A second factor at sign-in: codes of an authenticator app by RFC 6238, and recovery codes for when it is lost.

SHA-1, six digits, steps of 30 seconds, as every authenticator app supports them. The secret is stored in plain text, since codes
are computed from it; recovery codes as hashes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from datetime import datetime
from urllib.parse import quote

from sqlalchemy import select

from core.errors import BadInput, NotFound
from core.services.access import trail
from core.services.access.actors import Actor, require_proof
from core.storage.tables import User
from core.storage.workspace import Workspace

STEP_S = 30
DIGITS = 6
SKEW = 1  # steps that a phone's clock may be ahead or behind
RECOVERY_CODES = 8


def code_of(secret: str, step: int, *, digits: int = DIGITS) -> str:
    """The code of one step.

    Args:
        secret: base32, as authenticator apps expect it.
        step: whole steps of 30 seconds since 1970.
    """
    key = base64.b32decode(secret)
    digest = hmac.new(key, step.to_bytes(8, "big"), hashlib.sha1).digest()
    at = digest[-1] & 15
    number = int.from_bytes(digest[at : at + 4], "big") & 0x7FFFFFFF
    return str(number % 10**digits).zfill(digits)


def propose(name: str) -> tuple[str, str]:
    """A new secret of 160 bits, and its otpauth:// URI for an app; nothing is stored."""
    secret = base64.b32encode(secrets.token_bytes(20)).decode()
    return secret, f"otpauth://totp/{quote(f'Continual ML:{name}')}?secret={secret}&issuer={quote('Continual ML')}"


def enable(ws: Workspace, secret: str, code: str, *, by: Actor, now: datetime) -> list[str]:
    """Require codes of this secret from the person's next sign-in on.

    Returns:
        Recovery codes, each valid for one sign-in; they cannot be read again.

    Raises:
        ProofNeeded, NotAllowed: the password has to be entered first; the session has ended.
        BadInput: the code does not match the secret: the app was not set up with it, or its clock is wrong.
    """
    require_proof(ws, by, "viewer", now)
    try:
        step = _step_of(secret, code, now, after=None)
    except (binascii.Error, ValueError):
        raise BadInput(
            "This is not a secret of an authenticator app, expected base32 as it was shown. Start the setup again."
        ) from None
    if step is None:
        raise BadInput(
            "The code does not match the one expected. Enter the newest one from the app; if that fails again, set the "
            "phone's clock."
        )
    codes = [f"{secrets.token_hex(3)}-{secrets.token_hex(3)}" for _ in range(RECOVERY_CODES)]
    with ws.database.write() as session:
        row = session.scalar(select(User).where(User.uid == by.uid))
        if row is None:
            raise NotFound(f"There is no user '{by}' any more.")
        row.totp_secret, row.totp_step = secret, step
        row.recovery_hashes = [_digest(code) for code in codes]
        trail.record(session, who=by, what="second factor set up", after={"user": row.name}, now=now)
    return codes


def disable(ws: Workspace, name: str, *, by: str, now: datetime) -> bool:
    """Turn off a person's second factor; returns whether there was one. For another person this requires an admin."""
    require_proof(ws, by, "viewer" if name == by else "admin", now)
    with ws.database.write() as session:
        row = session.scalar(select(User).where(User.name == name.strip().lower()))
        if row is None:
            raise NotFound(f"There is no user '{name[:64]}'. `users list` shows them.")
        had = row.totp_secret is not None
        row.totp_secret = row.totp_step = row.recovery_hashes = None
        if had:
            trail.record(session, who=by, what="second factor taken off", before={"user": row.name}, now=now)
    return had


def take(row: User, code: str, now: datetime) -> bool:
    """Whether a code is correct, which invalidates it: an app's code and all earlier ones, or a recovery code."""
    assert row.totp_secret is not None
    if (step := _step_of(row.totp_secret, code, now, after=row.totp_step)) is not None:
        row.totp_step = step
        return True
    digest = _digest(code)
    left = [known for known in row.recovery_hashes or [] if not hmac.compare_digest(known, digest)]
    if len(left) == len(row.recovery_hashes or []):
        return False
    row.recovery_hashes = left
    return True


def _step_of(secret: str, code: str, now: datetime, *, after: int | None) -> int | None:
    """The step that a code belongs to: the current one or a neighbour, and later than the last one used."""
    given = "".join(code.split())
    present = int(now.timestamp()) // STEP_S
    for step in range(present - SKEW, present + SKEW + 1):
        right = hmac.compare_digest(code_of(secret, step).encode(), given.encode(errors="replace"))
        if right and (after is None or step > after):
            return step
    return None


def _digest(code: str) -> str:
    return hashlib.sha256("".join(code.split()).lower().encode(errors="replace")).hexdigest()
