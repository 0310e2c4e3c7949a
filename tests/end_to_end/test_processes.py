"""The real processes, started as `make run` starts them: healthy, ended by every way of ending, nobody left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from patience import Patience, limit

ROOT = Path(__file__).resolve().parents[2]
START_S, STOP_S = 60.0, 10.0
PROGRAM = (".streamlit", "Home.py", "Procfile", "alembic", "api.py", "core", "pages", "scheduler.py", "server.py")


class Running:
    """A started runner, its lines, and its processes."""

    def __init__(self, command: list[str], folder: Path, app: int, api: int) -> None:
        environment = {
            **os.environ,
            "STREAMLIT_SERVER_PORT": str(app),
            "FASTAPI_PORT": str(api),
            "FASTAPI_HOST": "127.0.0.1",
            "CONTINUAL_HOME": str(folder / "home"),
        }
        for name in ("MAKELEVEL", "PYTHONPATH"):
            environment.pop(name, None)
        self.lines: list[str] = []
        self._up = threading.Event()
        self.patience = Patience(START_S)
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.api = api
        self.children: list[psutil.Process] = []

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("Address: "):
                self._up.set()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wait_until_up(self) -> None:
        """Until the address was printed."""
        while not self._up.wait(0.1):
            assert self.process.poll() is None, self.text
            self.patience.check(f"the address, after:\n{self.text}")
        self.children = psutil.Process(self.process.pid).children(recursive=True)

    def child(self, word: str) -> psutil.Process:
        return next(c for c in self.children if word in " ".join(c.cmdline()))

    def wait_until_gone(self) -> int:
        """The exit code, when it and all its processes have gone within the time that they have from now."""
        patience = Patience(STOP_S)
        code = self.process.wait(patience.left_s)
        _, alive = psutil.wait_procs(self.children, timeout=patience.left_s)
        assert alive == [], self.text
        self._reader.join(limit(5))
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        psutil.wait_procs([c for c in self.children if c.is_running()], timeout=limit(STOP_S))
        if self.process.stdout is not None:
            self._reader.join(limit(5))
            self.process.stdout.close()


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Start]:
    """Starts runners in a folder of their own, ends whatever is left."""
    running: list[Running] = []

    def _start(*command: str, folder: Path = tmp_path, app: int | None = None) -> Running:
        _check_out(folder)
        runner = command or (sys.executable, "-m", "core.jobs.runner")
        running.append(Running(list(runner), folder, app or free_port(), free_port()))
        return running[-1]

    yield _start
    for one in running:
        one.close()


def _check_out(folder: Path) -> None:
    """The program without the checkout's `.env` and state, byte code included, and `make run` without its install."""
    for name in PROGRAM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True)
        else:
            shutil.copy2(ROOT / name, folder / name)
    (folder / "Makefile").write_text(f"run:\n\t@{sys.executable} -m core.jobs.runner\n")


def _get(port: int, path: str) -> dict[str, object]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=limit(10)) as answer:
        return dict(json.loads(answer.read()))


def _answers(port: int) -> bool:
    try:
        return _get(port, "/health")["status"] == "ok"
    except OSError:
        return False


def test_first_start_makes_secrets_and_user_then_all_are_healthy_and_end_together(start: Start, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# mine\nPERFORMANCE_THRESHOLD=0.7")
    first = start()
    first.wait_until_up()
    assert first.lines.count("User: admin") == 1
    password = next(line for line in first.lines if line.startswith("Password: ")).removeprefix("Password: ")
    assert len(password) >= 12
    env_file = (tmp_path / ".env").read_text().splitlines()
    assert env_file[:2] == ["# mine", "PERFORMANCE_THRESHOLD=0.7"]
    assert [line.partition("=")[0] for line in env_file[2:]] == ["API_KEY", "CONTINUAL_COOKIE_KEY"]
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    health = _get(first.api, "/health")
    assert health["status"] == "ok"
    assert health["database"] == "ok"

    first.process.send_signal(signal.SIGTERM)
    assert first.wait_until_gone() == 0

    # The second start: no new user, no new secrets, and one that dies is named and started again beside the others.
    second = start()
    second.wait_until_up()
    assert "Password:" not in second.text
    assert (tmp_path / ".env").read_text().splitlines() == env_file
    for secret in (password, env_file[2].partition("=")[2]):
        assert secret not in second.text
    dead, app = second.child("uvicorn"), second.child("server.py")
    dead.kill()
    dead.wait(limit(STOP_S))
    patience = Patience(START_S)
    while not _answers(second.api):
        patience.check(f"the API to be back, after:\n{second.text}")
    assert "api exited unexpectedly (exit code -9): restarting it in 1 s." in second.text
    assert app.is_running()
    second.children = psutil.Process(second.process.pid).children(recursive=True)
    second.process.send_signal(signal.SIGINT)
    assert second.wait_until_gone() == 0


RUNNER = """
import sys
from core.jobs import runner
runner.FIRST_PAUSE_S = runner.LONGEST_PAUSE_S = 0.01

class Asked(runner.Runner):
    def _on_signal(self, number, frame):
        super()._on_signal(number, frame)
        self.terminate()

made = Asked()
for name, command in zip(("quick", "steady"), sys.argv[1:]):
    made.add_process(name, command)
made.loop()
sys.exit(abs(made.returncode))
"""
STEADY = f"exec {sys.executable} -c 'import signal; signal.pause()'"


def test_a_process_that_ends_again_and_again_ends_all_with_its_code() -> None:
    command = [sys.executable, "-c", RUNNER, "exit 7", STEADY]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit(60))
    assert done.returncode == 7, done.stdout
    assert done.stdout.count("quick exited unexpectedly (exit code 7): restarting it") == 4
    assert "quick exited 5 times within 60 s (exit code 7): giving up." in done.stdout
    assert "steady stopped (rc=-15)" in done.stdout


def test_a_process_that_dies_once_is_started_again(tmp_path: Path) -> None:
    once = f"if mkdir {tmp_path}/first; then kill -SEGV $$; fi; echo back; {STEADY}"
    with subprocess.Popen(
        [sys.executable, "-c", RUNNER, once, STEADY], cwd=ROOT, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as running:
        assert running.stdout is not None
        lines = []
        for line in running.stdout:
            lines.append(line)
            if "back" in line:
                running.send_signal(signal.SIGTERM)
                break
        lines += list(running.stdout)
        running.wait(limit(STOP_S))
    text = "".join(lines)
    assert "quick exited unexpectedly (exit code -11): restarting it in 0.01 s." in text
    assert "steady stopped (rc=-15)" in text and "quick stopped (rc=-15)" in text


def test_two_copies_side_by_side_and_an_interrupt_of_make_alone_ends_everything(
    start: Start, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    copies = [start("make", "run", folder=folder) for folder in folders]
    for copy in copies:
        copy.wait_until_up()
    copies[0].process.send_signal(signal.SIGINT)  # to make's own process only, not to its group
    copies[0].wait_until_gone()
    assert _get(copies[1].api, "/health")["status"] == "ok"

    # Killed outright, the runner can stop nobody: the system does.
    copies[1].child("core.jobs.runner").kill()
    assert copies[1].wait_until_gone() != 0


def test_taken_port_is_named_before_anything_starts(start: Start, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = start(app=port)
        assert refused.process.wait(limit(30)) == 1
        refused.close()
    assert f"Port {port} cannot be used" in refused.text
    assert "STREAMLIT_SERVER_PORT=" in refused.text
    assert not (tmp_path / "home").exists()
