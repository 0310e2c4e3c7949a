"""What an orchestrator needs to know about the program without loading it: how a check is started, and how it ended.

A check is a process of the program's own environment; exit code and JSON decide, never a message's wording. Nothing of Prefect is known
here, and of the program only its settings: both environments import this module.
"""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from core.jobs import MAY_PASS
from core.records import JsonObject
from core.settings import ROOT, Settings

PYTHON = "CONTINUAL_PYTHON"  # the program's interpreter, for callers in another environment
AHEAD_S = 180.0  # the server writes runs every minute
SMOKE_THRESHOLD = 0.5  # a lower number simulates a model that needs retraining


class CheckFailed(Exception):
    """A check that failed and would fail again if retried."""


class MayPass(CheckFailed):
    """A check that failed and may succeed if retried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A check that completed."""

    state: str  # checked | nothing | skipped (another process holds the lease, or the checks are suspended)
    text: str


def own_python() -> str:
    """The interpreter of the program's environment."""
    configured = os.environ.get(PYTHON)
    usual = ROOT / ".venv" / "bin" / "python"
    return configured or (str(usual) if usual.exists() else sys.executable)


def check_command(slug: str, *, attempt: int) -> list[str]:
    """The command that checks one project once; `attempt` counts from 1."""
    again = ["--again"] if attempt > 1 else []
    return [own_python(), "-m", "core.jobs.worker", "--project", slug, *again]


def own_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a check: the orchestrator retries, so the check itself does not."""
    inherited = {
        name: value for name, value in environment.items() if not name.startswith(("PREFECT__", "VIRTUAL_ENV"))
    }
    return {**inherited, "PYTHONPATH": str(ROOT), "TASK_RETRIES": "0"}


def outcome_of(code: int, output: str) -> Checked:
    """The result of a finished check.

    Raises:
        MayPass: a retry may succeed.
        CheckFailed: it would fail again, or its process was ended: it took too long, or memory ran out.
    """
    try:
        document: JsonObject = json.loads(output.strip().splitlines()[-1])
    except (IndexError, ValueError):
        document = {}
    text = str(document.get("reason") or "")
    if code == 0 and "state" in document:
        return Checked(state=str(document["state"]), text=text)
    if code == MAY_PASS:
        raise MayPass(text or "The check failed.")
    raise CheckFailed(text or f"The check's process ended with exit code {code}. See its log.")


def check(slug: str, *, attempt: int) -> Checked:
    """Check one project in a process of the program's own environment, which ends when this one does; raises as `outcome_of`."""
    process = subprocess.Popen(  # noqa: S603  # a fixed command of ours; slugs are letters, digits and dashes
        check_command(slug, attempt=attempt),
        env=own_environment(os.environ),
        stdin=subprocess.PIPE,  # stays open: when it closes, the check knows that its parent is gone
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    output = process.stdout.read()
    code = process.wait()
    process.stdin.close()
    process.stdout.close()
    return outcome_of(code, output)


def list_projects() -> list[str]:
    """The slugs of all projects, read through the command line; raises CheckFailed if that fails."""
    command = [own_python(), "-m", "core.cli", "projects", "list", "--json"]
    done = subprocess.run(  # noqa: S603  # a fixed command of ours
        command, env=own_environment(os.environ), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CheckFailed(done.stderr.strip() or f"The projects could not be listed (exit code {done.returncode}).")
    return [str(project["slug"]) for project in json.loads(done.stdout)["projects"]]


def changes(served: Iterable[str], projects: Iterable[str]) -> tuple[list[str], list[str]]:
    """Added and removed projects, each sorted."""
    before, now = set(served), set(projects)
    return sorted(now - before), sorted(before - now)


def draw(seed: int | None, *, attempt: int) -> float:
    """The random number of a smoke flow's attempt; with a seed the same attempt draws the same number."""
    if seed is None:
        return random.random()  # noqa: S311  # nothing secret
    drawn = random.Random(seed)  # noqa: S311
    for _ in range(attempt - 1):
        drawn.random()
    return drawn.random()


def pretend(number: float) -> str:
    """The smoke flow's model: "OK", or a retraining that fails; raises MayPass then."""
    if number < SMOKE_THRESHOLD:
        raise MayPass(f"Drew {number:.3f}, below {SMOKE_THRESHOLD}: the simulated retraining failed.")
    return f"OK: drew {number:.3f}."


def server_environment(settings: Settings) -> dict[str, str]:
    """Prefect's own settings: state in the state folder, this machine only, nothing sent out."""
    ahead = str(max(10, math.ceil(AHEAD_S / settings.check_interval_s)))
    return {
        "PREFECT_HOME": str(prefect_home(settings)),
        "PREFECT_API_URL": f"http://127.0.0.1:{settings.prefect_port}/api",
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(settings.prefect_port),
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_RUNNER_POLL_FREQUENCY": str(max(1, min(5, int(settings.check_interval_s / 2)))),
        # Runs are written ahead; what was, and is late at the next start, is marked and deleted then: a hundred lock its database.
        "PREFECT_SERVER_SERVICES_SCHEDULER_MAX_RUNS": ahead,
        "PREFECT_SERVER_DEPLOYMENT_SCHEDULE_MAX_SCHEDULED_RUNS": ahead,
        **OFFLINE,
    }


def prefect_home(settings: Settings) -> Path:
    """Prefect's folder within the state folder."""
    return settings.home_path / "prefect"


OFFLINE = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    # Runs of a check every 30 s add up: after a week they go.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "true",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": "604800",
}
