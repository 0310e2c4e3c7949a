"""The first start: generates missing secrets, creates the schema and the first user."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from core.services.access import accounts
from core.settings import Settings
from core.storage.workspace import open_workspace

GENERATED = ("API_KEY", "CONTINUAL_COOKIE_KEY")
FIRST_USER = accounts.FIRST_USER


def ensure_secrets(env_file: Path, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Append to `.env` the secrets that neither it nor the environment holds; returns their names.

    Existing lines stay as they are; the file ends up readable by its owner alone when anything was written.
    """
    from dotenv import dotenv_values

    descriptor = os.open(env_file, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # two processes may start at once in one folder
        text = file.read()
        stored = dotenv_values(env_file, interpolate=False)
        given = {name for name in GENERATED if environment.get(name) or environment.get(f"{name}_FILE")}
        missing = tuple(name for name in GENERATED if name not in given and not stored.get(name))
        if missing:
            os.fchmod(file.fileno(), 0o600)
            # Hexadecimal: such a value cannot look like a placeholder or need quotes.
            lines = "".join(f"{name}={secrets.token_hex(32)}\n" for name in missing)
            file.write(("\n" if text and not text.endswith("\n") else "") + lines)
    return missing


def initialise(settings: Settings, *, now: datetime) -> tuple[str, ...]:
    """Upgrade the state folder to this version's schema and create the first user if there is none.

    Returns:
        Lines for stdout, never for a log: user and password, or empty if there were users already.
    """
    ws = open_workspace(settings, migrate=True)
    try:
        first = accounts.ensure_first_user(ws, now)
    finally:
        ws.database.dispose()
    if first is None:
        return ()
    return (
        f"User: {first.name}",
        f"Password: {first.password}" if first.generated else "Password: the value of STREAMLIT_PASSWORD",
    )
