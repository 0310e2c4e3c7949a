"""Everything at once against one running API and scheduler: nothing fails but what is asked to, and memory stays flat.

    python benchmarks/mixed_load.py --minutes 30

Predictions one by one, in tables and through both other protocols; labels, batches, generated rows, explanations, reads;
a promotion every minute; tokens that are made, used and revoked. In the end: requests by route and status, errors, how
long a revoked token went on working, whether every answered prediction is in the log, the API's memory each minute.
Exits with 1 when anything failed or was lost, or when the memory grew: the median of the last fifth of the run against
that of the second fifth (single readings differ by 8 %), in runs of five minutes and more.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from sqlalchemy import create_engine, text

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from serving import ROW, TOKEN, api
from states import opened

ADMIN = {"Authorization": f"Bearer {TOKEN}"}
WITHIN_S = 2.0  # a revoked token is refused, a promoted version serves
FLAT = 0.05
LONG_MINUTES = 5.0  # shorter runs say nothing of the memory
MIB = 1024 * 1024


class Load:
    """What is asked, and what came of it."""

    def __init__(self, client: httpx.AsyncClient, home: Path, *, seconds: float, within_s: float) -> None:
        from core.services.projects import projects

        self.client = client
        self.within_s = within_s
        self.ws = opened(home)
        self.project = projects.get_project(self.ws, "default")
        self.until = time.monotonic() + seconds
        self.random = random.Random(0)
        self.answers: Counter[tuple[str, int]] = Counter()
        self.errors: Counter[str] = Counter()
        self.logged = 0  # rows whose answer came
        self.ids: deque[str] = deque(maxlen=5_000)
        self.revoked_s: list[float] = []
        self.promotions = 0

    async def ask(
        self, name: str, method: str, path: str, *, rows: int = 0, want: int = 200, **sent: Any
    ) -> httpx.Response:
        """One request; anything but what is wanted is an error."""
        headers = {**ADMIN, **sent.pop("headers", {})}
        try:
            answer = await self.client.request(method, path, headers=headers, **sent)
        except httpx.HTTPError as error:
            self.errors[f"{name}: {type(error).__name__}"] += 1
            raise
        self.answers[name, answer.status_code] += 1
        if answer.status_code != want:
            self.errors[f"{name}: {answer.status_code} {answer.text[:200]}"] += 1
        else:
            self.logged += rows
        return answer

    async def every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        """Again and again until the end."""
        while time.monotonic() < self.until:
            began = time.monotonic()
            with contextlib.suppress(httpx.HTTPError):
                await work()
            await asyncio.sleep(max(seconds - (time.monotonic() - began), 0))

    def row(self) -> dict[str, float]:
        return {name: round(self.random.gauss(0, 1), 4) for name in ROW}

    def table(self, rows: int) -> np.ndarray:
        return np.random.default_rng(self.random.randrange(2**32)).normal(size=(rows, len(ROW)))

    def csv(self, rows: int, *, target: bool) -> str:
        values = self.table(rows)
        lines = [",".join([*ROW, *(["target"] if target else [])])]
        lines += [",".join([f"{v:.4f}" for v in row] + ([str(int(row.sum() > 0))] if target else [])) for row in values]
        return "\n".join(lines) + "\n"

    # --- what is asked ------------------------------------------------------------------------------------------

    async def predict(self) -> None:
        answer = await self.ask("predict, one row", "POST", "/predict", rows=1, json=self.row())
        if answer.status_code == 200:
            self.ids.append(answer.json()["prediction_id"])

    async def predict_table(self) -> None:
        sink = io.BytesIO()
        np.save(sink, self.table(200))
        kind = {"Content-Type": "application/x-npy"}
        await self.ask("predict, npy", "POST", "/predict", rows=200, content=sink.getvalue(), headers=kind)

    async def predict_once(self) -> None:
        """Twice under one key, stored once."""
        key, row = {"Idempotency-Key": secrets.token_hex(8)}, self.row()
        first = await self.ask("predict, with a key", "POST", "/predict", rows=1, json=row, headers=key)
        again = await self.ask("predict, again", "POST", "/predict", json=row, headers=key)
        if first.content != again.content:
            self.errors["predict, again: another answer"] += 1

    async def invoke(self) -> None:
        await self.ask(
            "invocations", "POST", "/invocations", rows=2, json={"dataframe_records": [self.row(), self.row()]}
        )

    async def infer(self) -> None:
        data = self.table(2).ravel().tolist()
        tensor = {"name": "input", "shape": [2, len(ROW)], "datatype": "FP64", "data": data}
        await self.ask("v2 infer", "POST", "/v2/models/default/infer", rows=2, json={"inputs": [tensor]})

    async def explain(self) -> None:
        await self.ask("explain", "POST", "/explain", json=self.row())

    async def labels(self) -> None:
        some = self.random.sample(self.ids, min(len(self.ids), 50))
        if some:
            # By the id: a row that is asked about again has the label that it had.
            given = [{"prediction_id": name, "label": sum(name.encode()) % 2} for name in some]
            await self.ask("labels", "POST", "/labels", json={"labels": given})

    async def store_batch(self) -> None:
        content, kind = self.csv(500, target=True), {"Content-Type": "text/csv"}
        await self.ask("batches, ingest", "POST", "/batches", content=content, headers=kind)

    async def score_batch(self) -> None:
        content, kind = self.csv(300, target=False), {"Content-Type": "text/csv"}
        await self.ask("batches, score", "POST", "/batches?mode=score", rows=300, content=content, headers=kind)

    async def generate(self) -> None:
        await self.ask("generate", "POST", "/generate", json={"rows": 300})

    async def read(self) -> None:
        for path in ("/health", "/model-status", "/metrics", "/predictions?limit=100", "/v2/models/default", "/ping"):
            await self.ask(path.partition("?")[0], "GET", path)

    async def token(self) -> None:
        """Made, used at once, revoked, and refused in time."""
        from core.services.access import tokens

        now = datetime.now(UTC)
        info, secret = await asyncio.to_thread(
            tokens.create_token, self.ws, "mixed load", tokens.TokenRights(scopes=["predict"]), by="benchmark", now=now
        )
        own = {"Authorization": f"Bearer {secret}"}
        await self.ask("with a new token", "POST", "/predict", rows=1, json=self.row(), headers=own)
        assert info.id is not None
        await asyncio.to_thread(tokens.revoke_token, self.ws, info.id, by="benchmark", now=datetime.now(UTC))
        revoked, worked = time.monotonic(), 0.0
        while True:
            asked = time.monotonic() - revoked  # what counts is when it was asked: a busy machine answers later
            answer = await self.client.post("/predict", json=self.row(), headers=own)
            self.answers["with a revoked token", answer.status_code] += 1
            if answer.status_code == 200:
                self.logged, worked = self.logged + 1, asked
            if answer.status_code == 401 or asked > 10 * self.within_s:
                break
            await asyncio.sleep(0.05)
        self.revoked_s.append(worked)
        if worked > self.within_s:
            self.errors[f"a revoked token worked for {worked:.1f} s"] += 1

    async def promote(self) -> None:
        """Another version than the one that serves; it answers within two seconds."""
        before = (await self.ask("predict, one row", "POST", "/predict", rows=1, json=self.row())).json()[
            "model_version"
        ]
        other = await asyncio.to_thread(self._promote, before)
        if other is None:
            return
        self.promotions += 1
        promoted = time.monotonic()
        while time.monotonic() - promoted < self.within_s:
            answer = await self.ask("predict, one row", "POST", "/predict", rows=1, json=self.row())
            if answer.json()["model_version"] != before:
                return
            await asyncio.sleep(0.05)
        self.errors[f"a promotion was not served within {self.within_s:g} s"] += 1

    def _promote(self, serving: int) -> int | None:
        from core.errors import Conflict, NotFound
        from core.services.models import lifecycle
        from core.storage import registry

        with self.ws.database.read() as session:
            versions = [v.version for v in registry.list_versions(session, self.project.id) if v.version != serving]
        self.random.shuffle(versions)
        for version in versions:
            with contextlib.suppress(Conflict, NotFound):  # the scheduler was quicker; its artefact was removed since
                lifecycle.promote(
                    self.ws, self.project, version, reason="mixed load", by="benchmark", now=datetime.now(UTC)
                )
                return version
        return None

    async def run(self, connections: int) -> None:
        """All of it, until the end."""
        often = [(0.0, self.predict)] * connections
        seldom = [
            (0.5, self.predict_table), (0.2, self.predict_once), (0.1, self.invoke), (0.1, self.infer),
            (0.5, self.explain), (0.2, self.labels), (5.0, self.store_batch), (2.0, self.score_batch),
            (10.0, self.generate), (1.0, self.read), (3.0, self.token), (60.0, self.promote),
        ]  # fmt: skip
        await asyncio.gather(*(self.every(seconds, work) for seconds, work in [*often, *seldom]))


@contextlib.contextmanager
def scheduler(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The scheduler over the same state folder."""
    environment = {**os.environ, "CONTINUAL_HOME": str(home), "API_KEY": TOKEN, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "scheduler.py"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def train(address: str) -> None:
    """A project, and two versions of its model."""
    with httpx.Client(base_url=address, headers=ADMIN, timeout=120, trust_env=False) as client:
        for force in (False, True):
            client.post("/generate", json={"rows": 1000}).raise_for_status()
            asked = client.post("/retrain", json={"force": force}).raise_for_status()
            while client.get(f"/jobs/{asked.json()['job']}").json()["status"] in ("queued", "running"):
                time.sleep(0.5)
        client.post("/predict", json=ROW).raise_for_status()


async def watched(load: Load, connections: int, process: psutil.Process, every_s: float) -> list[tuple[float, float]]:
    """Run the load; seconds and MiB of the API's resident memory."""
    seen: list[tuple[float, float]] = []
    began = time.monotonic()

    async def _watch() -> None:
        while time.monotonic() < load.until:
            await asyncio.sleep(every_s)
            seen.append((time.monotonic() - began, process.memory_info().rss / MIB))
            print(
                f"{seen[-1][0]:7.0f} s   {seen[-1][1]:7.1f} MiB   {sum(load.answers.values()):9,} requests", flush=True
            )

    await asyncio.gather(load.run(connections), _watch())
    return seen


def in_the_log(home: Path) -> int:
    """Rows of the prediction log; in the database that DATABASE_URL names, where it names one."""
    engine = create_engine(os.environ.get("DATABASE_URL") or f"sqlite:///{home / 'continual.db'}")
    with engine.connect() as connection:
        found = connection.execute(text("SELECT coalesce(sum(rows), 0) FROM predictions")).scalar_one()
    engine.dispose()
    return int(found)


async def measure(folder: Path, options: argparse.Namespace) -> int:
    """The whole run; the exit code."""
    home = folder / "home"
    with scheduler(home), api(home) as (process, port):
        address = f"http://127.0.0.1:{port}"
        train(address)
        before = in_the_log(home)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=2)
        async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits, trust_env=False) as client:
            load = Load(client, home, seconds=options.minutes * 60, within_s=options.within)
            seen = await watched(load, options.connections, process, 60.0 if options.minutes >= LONG_MINUTES else 5.0)
        lost = load.logged - (in_the_log(home) - before)
    return report(load, seen, lost, long=options.minutes >= LONG_MINUTES)


def report(load: Load, seen: list[tuple[float, float]], lost: int, *, long: bool) -> int:
    """Print what came of it; the exit code."""
    print("\nrequests by route and status")
    for (name, status), n in sorted(load.answers.items()):
        print(f"  {name:<24} {status}   {n:9,}")
    print(f"\npromotions {load.promotions}; tokens revoked {len(load.revoked_s)}", end="")
    if load.revoked_s:
        print(f", refused after {statistics.median(load.revoked_s):.2f} s, at most {max(load.revoked_s):.2f} s", end="")
    print(f"\nanswered rows {load.logged:,}, of them not in the log {lost:,}")
    grown = growth([mib for _, mib in seen]) if long else None
    print(f"memory {seen[-1][1]:.1f} MiB in the end", end="")
    print("" if grown is None else f", {grown:+.1%} from the second fifth of the run to the last")
    print(f"errors {sum(load.errors.values())}")
    for failure, n in load.errors.most_common(20):
        print(f"  {n:6,}   {failure}")
    return int(bool(load.errors) or lost != 0 or (grown or 0.0) > FLAT)


def growth(mib: list[float]) -> float | None:
    """Median of the last fifth of the readings against that of the second; None for fewer than five readings."""
    fifth = len(mib) // 5
    return statistics.median(mib[-fifth:]) / statistics.median(mib[fifth : 2 * fifth]) - 1 if fifth else None


def main() -> int:
    """Parse, run, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--connections", type=int, default=8, help="that ask for one prediction after the other")
    parser.add_argument("--within", type=float, default=WITHIN_S, help="seconds until a revocation or promotion counts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measure(Path(folder), options))


if __name__ == "__main__":
    sys.exit(main())
