"""What all tests share: an environment of their own, an empty state folder, free ports, a browser.

No test reads the checkout's `.env` or writes its `./var`: settings are taken out of the environment before the
first import, every test runs in its own folder, and `CONTINUAL_HOME` lies in it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_timeout
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

ROOT = Path(__file__).resolve().parent.parent
_OWN = ("CONTINUAL_", "FASTAPI_", "STREAMLIT_", "DISCORD_")
_OWN_NAMES = {
    "API_KEY",
    "API_BASE_URL",
    "DATABASE_URL",
    "DATA_URL",
    "PERFORMANCE_THRESHOLD",
    "CHECK_INTERVAL_SECONDS",
    "TASK_RETRIES",
    "RETRY_DELAY_SECONDS",
    "LOG_FORMAT",
}
_SOAK = {name: value for name, value in os.environ.items() if name.startswith("CONTINUAL_SOAK")}
for _name in list(os.environ):
    if _name.startswith(_OWN) or _name in _OWN_NAMES:
        del os.environ[_name]
os.environ.update(_SOAK)
os.environ["PYTHONPATH"] = str(ROOT)  # child processes run in folders of their own
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["CONTINUAL_HOME"] = str(Path(tempfile.mkdtemp(prefix="continual-tests-")) / "home")

from browser import find_chromium  # noqa: E402
from patience import limit  # noqa: E402

from core.settings import Settings, get_settings  # noqa: E402
from core.storage.engine import migrate  # noqa: E402
from core.storage.workspace import Workspace, open_workspace  # noqa: E402

# Generated cases are the same in every run; a longer campaign says so itself.
hypothesis_settings.register_profile(
    "repeatable", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("repeatable")


# Folders and files whose tests start the program's own processes: one after another on one worker, and first, for
# they wait more than they compute.
PROCESSES = tuple(f"tests/{name}" for name in ("end_to_end/", "api/test_processes.py", "jobs/", "test_scheduler.py"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that start processes come first."""
    items.sort(key=lambda item: not item.nodeid.startswith(PROCESSES))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each file's tests stay on one worker, so that what a file shares is made once; so do those that start processes."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "processes" if nodeid.startswith(PROCESSES) else str(super()._split_scope(nodeid))

    return Scheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: pytest_timeout.Settings) -> bool:
    """The time that a test may take is that of a quiet machine, times how busy this one is."""
    return pytest_timeout.pytest_timeout_set_timer(item, settings._replace(timeout=limit(settings.timeout)))


def pytest_sessionfinish() -> None:
    shutil.rmtree(Path(os.environ["CONTINUAL_HOME"]).parent, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def _session_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fixtures of wider scope than one test run outside the checkout too."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("session"))
    yield
    os.chdir(before)


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test has its own working folder (so no `.env`), its own CONTINUAL_HOME, and no setting or thread that another left."""
    for name in list(os.environ):
        if name not in _SOAK and (name.startswith(_OWN) or name in _OWN_NAMES):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONTINUAL_HOME", str(tmp_path / "home"))
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()
    if "core.storage.mlflow_copy" in sys.modules:
        sys.modules["core.storage.mlflow_copy"].wait()


@pytest.fixture
def settings(_own_environment: None) -> Settings:
    """The settings of an empty environment; the state folder is this test's own."""
    return get_settings()


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file at the newest schema, to copy: migrating anew for each test would cost most of the time."""
    folder = tmp_path_factory.mktemp("database")
    migrate(f"sqlite:///{folder / 'continual.db'}", folder)
    return folder / "continual.db"


@pytest.fixture
def ws(settings: Settings, migrated_database: Path) -> Iterator[Workspace]:
    """An open, empty workspace at the newest schema."""
    settings.home_path.mkdir(parents=True, exist_ok=True)
    shutil.copy(migrated_database, settings.home_path / "continual.db")
    workspace = open_workspace(settings)
    yield workspace
    workspace.database.dispose()


@pytest.fixture(scope="session")
def fill(
    tmp_path_factory: pytest.TempPathFactory, migrated_database: Path
) -> Callable[[Workspace, Callable[[Workspace, datetime], object], datetime], None]:
    """Fills an empty workspace as a function does; the function runs once, and its state folder is copied for each test."""
    made: dict[Callable[[Workspace, datetime], object], Path] = {}

    def _fill(ws: Workspace, how: Callable[[Workspace, datetime], object], now: datetime) -> None:
        if how not in made:
            home = tmp_path_factory.mktemp("filled") / "home"
            home.mkdir()
            shutil.copy(migrated_database, home / "continual.db")
            once = open_workspace(Settings(CONTINUAL_HOME=home))
            how(once, now)
            once.database.dispose()
            made[how] = home
        ws.database.dispose()
        shutil.copytree(made[how], ws.settings.home_path, dirs_exist_ok=True)

    return _fill


@pytest.fixture
def now() -> datetime:
    """The instant at which the tests happen; no test reads a clock."""
    return datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser to drive; `make test` has seen to it that there is one."""
    path = find_chromium()
    assert path is not None, "no Chromium was found: run `python tests/browser.py`"
    return path


@dataclass(frozen=True)
class Campaign:
    """How long the long tests run: a taste in `make test`, the stated counts in `make soak`."""

    kills: int
    api_kills: int
    generated_cases: int
    tables: int  # generated, through the whole loop: half of them as frames, half as files
    mutated_bodies: int
    simulated_days: int
    load_minutes: float
    progress: Path | None  # where finished numbers are kept, so that a campaign goes on where it stopped

    def rounds(self, name: str, count: int) -> Iterator[int]:
        """Numbers from 0 up to count, each given once; under `make soak` those done in an earlier run are left out."""
        file = self.progress / name if self.progress else None
        done = int(file.read_text()) if file and file.exists() else 0
        for number in range(done, count):
            yield number
            if file:
                file.write_text(str(number + 1))
                sys.stdout.write(f"{name}: {number + 1} of {count}\n")


@pytest.fixture(scope="session")
def campaign() -> Campaign:
    """The counts of this run."""
    if "CONTINUAL_SOAK" not in os.environ:
        return Campaign(
            kills=5,
            api_kills=3,
            generated_cases=300,
            tables=200,
            mutated_bodies=2000,
            simulated_days=30,
            load_minutes=0.2,
            progress=None,
        )
    progress = ROOT / "test-results" / "soak"
    progress.mkdir(parents=True, exist_ok=True)
    return Campaign(
        kills=300,
        api_kills=30,
        generated_cases=5000,
        tables=10_000,
        mutated_bodies=100_000,
        simulated_days=1000,
        load_minutes=30,
        progress=progress,
    )


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Gives another free TCP port at each call.

    They lie below those that the system hands out, so no connection takes one before its server has started, and each
    process that runs tests begins elsewhere.
    """
    return lambda: next(_PORTS)


def _free_ports() -> Iterator[int]:
    for number in itertools.count(os.getpid() * 61):
        port = 12_000 + number % 20_000
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
        yield port


_PORTS = _free_ports()
