"""The process that does the work: `python -m core.jobs.worker`, started when there is work, ends when idle.

It runs jobs, checks projects on request, and advances live runs, one step at a time. A file lock allows one per
state folder. `--follow`: takes orders from the scheduler on stdin and ends when that closes. `--once`: does what waits
and ends. `--project`: makes one check of one project, as an orchestrator asks for it, and answers in JSON. Whatever goes wrong in a step is recorded with it and never ends the process.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from loguru import logger
from sqlalchemy.exc import SQLAlchemyError

from core.errors import Busy, ContinualError, NotFound
from core.jobs import ANOTHER_WORKS, MAY_PASS, frugal, job_kinds, time_limits
from core.jobs.failures import brief, log_failure
from core.jobs.stop import Stop
from core.jobs.time_limits import limited
from core.logs import set_up_logs
from core.records import CycleReport, JsonObject
from core.services.automation import attempts, due_work, jobs, live, workers
from core.services.automation.jobs import JobInfo
from core.services.incidents import delivery
from core.services.operations import tidying
from core.services.projects import projects
from core.services.serving import log_retention
from core.settings import get_settings
from core.storage.engine import file_lock
from core.storage.troubles import trouble_of
from core.storage.workspace import Workspace, open_workspace

IDLE_S = 20.0
IDLE_AFTER_LIVE_S = 60.0  # a paused run may be resumed at any moment: keep the imports loaded
POLL_S = 0.2
LONGEST_WAIT_S = 15.0  # pauses after consecutive failed steps
BUSY_WAIT_S = 120.0  # how long a job waits for a project that another process works on


class Worker:
    """Works through what is queued, in passes."""

    def __init__(self, ws: Workspace, stop: Stop | threading.Event, checks: threading.Event) -> None:
        self._ws = ws
        self._stop = stop
        self._checks = checks  # set: check the projects for new data
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        self._live_seen = False

    def run(self, *, once: bool) -> None:
        """Work until stopped, until idle for a while, or (`once`) until nothing is queued and no live run plays."""
        idle_since, failures = time.monotonic(), 0
        while not self._stop.is_set():
            try:
                worked = self.step()
                failures = 0
            except Exception as error:  # an unavailable database or a full disk may recover
                log_failure("a step failed", error)
                worked = False
                failures += 1
                self._stop.wait(min(POLL_S * 2**failures, LONGEST_WAIT_S))
            if worked:
                frugal.give_back()
                if _fit_left_running():
                    logger.warning(
                        "a fit that exceeded its time limit may still be running: this worker ends so that a new one can start"
                    )
                    return
                idle_since = time.monotonic()
                continue
            if once and live.next_due_at(self._ws) is None:
                return
            if time.monotonic() - idle_since > (IDLE_AFTER_LIVE_S if self._live_seen else IDLE_S):
                return
            self._stop.wait(POLL_S)

    def step(self) -> bool:
        """One job, one live batch and, on request, one check of the projects; returns whether anything was done."""
        worked = False
        job = jobs.claim_next(self._ws, self._owner, _now())
        if job is not None:
            self._do(job)
            worked = True
        due = live.due_runs(self._ws, _now())
        if due and not self._stop.is_set():
            self._advance(due[0])
            worked = True
        if self._checks.is_set() and not self._stop.is_set():
            self._checks.clear()
            worked = self._check() or worked
        return worked

    def _do(self, job: JobInfo) -> None:
        uncount = functools.partial(jobs.release, self._ws, job.id, self._owner)
        with logger.contextualize(job=job.id), limited(self._ws, self._owner, job, uncount=uncount):
            try:
                result: Mapping[str, Any]
                if job.kind == "ingest":
                    result = job_kinds.ingest_file(self._ws, job)
                elif job.kind == "score":
                    result = job_kinds.score_file(self._ws, job)
                elif job.kind == "backtest":
                    result = job_kinds.compare_policies(self._ws, job)
                else:
                    result = self._cycle(job)
            except ContinualError as error:
                jobs.fail(self._ws, job.id, str(error), _now())
                logger.warning("{kind} failed: {error}", kind=job.kind, error=error)
            except Exception as error:
                trouble = trouble_of(error)
                reason = trouble.text if trouble else f"{type(error).__name__}: see the worker's log, job {job.id}."
                jobs.fail(self._ws, job.id, reason, _now())
                log_failure(f"{job.kind} failed", error)
            else:
                jobs.finish(self._ws, job.id, result, _now())

    def _cycle(self, job: JobInfo) -> job_kinds.CycleResult:
        from core.cycle import Watcher

        assert job.project_id is not None
        report = self._turn(
            job.project_id,
            cause=str(job.payload.get("cause", "api")),
            force=bool(job.payload.get("force", False)),
            by=job.requested_by,
            watcher=Watcher(
                on_start=lambda cycle_id: jobs.note_cycle(self._ws, job.id, cycle_id),
                on_close=lambda session, report: jobs.end(session, job.id, job_kinds.cycle_result(report), _now()),
                progress=job_kinds.progress_writer(self._ws, job),
            ),
        )
        return job_kinds.cycle_result(report)

    def _turn(self, project_id: int, **options: Any) -> Any:
        """`run_cycle` with retries after transient errors: TASK_RETRIES times, RETRY_DELAY_SECONDS apart."""
        from core.cycle import run_cycle

        settings, failures = self._ws.settings, 0
        give_up = time.monotonic() + BUSY_WAIT_S
        while True:
            try:
                return run_cycle(self._ws, project_id, now=_now(), **options)
            except Busy:
                if options["cause"] == "schedule" or self._stop.is_set() or time.monotonic() > give_up:
                    raise
                self._stop.wait(1.0)
            except ContinualError:
                raise  # the same input would fail again
            except Exception as error:
                failures += 1
                if failures > settings.task_retries or self._stop.is_set():
                    raise
                logger.warning("attempt {n} failed ({error}): retrying", n=failures, error=type(error).__name__)
                self._stop.wait(settings.retry_delay_s)

    def _check(self) -> bool:
        with self._ws.database.read() as session:
            due = due_work.due_projects(session, _now())
        for project_id in due:
            if self._stop.is_set():
                break
            if not attempts.begin_check(self._ws, project_id, _now()):
                logger.warning("the checks of project {id} are suspended", id=project_id)
                continue
            try:
                self.check_project(project_id)
            except Busy:
                logger.debug("project {id} is being worked on", id=project_id)
            except Exception as error:
                logger.error("the check of project {id} failed: {error}", id=project_id, error=brief(error))
        return bool(due)

    def check_project(self, project_id: int) -> CycleReport | None:
        """One scheduled check, whose attempt was counted; raises what the cycle raises."""
        with limited(self._ws, self._owner, None, uncount=lambda: attempts.uncount_check(self._ws, project_id)):
            try:
                report: CycleReport | None = self._turn(project_id, cause="schedule")
            except Busy:
                attempts.uncount_check(self._ws, project_id)
                raise
            except Exception:
                attempts.end_check(self._ws, project_id)
                raise
            attempts.end_check(self._ws, project_id)
            return report

    def _advance(self, run_id: int) -> None:
        from core.cycle import advance_live

        self._live_seen = True
        if not live.begin_step(self._ws, run_id, _now()):
            return
        with limited(self._ws, self._owner, None, uncount=functools.partial(live.uncount_step, self._ws, run_id)):
            try:
                advance_live(self._ws, run_id, now=_now())
            except NotFound as error:
                logger.info("the live run no longer exists: {error}", error=error)
            except Exception as error:
                trouble = trouble_of(error)
                log_failure("the live run failed", error)
                reason = trouble.text if trouble else f"{type(error).__name__}: see the worker's log."
                live.fail_run(self._ws, run_id, reason)


def _fit_left_running() -> bool:
    cycle = sys.modules.get("core.cycle")  # not loaded: no cycle has run here
    return cycle is not None and cycle.fits_left_running()


def _now() -> datetime:
    return datetime.now(UTC)


def _obey(stop: Stop, checks: threading.Event) -> None:
    """Thread: reads requests from the scheduler; a closed pipe means that it has exited."""
    for line in sys.stdin:
        if line.strip() == "check":
            checks.set()
    stop.set()


def _tidy(ws: Workspace) -> None:
    """Remove unreferenced files and old predictions; an error here never stops the work."""
    try:
        refused = tidying.tidy(ws, _now()).refused
    except (ContinualError, SQLAlchemyError, OSError) as error:
        refused = f"No unreferenced file was removed. {brief(error)}"
    if refused:
        logger.warning("{text}", text=refused)
    try:
        log_retention.remove_old(ws, _now())
    except (ContinualError, SQLAlchemyError) as error:
        logger.warning("Old predictions were not removed from the log. {text}", text=brief(error))


def check_once(ws: Workspace, slug: str, *, again: bool, stop: Stop | threading.Event) -> tuple[int, JsonObject]:
    """Check one project as the scheduler would, without the worker's lock: the project's lease keeps both from one loop.

    Args:
        again: a retry after a failed check: data that the failed check has read is read again.

    Returns:
        The exit code and its document: 0 with `state` checked, nothing or skipped (another process holds the lease, the project is gone,
        or its checks are suspended), 1 failed and would fail again, 76 failed and may succeed if retried.
    """
    try:
        project = projects.get_project(ws, slug)
        with ws.database.read() as session:
            due = again or project.id in due_work.due_projects(session, _now())
        if not due:
            return 0, {"state": "nothing", **job_kinds.cycle_result(None)}
        if not attempts.begin_check(ws, project.id, _now()):
            return 0, {"state": "skipped", "reason": "Its checks are suspended."}
        report = Worker(ws, stop, threading.Event()).check_project(project.id)
        return 0, {"state": "nothing" if report is None else "checked", **job_kinds.cycle_result(report)}
    except (Busy, NotFound) as why:  # another process holds the lease, or the project was deleted meanwhile
        return 0, {"state": "skipped", "reason": str(why)}
    except ContinualError as error:
        return 1, {"state": "failed", "reason": str(error)}
    except Exception as error:
        log_failure("the check failed", error)
        return MAY_PASS, {"state": "failed", "reason": brief(error)}
    finally:
        if not workers.scheduler_lives(ws, _now()):  # else it sends them
            delivery.deliver_due(ws, _now())


def main(arguments: list[str] | None = None) -> int:
    """Entry; 75 when another worker holds the state folder."""
    parser = argparse.ArgumentParser(prog="python -m core.jobs.worker", description="Run queued work.")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--once", action="store_true", help="exit as soon as nothing is queued")
    mode.add_argument("--follow", action="store_true", help="read requests from stdin, exit when it closes")
    mode.add_argument("--project", metavar="SLUG", help="check this project once; exits when stdin closes")
    parser.add_argument(
        "--again", action="store_true", help="with --project: check even if there is no new data since a failed check"
    )
    chosen = parser.parse_args(arguments)
    os.nice(5)  # pages and answers come first
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 2) // 2, 1)))
    stop, checks = Stop(), threading.Event()

    def _stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    threading.Thread(target=time_limits.watch, args=(stop,), daemon=True).start()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        settings = get_settings()
        set_up_logs(settings, "worker")
        ws = open_workspace(settings, migrate=True)
    except (ContinualError, SQLAlchemyError, OSError) as error:
        if not isinstance(error, ContinualError) and trouble_of(error) is None:
            raise
        sys.exit(brief(error))
    if chosen.follow or chosen.project:
        threading.Thread(target=_obey, args=(stop, checks), daemon=True).start()
    if chosen.project:
        code, document = check_once(ws, chosen.project, again=chosen.again, stop=stop)
        sys.stdout.write(json.dumps(document) + "\n")
        return code
    more = True
    while more:
        with file_lock(ws.locks_path / "worker.lock", wait=False) as held:
            if not held:
                return ANOTHER_WORKS if chosen.follow else 0
            _tidy(ws)
            Worker(ws, stop, checks).run(once=chosen.once)
        # A request made while this process was about to exit found the lock held and relies on this process.
        with ws.database.read() as session:
            more = not stop.is_set() and due_work.pending(session, _now())
    return 0


if __name__ == "__main__":
    sys.exit(main())
