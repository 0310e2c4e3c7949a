"""The gate before the framework's own routes: what a visitor may ask for before and after signing in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import jwt
import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from core.http.app_gate import AppGate
from core.services.access import accounts, sessions
from core.settings import Settings
from core.storage.workspace import Workspace, open_workspace

Header = tuple[bytes, bytes]
HOST: Header = (b"host", b"app.example")


class Behind:
    """What the gate lets through."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []
        self.received: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            while (message := await receive())["type"] == "websocket.receive":
                self.received.append(message)
            reported = ForwardMsg()
            reported.new_session.main_script_path = "/srv/somewhere/Home.py"
            await send({"type": "websocket.send", "bytes": reported.SerializeToString()})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"public")]})
        await send({"type": "http.response.body", "body": b"through"})


def ask(
    ws: Workspace,
    path: str,
    headers: Sequence[Header] = (HOST,),
    *,
    kind: str = "http",
    peer: str = "203.0.113.7",
    messages: Sequence[Any] = (),
) -> tuple[Behind, list[Any]]:
    """One request through the gate, and what was answered."""
    behind, sent, waiting = Behind(), [], [*messages, {"type": "websocket.disconnect"}]

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": kind, "path": path, "method": "GET", "headers": list(headers), "client": (peer, 1)}
    asyncio.run(AppGate(behind, lambda: ws)(scope, receive, send))
    return behind, sent


def status(sent: list[Any]) -> int:
    return int(sent[0]["status"])


def cookie(ws: Workspace, now: datetime, *, hours: float = 1.0) -> Header:
    user = accounts.get_user(ws, "ada") or accounts.create_user(
        ws, "ada", "Zaunkoenig-42", "viewer", by="test", now=now
    )
    held = {"username": f"{user.uid}@{user.epoch}", "exp_date": time.time() + hours * 3600}
    return (
        b"cookie",
        f"{ws.settings.cookie_name}={jwt.encode(held, sessions.cookie_key(ws), algorithm='HS256')}".encode(),
    )


@pytest.mark.parametrize("path", ["/_stcore/upload_file/a/b", "/media/0123.csv"])
def test_uploads_and_files_are_for_those_who_have_signed_in(ws: Workspace, now: datetime, path: str) -> None:
    for headers in ([HOST], [HOST, (b"cookie", b"x=y")], [HOST, cookie(ws, now, hours=-1)]):
        behind, sent = ask(ws, path, headers)
        assert (status(sent), behind.scopes) == (403, [])
    behind, sent = ask(ws, path, [HOST, cookie(ws, now)])
    assert status(sent) == 200
    assert (b"cache-control", b"no-store") in sent[0]["headers"]
    sessions.sign_out_everywhere(ws, "ada")
    old = jwt.encode({"username": "gone@1", "exp_date": time.time() + 99}, sessions.cookie_key(ws), algorithm="HS256")
    assert status(ask(ws, path, [HOST, (b"cookie", f"{ws.settings.cookie_name}={old}".encode())])[1]) == 403


@pytest.mark.parametrize(
    "path",
    [
        "/_stcore/metrics",
        "/_stcore/agent/interact",
        "/_stcore/script-health-check",
        "/x/_stcore/metrics",
        "/auth/login",
    ],
)
def test_the_other_routes_of_the_framework_are_for_nobody(ws: Workspace, now: datetime, path: str) -> None:
    assert status(ask(ws, path, [HOST, cookie(ws, now)])[1]) == 404


@pytest.mark.parametrize("path", ["/", "/drift", "/_stcore/health", "/_stcore/host-config", "/static/media/font.woff2"])
def test_what_a_browser_needs_to_sign_in_is_open_and_carries_the_headers_of_a_careful_site(
    ws: Workspace, path: str
) -> None:
    _, sent = ask(ws, path)
    assert status(sent) == 200
    reported = dict(sent[0]["headers"])
    assert reported[b"x-content-type-options"] == b"nosniff"
    assert b"frame-ancestors 'self'" in reported[b"content-security-policy"]
    assert reported[b"referrer-policy"] == b"same-origin"


def test_requests_without_a_host_or_with_endless_headers_are_refused(ws: Workspace) -> None:
    assert status(ask(ws, "/", [])[1]) == 400
    assert status(ask(ws, "/", [HOST, (b"x-long", b"a" * 200_000)])[1]) == 431


@pytest.mark.parametrize(
    ("origin", "through"),
    [
        (b"http://app.example", True),
        (b"https://APP.example", True),
        (None, True),
        (b"http://evil.example", False),
        (b"null", False),
        (b"http://app.example.evil.example", False),
        (b"http://localhost:9999", False),
    ],
)
def test_a_page_of_another_site_opens_no_connection(ws: Workspace, origin: bytes | None, through: bool) -> None:
    headers = [HOST] + ([(b"origin", origin)] if origin is not None else [])
    behind, sent = ask(ws, "/_stcore/stream", headers, kind="websocket")
    assert bool(behind.scopes) == through
    assert through or sent[0]["type"] == "websocket.close"


def test_a_proxy_that_is_trusted_shows_the_host_and_the_client(
    settings: Settings, ws: Workspace, now: datetime
) -> None:
    behind_proxy = open_workspace(settings.model_copy(update={"trusted_proxies": ("10.0.0.0/8",)}))
    headers = [
        (b"host", b"app:8501"), (b"x-forwarded-host", b"app.example"), (b"origin", b"https://app.example"),
        (b"x-forwarded-for", b"198.51.100.1"),
    ]  # fmt: skip
    behind, _ = ask(behind_proxy, "/_stcore/stream", headers, kind="websocket", peer="10.1.1.1")
    assert behind.scopes[0]["client"][0] == "198.51.100.1"
    assert not ask(ws, "/_stcore/stream", headers, kind="websocket", peer="10.1.1.1")[0].scopes


def test_messages_that_act_on_all_users_are_dropped_and_no_folder_is_named(ws: Workspace) -> None:
    clear, rerun = BackMsg(), BackMsg()
    clear.clear_cache = True
    rerun.rerun_script.query_string = "a=1"
    messages = [
        {"type": "websocket.receive", "bytes": clear.SerializeToString()},
        {"type": "websocket.receive", "bytes": rerun.SerializeToString()},
    ]
    behind, sent = ask(ws, "/_stcore/stream", kind="websocket", messages=messages)
    assert [m["bytes"] for m in behind.received] == [rerun.SerializeToString()]
    reported = ForwardMsg()
    reported.ParseFromString(sent[0]["bytes"])
    assert reported.new_session.main_script_path == "Home.py"
