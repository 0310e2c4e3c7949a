"""Bearer tokens for programs: created, listed, revoked, and checked in memory at every request.

A token is shown once and stored as its sha256; it is never logged. Out of scope: HTTP headers and status codes.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal

from loguru import logger
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from core.errors import BadInput, NotAllowed, NotAuthenticated, NotFound, StorageError, TooOften
from core.services.access import trail
from core.services.access.actors import Actor, require_proof
from core.storage.tables import ApiToken, Project
from core.storage.workspace import Workspace

Scope = Literal["predict", "ingest", "read", "admin"]
SCOPES: tuple[Scope, ...] = ("predict", "ingest", "read", "admin")
TokenState = Literal["in_force", "expired", "revoked"]

TOKEN_PREFIX = "cml_"  # noqa: S105  # what every token begins with, no secret
REREAD_S = 1.0
MOST_A_MINUTE = 1_000_000
NOTE_USE_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRights:
    """The rights of a new token."""

    scopes: Sequence[str]
    project_id: int | None = None  # None = every project
    expires_at: datetime | None = None  # None = never
    rate_limit: int | None = None  # requests per minute; None = unlimited


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInfo:
    """A bearer token without its secret. `id` None = the API_KEY setting."""

    id: int | None
    name: str
    prefix: str
    scopes: tuple[Scope, ...]
    project_id: int | None  # None = every project
    created_at: datetime | None
    created_by: str | None
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    created_uid: str | None = None  # uid of the person who created it; None: command line, API
    rate_limit: int | None = None  # requests per minute, in each process that checks it

    def allows(self, scope: Scope) -> bool:
        """Whether it includes this scope; admin includes all, the others only themselves."""
        return scope in self.scopes or "admin" in self.scopes

    def state(self, now: datetime) -> TokenState:
        """Whether it is valid at this instant, and if not, why."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "in_force"


def _token(row: ApiToken) -> TokenInfo:
    return TokenInfo(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        scopes=tuple(row.scopes),
        project_id=row.project_id,
        created_at=row.created_at,
        created_by=row.created_by,
        created_uid=row.created_uid,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
        rate_limit=row.rate_limit,
    )


def create_token(
    ws: Workspace,
    name: str,
    rights: TokenRights,
    *,
    by: str,
    now: datetime,
) -> tuple[TokenInfo, str]:
    """Create a token; the second value is the token itself, which cannot be read again.

    Raises:
        BadInput: no or unknown scopes, no name, an expiry in the past, a limit below 1.
        NotFound: no such project.
    """
    require_proof(ws, by, "admin", now)
    wanted = tuple(dict.fromkeys(rights.scopes))
    unknown = [s for s in wanted if s not in SCOPES]
    if not wanted or unknown:
        seen = ", ".join(repr(s[:40]) for s in unknown) or "none"
        raise BadInput(f"Scopes: {seen}, expected some of {', '.join(SCOPES)}.")
    if not name.strip() or len(name) > 100:
        raise BadInput(f"The token's name has {len(name.strip())} characters, expected 1 to 100.")
    if rights.expires_at is not None and rights.expires_at <= now:
        raise BadInput(f"The token would expire at {rights.expires_at:%Y-%m-%d %H:%M}, expected a time in the future.")
    if rights.rate_limit is not None and not 1 <= rights.rate_limit <= MOST_A_MINUTE:
        raise BadInput(
            f"The limit is {rights.rate_limit} requests per minute, expected 1 to {MOST_A_MINUTE:,}, or none."
        )
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    with ws.database.write() as session:
        if rights.project_id is not None and session.get(Project, rights.project_id) is None:
            raise NotFound(f"There is no project with id {rights.project_id}.")
        row = ApiToken(
            name=name.strip(),
            prefix=token[: len(TOKEN_PREFIX) + 4],
            sha256=_digest(token),
            scopes=list(wanted),
            project_id=rights.project_id,
            created_at=now,
            created_by=by,
            created_uid=by.uid if isinstance(by, Actor) else None,
            expires_at=rights.expires_at,
            rate_limit=rights.rate_limit,
        )
        session.add(row)
        after = {"token": row.name, "scopes": list(wanted)}
        trail.record(session, who=by, what="token made", project_id=rights.project_id, after=after, now=now)
        session.flush()
        return _token(row), token


def end_of_day(day: date, zone: tzinfo) -> datetime:
    """The last second of a day in a time zone: when a token that is valid through that day expires."""
    last = datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=zone)
    return last.astimezone(UTC)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def list_tokens(ws: Workspace) -> list[TokenInfo]:
    """All tokens, newest first, revoked and expired ones included."""
    with ws.database.read() as session:
        return [_token(row) for row in session.scalars(select(ApiToken).order_by(ApiToken.id.desc()))]


def tokens_made_by(ws: Workspace, uid: str, now: datetime) -> list[TokenInfo]:
    """The active tokens that this person created, newest first."""
    return [
        token
        for token in list_tokens(ws)
        if token.created_uid == uid
        and token.revoked_at is None
        and (token.expires_at is None or token.expires_at > now)
    ]


def revoke_all(session: Session, ids: Iterable[int | None], *, by: str, now: datetime) -> None:
    """Revoke tokens as part of another change, such as the removal of their creator."""
    for row in session.scalars(select(ApiToken).where(ApiToken.id.in_(ids), ApiToken.revoked_at.is_(None))):
        _revoke(session, row, by=by, now=now)


def _revoke(session: Session, row: ApiToken, *, by: str, now: datetime) -> None:
    row.revoked_at = now
    before = {"token": row.name, "scopes": row.scopes}
    trail.record(session, who=by, what="token revoked", project_id=row.project_id, before=before, now=now)


def revoke_token(ws: Workspace, token_id: int, *, by: str, now: datetime) -> None:
    """Revoke a token permanently; every process refuses it within 2 seconds. Does nothing if it is already revoked."""
    require_proof(ws, by, "admin", now)
    with ws.database.write() as session:
        row = session.get(ApiToken, token_id)
        if row is None:
            raise NotFound(f"There is no token with id {token_id}. `keys list` shows them.")
        if row.revoked_at is None:
            _revoke(session, row, by=by, now=now)


class Tokens:
    """The tokens in memory, for a process that checks one at every request; safe to share between threads.

    They are read again once a second while requests arrive. Where `due` is True, `check` reads or writes the database: an event loop
    then calls it in a thread.
    """

    def __init__(self, ws: Workspace, api_key: str | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._ws = ws
        self._clock = clock
        self._api_key = _digest(api_key) if api_key is not None else None
        self._lock = threading.Lock()
        self._known: dict[str, TokenInfo] = {}
        self._noted: dict[int, datetime] = {}
        self._read_at: float | None = None
        self._remaining: dict[int, tuple[float, float]] = {}  # token -> remaining requests, and when that was computed

    def cached(self, bearer: str, now: datetime) -> TokenInfo | None:
        """The token, if it is known without the database; None is not yet a refusal: call `check`."""
        digest = _digest(bearer)
        if self._is_api_key(digest):
            return _API_KEY
        token = self._known.get(digest)
        if token is None or token.revoked_at is not None or self._age() > REREAD_S or self._unnoted(token, now):
            return None
        return token if token.expires_at is None or token.expires_at > now else None

    def admit(self, token: TokenInfo) -> None:
        """Count a request of a token with a limit: that many at once, and as many more each minute.

        Raises:
            TooOften: the limit is reached; it states when the next request is allowed.
        """
        limit = token.rate_limit
        if limit is None or token.id is None:
            return
        at = self._clock()
        remaining, before = self._remaining.get(token.id, (float(limit), at))
        remaining = min(limit, remaining + (at - before) * limit / 60)
        if remaining < 1:
            self._remaining[token.id] = remaining, at
            wait = max(math.ceil((1 - remaining) * 60 / limit), 1)
            raise TooOften(
                f"This token is limited to {limit:,} requests per minute. Wait {wait} s, or have the limit raised.",
                wait_s=wait,
            )
        self._remaining[token.id] = remaining - 1, at

    def due(self, bearer: str, now: datetime) -> bool:
        """Whether checking this token needs the database."""
        digest = _digest(bearer)
        if self._is_api_key(digest):
            return False
        token = self._known.get(digest)
        return token is None or self._age() > REREAD_S or self._unnoted(token, now)

    def check(self, bearer: str, scope: Scope | None, project_id: int | None, now: datetime) -> TokenInfo:
        """The token, if it is active, has the scope (None = any) and may act on the project (None = no particular one).

        Raises:
            NotAuthenticated: unknown, revoked or expired.
            NotAllowed: active, but without the scope or for another project.
            StorageError: the tokens cannot be read.
        """
        token = self._authenticate(bearer, now)
        if scope is not None and not token.allows(scope):
            raise NotAllowed(f"This token has the scope {', '.join(token.scopes)}; this requires {scope}.")
        if project_id is not None and token.project_id is not None and token.project_id != project_id:
            raise NotAllowed("This token is limited to another project.")
        return token

    def _authenticate(self, bearer: str, now: datetime) -> TokenInfo:
        digest = _digest(bearer)
        if self._is_api_key(digest):
            return _API_KEY
        with self._lock:
            if self._age() > REREAD_S:
                self._read()
            token = self._known.get(digest)
        if token is None and bearer.startswith(TOKEN_PREFIX):
            token = self._look_up(digest)
        if token is None:
            raise NotAuthenticated("This token is unknown. Create one with `keys create`.")
        state = token.state(now)
        if state == "revoked":
            raise NotAuthenticated("This token was revoked.")
        if state == "expired":
            raise NotAuthenticated(f"This token expired at {token.expires_at:%Y-%m-%d %H:%M} UTC.")
        if self._unnoted(token, now):
            self._note_use(token, now)
        return token

    def _is_api_key(self, digest: str) -> bool:
        return self._api_key is not None and hmac.compare_digest(digest, self._api_key)

    def _age(self) -> float:
        return float("inf") if self._read_at is None else self._clock() - self._read_at

    def _read(self) -> None:
        at = self._clock()
        try:
            with self._ws.database.read() as session:
                self._known = {row.sha256: _token(row) for row in session.scalars(select(ApiToken))}
        except SQLAlchemyError as error:
            raise StorageError("The tokens cannot be read: the database is unavailable.") from error
        self._read_at = at

    def _look_up(self, digest: str) -> TokenInfo | None:
        """A token that another process may have created a moment ago: reads one row without holding the lock."""
        try:
            with self._ws.database.read() as session:
                row = session.scalar(select(ApiToken).where(ApiToken.sha256 == digest))
        except SQLAlchemyError as error:
            raise StorageError("The tokens cannot be read: the database is unavailable.") from error
        return self._keep(digest, _token(row)) if row is not None else None

    def _keep(self, digest: str, token: TokenInfo) -> TokenInfo:
        with self._lock:
            self._known[digest] = token
        return token

    def _unnoted(self, token: TokenInfo, now: datetime) -> bool:
        assert token.id is not None
        last = self._noted.get(token.id) or token.last_used_at
        return last is None or now - last >= NOTE_USE_EVERY

    def _note_use(self, token: TokenInfo, now: datetime) -> None:
        assert token.id is not None
        self._noted[token.id] = now
        try:
            with self._ws.database.write() as session:
                row = session.get(ApiToken, token.id)
                if row is not None:
                    row.last_used_at = now
        except SQLAlchemyError as error:  # the request itself may well succeed
            logger.warning("a token's use could not be recorded: {error}", error=type(error).__name__)


_API_KEY = TokenInfo(
    id=None,
    name="API_KEY",
    prefix="",
    scopes=("admin",),
    project_id=None,
    created_at=None,
    created_by=None,
    expires_at=None,
    revoked_at=None,
    last_used_at=None,
)
