"""What the log tells of people and tokens: who, from where, what; and never a secret."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
from loguru import logger

from core.errors import NotAllowed, NotAuthenticated
from core.services.access import accounts, second_factor, sessions, tokens, trail, verifying
from core.services.access.actors import Actor
from core.services.access.tokens import TokenRights
from core.storage.workspace import Workspace

GOOD, OTHER, WRONG = "tall-trees-in-wind", "wet gravel, copper lid", "not this one at all"


@pytest.fixture
def lines() -> Iterator[list[str]]:
    reported: list[str] = []
    sink = logger.add(lambda message: reported.append(str(message)), format="{level} {message} {extra}", level="DEBUG")
    yield reported
    logger.remove(sink)


def test_sign_ins_refusals_locks_and_changes_are_logged_with_who_and_where_and_no_secret(
    ws: Workspace, now: datetime, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "BCRYPT_ROUNDS", 4)
    trail.address.set("192.0.2.7")
    accounts.create_user(ws, "ada", GOOD, "admin", by="cli", now=now)
    accounts.create_user(ws, "vera", GOOD, "viewer", by="cli", now=now)
    found = verifying.verify_password(ws, "ada", GOOD, "192.0.2.7", now)
    ada = Actor(found.name, found.uid, found.epoch)
    _, token = tokens.create_token(ws, "gateway", TokenRights(scopes=["read"]), by=ada, now=now)
    accounts.set_role(ws, "vera", "operator", by=ada, now=now)
    accounts.set_password(ws, "vera", OTHER, by=ada, now=now)
    secret, _ = second_factor.propose("ada")
    code = second_factor.code_of(secret, int(now.timestamp()) // 30)
    codes = second_factor.enable(ws, secret, code, by=ada, now=now)
    for _ in range(6):
        with pytest.raises(NotAuthenticated):
            verifying.verify_password(ws, "vera", WRONG, "203.0.113.9", now)
    with pytest.raises(NotAuthenticated):
        verifying.verify_password(ws, "ada", GOOD, "203.0.113.9", now, code="000000")
    sessions.sign_out_everywhere(ws, "ada")
    with pytest.raises(NotAllowed):
        accounts.remove_user(ws, "vera", by=ada, now=now)
    reported = "".join(lines)
    for part in (
        "cli from 192.0.2.7: user added (user ada; role admin)",
        "ada signed in from 192.0.2.7",
        "ada from 192.0.2.7: token made (token gateway; scopes ['read'])",
        "ada from 192.0.2.7: role changed (user vera; role operator)",
        "ada from 192.0.2.7: password set (user vera)",
        "ada from 192.0.2.7: second factor set up",
        "failed sign-in of 'vera' from 203.0.113.9",
        "sign-in of 'vera' from 203.0.113.9 refused: locked",
        "wrong second factor of 'ada' from 203.0.113.9",
        "ada signed out from 192.0.2.7",
        "ada from 192.0.2.7 refused: the session has ended",
    ):
        assert part in reported
    for secret_text in (GOOD, OTHER, WRONG, token, secret, *codes):
        assert secret_text not in reported
