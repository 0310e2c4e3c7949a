"""`make run`: the processes of the Procfile in the foreground, by honcho, until they are stopped.

Added to honcho here: the setup of the first start, a check of the ports, a message when everything is healthy, a restart
of a process that exited by itself, and a shutdown that leaves no process behind, even if only `make` gets the signal or
this process is killed.
"""

from __future__ import annotations

import ctypes
import functools
import json
import math
import multiprocessing.sharedctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import honcho.manager
from honcho.environ import parse_procfile
from honcho.process import Popen, Process

from core.errors import ContinualError
from core.settings import ROOT, Settings, get_settings

STOP_S = 8.0  # between the stop request and the kill; the whole shutdown takes less than 10 s
START_S = 300.0
POLL_S = 0.25
PR_SET_PDEATHSIG = 1
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0  # before a process that exited by itself is restarted; doubled each time
MOST_ENDS, WITHIN_S = 5, 60.0  # restarts of one process; then all stop with its exit code


def die_with_parent(signal_number: int) -> None:
    """Ask the system (Linux) to send this process a signal as soon as its parent has exited, for whatever reason."""
    with suppress(AttributeError):  # other systems: only an orderly exit of the parent stops it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number)


class _Supervised(Process):
    """A process that stops with its runner, has no terminal to read from, and is restarted when it exits.

    Runs in a separate process between the runner and the program: it alone starts and signals the program, so that no
    program is started, or missed, when the stop request falls between two starts.
    """

    def __init__(self, *args: Any, ending: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._child_ctor = functools.partial(Popen, stdin=subprocess.DEVNULL)
        self._ending = ending  # the runner's stop flag, shared by all processes

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:
        die_with_parent(signal.SIGKILL)
        if ignore_signals:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._events = events
        ends: list[float] = []
        pause = FIRST_PAUSE_S
        while True:
            started = time.monotonic()
            code = self._once(ignore_signals)
            now = time.monotonic()
            ends = [end for end in ends if now - end < WITHIN_S] + [now]
            if self._ending.value:
                break
            if len(ends) >= MOST_ENDS:
                self._report(f"exited {len(ends)} times within {WITHIN_S:.0f} s (exit code {code}): giving up.")
                break
            if now - started > WITHIN_S:
                pause = FIRST_PAUSE_S
            self._report(f"exited unexpectedly (exit code {code}): restarting it in {pause:g} s.")
            if self._ends_within(pause):
                break
            pause = min(2 * pause, LONGEST_PAUSE_S)
        self._send_message({"returncode": code}, type="stop")

    def _ends_within(self, seconds: float) -> bool:
        """Whether the runner requested a stop by then."""
        until = time.monotonic() + seconds
        while not self._ending.value:
            left = until - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(left, POLL_S))
        return True

    def _report(self, text: str) -> None:
        self._send_message(f"{self.name} {text}\n".encode())

    def _once(self, ignored: bool) -> int:
        """Start the program, pass its output on, wait until it exits; returns its exit code."""
        defaults = (signal.SIGINT, signal.SIGTERM) if ignored else ()
        self._child = self._child_ctor(
            self.cmd,
            env=self.env,
            cwd=self.cwd,
            preexec_fn=functools.partial(_begin, defaults),
        )
        self._send_message({"pid": self._child.pid}, type="start")
        gone = threading.Event()
        threading.Thread(target=self._end_when_requested, args=(self._child.pid, gone), daemon=True).start()
        for line in iter(self._child.stdout.readline, b""):
            self._send_message(line)
        self._child.stdout.close()
        code = int(self._child.wait())
        gone.set()
        return code

    def _end_when_requested(self, pid: int, gone: threading.Event) -> None:
        while not self._ends_within(POLL_S):
            if gone.is_set():
                return
        if not gone.is_set():
            with suppress(OSError):
                os.killpg(pid, signal.SIGTERM)


def _begin(defaults: tuple[signal.Signals, ...]) -> None:
    """In the new process, before the program is loaded: restore ignored signals, and stop when the parent exits."""
    for number in defaults:
        signal.signal(number, signal.SIG_DFL)
    die_with_parent(signal.SIGTERM)


class Runner(honcho.manager.Manager):
    """Honcho's manager, stopped by a flag that signals and the watching thread set."""

    def __init__(self) -> None:
        super().__init__()
        # a number in shared memory: an Event blocks when one of those that wait for it is killed
        self._ending = multiprocessing.sharedctypes.RawValue("b", 0)
        self._process_ctor = functools.partial(_Supervised, ending=self._ending)
        self.stop_signal: str | None = None  # signal that requested the stop
        self.ended_at: float | None = None

    def _start(self) -> None:
        super()._start()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)  # honcho's handler would print from inside a signal handler

    def _on_signal(self, number: int, _frame: Any) -> None:
        self.stop_signal = self.stop_signal or signal.Signals(number).name

    def terminate(self) -> None:
        """Request all to stop; print which one had exited by itself."""
        if self.ended_at is None:
            self.ended_at = time.monotonic()
            if self.stop_signal is None:
                for name, process in self._processes.items():
                    if process.get("returncode") is not None:
                        _say(f"{name} exited unexpectedly (exit code {process['returncode']}): stopping the others.")
        self._terminating = True
        self._ending.value = 1


def _say(text: str) -> None:
    print(text, flush=True)


def health(url: str) -> bytes | None:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  # the address is our own
            return bytes(answer.read())
    except OSError:
        return None


def _unhealthy(settings: Settings, seconds: float) -> list[str]:
    """Names of the processes that do not answer yet, `seconds` after their start."""
    missing = []
    if health(f"http://127.0.0.1:{settings.streamlit_port}/_stcore/health") != b"ok":
        missing.append("app")
    body = health(f"http://{_local(settings.api_host)}:{settings.api_port}/health")
    if body is None:
        return [*missing, "api", "scheduler"]
    age = json.loads(body).get("scheduler_age_seconds")
    if age is None or not 0 <= age <= seconds:  # an older heartbeat is from the previous run
        missing.append("scheduler")
    return missing


def _local(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "", "::") else host  # noqa: S104  # the documented default: a container's port is published, or not, from outside


class Make:
    """The `make` that started this process, if one did.

    A terminal's Ctrl-C reaches both. When only `make` gets SIGINT, it puts the signal back to its default and waits
    for us silently: that its handler is gone is the only sign. It passes SIGTERM on.
    """

    def __init__(self) -> None:
        self.pid = os.getppid() if os.environ.get("MAKELEVEL") else None
        self._caught = self._catches_interrupt()

    def _catches_interrupt(self) -> bool:
        with suppress(OSError, StopIteration):
            lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
            mask = int(next(line for line in lines if line.startswith("SigCgt:")).split()[1], 16)
            return bool(mask >> (signal.SIGINT - 1) & 1)
        return False

    def wants_end(self) -> bool:
        """Whether it was interrupted or has exited."""
        if self.pid is None:
            return False
        return os.getppid() != self.pid or (self._caught and not self._catches_interrupt())


def watch(runner: Runner, make: Make, unhealthy: Callable[[float], list[str]], addresses: list[str]) -> None:
    """Thread: reports when all are healthy, and stops everything when requested.

    Args:
        unhealthy: names of the processes that do not respond, given the seconds since their start.
        addresses: lines to print when all respond.
    """
    started, healthy = time.monotonic(), False
    while True:
        time.sleep(POLL_S)
        seconds = time.monotonic() - started
        if runner.stop_signal is None and make.wants_end():
            runner.stop_signal = "make"
        if runner.stop_signal is not None and runner.ended_at is None:
            _say("Stopping.")
            runner.terminate()
        if runner.ended_at is not None:
            if time.monotonic() - runner.ended_at > STOP_S:
                runner.kill()
        elif not healthy:
            missing = unhealthy(seconds)
            healthy = not missing
            if healthy and runner.ended_at is None:
                for line in addresses:
                    _say(line)
            elif seconds > START_S:
                _say(f"Not healthy after {START_S:.0f} s: {', '.join(missing)}. See the lines above.")
                runner.returncode = 1
                runner.terminate()


def check_ports(ports: Sequence[tuple[str, str, int]], command: str = "make run") -> None:
    """Raises ContinualError that names the port (setting, host, port) which another program uses."""
    for name, host, port in ports:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise ContinualError(
                    f"Port {port} cannot be used ({error.strerror}). "
                    f"Stop the program that uses it, or choose another port: {name}={port + 10} {command}"
                ) from None


def _first_steps() -> Settings:
    """Settings, ports; then secrets, schema and first user in a separate process, to keep this one small."""
    for name in ("API_KEY", "CONTINUAL_COOKIE_KEY"):
        if os.environ.get(name) == "":
            del os.environ[name]  # set but empty would hide the value in .env
    settings = get_settings()
    check_ports(
        (
            ("STREAMLIT_SERVER_PORT", "0.0.0.0", settings.streamlit_port),  # noqa: S104  # the documented default: a container's port is published, or not, from outside
            ("FASTAPI_PORT", settings.api_host, settings.api_port),
        )
    )
    done = subprocess.run([sys.executable, "-m", "core.cli", "init"], stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise ContinualError("Nothing was started: the state folder could not be prepared. See the lines above.")
    return settings


def interrupted(number: int, _frame: Any) -> None:
    sys.exit(0)


def main() -> int:
    """Run everything; 0 if a stop was requested, else the exit code of the process that kept exiting (at least 1)."""
    make = Make()
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    try:
        settings = _first_steps()
    except ContinualError as error:
        sys.exit(str(error))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "STREAMLIT_SERVER_PORT": str(settings.streamlit_port),
        "STREAMLIT_SERVER_MAX_UPLOAD_SIZE": str(math.ceil(settings.max_upload_mb)),
        "FASTAPI_HOST": settings.api_host,
        "FASTAPI_PORT": str(settings.api_port),
        "PYTHONUNBUFFERED": "1",
    }
    for name in ("MAKELEVEL", "MAKEFLAGS", "MFLAGS"):
        environment.pop(name, None)
    runner = Runner()
    for name, command in parse_procfile((ROOT / "Procfile").read_text()).processes.items():
        runner.add_process(name, command, env=environment)
    addresses = [
        f"API: http://localhost:{settings.api_port}/docs",
        f"Address: http://localhost:{settings.streamlit_port}",
    ]
    return run(runner, make, functools.partial(_unhealthy, settings), addresses)


def run(runner: Runner, make: Make, unhealthy: Callable[[float], list[str]], addresses: list[str]) -> int:
    """Run the added processes until a stop is requested; the exit code as `main` returns it."""
    honcho.manager.KILL_WAIT = STOP_S
    threading.Thread(target=watch, args=(runner, make, unhealthy, addresses), daemon=True).start()
    runner.loop()
    return 0 if runner.stop_signal is not None else max(abs(runner.returncode or 1), 1)


if __name__ == "__main__":
    sys.exit(main())
