"""An HTTP server that gives prepared answers, in the place of Discord or a monitor."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any, dict[str, str]] | str  # status, body, headers; "hang" = none


class FakeWebhook:
    """Keeps what it was sent; answers by `answers`, then always 204."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self._over = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self._answer()

            def do_GET(self) -> None:
                self._answer()

            def _answer(self) -> None:
                outer.paths.append(self.path)
                answer: Answer = outer.answers.pop(0) if outer.answers else (204, None, {})
                if isinstance(answer, str):
                    outer._over.wait(10)
                    return
                code, body, headers = answer
                data = b"" if body is None else json.dumps(body).encode()
                self.send_response(code)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook/secret-part"

    @property
    def embeds(self) -> list[dict[str, Any]]:
        """Of all messages."""
        return [embed for body in self.bodies for embed in body["embeds"]]

    def __enter__(self) -> FakeWebhook:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
