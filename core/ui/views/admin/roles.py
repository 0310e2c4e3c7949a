"""Roles and scopes in words."""

from __future__ import annotations

ROLES = {
    "viewer": "can view",
    "operator": "can also store rows, start checks and promote",
    "admin": "can do everything, including people and tokens",
}
SCOPES = {
    "predict": "request predictions",
    "ingest": "send rows and labels",
    "read": "read predictions and metrics",
    "admin": "everything",
}


def role_words(role: str) -> str:
    """A role with what it may do."""
    return f"{role}: {ROLES[role]}"
