"""What the tests of the API send."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import uvicorn
from patience import limit

from core.http import problems
from core.http.connection import Connection
from core.services.access import tokens
from core.services.access.tokens import TokenRights
from core.storage.workspace import Workspace

KEY = "k3y-of-this-installation"
ADMIN = {"Authorization": f"Bearer {KEY}"}
ROW = {"feature1": 0.1, "feature2": 2.0}
INFER = "/v2/models/default/infer"


def arrow(frame: pd.DataFrame) -> bytes:
    """An Arrow stream."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def npy(values: Any) -> bytes:
    """An npy file."""
    sink = io.BytesIO()
    np.save(sink, np.asarray(values))
    return sink.getvalue()


def token(ws: Workspace, *scopes: str, project_id: int | None = None) -> dict[str, str]:
    """Header of a new token."""
    _, secret = tokens.create_token(
        ws, "test", TokenRights(scopes=scopes, project_id=project_id), by="test", now=datetime.now(UTC)
    )
    return {"Authorization": f"Bearer {secret}"}


@contextmanager
def serving() -> Iterator[httpx.Client]:
    """The API behind a real server on a free port, in this process, over the state folder of the settings."""
    from api import create_app

    server = uvicorn.Server(
        uvicorn.Config(
            create_app(),
            port=0,
            http=Connection,
            log_config=None,
            access_log=False,
            lifespan="on",
            timeout_graceful_shutdown=5,
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the API did not start"
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=limit(60), trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(20)


def is_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem JSON of a refusal with that status, or the form that the inference protocol gives it."""
    assert answer.status_code == status, answer.text
    if problems.is_inference(answer.request.url.path):
        assert answer.headers["content-type"] == "application/json"
        parsed: str = answer.json()["error"]
        assert answer.json() == {"error": parsed} and parsed
        return {"detail": parsed, "errors": []}
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert list(document) == ["type", "title", "status", "detail", "errors"]
    assert document["status"] == status
    for entry in document["errors"]:
        assert list(entry) == ["field", "seen", "expected"]
    return document


def input_of(name: str, data: Any = 1.0, **more: Any) -> dict[str, Any]:
    """A tensor of one value, as the inference protocol sends it."""
    return {"name": name, "shape": [1], "datatype": "FP64", "data": [data], **more}
