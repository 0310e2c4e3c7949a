"""The process that does the work: `python -m core.jobs.worker`, started when there is some, gone when idle.

It takes up jobs, checks projects when told to, and advances live runs, one step at a time. A file lock allows one per
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from loguru import logger
from sqlalchemy.exc import SQLAlchemyError

from core.errors import Busy, ContinualError, NotFound
from core.jobs import ANOTHER_WORKS, MAY_PASS, frugal
from core.jobs.stop import Stop
from core.logs import set_up_logs
from core.records import CycleReport
from core.services.automation import attempts, jobs, live
from core.services.automation.jobs import JobInfo
from core.services.incidents import delivery
from core.services.ingestion import ingest
from core.services.operations import tidying
from core.services.projects import projects
from core.settings import get_settings
from core.storage.engine import file_lock
from core.storage.troubles import trouble_of
from core.storage.workspace import Workspace, open_workspace

IDLE_S = 20.0
IDLE_AFTER_LIVE_S = 60.0  # a paused run may go on at any moment: keep the imports warm
POLL_S = 0.2
LONGEST_WAIT_S = 15.0  # after steps that failed, one after another
RENEW_S = 15.0
TELL_S = 0.5  # between two words on how far a job is
BUSY_WAIT_S = 120.0  # how long a job waits for a project that another process works on
STOP_S = 7.0  # a step that has not ended so long after SIGTERM is cut off; it is taken up again
TOO_LONG = 70
_under_way: list[Callable[[], None]] = []  # what crosses out the try of the step that runs


class Worker:
    """One pass after another over what waits."""

    def __init__(self, ws: Workspace, stop: Stop | threading.Event, checks: threading.Event) -> None:
        self._ws = ws
        self._stop = stop
        self._checks = checks  # set: look through the projects for something new
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        self._live_seen = False

    def run(self, *, once: bool) -> None:
        """Work until told to stop, until idle for a while, or (`once`) until nothing waits and no live run plays."""
        idle_since, failures = time.monotonic(), 0
        while not self._stop.is_set():
            try:
                worked = self.step()
                failures = 0
            except Exception as error:  # a database out of reach, a disk that is full: it may come back
                _tell_failed("a step failed", error)
                worked = False
                failures += 1
                self._stop.wait(min(POLL_S * 2**failures, LONGEST_WAIT_S))
            if worked:
                frugal.give_back()
                if _fit_left_running():
                    logger.warning("a fit that did not end in time may still be running: this worker makes way")
                    return
                idle_since = time.monotonic()
                continue
            if once and live.next_due_at(self._ws) is None:
                return
            if time.monotonic() - idle_since > (IDLE_AFTER_LIVE_S if self._live_seen else IDLE_S):
                return
            self._stop.wait(POLL_S)

    def step(self) -> bool:
        """One job, one live batch and, when asked for, one look through the projects; whether anything was done."""
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
        forgive = functools.partial(jobs.forgive, self._ws, job.id, self._owner)
        with logger.contextualize(job=job.id), self._limited(job, forgive=forgive):
            try:
                if job.kind == "ingest":
                    result = self._ingest(job)
                elif job.kind == "score":
                    result = self._score(job)
                elif job.kind == "backtest":
                    result = self._backtest(job)
                else:
                    result = self._cycle(job)
            except ContinualError as error:
                jobs.fail(self._ws, job.id, str(error), _now())
                logger.warning("{kind} failed: {error}", kind=job.kind, error=error)
            except Exception as error:
                trouble = trouble_of(error)
                said = trouble.text if trouble else f"{type(error).__name__}: the log of this job tells more."
                jobs.fail(self._ws, job.id, said, _now())
                _tell_failed(f"{job.kind} failed", error)
            else:
                jobs.finish(self._ws, job.id, result, _now())

    def _cycle(self, job: JobInfo) -> dict[str, Any]:
        assert job.project_id is not None
        report = self._turn(
            job.project_id,
            cause=str(job.payload.get("cause", "api")),
            force=bool(job.payload.get("force", False)),
            by=job.requested_by,
            on_start=lambda cycle_id: jobs.note_cycle(self._ws, job.id, cycle_id),
            on_close=lambda session, report: jobs.end(session, job.id, _cycle_told(report), _now()),
            progress=self._teller(job),
        )
        return _cycle_told(report)

    def _turn(self, project_id: int, **options: Any) -> Any:
        """`run_cycle`, once more after what may pass: TASK_RETRIES times, RETRY_DELAY_SECONDS apart."""
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
                raise  # the same input gives the same answer
            except Exception as error:
                failures += 1
                if failures > settings.task_retries or self._stop.is_set():
                    raise
                logger.warning("attempt {n} failed ({error}): trying again", n=failures, error=type(error).__name__)
                self._stop.wait(settings.retry_delay_s)

    def _ingest(self, job: JobInfo) -> dict[str, Any]:
        """A file becomes a batch. The batch and the job's end are one transaction: done again, nothing is stored twice."""
        assert job.project_id is not None
        options = dict(job.payload)
        path = Path(options.pop("path"))
        name = options.pop("name", path.name)
        project = projects.project_by_id(self._ws, job.project_id)
        try:
            report = ingest.ingest_file(
                self._ws, project, path, name=name, by=job.requested_by or "worker", now=_now(),
                also=lambda session, report: jobs.end(session, job.id, _ingest_told(report), _now()), **options,
            )  # fmt: skip
        finally:
            path.unlink(missing_ok=True)
        return _ingest_told(report)

    def _score(self, job: JobInfo) -> dict[str, Any]:
        """Predictions of a file. The log and the job's end are one transaction: done again, nothing is logged twice."""
        from core.data.conforming import table_of
        from core.data.files import read_table
        from core.services.serving import answering, champion_cache
        from core.services.serving.prediction_log import store
        from core.storage.batches import write_durably

        assert job.project_id is not None
        path = Path(job.payload["path"])
        try:
            served = champion_cache.champion(self._ws, projects.project_by_id(self._ws, job.project_id))
            name, target = job.payload.get("name", path.name), served.schema.target
            read = read_table(path, name=name, max_bytes=self._ws.settings.max_upload_bytes, target=target)
            table, notes, _ = table_of(read.frame, served.schema)
            answered = answering.many(served, table, _now(), token_id=None)
            result = {"rows": answered.rows, "model_version": served.version}
            write_durably(
                self._ws.results_path / f"{job.id}.json", answering.document(answered, (*read.problems, *notes))
            )
            store(self._ws, answered.records, also=lambda session: jobs.end(session, job.id, result, _now()))
            path.unlink(missing_ok=True)
        except ContinualError:
            path.unlink(missing_ok=True)
            raise
        return result

    def _backtest(self, job: JobInfo) -> dict[str, Any]:
        from core.learning.policy import policy_from_document
        from core.services.automation import backtests

        assert job.project_id is not None
        since = job.payload.get("since")
        return backtests.compare_policies(
            self._ws,
            projects.project_by_id(self._ws, job.project_id),
            [policy_from_document(document) for document in job.payload["policies"]],
            since=datetime.fromisoformat(since) if since else None,
            progress=self._teller(job),
        )

    def _teller(self, job: JobInfo) -> Callable[[float, str], None]:
        """Progress that is written to the job's row, now and then."""
        last = [0.0]

        def tell(share: float, text: str) -> None:
            if time.monotonic() - last[0] >= TELL_S:
                last[0] = time.monotonic()
                _quietly(lambda: jobs.tell(self._ws, job.id, share, text))

        return tell

    def _check(self) -> bool:
        with self._ws.database.read() as session:
            due = jobs.due_projects(session, _now())
        for project_id in due:
            if self._stop.is_set():
                break
            if not attempts.begin_check(self._ws, project_id, _now()):
                logger.warning("the checks of project {id} are set aside", id=project_id)
                continue
            try:
                self.check_project(project_id)
            except Busy:
                logger.debug("project {id} is being worked on", id=project_id)
            except Exception as error:
                logger.error("the check of project {id} failed: {error}", id=project_id, error=_brief(error))
        return bool(due)

    def check_project(self, project_id: int) -> CycleReport | None:
        """One check by the clock, whose try was counted; raises what the cycle raises."""
        with self._limited(None, forgive=lambda: attempts.forgive_check(self._ws, project_id)):
            try:
                report: CycleReport | None = self._turn(project_id, cause="schedule")
            except Busy:
                attempts.forgive_check(self._ws, project_id)
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
        with self._limited(None, forgive=functools.partial(live.forgive_step, self._ws, run_id)):
            try:
                advance_live(self._ws, run_id, now=_now())
            except NotFound as error:
                logger.info("the live run is gone: {error}", error=error)
            except Exception as error:
                trouble = trouble_of(error)
                _tell_failed("the live run failed", error)
                said = trouble.text if trouble else f"{type(error).__name__}: the worker's log tells more."
                live.fail_run(self._ws, run_id, said)

    @contextmanager
    def _limited(self, job: JobInfo | None, *, forgive: Callable[[], None]) -> Iterator[None]:
        """Keep the job's claim while its step runs, and end the process when that takes longer than it may.

        Args:
            forgive: crosses out the try, should the step be cut off because somebody ends the worker.
        """
        done = threading.Event()
        _under_way.append(forgive)
        keeper = threading.Thread(target=self._keep, args=(job, done), name="keeper", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            _under_way.remove(forgive)
            done.set()
            keeper.join()

    def _keep(self, job: JobInfo | None, done: threading.Event) -> None:
        limit = self._ws.settings.cycle_timeout_s
        ends = time.monotonic() + limit
        text = f"It took longer than {limit:g} s (CONTINUAL_CYCLE_TIMEOUT_SECONDS) and was ended."
        while not done.wait(min(RENEW_S, max(ends - time.monotonic(), 0.0))):
            if time.monotonic() < ends:
                if job is not None:
                    _quietly(lambda: jobs.renew(self._ws, job.id, self._owner, _now()))
                continue
            logger.error(text)
            if job is not None:
                _quietly(lambda: jobs.fail(self._ws, job.id, text, _now()))
            _end_now(TOO_LONG)


def _fit_left_running() -> bool:
    cycle = sys.modules.get("core.cycle")  # not loaded: no cycle has run here
    return cycle is not None and cycle.fits_left_running()


def _cycle_told(report: CycleReport | None) -> dict[str, Any]:
    """A cycle as the job's result."""
    if report is None:
        reason = "Nothing new since the last check: no rows, no labels."
        return {"cycle": None, "decision": "nothing", "reason": reason, "outcome": "none"}
    return {"cycle": report.id, "decision": report.decision, "reason": report.reason, "outcome": report.outcome}


def _ingest_told(report: ingest.IngestReport) -> dict[str, Any]:
    """A stored file as the job's result."""
    from core.data.problems import document_of

    return {
        "batch": report.batch.id,
        "rows": report.rows,
        "labelled": report.labelled,
        "problems": [document_of(p) for p in report.problems],
        "backfill": report.backfill,
    }


def _now() -> datetime:
    return datetime.now(UTC)


def _brief(error: Exception) -> str:
    if isinstance(error, ContinualError):
        return str(error)
    trouble = trouble_of(error)
    return trouble.text if trouble else type(error).__name__


def _tell_failed(what: str, error: Exception) -> None:
    """Log a failure: in a sentence where it is one of the surroundings, else with where it happened."""
    trouble = trouble_of(error)
    if trouble is not None:
        logger.error("{what}: {text}", what=what, text=trouble.text)
    else:
        logger.opt(exception=error).error(what)


def _quietly(action: Callable[[], None]) -> None:
    try:
        action()
    except Exception as error:
        logger.warning("the jobs table could not be written: {error}", error=type(error).__name__)


def _end_now(code: int) -> None:
    """End this process and the fits that it started, from any thread, whatever the main thread is computing."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        child.kill()
    os._exit(code)


def _obey(stop: Stop, checks: threading.Event) -> None:
    """Thread: orders of the scheduler; a closed pipe means that it has gone."""
    for line in sys.stdin:
        if line.strip() == "check":
            checks.set()
    stop.set()


def _watch(stop: Stop) -> None:
    """Thread: once the end is asked for, the step under way may take so long and no longer."""
    stop.wait()
    _cut_off()


def _cut_off() -> None:
    """End a step that goes on too long after the end was asked for."""
    time.sleep(STOP_S)
    logger.warning("the step did not end within {s:g} s and was cut off; it is taken up again", s=STOP_S)
    for forgive in list(_under_way):
        _quietly(forgive)
    _end_now(1)


def _tidy(ws: Workspace) -> None:
    """Take away what nothing names; what stands in the way of that never stands in the way of work."""
    try:
        refused = tidying.tidy(ws, _now()).refused
    except (ContinualError, SQLAlchemyError, OSError) as error:
        refused = f"Nothing was tidied. {_brief(error)}"
    if refused:
        logger.warning("{text}", text=refused)


def check_once(ws: Workspace, slug: str, *, again: bool, stop: Stop | threading.Event) -> tuple[int, dict[str, Any]]:
    """Check one project as the scheduler would, without the worker's lock: the project's lease keeps both from one loop.

    Args:
        again: a try after one that failed: what is new was looked at then, and is looked at once more.

    Returns:
        The exit code and its document: 0 with `state` checked, nothing or skipped (another process is at it, the project is gone,
        or its checks are set aside), 1 failed and would fail again, 76 failed and may pass.
    """
    try:
        project = projects.get_project(ws, slug)
        with ws.database.read() as session:
            due = again or project.id in jobs.due_projects(session, _now())
        if not due:
            return 0, {"state": "nothing", **_cycle_told(None)}
        if not attempts.begin_check(ws, project.id, _now()):
            return 0, {"state": "skipped", "reason": "Its checks are set aside."}
        report = Worker(ws, stop, threading.Event()).check_project(project.id)
        return 0, {"state": "nothing" if report is None else "checked", **_cycle_told(report)}
    except (Busy, NotFound) as why:  # another process is at it; or the project was deleted meanwhile
        return 0, {"state": "skipped", "reason": str(why)}
    except ContinualError as error:
        return 1, {"state": "failed", "reason": str(error)}
    except Exception as error:
        _tell_failed("the check failed", error)
        return MAY_PASS, {"state": "failed", "reason": _brief(error)}
    finally:
        if not jobs.scheduler_lives(ws, _now()):  # else it sends them
            delivery.deliver_due(ws, _now())


def main(arguments: list[str] | None = None) -> int:
    """Entry; 75 when another worker holds the state folder."""
    parser = argparse.ArgumentParser(prog="python -m core.jobs.worker", description="Do the work that waits.")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--once", action="store_true", help="end as soon as nothing waits")
    mode.add_argument("--follow", action="store_true", help="take orders on stdin, end when it closes")
    mode.add_argument("--project", metavar="SLUG", help="check this project once; ends when stdin closes")
    parser.add_argument(
        "--again", action="store_true", help="with --project: also when nothing came since a check failed"
    )
    chosen = parser.parse_args(arguments)
    os.nice(5)  # pages and answers come first
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 2) // 2, 1)))
    stop, checks = Stop(), threading.Event()

    def _stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    threading.Thread(target=_watch, args=(stop,), daemon=True).start()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        settings = get_settings()
        set_up_logs(settings, "worker")
        ws = open_workspace(settings, migrate=True)
    except (ContinualError, SQLAlchemyError, OSError) as error:
        if not isinstance(error, ContinualError) and trouble_of(error) is None:
            raise
        sys.exit(_brief(error))
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
        # Who asked for work while this process was about to end found the lock taken, and relies on it.
        with ws.database.read() as session:
            more = not stop.is_set() and jobs.pending(session, _now())
    return 0


if __name__ == "__main__":
    sys.exit(main())
