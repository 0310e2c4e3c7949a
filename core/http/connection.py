"""uvicorn's connection, less patient: what comes before a request's body has a size and a time, which it leaves open.

uvicorn api:app --http core.http.connection:Connection
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from core.http.problems import problem

HEADERS_S = 15.0  # from the first byte of a request, or from the connection, to the end of the headers
MAX_HEADER_BYTES = 64 * 1024


class Connection(HttpToolsProtocol):
    """One client's; requests whose headers never end cannot pile up."""

    _in_headers = True
    _seen = 0  # bytes while in headers
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._late = self.loop.call_later(HEADERS_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_headers and not self.transport.is_closing():
            self._seen += len(data)
            if self._seen > MAX_HEADER_BYTES:
                told = f"The headers have more than {MAX_HEADER_BYTES:,} bytes, expected fewer. Send rows in the body."
                self._refuse(431, told)
            elif self._late is None:
                self._late = self.loop.call_later(HEADERS_S, self._give_up)

    def on_message_begin(self) -> None:
        self._in_headers, self._seen = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._forget()
        super().on_headers_complete()

    def _forget(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._late = None
        if self._seen:
            self._refuse(408, f"The headers did not end within {HEADERS_S:g} seconds. Send the request again.")
        else:  # a connection without a request
            self.transport.close()

    def _refuse(self, status: int, text: str) -> None:
        """Answer, if no other answer is under way, and end the connection."""
        self._forget()
        if self.cycle is None or self.cycle.response_complete:
            said = problem(status, text, headers={"Connection": "close"})
            head = b"".join(b"%b: %b\r\n" % header for header in said.raw_headers)
            first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
            self.transport.write(b"".join([first, head, b"\r\n", said.body]))
        self.transport.close()
