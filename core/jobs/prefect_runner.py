"""`make prefect`: a Prefect server and the process that serves the flows, in the foreground, until they are stopped.

Both run in an environment of their own (`.venv-prefect`); this process, and every check, in the program's.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path

from core.errors import ContinualError
from core.jobs import orchestrated
from core.jobs.runner import Make, Runner, check_ports, health, interrupted, run
from core.settings import ROOT, Settings, get_settings

ENVIRONMENT = "CONTINUAL_PREFECT_ENV"  # another folder than .venv-prefect


def environment_path() -> Path:
    """The folder of Prefect's environment."""
    return Path(os.environ.get(ENVIRONMENT) or ROOT / ".venv-prefect")


def commands(settings: Settings) -> dict[str, str]:
    """The commands of the two processes."""
    folder = environment_path() / "bin"
    server = [str(folder / "prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(settings.prefect_port)]
    flows = [str(folder / "python"), "-m", "core.jobs.prefect_flow"]
    return {name: f"exec {shlex.join(command)}" for name, command in (("prefect", server), ("flows", flows))}


def main() -> int:
    """Run both; 0 if a stop was requested, else the exit code of the process that kept exiting (at least 1)."""
    make = Make()
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    try:
        settings = get_settings()
        if not (environment_path() / "bin" / "prefect").exists():
            raise ContinualError(
                f"Prefect is not installed in {environment_path().name}. Install it with `make prefect`."
            )
        check_ports([("PREFECT_PORT", "127.0.0.1", settings.prefect_port)], "make prefect")
        orchestrated.prefect_home(settings).mkdir(parents=True, exist_ok=True)
    except ContinualError as error:
        sys.exit(str(error))
    environment = {
        **os.environ,
        **orchestrated.server_environment(settings),
        orchestrated.PYTHON: sys.executable,
        "CONTINUAL_HOME": str(settings.home_path),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }
    for name in ("MAKELEVEL", "MAKEFLAGS", "MFLAGS"):
        environment.pop(name, None)
    runner = Runner()
    for name, command in commands(settings).items():
        runner.add_process(name, command, env=environment)
    url = f"http://127.0.0.1:{settings.prefect_port}"

    def unhealthy(_seconds: float) -> list[str]:
        return [] if health(f"{url}/api/health") == b"true" else ["prefect"]

    return run(runner, make, unhealthy, [f"Prefect: {url}"])


if __name__ == "__main__":
    sys.exit(main())
