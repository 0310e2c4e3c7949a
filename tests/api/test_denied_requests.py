"""401 and 403 of the API are logged with address and the beginning of the token, and a flood of them once in a while."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from loguru import logger

from core.http.denied_requests import INTERVAL_S, DeniedRequestLog

TOKEN = "cml_" + "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789"


@pytest.fixture
def lines() -> Iterator[list[str]]:
    reported: list[str] = []
    sink = logger.add(lambda message: reported.append(str(message)), format="{level} {message}", level="DEBUG")
    yield reported
    logger.remove(sink)


def ask(
    refusals: DeniedRequestLog, *, peer: str = "198.51.100.1", bearer: str | None = TOKEN, forwarded: str | None = None
) -> None:
    headers = [] if bearer is None else [(b"authorization", f"Bearer {bearer}".encode())]
    headers += [] if forwarded is None else [(b"x-forwarded-for", forwarded.encode())]
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": headers, "client": (peer, 4711)}

    async def nothing(*_: object) -> dict[str, object]:
        return {}

    asyncio.run(refusals(scope, nothing, nothing))  # type: ignore[arg-type]


class Answering:
    """An app that answers with one status, and a clock."""

    def __init__(self, status: int) -> None:
        self.status, self.at = status, 100.0

    async def __call__(self, scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": self.status})  # type: ignore[operator]

    def over(self, *trusted: str) -> DeniedRequestLog:
        return DeniedRequestLog(self, trusted, clock=lambda: self.at)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("bearer", "said"), [(TOKEN, "cml_AbCd…"), ("k3y-of-this-installation", "another token"), (None, "no token")]
)
def test_a_refusal_is_logged_without_the_token(lines: list[str], status: int, bearer: str | None, said: str) -> None:
    ask(Answering(status).over(), bearer=bearer)
    assert lines == [f"WARNING {status} for 198.51.100.1: POST '/predict' with {said}; 0 more since the last entry\n"]


@pytest.mark.parametrize("status", [200, 404, 422, 503])
def test_other_answers_are_not(lines: list[str], status: int) -> None:
    ask(Answering(status).over())
    assert lines == []


def test_the_address_is_the_callers_where_a_trusted_proxy_shows_it(lines: list[str]) -> None:
    app = Answering(401)
    ask(app.over("198.51.100.1"), forwarded="203.0.113.9")
    ask(app.over(), forwarded="203.0.113.9")
    assert "401 for 203.0.113.9" in lines[0] and "401 for 198.51.100.1" in lines[1]


def test_a_flood_from_one_address_is_counted(lines: list[str]) -> None:
    app = Answering(401)
    refusals = app.over()
    for _ in range(50):
        ask(refusals)
    ask(refusals, peer="203.0.113.9")
    assert len(lines) == 2
    app.at += INTERVAL_S
    ask(refusals)
    assert "49 more since the last entry" in lines[2]
