"""uvicorn's connection with limits on the size and duration of request headers, and with responses that arrive.

uvicorn closes the connection of a client that is still sending; what the client sends then resets the connection, and the
response, which says what was wrong with the request, is lost before the client reads it.

uvicorn api:app --http core.http.connection:Connection
"""

from __future__ import annotations

import asyncio
import weakref
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from core.http.problems import problem

HEADERS_S = 15.0  # from the connection or the first byte of a request to the end of its headers
REST_S = 30.0  # in which the rest of a body is read and discarded, once the response is sent
MAX_HEADER_BYTES = 64 * 1024
HEADERS_TOO_LARGE = f"The headers exceed {MAX_HEADER_BYTES:,} bytes. Send rows in the body."


class Connection(HttpToolsProtocol):
    """A client connection; requests whose headers never end cannot accumulate, nor bodies that nobody waits for."""

    _in_headers = True
    _in_request = False  # from its first line to the end of its body
    _in_shutdown = False
    _seen = 0  # bytes while in headers
    _timeout: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.transport: Any = _Transport(transport, self)
        self._timeout = self.loop.call_later(HEADERS_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timeout()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():  # the rest of a request whose response is sent
            return
        super().data_received(data)
        if self._in_headers and not self.transport.is_closing():
            self._seen += len(data)
            if self._seen > MAX_HEADER_BYTES:
                self._reject(431, HEADERS_TOO_LARGE)
            elif self._timeout is None:
                self._timeout = self.loop.call_later(HEADERS_S, self._give_up)

    def on_message_begin(self) -> None:
        self._in_headers, self._in_request, self._seen = True, True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._cancel_timeout()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_request = False
        if self.cycle is not None and self.cycle.response_complete:
            self._cancel_timeout()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        in_body = self._in_request and not self._in_headers and self.cycle.response_complete
        if in_body and not self.transport.is_closing():
            self._timeout = self.loop.call_later(REST_S, self.transport.close_at_once)

    def shutdown(self) -> None:
        self._in_shutdown = True
        super().shutdown()
        if self.transport.is_closing():
            self.transport.close_at_once()

    def is_awaited(self) -> bool:
        """Whether the client is amid a request, and the server goes on."""
        return self._in_request and not self._in_shutdown

    def discard_rest(self) -> None:
        """Read what the client still sends, until it has read its response and closes, or REST_S have passed."""
        self._cancel_timeout()
        self._timeout = self.loop.call_later(REST_S, self.transport.close_at_once)
        self.flow.resume_reading()

    def _cancel_timeout(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    def _give_up(self) -> None:
        self._timeout = None
        if self._seen:
            self._reject(408, f"The headers did not end within {HEADERS_S:g} seconds. Send the request again.")
        else:  # an idle connection
            self.transport.close()

    def _reject(self, status: int, text: str) -> None:
        """Send an error, unless another response is in progress, and close the connection."""
        self._cancel_timeout()
        if self.cycle is None or self.cycle.response_complete:
            response = problem(status, text, headers={"Connection": "close"})
            head = b"".join(b"%b: %b\r\n" % header for header in response.raw_headers)
            first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
            self.transport.write(b"".join([first, head, b"\r\n", response.body]))
        self.transport.close()


class _Transport:
    """The transport as uvicorn uses it: a close amid a request ends the response, and comes later."""

    def __init__(self, transport: Any, connection: Connection) -> None:
        self._transport, self._connection = transport, weakref.ref(connection)  # which has this: freed without a cycle
        self._ended = False
        self.write = transport.write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._ended or bool(self._transport.is_closing())

    def close(self) -> None:
        connection = self._connection()
        if self.is_closing() or connection is None or not connection.is_awaited():
            self.close_at_once()
            return
        self._ended = True
        if self._transport.can_write_eof():  # not with TLS
            self._transport.write_eof()
        connection.discard_rest()

    def close_at_once(self) -> None:
        self._ended = True
        self._transport.close()
