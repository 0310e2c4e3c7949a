"""Access control in front of the Streamlit app: the framework's own routes are closed, or open to signed-in users only.

Pages check the session themselves; the routes that Streamlit serves besides them (uploads, media, metrics) do not.
`server.py` wraps the app in this middleware.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import ContinualError
from core.services.access.addresses import client_of, lies_in, parsed

if TYPE_CHECKING:
    from core.storage.workspace import Workspace

STREAM = "/_stcore/stream"
OPEN = ("/_stcore/health", "/_stcore/host-config")  # what a browser needs to sign in, besides the stream
SIGNED_IN = ("/_stcore/upload_file/", "/media/")
CLOSED = ("/_stcore/", "/auth/", "/oauth2callback")  # all other routes of the framework
MAX_HEADER_BYTES = 64 * 1024
FORBIDDEN_MESSAGES = ("clear_cache", "set_run_on_save")  # from any browser: they affect all users
CSP = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws: wss:; worker-src 'self' blob:; "
    "frame-src 'self' blob: data:; media-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"same-origin"),
)


class AppGate:
    """ASGI middleware around the app.

    Args:
        workspace: returns the open workspace; first called on the first request.
    """

    def __init__(self, app: ASGIApp, workspace: Callable[[], Workspace]) -> None:
        self._app, self._workspace = app, workspace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        ws = self._open()
        trusted = ws.settings.trusted_proxies if ws is not None else ()
        peer = (scope.get("client") or (None, 0))[0]
        client = client_of(peer, headers.getlist("x-forwarded-for"), trusted)
        scope = {**scope, "client": (client or peer, 0)}
        rejection = self._rejection(scope, headers, behind_proxy=lies_in(parsed(peer), trusted))
        if rejection is not None:
            await self._reject(rejection, scope, receive, send)
        elif scope["type"] == "websocket":
            await self._app(scope, _without_forbidden(receive), _without_paths(send))
        else:
            await self._app(
                scope, receive, _with_headers(send, no_store=_below_base(scope["path"]).startswith(SIGNED_IN))
            )

    def _open(self) -> Workspace | None:
        """The workspace; None while it cannot be opened, which the page reports."""
        try:
            return self._workspace()
        except ContinualError:
            return None

    def _rejection(self, scope: Scope, headers: Headers, *, behind_proxy: bool) -> tuple[int, str] | None:
        """Status and text of a rejection; None if the request may pass."""
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
            return 431, "The request headers are too large."
        hosts = [headers.get("host", "")] + ([headers.get("x-forwarded-host", "")] if behind_proxy else [])
        if not hosts[0]:
            return 400, "The Host header is missing."
        path = _below_base(scope["path"])
        if scope["type"] == "websocket":
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc.lower() not in [h.lower() for h in hosts if h]:
                return 403, "Cross-origin connections are not allowed."
            return None if path == STREAM else (404, "Not found.")
        if path in OPEN:
            return None
        if path.startswith(SIGNED_IN):
            return None if self._is_signed_in(headers) else (403, "Sign in first.")
        return (404, "Not found.") if any(part in path for part in CLOSED) else None

    def _is_signed_in(self, headers: Headers) -> bool:
        from core.services.access import sessions

        ws = self._open()
        if ws is None:
            return False
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        cookie = cookies.get(ws.settings.cookie_name)
        session = sessions.of_cookie(ws, cookie.value if cookie is not None else None, sessions.cookie_key(ws))
        return session is not None and not sessions.is_idle(ws, session[0], datetime.now(UTC))

    async def _reject(self, rejection: tuple[int, str], scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": rejection[1]})
            return
        await PlainTextResponse(rejection[1], rejection[0])(scope, receive, _with_headers(send, no_store=True))


def _below_base(path: str) -> str:
    """The path relative to server.baseUrlPath."""
    from streamlit import get_option

    base = str(get_option("server.baseUrlPath") or "").strip("/")
    return path.removeprefix(f"/{base}") if base else path


def _with_headers(send: Send, *, no_store: bool) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message.get("headers", ())}
            extra = [*HEADERS, (b"cache-control", b"no-store")] if no_store else HEADERS
            retained = [h for h in message.get("headers", ()) if not (no_store and h[0].lower() == b"cache-control")]
            added = [h for h in extra if h[0] not in present or (no_store and h[0] == b"cache-control")]
            message = {**message, "headers": [*retained, *added]}
        await send(message)

    return sending


def _without_forbidden(receive: Receive) -> Receive:
    """A browser's messages, without those that affect all users of the process."""
    from streamlit.proto.BackMsg_pb2 import BackMsg

    async def receiving() -> Message:
        while True:
            message = await receive()
            content = message.get("bytes") if message["type"] == "websocket.receive" else None
            if not content:
                return message
            parsed_message = BackMsg()
            try:
                parsed_message.ParseFromString(content)
            except Exception:  # left to the framework to reject
                return message
            if parsed_message.WhichOneof("type") not in FORBIDDEN_MESSAGES:
                return message

    return receiving


def _without_paths(send: Send) -> Send:
    """The app's messages, without the path of the folder it runs in."""
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

    async def sending(message: Message) -> None:
        content = message.get("bytes") if message["type"] == "websocket.send" else None
        if content and b"Home.py" in content:
            forwarded = ForwardMsg()
            forwarded.ParseFromString(content)
            if forwarded.WhichOneof("type") == "new_session" and forwarded.new_session.main_script_path:
                path = forwarded.new_session.main_script_path
                forwarded.new_session.main_script_path = path.replace("\\", "/").rpartition("/")[2]
                message = {**message, "bytes": forwarded.SerializeToString()}
        await send(message)

    return sending
