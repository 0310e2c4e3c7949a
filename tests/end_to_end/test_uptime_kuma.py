"""The monitors of docs/uptime-kuma.md in Uptime Kuma itself, made by the script, over the real API and scheduler.

Nothing is downloaded here. CONTRIBUTING.md tells how to put the library and the program into ./.venv-kuma, or into another
folder that KUMA_FOLDER names; without them this is skipped.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import httpx
import pytest
from conftest import ROOT
from patience import limit, until

from core.storage.workspace import Workspace

FOLDER = Path(os.environ.get("KUMA_FOLDER", ROOT / ".venv-kuma"))
PYTHON = FOLDER / "bin/python"
PROGRAM = FOLDER / "node_modules/uptime-kuma"
NEEDED = (PYTHON, PROGRAM, FOLDER / "node_modules/@louislam/sqlite3/lib/binding")
SCRIPT = ROOT / "monitoring/uptime-kuma/create_monitors.py"
PASSWORD = "of-the-test-7"
DOWN, UP, PENDING = 0, 1, 2
STATES = {DOWN: "down", UP: "up", PENDING: "pending"}
ASK = ("Continual ML", "Continual ML status", "Continual ML reason", "Continual ML database")
AGE, MODEL, PUSH = "Continual ML scheduler's age", "Continual ML model", "Continual ML scheduler"

# Run by the library's own Python: no retries, the shortest interval; and the first look at once.
HURRY = """
import os, sys
from uptime_kuma_api import UptimeKumaApi
with UptimeKumaApi(sys.argv[1], timeout=60) as kuma:
    kuma.login("admin", os.environ["UPTIME_KUMA_PASSWORD"])
    for monitor in kuma.get_monitors():
        if sys.argv[2] == "hurry":
            kuma.edit_monitor(monitor["id"], interval=20, retryInterval=20, maxretries=0)
        elif monitor["type"] != "push":
            kuma.pause_monitor(monitor["id"])
            kuma.resume_monitor(monitor["id"])
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("node") is None or not all(path.exists() for path in NEEDED),
        reason=f"Uptime Kuma and its library are not in {FOLDER}: CONTRIBUTING.md tells how to put them there",
    ),
]


@contextmanager
def process(*command: str, log: Path, cwd: Path = ROOT, **environment: str) -> Iterator[None]:
    with log.open("ab") as file:
        started = subprocess.Popen(
            command, cwd=cwd, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    try:
        yield
    finally:
        started.terminate()
        try:
            started.wait(limit(20))
        finally:
            started.kill()


class Kuma:
    """A fresh Uptime Kuma in a folder of its own."""

    def __init__(self, folder: Path, port: int, api: str) -> None:
        self.url, self.api, self.data, self.here = f"http://127.0.0.1:{port}", api, folder / "data", folder / "program"
        self.log, self.port = folder / "kuma.log", port
        self.data.mkdir(parents=True)
        self.here.mkdir()
        for entry in PROGRAM.iterdir():
            if entry.name != "db":
                (self.here / entry.name).symlink_to(entry)
        shutil.copytree(PROGRAM / "db", self.here / "db")
        for patch in (self.here / "db").glob(
            "*.sql"
        ):  # 2.0.0-dev.0 looks for them where its package does not have them
            shutil.copy(patch, self.here / "db/old_migrations")

    def environment(self) -> dict[str, str]:
        return {
            "DATA_DIR": f"{self.data}/", "UPTIME_KUMA_DB_TYPE": "sqlite", "UPTIME_KUMA_HOST": "127.0.0.1",
            "UPTIME_KUMA_PORT": str(self.port), "NODE_ENV": "production",
        }  # fmt: skip

    def is_up(self) -> bool:
        try:
            return httpx.get(f"{self.url}/api/entry-page", timeout=limit(2)).json()["type"] == "entryPage"
        except (httpx.HTTPError, ValueError, KeyError):
            return False

    def _python(self, *arguments: str) -> str:
        environment = {**os.environ, "UPTIME_KUMA_PASSWORD": PASSWORD}
        done = subprocess.run(
            [str(PYTHON), *arguments], env=environment, capture_output=True, text=True, timeout=limit(90), check=False
        )
        assert done.returncode == 0, done.stderr + self.log.read_text()[-2000:]
        return done.stdout

    def create_monitors(self, *more: str) -> list[str]:
        """What the script says, its last line the push URL."""
        urls = ("--kuma-url", self.url, "--api-url", self.api, "--push-url", self.url)
        return self._python(str(SCRIPT), *urls, *more).splitlines()

    def hurry(self) -> None:
        self._python("-c", HURRY, self.url, "hurry")

    def look(self) -> None:
        """Every monitor that asks does so now."""
        self._python("-c", HURRY, self.url, "look")

    def last(self) -> dict[str, tuple[str, str]]:
        """State and message of the last heartbeat of each monitor that has one."""
        newest = "SELECT max(id) FROM heartbeat GROUP BY monitor_id"
        query = f"SELECT name, status, msg FROM heartbeat JOIN monitor ON monitor.id = monitor_id WHERE heartbeat.id IN ({newest})"
        with closing(sqlite3.connect(f"file:{self.data}/kuma.db?mode=ro", uri=True, timeout=limit(5))) as database:
            return {name: (STATES[state], message) for name, state, message in database.execute(query)}

    def until_all(self, names: tuple[str, ...], state: str) -> dict[str, tuple[str, str]]:
        def _all() -> bool:
            return all(self.last().get(name, ("",))[0] == state for name in names)

        try:
            until(f"{names} to be {state}", _all, seconds=60, every=0.3)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.last()}") from error
        return self.last()


@pytest.mark.timeout(420)
def test_uptime_kuma_sees_the_api_and_the_scheduler_stop_and_come_back(
    ws: Workspace, free_port: Callable[[], int], tmp_path: Path
) -> None:
    port = free_port()
    kuma = Kuma(tmp_path / "kuma", free_port(), f"http://127.0.0.1:{port}")
    log = tmp_path / "log"

    def api() -> AbstractContextManager[None]:
        command = ("-m", "uvicorn", "api:app", "--host", "127.0.0.1", "--port", str(port))
        return process(sys.executable, *command, log=log, API_KEY="k3y-of-this-installation")

    def scheduler() -> AbstractContextManager[None]:
        return process(
            sys.executable, "scheduler.py", log=log, CHECK_INTERVAL_SECONDS="2", CONTINUAL_KUMA_PUSH_URL=push_url
        )

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/health", timeout=limit(5)).json()["status"] == "ok"
        except httpx.HTTPError:
            return False

    with process("node", "server/server.js", log=kuma.log, cwd=kuma.here, **kuma.environment()):
        until("Uptime Kuma to start", kuma.is_up, seconds=90, every=0.2)
        said = kuma.create_monitors("--create-admin")
        push_url = said[-1].removeprefix("CONTINUAL_KUMA_PUSH_URL=")
        assert [line.partition(":")[0] for line in said[:-1]] == ["created"] * 7

        with scheduler():
            with api():
                until("the API to be well", answers, seconds=40, every=0.2)
                kuma.look()
                last = kuma.until_all((*ASK, AGE, PUSH), "up")
                assert last[PUSH][1] == "OK"
                assert "value was: [no model]" in last[MODEL][1]

                kuma.hurry()  # a person changed them: the script sets them right, see below
                kuma.look()
                kuma.until_all((MODEL,), "down")
                kuma.until_all((*ASK, AGE, PUSH), "up")
            kuma.look()
            last = kuma.until_all((*ASK, AGE), "down")
            assert all("ECONNREFUSED" in last[name][1] for name in ASK)
            assert last[PUSH][0] == "up"
            with api():
                until("the API to be well again", answers, seconds=60, every=0.2)
                kuma.look()
                kuma.until_all((*ASK, AGE), "up")
        last = kuma.until_all((PUSH,), "down")  # 20 s after the last heartbeat
        assert last[PUSH][1] == "No heartbeat in the time window"
        with scheduler():
            kuma.until_all((PUSH,), "up")

        said = kuma.create_monitors()
        assert [line.partition(":")[0] for line in said[:-1]] == ["updated"] * 7
        assert said[-1].endswith(push_url)
        again = kuma.create_monitors()
        assert [line.partition(":")[0] for line in again[:-1]] == ["unchanged"] * 7
