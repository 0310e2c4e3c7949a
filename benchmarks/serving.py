"""What an answered prediction costs, as ratios in one run: to a bare FastAPI endpoint, to `mlflow models serve`, to a plain app.

    python benchmarks/serving.py                    every part (about ten minutes)
    python benchmarks/serving.py requests tables    some of: requests, champions, tables, start, others

One worker, the token checked, every answered prediction committed. Load comes from `wrk` (Debian's package) with one
thread; CPU is the server process's own, user and system. Parts are asked in turn, round after round, and the median of
the rounds is printed: on a machine whose speed drifts, the ratios hold. Quiet machine, please.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from states import opened

TOKEN = "benchmark-" + secrets.token_hex(12)
PARTS = ("requests", "champions", "tables", "start", "others")
ROW = {"feature1": 0.1, "feature2": 2.0}
WIDE = {f"feature{j + 1}": round(0.1 * (j - 9), 2) for j in range(20)}
TABLE_ROWS = 10_000


# --- servers ----------------------------------------------------------------------------------------------------


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], port: int, path: str, **environment: str) -> Iterator[psutil.Process]:
    """A server, once this path of it answers anything."""
    place = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'benchmarks'}", "API_KEY": TOKEN, "BASELINE_TOKEN": TOKEN}
    started = subprocess.Popen(
        command, env={**os.environ, **place, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        give_up = time.monotonic() + 120
        while time.monotonic() < give_up:
            if started.poll() is not None:
                raise SystemExit(f"{' '.join(command)} ended with {started.returncode}")
            with contextlib.suppress(httpx.HTTPError):
                httpx.get(f"http://127.0.0.1:{port}{path}", timeout=5)
                break
            time.sleep(0.02)
        yield psutil.Process(started.pid)
    finally:
        started.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.wait(10)
        started.kill()


def uvicorn(app: str, port: int) -> list[str]:
    """One worker, as the program itself is started."""
    return [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--no-access-log", "--no-server-header", "--ws", "none", "--log-level", "warning"]  # fmt: skip


@contextlib.contextmanager
def api(home: Path) -> Iterator[tuple[psutil.Process, int]]:
    """Our API over a state folder."""
    port = free_port()
    command = [*uvicorn("api:app", port), "--http", "core.http.connection:Connection"]
    with running(command, port, "/health", CONTINUAL_HOME=str(home)) as process:
        yield process, port


@contextlib.contextmanager
def baseline(app: str, **environment: str) -> Iterator[tuple[psutil.Process, int]]:
    """One of the baselines."""
    port = free_port()
    with running(uvicorn(f"baselines:{app}", port), port, "/docs", **environment) as process:
        yield process, port


def cpu(process: psutil.Process) -> float:
    """Seconds of a process and its children so far."""
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            total += times.user + times.system
    return total


# --- load -------------------------------------------------------------------------------------------------------


def wrk(port: int, path: str, body: bytes, *, connections: int, seconds: float, kind: str = "application/json") -> tuple[int, float]:  # fmt: skip
    """Requests answered with 200, and per second.

    Raises:
        SystemExit: anything else was answered, or wrk is not installed.
    """
    program = shutil.which("wrk")
    if program is None:
        raise SystemExit("wrk is not installed (Debian: apt-get install wrk).")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "body").write_bytes(body)
        script = Path(folder) / "post.lua"
        script.write_text(
            f'local f = io.open("{folder}/body", "rb")\nwrk.method = "POST"\nwrk.body = f:read("*a")\nf:close()\n'
            f'wrk.headers["Content-Type"] = "{kind}"\nwrk.headers["Authorization"] = "Bearer {TOKEN}"\n'
        )
        printed = subprocess.run(
            [program, "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(script), f"http://127.0.0.1:{port}{path}"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    if "Non-2xx" in printed or "Socket errors" in printed:
        raise SystemExit(f"Not all requests were answered:\n{printed}")
    requests, rate = re.search(r"(\d+) requests in", printed), re.search(r"Requests/sec:\s+([\d.]+)", printed)
    assert requests and rate
    return int(requests[1]), float(rate[1])


def measured(
    servers: dict[str, tuple[psutil.Process, int]], asks: dict[str, tuple[str, bytes]], *, connections: int, seconds: float, rounds: int
) -> dict[str, tuple[float, float]]:  # fmt: skip
    """Of each server, in turn: CPU microseconds a request, requests a second; medians of the rounds."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
    for name, (_, port) in servers.items():
        wrk(port, *asks[name], connections=connections, seconds=1)
    for _ in range(rounds):
        for name, (process, port) in servers.items():
            before = cpu(process)
            requests, rate = wrk(port, *asks[name], connections=connections, seconds=seconds)
            found[name].append(((cpu(process) - before) / requests * 1e6, rate))
    return {
        name: (statistics.median(c for c, _ in values), statistics.median(r for _, r in values))
        for name, values in found.items()
    }


def table(title: str, found: dict[str, tuple[float, float]], against: str) -> None:
    """Print one comparison."""
    base_cpu, base_rate = found[against]
    print(f"\n{title}")
    for name, (micro, rate) in found.items():
        print(
            f"  {name:<34} {micro:9.1f} us CPU   {rate:9.0f} requests/s   CPU x {micro / base_cpu:.2f}   "
            f"requests/s x {rate / base_rate:.2f}"
        )


# --- projects ---------------------------------------------------------------------------------------------------


def make_default(home: Path) -> None:
    """The generator's project with two features and its logistic regression, by the API itself."""
    with api(home) as (_, port), httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        assert client.post("/generate", json={"rows": 1000, "seed": 1}).status_code == 200
        answer = client.post("/retrain", json={})
        while answer.status_code == 202 or client.get("/model-status").json()["model_version"] is None:
            time.sleep(0.5)
            answer = client.get("/model-status")
        assert client.post("/predict", json=ROW).status_code == 200


def make_wide(home: Path, family: str = "boosting") -> Any:
    """A project of twenty numbers whose champion is one model of this family; the fitted model."""
    from core.data.inferring import infer_schema
    from core.learning.models import fit_family
    from core.records import NO_REASON, Change
    from core.services.ingestion import ingest
    from core.services.projects import projects
    from core.storage import registry

    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(5000, 20)), columns=list(WIDE))
    frame["target"] = ((frame["feature1"] * frame["feature2"] + frame["feature3"] + rng.normal(size=5000)) > 0).astype(
        int
    )
    now = datetime.now(UTC)
    ws = opened(home, migrate=True)
    project = projects.create_project(ws, "default", projects.Origin(source="file"), by="benchmark", now=now)
    ingest.ingest_frame(ws, project, frame, origin="benchmark", by="benchmark", now=now, target="target")
    schema = infer_schema(frame, target="target")
    X, y = frame[list(WIDE)], frame["target"].to_numpy()
    model = fit_family(family, schema, X, y, seed=0)
    change = Change(by="benchmark", now=now)
    new = registry.NewVersion(model=model, family=family, schema=schema, X_learnt=X, n_rows=len(X))
    version = registry.register_version(ws, project, new, change).version
    with ws.database.write() as session:
        registry.record_event(session, project.id, version, "promoted", NO_REASON, change)
    ws.database.dispose()
    return model


def make_demonstration(home: Path, batches: int) -> dict[str, Any]:
    """The sample after its demonstration; one of its rows."""
    environment = {**os.environ, "CONTINUAL_HOME": str(home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "core.cli", "demo", "--batches", str(batches)]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    from core.services.ingestion.ingest import read_sample

    frame = read_sample("insects")
    row = frame.iloc[-1].drop(frame.columns[-1])

    ws = opened(home)
    from core.services.projects import projects

    schema = projects.list_projects(ws)[0].schema
    ws.database.dispose()
    assert schema is not None
    return {f.name: float(row[f.name]) if f.kind == "numeric" else row[f.name] for f in schema.features}


# --- parts ------------------------------------------------------------------------------------------------------


def requests(folder: Path, options: argparse.Namespace) -> None:
    """One row a request: ours against the bare endpoint at 1, 16 and 64 connections."""
    home = folder / "default"
    make_default(home)
    body = json.dumps(ROW).encode()
    with api(home) as ours, baseline("bare") as bare:
        servers, asks = (
            {"bare FastAPI": bare, "ours": ours},
            dict.fromkeys(["bare FastAPI", "ours"], ("/predict", body)),
        )
        for connections in (1, 16, 64):
            found = measured(servers, asks, connections=connections, seconds=options.seconds, rounds=options.rounds)
            table(f"one row of 2 features, logistic regression, {connections} connections", found, "bare FastAPI")


def champions(folder: Path, options: argparse.Namespace) -> None:
    """Trees of twenty features, and the sample's champion after its demonstration."""
    wide, sample = folder / "wide", folder / "sample"
    make_wide(wide)
    row = make_demonstration(sample, options.batches)
    with api(wide) as trees, api(sample) as shown, baseline("bare") as bare:
        servers = {"bare FastAPI": bare, "20-feature boosting": trees, "the demonstration's champion": shown}
        asks = {
            "bare FastAPI": ("/predict", json.dumps(ROW).encode()),
            "20-feature boosting": ("/predict", json.dumps(WIDE).encode()),
            "the demonstration's champion": ("/predict", json.dumps(row).encode()),
        }
        found = measured(servers, asks, connections=16, seconds=options.seconds, rounds=options.rounds)
    table("other champions, 16 connections", found, "bare FastAPI")


def tables(folder: Path, options: argparse.Namespace) -> None:
    """10,000 x 20 in one call: JSON against decoding it with pydantic, Arrow and npy against `predict_proba` in process."""
    import pyarrow as pa

    home = folder / "tables"
    model = make_wide(home)
    frame = pd.DataFrame(np.random.default_rng(1).normal(size=(TABLE_ROWS, 20)), columns=list(WIDE))
    body = json.dumps({"rows": frame.to_dict(orient="records")}).encode()
    npy, arrow = io.BytesIO(), io.BytesIO()
    np.save(npy, frame.to_numpy())
    batch = pa.Table.from_pandas(frame, preserve_index=False)
    with pa.ipc.new_stream(arrow, batch.schema) as writer:
        writer.write_table(batch)
    with api(home) as ours, baseline("decoding") as pydantic:
        servers, asks = (
            {"FastAPI decoding": pydantic, "ours": ours},
            dict.fromkeys(["FastAPI decoding", "ours"], ("/predict", body)),
        )
        found = measured(servers, asks, connections=1, seconds=options.seconds, rounds=options.rounds)
        table(f"{TABLE_ROWS:,} x 20 as JSON, 1 connection", found, "FastAPI decoding")
        rates: dict[str, list[float]] = {"predict_proba": [], "npy": [], "arrow": []}
        for _ in range(options.rounds):
            rates["predict_proba"].append(1 / seconds_of(lambda: model.predict_proba(frame), options.seconds))
            for kind, content in (("npy", npy), ("arrow", arrow)):
                media = "application/x-npy" if kind == "npy" else "application/vnd.apache.arrow.stream"
                _, rate = wrk(
                    ours[1], "/predict", content.getvalue(), connections=1, seconds=options.seconds, kind=media
                )
                rates[kind].append(rate)
    inside = statistics.median(rates["predict_proba"])
    print(f"\n{TABLE_ROWS:,} x 20 in one call, calls a second (predict_proba in this process: {inside:.1f})")
    for kind in ("npy", "arrow"):
        rate = statistics.median(rates[kind])
        print(f"  {kind:<8} {rate:7.1f}   {rate / inside:.0%} of predict_proba")


def seconds_of(work: Callable[[], Any], at_least: float) -> float:
    """Wall seconds of one call, over as many as fit."""
    work()
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < at_least:
        work()
        count += 1
    return (time.perf_counter() - began) / count


def start(folder: Path, options: argparse.Namespace) -> None:
    """From nothing to the first 200 on /health, and the memory after 10,000 requests."""
    for name, make in (("linear", make_default), ("trees", make_wide)):
        home = folder / f"start-{name}"
        make(home)
        spent = []
        for _ in range(options.rounds + 1):  # the first one compiles
            with api(home) as (process, port):
                while httpx.get(f"http://127.0.0.1:{port}/health").status_code != 200:
                    time.sleep(0.01)
                spent.append(cpu(process))
        body = json.dumps(ROW if name == "linear" else WIDE).encode()
        with api(home) as (process, port):
            done = 0
            while done < 10_000:
                done += wrk(port, "/predict", body, connections=16, seconds=2)[0]
            memory = process.memory_info().rss / 1e6
        print(f"\n{name} champion: {statistics.median(spent[1:]):.2f} CPU s to the first 200 on /health; {memory:.0f} MB after {done:,} requests")  # fmt: skip


def others(folder: Path, options: argparse.Namespace) -> None:
    """CPU a request of `mlflow models serve` and of the plain app, on the same logistic regression."""
    from core.data.inferring import infer_schema
    from core.learning.models import fit_family

    home = folder / "others"
    make_default(home)
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(1000, 2)), columns=list(ROW))
    y = (X["feature1"] + X["feature2"] > 0).astype(int)
    schema = infer_schema(X.assign(target=y), target="target")
    model = fit_family("logistic", schema, X, y.to_numpy(), seed=0)
    import mlflow
    import skops.io

    skops.io.dump(model, folder / "plain.skops")
    mlflow.sklearn.save_model(model, str(folder / "mlflow"), serialization_format="cloudpickle", pip_requirements=[])
    port = free_port()
    serve = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder / "mlflow"), "-p", str(port), "--env-manager", "local", "-w", "1"]  # fmt: skip
    rows = json.dumps({"dataframe_records": [ROW]}).encode()
    body = json.dumps(ROW).encode()
    pickled = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "true"}
    with (
        api(home) as ours,
        baseline("plain", BASELINE_MODEL=str(folder / "plain.skops")) as plain,
        running(serve, port, "/ping", **pickled) as process,
    ):
        while httpx.get(f"http://127.0.0.1:{port}/ping").status_code != 200:
            time.sleep(0.1)
        servers = {"ours": ours, "plain app": plain, "mlflow models serve": (process, port)}
        asks = {
            "ours": ("/predict", body),
            "plain app": ("/predict", body),
            "mlflow models serve": ("/invocations", rows),
        }
        found = measured(servers, asks, connections=16, seconds=options.seconds, rounds=options.rounds)
    table("others, 16 connections", found, "ours")


def main() -> int:
    """The parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all, where none is named")
    parser.add_argument("--seconds", type=float, default=4.0, help="of load a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=48, help="of the demonstration")
    options = parser.parse_args()
    functions = {f.__name__: f for f in (requests, champions, tables, start, others)}
    for name in options.parts or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            functions[name](Path(folder), options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
