"""Who may do what, and who did: people, failed sign-ins, tokens, the audit."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from core.records import JsonObject
from core.storage.tables.base import Base


class User(Base):
    """A person who may sign in."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    # Never given twice: a name that is removed and made again is another person.
    uid: Mapped[str] = mapped_column(String(32), unique=True, nullable=True, default=lambda: secrets.token_hex(16))
    name: Mapped[str] = mapped_column(String(64), unique=True)
    password_hash: Mapped[str] = mapped_column(String(100))
    role: Mapped[str] = mapped_column(String(16))  # viewer | operator | admin
    epoch: Mapped[int] = mapped_column(default=1)  # raised by sign-out and password change: older cookies end
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime | None]
    previous_visit_at: Mapped[datetime | None]
    proved_at: Mapped[datetime | None]  # when the password was last given, and by a sign-in of which epoch
    proved_epoch: Mapped[int | None]
    weak_password: Mapped[bool | None]  # would be refused today, as seen at the last sign-in
    password_set_at: Mapped[datetime | None]
    password_set_by: Mapped[str | None] = mapped_column(String(200))  # somebody else, until the person has read it
    totp_secret: Mapped[str | None] = mapped_column(String(64))
    totp_step: Mapped[int | None]  # the last one used: a code counts once
    recovery_hashes: Mapped[list[Any] | None]


class SignInFailure(Base):
    """Failed sign-ins per user and per client, for the throttle."""

    __tablename__ = "sign_in_failures"
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    count: Mapped[int]
    first_at: Mapped[datetime]
    locked_until: Mapped[datetime | None]


class ApiToken(Base):
    """A bearer token, stored as its hash."""

    __tablename__ = "api_tokens"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    prefix: Mapped[str] = mapped_column(String(16))  # the first characters, to recognise it by
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[Any]]
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    created_at: Mapped[datetime]
    created_by: Mapped[str | None] = mapped_column(String(200))
    created_uid: Mapped[str | None] = mapped_column(String(32))  # of the person; None: command line, API
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    rate_limit: Mapped[int | None]  # requests a minute; None: any number


class AuditEntry(Base):
    """Who changed what, outside the cycles."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    who: Mapped[str] = mapped_column(String(200))
    what: Mapped[str] = mapped_column(String(200))
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id", ondelete="SET NULL"))
    before: Mapped[JsonObject | None]
    after: Mapped[JsonObject | None]
