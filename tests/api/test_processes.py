"""The API as a process of its own: killed, nothing acknowledged is missing or there twice; without a scheduler it gets the work done."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from api_helpers import ADMIN, KEY, ROW, npy
from patience import limit, until

CONNECTIONS = 32

# Imports once, then forks a server for each port that it reads: five starts for the price of one.
NURSERY = """
import os, signal, sys
import api, uvicorn
import alembic.command, alembic.config, alembic.migration, alembic.script, skops.io, sklearn.ensemble
import core.data.rows, core.learning.models, core.services.ingestion.ingest, core.services.serving.champion_cache, core.services.serving.predicting, core.storage.artefacts
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        uvicorn.run(api.create_app(), port=int(line), log_level="warning")
        os._exit(0)
    print(child, flush=True)
"""


@dataclass
class Nursery:
    """Real servers, each a process of its own."""

    process: subprocess.Popen[str]
    free_port: Callable[[], int]

    def start(self) -> tuple[int, str]:
        """Another server: its process id and address, when it answers."""
        assert self.process.stdin is not None and self.process.stdout is not None
        port = self.free_port()
        self.process.stdin.write(f"{port}\n")
        self.process.stdin.flush()
        child, address = int(self.process.stdout.readline()), f"http://127.0.0.1:{port}"
        until("the API to get ready", lambda: _is_ready(address), seconds=60)
        return child, address


def _is_ready(address: str) -> bool:
    try:
        answer = httpx.get(f"{address}/health/ready", trust_env=False, timeout=limit(5))
    except httpx.TransportError:
        return False
    return answer.status_code == 200


@pytest.fixture
def nursery(trained: Path, free_port: Callable[[], int]) -> Iterator[Nursery]:
    """Servers over the trained project; ends with them."""
    environment = {**os.environ, "CONTINUAL_HOME": str(trained), "API_KEY": KEY}
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        yield Nursery(process, free_port)
        os.killpg(process.pid, signal.SIGKILL)


@dataclass
class Asked:
    """A request under a key of its own, and the answer that came."""

    path: str
    body: bytes
    kind: str
    rows: int  # of predictions
    labels: int = 0
    answer: bytes | None = None

    def send(self, client: httpx.Client, key: str) -> httpx.Response:
        return client.post(self.path, content=self.body, headers={"Idempotency-Key": key, "Content-Type": self.kind})


def _some_request(number: int, key: str) -> Asked:
    """One of each kind in turn."""
    tensor = {"name": "input", "shape": [2, 2], "datatype": "FP64", "data": [0.1, 2.0, 0.3, 1.0]}
    labels = {"labels": [{"row_id": f"{key}-{i}", "label": i} for i in range(2)]}
    json = "application/json"
    return (
        Asked("/predict", orjson.dumps(ROW), json, 1),
        Asked("/labels", orjson.dumps(labels), json, 0, labels=2),
        Asked("/predict", npy([[0.1, 2.0]] * 40), "application/x-npy", 40),
        Asked("/v2/models/default/infer", orjson.dumps({"inputs": [tensor]}), json, 2),
        Asked("/invocations", orjson.dumps({"dataframe_records": [ROW] * 3}), json, 3),
        Asked("/projects/default/predict", orjson.dumps({"rows": [ROW] * 5}), json, 5),
    )[number % 6]


def _ask_until_it_dies(address: str, asked: dict[str, Asked], first: int) -> None:
    with httpx.Client(base_url=address, headers=ADMIN, trust_env=False, timeout=limit(30)) as client:
        for number in itertools.count(first):
            key = secrets.token_hex(8)
            request = asked[key] = _some_request(number, key)
            try:
                answer = request.send(client, key)
            except httpx.TransportError:
                return
            assert answer.status_code == 200, answer.text
            request.answer = answer.content


def _answered(asked: dict[str, Asked]) -> int:
    return sum(request.answer is not None for request in list(asked.values()))


def _logged(address: str) -> list[str]:
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = httpx.get(
            f"{address}/predictions?limit=10000&cursor={cursor}", headers=ADMIN, trust_env=False, timeout=limit(30)
        ).json()
        found += [p["prediction_id"] for p in page["predictions"]]
        cursor = page["next_cursor"]
    return found


def _answered_ids(asked: dict[str, Asked]) -> set[str]:
    """Prediction ids that were returned to somebody; two of the protocols return none."""
    parsed = [orjson.loads(r.answer) for r in asked.values() if r.answer is not None and r.path.endswith("/predict")]
    return {p["prediction_id"] for document in parsed for p in document.get("predictions", [document])}


@pytest.mark.campaign
def test_nothing_acknowledged_is_lost_at_kill_9_and_nothing_asked_again_is_there_twice(
    nursery: Nursery, trained: Path, campaign: Any
) -> None:
    reported: Counter[str] = Counter()
    for number in campaign.rounds("api-kills", campaign.api_kills):
        child, address = nursery.start()
        before, labels_before = len(_logged(address)), _labels(trained)
        asked: dict[str, Asked] = {}
        asking = [
            threading.Thread(target=_ask_until_it_dies, args=(address, asked, first)) for first in range(CONNECTIONS)
        ]
        for thread in asking:
            thread.start()
        enough = CONNECTIONS * (2 + number % 4)  # each round is killed at another point
        until("answers", lambda asked=asked, enough=enough: _answered(asked) >= enough, every=0.01)
        os.kill(child, signal.SIGKILL)
        for thread in asking:
            thread.join()

        child, address = nursery.start()
        known = _logged(address)
        assert len(known) == len(set(known))
        assert _answered_ids(asked) <= set(known)
        with httpx.Client(base_url=address, headers=ADMIN, trust_env=False, timeout=limit(60)) as client:
            for key, request in asked.items():
                again = request.send(client, key)
                assert again.status_code == 200, again.text
                replayed = "idempotency-replayed" in again.headers
                if request.answer is not None:
                    assert replayed and again.content == request.answer
                reported["acknowledged"] += request.answer is not None
                reported["unanswered and stored"] += request.answer is None and replayed
                reported["unanswered and not stored"] += not replayed
        known = _logged(address)
        assert len(known) == len(set(known))
        assert len(known) - before == sum(r.rows for r in asked.values())
        assert _labels(trained) - labels_before == sum(r.labels for r in asked.values())
        reported["predictions"] += sum(r.rows for r in asked.values())
        reported["labels"] += sum(r.labels for r in asked.values())
        os.kill(child, signal.SIGKILL)
    sys.stdout.write(f"kills of the API: {dict(reported)}, lost 0, twice 0\n")


def _labels(home: Path) -> int:
    """Labels that are stored."""
    with contextlib.closing(sqlite3.connect(home / "continual.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM labels").fetchone()[0])


def test_retrain_without_a_scheduler_and_a_clean_end(nursery: Nursery) -> None:
    child, address = nursery.start()
    with httpx.Client(base_url=address, headers=ADMIN, trust_env=False, timeout=limit(60)) as client:
        assert client.post("/generate", json={"rows": 100}).status_code == 200
        forced = client.post("/retrain", json={"force": True})
        assert forced.status_code in (200, 202), forced.text
        job = forced.json()["job"]
        running = ("queued", "running")
        until("the job to end", lambda: client.get(f"/jobs/{job}").json()["status"] not in running, seconds=60)
        result = client.get(f"/jobs/{job}/result").json()
        assert (result["decision"], result["cycle"]) == ("retrain", 2)
        assert "continual_cycles_total{outcome=" in client.get("/metrics").text
        os.kill(child, signal.SIGTERM)
        until("the API to end", lambda: not Path(f"/proc/{child}").exists(), seconds=10)
