"""A token's limit: so many requests at once, as many more each minute, and no word of it to tokens without one."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from core.errors import BadInput, TooOften
from core.services.access.tokens import TokenRights, Tokens, create_token, list_tokens, revoke_token
from core.storage.workspace import Workspace


class Clock:
    """Seconds that pass by assignment."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def admitted(tokens: Tokens, token: object) -> int:
    """Requests that are let in at once."""
    count = 0
    while count < 1000:
        try:
            tokens.admit(token)  # type: ignore[arg-type]
        except TooOften:
            break
        count += 1
    return count


def test_so_many_at_once_and_as_many_each_minute(ws: Workspace, now: datetime) -> None:
    info, _ = create_token(ws, "sensor", TokenRights(scopes=["predict"], rate_limit=60), by="test", now=now)
    clock = Clock()
    tokens = Tokens(ws, None, clock=clock)
    assert admitted(tokens, info) == 60
    with pytest.raises(TooOften, match="limited to 60 requests per minute") as refused:
        tokens.admit(info)
    assert refused.value.wait_s == 1
    clock.now += 1.0
    assert admitted(tokens, info) == 1
    clock.now += 30.0
    assert admitted(tokens, info) == 30
    clock.now += 3600.0
    assert admitted(tokens, info) == 60, "what was not asked is not saved up"


def test_the_wait_that_is_reported_is_enough(ws: Workspace, now: datetime) -> None:
    for limit in (1, 7, 60, 1000):
        info, _ = create_token(
            ws, f"limit {limit}", TokenRights(scopes=["predict"], rate_limit=limit), by="test", now=now
        )
        clock = Clock()
        tokens = Tokens(ws, None, clock=clock)
        assert admitted(tokens, info) in (limit, 1000)
        if limit < 1000:
            with pytest.raises(TooOften) as refused:
                tokens.admit(info)
            clock.now += refused.value.wait_s
            tokens.admit(info)


def test_each_token_has_its_own_measure_and_others_have_none(ws: Workspace, now: datetime) -> None:
    slow, _ = create_token(ws, "slow", TokenRights(scopes=["predict"], rate_limit=2), by="test", now=now)
    other, _ = create_token(ws, "other", TokenRights(scopes=["predict"], rate_limit=3), by="test", now=now)
    free, _ = create_token(ws, "free", TokenRights(scopes=["predict"]), by="test", now=now)
    tokens = Tokens(ws, None, clock=Clock())
    assert (admitted(tokens, slow), admitted(tokens, other), admitted(tokens, free)) == (2, 3, 1000)
    assert {t.name: t.rate_limit for t in list_tokens(ws)} == {"slow": 2, "other": 3, "free": None}


@pytest.mark.parametrize("limit", [0, -1, 1_000_001])
def test_a_limit_that_is_none_is_refused(ws: Workspace, now: datetime, limit: int) -> None:
    with pytest.raises(BadInput, match="requests per minute"):
        create_token(ws, "sensor", TokenRights(scopes=["predict"], rate_limit=limit), by="test", now=now)


def test_a_token_is_known_at_once_only_while_it_was_read_a_moment_ago(ws: Workspace, now: datetime) -> None:
    info, bearer = create_token(
        ws, "sensor", TokenRights(scopes=["predict"], expires_at=now + timedelta(hours=1)), by="test", now=now
    )
    clock = Clock()
    tokens = Tokens(ws, "a key of the administrators", clock=clock)
    assert tokens.cached(bearer, now) is None, "it was never read"
    tokens.check(bearer, "predict", None, now)
    known = tokens.cached(bearer, now)
    assert known is not None and known.id == info.id
    assert tokens.cached(bearer, now + timedelta(hours=1)) is None, "it has expired"
    assert tokens.cached(bearer, now + timedelta(minutes=2)) is None, "its use is to be noted"
    assert tokens.cached("cml_other", now) is None
    clock.now += 1.1
    assert tokens.cached(bearer, now) is None, "it is read anew once a second"
    tokens.check(bearer, "predict", None, now)
    revoke_token(ws, info.id or 0, by="test", now=now)
    clock.now += 1.1
    with pytest.raises(Exception, match="revoked"):
        tokens.check(bearer, "predict", None, now)
    assert tokens.cached(bearer, now) is None
    admin = tokens.cached("a key of the administrators", now)
    assert admin is not None and admin.scopes == ("admin",)
    tokens.admit(admin)
