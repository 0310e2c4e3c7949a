"""The API as a process of its own: killed, nothing acknowledged is missing; without a scheduler it gets the work done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_helpers import ADMIN, KEY, ROW

CLIENTS = 4


# Imports once, then forks a server for each port that it is told: five starts for the price of one.
NURSERY = """
import os, signal, sys
import api, uvicorn
import alembic.command, alembic.config, alembic.migration, alembic.script, skops.io, sklearn.ensemble
import core.data.rows, core.learning.models, core.services.ingest, core.services.serving, core.storage.artefacts
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
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up:
            try:
                if httpx.get(f"{address}/health/ready", trust_env=False).status_code == 200:
                    return child, address
            except httpx.TransportError:
                time.sleep(0.02)
        raise AssertionError("the API did not get ready")


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


def _ask_until_it_dies(address: str, acknowledged: list[str]) -> None:
    with httpx.Client(base_url=address, headers=ADMIN, trust_env=False, timeout=10) as client:
        try:
            while True:
                answer = client.post("/predict", json=ROW)
                assert answer.status_code == 200, answer.text
                acknowledged.append(answer.json()["prediction_id"])
        except httpx.TransportError:
            return


def _logged(address: str) -> list[str]:
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = httpx.get(f"{address}/predictions?limit=10000&cursor={cursor}", headers=ADMIN, trust_env=False).json()
        found += [p["prediction_id"] for p in page["predictions"]]
        cursor = page["next_cursor"]
    return found


@pytest.mark.campaign
def test_no_acknowledged_prediction_is_lost_at_kill_9(nursery: Nursery, campaign: Any) -> None:
    acknowledged: list[str] = []
    for number in campaign.rounds("api-kills", campaign.kills):
        child, address = nursery.start()
        known = _logged(address)
        assert len(known) == len(set(known))
        assert set(acknowledged) <= set(known)
        before = len(acknowledged)
        asking = [threading.Thread(target=_ask_until_it_dies, args=(address, acknowledged)) for _ in range(CLIENTS)]
        for thread in asking:
            thread.start()
        while len(acknowledged) == before:
            time.sleep(0.01)
        time.sleep(0.2 + 0.1 * (number % 4))
        os.kill(child, signal.SIGKILL)
        for thread in asking:
            thread.join()
    _, address = nursery.start()
    assert set(acknowledged) <= set(_logged(address))


def test_retrain_without_a_scheduler_and_a_clean_end(nursery: Nursery) -> None:
    child, address = nursery.start()
    with httpx.Client(base_url=address, headers=ADMIN, trust_env=False, timeout=60) as client:
        assert client.post("/generate", json={"rows": 100}).status_code == 200
        forced = client.post("/retrain", json={"force": True})
        assert forced.status_code in (200, 202), forced.text
        job = forced.json()["job"]
        give_up = time.monotonic() + 60
        while client.get(f"/jobs/{job}").json()["status"] in ("queued", "running") and time.monotonic() < give_up:
            time.sleep(0.2)
        result = client.get(f"/jobs/{job}/result").json()
        assert (result["decision"], result["cycle"]) == ("retrain", 2)
        assert 'continual_cycles_total{project="default"' in client.get("/metrics").text
        os.kill(child, signal.SIGTERM)
        give_up = time.monotonic() + 10
        while Path(f"/proc/{child}").exists() and time.monotonic() < give_up:
            time.sleep(0.05)
        assert not Path(f"/proc/{child}").exists()
