"""The cycle as a Prefect flow, and the process that serves one deployment for each project. Runs in Prefect's environment only.

Every state is a line in the flow's own log: running, retrying, completed, failed. People are notified of a failed cycle by the cycle
itself, in the transaction that records it, as with every other clock; a check that finds nothing only logs it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import urllib.request
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect import flow, get_client, get_run_logger, runtime, task
from prefect.client.schemas.sorting import DeploymentSort
from prefect.exceptions import ObjectNotFound
from prefect.runner import Runner
from prefect.states import Completed
from prefect.types.entrypoint import EntrypointType

from core.errors import ContinualError
from core.jobs import orchestrated
from core.settings import Settings, get_settings

MOST_AT_ONCE = 2  # parallel flow runs; each is a process
SERVER_WAIT_S = 1.0
SMOKE = "smoke"
PAGE = 100


def _may_pass(_task: Any, _run: Any, state: Any) -> bool:
    """Whether a retry may succeed."""
    try:
        state.result()
    except orchestrated.MayPass:
        return True
    except Exception:
        return False
    return False


def _retried() -> dict[str, Any]:
    settings = get_settings()
    return {
        "retries": settings.task_retries,
        "retry_delay_seconds": settings.retry_delay_s,
        "retry_condition_fn": _may_pass,
    }


def _attempt() -> int:
    """The number of this attempt, from 1; logs whether it is the first one or a retry."""
    attempt = int(runtime.task_run.run_count or 1)
    if attempt == 1:
        get_run_logger().info("running")
    else:
        get_run_logger().warning("retrying: attempt %s of %s", attempt, get_settings().task_retries + 1)
    return attempt


@task(name="check")
def _check(project: str) -> orchestrated.Checked:
    return orchestrated.check(project, attempt=_attempt())


@task(name="draw")
def _draw(seed: int | None) -> str:
    return orchestrated.pretend(orchestrated.draw(seed, attempt=_attempt()))


@flow(name="check")
def check(project: str) -> Any:
    """One check of one project. Its state is Skipped if another process holds the lease: that is no failure."""
    log = get_run_logger()
    try:
        done = _check.with_options(**_retried())(project)
    except orchestrated.CheckFailed as error:
        log.error("failed: %s", error)
        raise
    log.info("completed (%s): %s", done.state, done.text)
    return Completed(name="Skipped", message=done.text) if done.state == "skipped" else Completed(message=done.state)


@flow(name="random-check")
def random_check(seed: int | None = None) -> Any:
    """Draw a number; below 0.5 a simulated retraining fails and is retried, else the run succeeds. Uses no project."""
    log = get_run_logger()
    try:
        result = _draw.with_options(**_retried())(seed)
    except orchestrated.CheckFailed as error:
        log.error("failed: %s", error)
        raise
    log.info("completed: %s", result)
    return Completed(message=result)


class Server:
    """Deployments at the Prefect server, kept in sync with the projects."""

    def __init__(self, settings: Settings) -> None:
        self._interval = timedelta(seconds=settings.check_interval_s)
        # Leftover deployments are deleted at the next start: pausing them would wait for a server that is shutting down too.
        self._runner = Runner(name="continual-ml", limit=MOST_AT_ONCE, pause_on_shutdown=False)
        self._served: dict[str, UUID] = {}

    async def run(self) -> None:
        """Serve until stopped."""
        await _until_healthy()
        await self._forget_unserved()
        await self._serve_smoke()
        await self._keep_in_step()
        watching = asyncio.create_task(self._watch())
        try:
            await self._runner.start()
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._interval.total_seconds())
            try:
                await self._keep_in_step()
            except Exception as error:  # the server or the database may become available again
                _say(f"The projects could not be listed ({type(error).__name__}); retrying.")

    async def _keep_in_step(self) -> None:
        try:
            projects = await asyncio.to_thread(orchestrated.list_projects)
        except orchestrated.CheckFailed as error:
            _say(str(error))
            return
        added, removed = orchestrated.changes(self._served, projects)
        for slug in added:
            deployment = await check.to_deployment(
                name=slug,
                interval=self._interval,
                parameters={"project": slug},
                paused=False,
                entrypoint_type=EntrypointType.MODULE_PATH,
            )
            self._served[slug] = await self._runner.add_deployment(deployment)
            _say(f"serving {slug}: a check every {self._interval.total_seconds():g} s")
        for slug in removed:
            await _delete(self._served.pop(slug))
            _say(f"no longer serving {slug}: the project was deleted")

    async def _serve_smoke(self) -> None:
        """The smoke flow: run by hand, or every interval where CONTINUAL_SMOKE_SEED is set (a number, or `random`)."""
        seed = os.environ.get("CONTINUAL_SMOKE_SEED")
        deployment = await random_check.to_deployment(
            name=SMOKE,
            interval=self._interval if seed else None,
            parameters={"seed": int(seed)} if seed and seed != "random" else {},
            paused=False,
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        await self._runner.add_deployment(deployment)

    async def _forget_unserved(self) -> None:
        """Delete an earlier process's deployments: their late runs would all start at once, their projects may be gone."""
        async with get_client() as client:
            # Limit and order are named: the server refuses the nulls that the client would send for them.
            while deployments := await client.read_deployments(limit=PAGE, sort=DeploymentSort.NAME_ASC):
                for deployment in deployments:
                    await _delete(deployment.id)


async def _delete(deployment: UUID) -> None:
    async with get_client() as client:
        with suppress(ObjectNotFound):
            await client.delete_deployment(deployment)


async def _until_healthy() -> None:
    """Wait for the server, which takes a while at its first start."""
    url = os.environ["PREFECT_API_URL"].rstrip("/") + "/health"
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310  # nothing else runs yet; the address is our own
                return
        except OSError:
            await asyncio.sleep(SERVER_WAIT_S)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Entry: `.venv-prefect/bin/python -m core.jobs.prefect_flow`; PREFECT_API_URL says where the server is."""
    if "PREFECT_API_URL" not in os.environ:
        sys.exit("PREFECT_API_URL is not set. `make prefect` sets it and starts the server.")
    try:
        settings = get_settings()
    except ContinualError as error:
        sys.exit(str(error))
    # Entrypoints are module paths: the flows belong to the module's real name, not to __main__.
    from core.jobs import prefect_flow

    with suppress(KeyboardInterrupt, asyncio.CancelledError):  # no traceback after a requested stop
        asyncio.run(prefect_flow.Server(settings).run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
