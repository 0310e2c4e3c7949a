"""uvicorn's connection with limits on the size and duration of request headers, which uvicorn does not have.

uvicorn api:app --http core.http.connection:Connection
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from core.http.problems import problem

HEADERS_S = 15.0  # from the connection or the first byte of a request to the end of its headers
MAX_HEADER_BYTES = 64 * 1024
HEADERS_TOO_LARGE = f"The headers exceed {MAX_HEADER_BYTES:,} bytes. Send rows in the body."


class Connection(HttpToolsProtocol):
    """A client connection; requests whose headers never end cannot accumulate."""

    _in_headers = True
    _seen = 0  # bytes while in headers
    _timeout: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._timeout = self.loop.call_later(HEADERS_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timeout()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_headers and not self.transport.is_closing():
            self._seen += len(data)
            if self._seen > MAX_HEADER_BYTES:
                self._reject(431, HEADERS_TOO_LARGE)
            elif self._timeout is None:
                self._timeout = self.loop.call_later(HEADERS_S, self._give_up)

    def on_message_begin(self) -> None:
        self._in_headers, self._seen = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._cancel_timeout()
        super().on_headers_complete()

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
