"""Roles and scopes in words."""

from __future__ import annotations

ROLES = {
    "viewer": "looks",
    "operator": "stores rows, starts checks, promotes",
    "admin": "everything, people and tokens too",
}
SCOPES = {
    "predict": "ask for predictions",
    "ingest": "send rows and labels",
    "read": "read predictions and metrics",
    "admin": "everything",
}


def role_words(role: str) -> str:
    """A role with what it may do."""
    return f"{role}: {ROLES[role]}"
