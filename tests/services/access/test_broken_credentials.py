"""Cookies, tokens, names, passwords and codes broken at random: none signs anybody else in, none is a fault of ours."""

from __future__ import annotations

import contextlib
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from core.errors import BadInput, NotAuthenticated
from core.services.access import accounts, sessions, verifying
from core.services.access.passwords import refuse_weak
from core.services.access.second_factor import _step_of, code_of
from core.services.access.tokens import TokenRights, Tokens, create_token
from core.storage.workspace import Workspace

ROUND = 100
NOON = datetime(1970, 1, 1, 12, tzinfo=UTC)
GOOD = "tall-trees-in-wind"
ODD = (
    "",
    "\0",
    "\ud800",
    "é",
    "İ",
    "ﬁ",
    "%00",
    "'--",
    "{}",
    ".",
    "..",
    "@1",
    "=" * 8,
    "A" * 5000,
    "\u202e",
    " ",
    "cml_",
)


def _broken(rng: random.Random, text: str) -> str:
    for _ in range(rng.randint(1, 3)):
        at, kind = rng.randrange(len(text) + 1), rng.randrange(5)
        if kind == 0:
            text = text[:at] + chr(rng.choice((rng.randrange(128), rng.randrange(0x11000)))) + text[at + 1 :]
        elif kind == 1:
            text = text[:at] + text[at + rng.randint(1, 6) :]
        elif kind == 2:
            text = text[:at] + rng.choice(ODD) + text[at:]
        elif kind == 3:
            text = text[:at] + text[at : at + 9].swapcase() + text[at + 9 :]
        else:
            text = text[:at]
    return text


def _cookies(rng: random.Random, marked: str, other: str) -> str:
    """A cookie that its holder changed, signed by another key, or not at all."""
    claims: dict[str, Any] = {"username": other, "exp_date": time.time() + 3600}
    if rng.random() < 0.5:
        claims[rng.choice(("username", "exp_date", "sub", "crit"))] = rng.choice(
            (None, 0, [], {}, marked, float("inf"))
        )
    algorithm = rng.choice(("none", "HS256", "HS512"))
    return jwt.encode(claims, None if algorithm == "none" else "k" * 64, algorithm=algorithm)


@pytest.mark.campaign
def test_no_broken_credential_signs_in_or_is_a_fault_of_ours(
    ws: Workspace, now: datetime, campaign: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "BCRYPT_ROUNDS", 4)
    accounts.decoy_hash.cache_clear()
    admin = accounts.create_user(ws, "root", GOOD, "admin", by="test", now=now)
    ada = accounts.create_user(ws, "ada", GOOD + "-2", "viewer", by="test", now=now)
    key = sessions.cookie_key(ws)
    theirs = jwt.encode({"username": f"{ada.uid}@{ada.epoch}", "exp_date": time.time() + 3600}, key, algorithm="HS256")
    _, secret = create_token(ws, "t", TokenRights(scopes=["predict"]), by="test", now=now)
    factor = "A" * 32
    near = {code_of(factor, step) for step in range(1439, 1442)}
    check = Tokens(ws, None)
    assert sessions.of_cookie(ws, theirs, key) is not None
    assert check.check(secret, "predict", None, now).name == "t"
    for number in campaign.rounds("credentials", campaign.mutated_bodies // ROUND):
        rng = random.Random(f"credentials {number}")
        for _ in range(ROUND):
            found = sessions.of_cookie(ws, _broken(rng, theirs), key)
            assert found is None or found[0].uid == ada.uid
            assert (
                sessions.of_cookie(ws, _cookies(rng, f"{ada.uid}@{ada.epoch}", f"{admin.uid}@{admin.epoch}"), key)
                is None
            )
            bearer = _broken(rng, secret)
            if bearer != secret:
                with pytest.raises(NotAuthenticated):
                    check.check(bearer, "predict", None, now)
            code = _broken(rng, "123456")
            assert "".join(code.split()) in near or _step_of(factor, code, NOON, after=None) is None
            new = _broken(rng, GOOD)
            with contextlib.suppress(BadInput):
                refuse_weak(new, "root")
                assert accounts.password_matches(new, accounts.hashed(new))
        at = now + timedelta(days=number + 1)
        for attempt in range(4):
            name, password = _broken(rng, "root"), _broken(rng, GOOD)
            if (name.strip().casefold(), password) != ("root", GOOD):
                with pytest.raises(NotAuthenticated):
                    verifying.verify_password(ws, name, password, f"10.0.{attempt}.{number % 250}", at)
    assert verifying.verify_password(ws, "root", GOOD, "192.0.2.1", now + timedelta(days=9999)).role == "admin"
