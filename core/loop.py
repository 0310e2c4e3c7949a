"""One turn of the loop: lease, seal, read, measure, decide, race, verdict, audit row, notices.

The one place where the steps meet. The decisions themselves are `core.learning.learner.advance`, the same function
that replays a file. Everything that a cycle changes is committed in one transaction at its end: a process that
dies in the middle leaves the champion, the evidence and the watermarks as they were.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loguru import logger
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from core.errors import BadInput, Busy, ContinualError, Damaged, NotFound, Overtaken, StorageError
from core.learning.policy import policy_from_document
from core.records import ROW_ID, ROW_TIME, CycleReport, DriftReport, FeatureSchema, PerformanceReport, ProjectInfo
from core.services import (
    attempts,
    desk,
    drifts,
    estimates,
    jobs,
    live,
    monitoring,
    notify,
    projects,
    pruning,
    sealing,
    serving,
)
from core.storage import history, learners, queries, registry
from core.storage.tables import Batch, Cycle, DriftRun, EstimateRun, Lease, PerformanceRun, Project
from core.storage.troubles import trouble_of
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from sqlalchemy.orm import Session

    from core.learning.learner import Labelled, Step
    from core.learning.state import LearnerState

LEASE = timedelta(seconds=60)
RENEW_EVERY_S = 15.0
RETURNS, RETURN_EVERY_S = 4, 0.5  # attempts at giving a lease back, and the time between two
DAY = timedelta(days=1)
SAME_VALUE = 0.01  # two values this near to each other (as a share) count as agreement
ATTEMPTS = 3  # at a cycle that a person's change overtakes
ESTIMATE_SEED = 0  # the same rows give the same estimate
Progress = Callable[[float, str], None]
OnClose = Callable[["Session", CycleReport], None]


@dataclass(frozen=True, slots=True)
class _Group:
    """Newly labelled rows of one batch, with the predictions made before their labels were known."""

    batch: Batch
    frame: pd.DataFrame
    y: np.ndarray
    scores: history.Scores | None  # rows aligned with `frame`
    keys: pd.Index  # of the rows, as the learner knows them
    weights: np.ndarray | None  # rows that each stands for, where the label desk chose them; None = all alike


@dataclass(frozen=True, slots=True)
class _Found:
    """What is new since the last finished cycle."""

    batches: list[Batch]  # new ones, oldest first, backfills aside
    groups: list[_Group]  # newly labelled rows, in stream order
    batch_watermark: int
    label_watermark: int
    news: int
    set_aside: tuple[dict[str, Any], ...] = ()  # {code, batch, cause} of new batches that could not be scored or read
    damaged: dict[int, Damaged] = field(default_factory=dict)  # by batch number: what else is left out, told with them
    serves: int | None = None  # the champion, also where its artefact is damaged and the project goes on without one
    notes: list[str] = field(default_factory=list)  # sentences on what was lost, for the audit row

    def left_out(self) -> tuple[dict[str, Any], ...]:
        """Every batch that this cycle does without, and why."""
        told = {entry["batch"] for entry in self.set_aside}
        more = [_entry(number, error) for number, error in sorted(self.damaged.items()) if number not in told]
        return (*self.set_aside, *more)


def _entry(number: int, error: Damaged) -> dict[str, Any]:
    code = "batch_damaged" if error.what == f"batch {number}" else "scores_damaged"
    return {"code": code, "batch": number, "cause": str(error)}


def run_cycle(
    ws: Workspace,
    project_id: int,
    *,
    cause: str,
    now: datetime,
    by: str | None = None,
    force: bool = False,
    seed: int | None = None,
    progress: Progress | None = None,
    on_start: Callable[[int], None] | None = None,
    on_close: OnClose | None = None,
) -> CycleReport | None:
    """Turn the loop of one project once.

    Args:
        cause: schedule | button | api | cli | live.
        now: the cycle's instant; every row that it writes carries it.
        force: race whatever the policy says.
        seed: of all randomness; by default derived from project and cycle.
        on_start: called with the cycle's id as soon as it has one.
        on_close: more to write in the transaction by which the cycle counts.

    Returns:
        The audit row, or None when there was nothing new and nothing forced (no row is written then).

    Raises:
        Busy: another process turns this project's loop.
    """
    with _lease(ws, project_id, now) as lease:
        _close_interrupted(ws, project_id, now)
        for attempt in range(ATTEMPTS):
            try:
                return _cycle(
                    ws, project_id, lease, cause=cause, now=now, by=by, force=force, seed=seed,
                    progress=progress or _silent, on_start=on_start, on_close=on_close,
                )  # fmt: skip
            except Overtaken as error:
                if error.by == "lease":
                    raise Busy(str(error)) from error
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")


def _cycle(
    ws: Workspace,
    project_id: int,
    lease: str,
    *,
    cause: str,
    now: datetime,
    by: str | None,
    force: bool,
    seed: int | None,
    progress: Progress,
    on_start: Callable[[int], None] | None,
    on_close: OnClose | None,
) -> CycleReport | None:
    """One attempt at `run_cycle`, under the lease.

    Raises:
        Overtaken: a person promoted a model or changed the policy meanwhile; nothing was kept, and the next attempt begins with
            what stands now. Or the lease was lost.
    """
    with ws.database.read() as session:
        project = queries.project_info(session, queries.project_row(session, project_id))
    step = "Sealing the log"
    try:
        sealing.seal_log(ws, project, now=now, force=cause != "schedule")
        step = "Reading the new rows"
        project, found = _gather(ws, project_id, now)
        _export_champion(ws, project)
    except Exception as error:  # nothing was read: there is no evidence, but there is an audit row
        _end_if_deleted(ws, project_id, error)
        cycle_id = _open(ws, project, None, cause=cause, by=by, now=now, seed=seed)
        _fail(ws, project, cycle_id, error, step=step, now=now, seconds=0.0)
        raise
    clock_asks = _clock_asks(ws, project_id, now)
    asked = force or clock_asks or (found is not None and project.champion != found.serves)
    if found is None or not (asked or found.batches or found.groups or found.set_aside):
        _mark_checked(ws, project_id, now, found)
        return None
    cycle_id = _open(ws, project, found, cause=cause, by=by, now=now, seed=seed)
    if on_start is not None:
        on_start(cycle_id)
    with logger.contextualize(project=project.slug, cycle=cycle_id):
        started = time.perf_counter()
        told = _Told(progress)
        try:
            report = _turn(
                ws, project, found, cycle_id, lease, now=now, force=force, by=by, started=started, progress=told,
                on_close=on_close,
            )  # fmt: skip
        except Overtaken as error:
            _end_if_deleted(ws, project_id, error)
            logger.warning("the cycle was overtaken: {error}", error=str(error))
            _end_overtaken(ws, cycle_id, error, now=now)
            raise
        except Exception as error:
            _end_if_deleted(ws, project_id, error)
            spent = time.perf_counter() - started
            _fail(ws, project, cycle_id, error, step=told.step, now=now, seconds=spent)
            raise
        logger.info(
            "{decision}: {outcome}. {reason}", decision=report.decision, outcome=report.outcome, reason=report.reason
        )
    registry.sync_mlflow(ws, project_id)
    return report


def advance_live(ws: Workspace, run_id: int, *, now: datetime) -> None:
    """Store a live run's next batch, turn the loop on it, and set when the next one is due."""
    began = time.monotonic()
    try:
        run, stored = live.store_next(ws, run_id, now=now)
        if stored:
            run_cycle(ws, run.project_id, cause="live", now=now)
    except Busy:
        live.schedule_next(ws, run_id, now + timedelta(seconds=1))
        return
    except NotFound:  # the project was deleted, and its run with it
        raise
    except Exception as error:
        said = cause_of(error)
        if _may_pass(error):
            pause = live.put_off(ws, run_id, said, now)
            logger.warning("the live run waits {s:g} s: {error}", s=pause, error=said)
        elif isinstance(error, ContinualError):
            live.fail_run(ws, run_id, said)
        else:
            raise
        return
    spent = time.monotonic() - began
    live.schedule_next(ws, run_id, now + timedelta(seconds=max(run.seconds_per_batch, spent)))


def _may_pass(error: BaseException | None) -> bool:
    """Whether the same step may succeed later: a full disk, a lock, a database out of reach; not a file that is missing."""
    if isinstance(error, StorageError):
        error = error.__cause__
    return isinstance(error, (OSError, OperationalError)) and not isinstance(error, FileNotFoundError)


def _silent(share: float, text: str) -> None:
    """Progress that nobody watches."""


class _Told:
    """Progress, and the step that was begun last: what a failure is told with."""

    def __init__(self, onward: Progress) -> None:
        self._onward = onward
        self.step = "Starting"

    def __call__(self, share: float, text: str) -> None:
        self.step = text
        self._onward(share, text)


# --- lease ---------------------------------------------------------------------------------------------------


@contextmanager
def _lease(ws: Workspace, project_id: int, now: datetime) -> Iterator[str]:
    """Hold the project's lease, renewed by a thread, and give its token; a process that dies loses it after a minute."""
    name, owner = (
        f"project:{project_id}",
        f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}:{time.monotonic_ns()}",
    )
    clock = datetime.now(UTC)  # leases live in real time, whatever instant the cycle is given
    try:
        with ws.database.write() as session:
            row = session.get(Lease, name)
            if row is None:
                session.add(Lease(name=name, owner=owner, expires_at=clock + LEASE))
            else:
                stale = not clock < row.expires_at <= clock + 10 * LEASE  # far ahead: of a clock that was
                free = stale or not _alive(row.owner)
                # Whoever else saw it free at the same moment finds another owner here.
                held = update(Lease).where(Lease.name == name, Lease.owner == row.owner)
                taken = free and session.execute(held.values(owner=owner, expires_at=clock + LEASE)).rowcount == 1  # type: ignore[attr-defined]
                if not taken:
                    raise Busy(
                        "A check of this project is under way. Wait for it to end; the Automation page shows it."
                    )
    except IntegrityError:
        raise Busy("A check of this project began at the same moment. Wait for it to end.") from None
    done = threading.Event()

    def renew() -> None:
        while not done.wait(RENEW_EVERY_S):
            try:
                with ws.database.write() as session:
                    session.execute(
                        update(Lease)
                        .where(Lease.name == name, Lease.owner == owner)
                        .values(expires_at=datetime.now(UTC) + LEASE)
                    )
            except Exception as error:  # the next renewal tries again; the lease outlasts three of them
                logger.warning("lease not renewed: {error}", error=type(error).__name__)

    keeper = threading.Thread(target=renew, name="lease", daemon=True)
    keeper.start()
    try:
        yield owner
    finally:
        done.set()
        keeper.join()
        _give_back(ws, name, owner)


def _give_back(ws: Workspace, name: str, owner: str) -> None:
    """Take the lease's row away; where that cannot be written after a few attempts, it runs out by itself."""
    for attempt in range(RETURNS):
        try:
            with ws.database.write() as session:
                session.execute(delete(Lease).where(Lease.name == name, Lease.owner == owner))
            return
        except Exception as error:  # what the cycle itself raised, if anything, is what is told
            trouble, kind = trouble_of(error), type(error).__name__
        if attempt < RETURNS - 1:
            time.sleep(RETURN_EVERY_S)
    said = trouble.text if trouble else kind
    logger.warning(
        "the lease was not given back, it runs out within {s:g} s: {said}", s=LEASE.total_seconds(), said=said
    )


def _alive(owner: str) -> bool:
    """Whether a lease's owner can still be running: on this host its process is looked up, elsewhere time tells."""
    host, pid, *_ = owner.split(":")
    if host != socket.gethostname():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _close_interrupted(ws: Workspace, project_id: int, now: datetime) -> None:
    """Cycles whose process ended before they did: recorded as failed; their evidence is still new."""
    with ws.database.write() as session:
        for row in session.scalars(select(Cycle).where(Cycle.project_id == project_id, Cycle.status == "running")):
            row.status, row.outcome, row.finished_at = "failed", "failed", now
            row.error = (
                "The process ended in the middle of this cycle. Nothing of it was kept; the next cycle measures the "
                "same rows."
            )


# --- reading -------------------------------------------------------------------------------------------------


def _gather(ws: Workspace, project_id: int, now: datetime) -> tuple[ProjectInfo, _Found | None]:
    """New batches (scored by the champion where they are not yet) and newly labelled rows."""
    import numpy as np

    with ws.database.read() as session:
        row = queries.project_row(session, project_id)
        project = queries.project_info(session, row)
        after_batch, after_label, news = row.batch_watermark, row.label_watermark, row.news
        newest_label = queries.newest_label_id(session, project_id)
    if project.schema is None:
        return project, None
    serves, notes = project.champion, list[str]()
    project = _without_damaged(ws, project, notes)
    assert project.schema is not None
    reader = history.History(ws, project_id, project.schema)
    new = [b for b in reader.batches[::-1] if (b.id > after_batch or b.pending) and not b.backfill]
    set_aside = []
    if project.champion is not None:
        for batch in [b for b in new if b.scores_path is None]:
            try:
                error = _score_batch(ws, project, reader, batch)
            except Damaged as damage:
                if damage.what != f"batch {batch.number}":
                    raise
                reader.note(batch, damage)
                continue
            if error is not None:
                set_aside.append({"code": "batch_not_scored", "batch": batch.number, "cause": cause_of(error)})
    new = [b for b in new if not history.is_set_aside(b)]
    in_order = [b for b in reader.batches[::-1] if not history.is_set_aside(b)]
    groups: list[_Group] = []
    late_at: dict[int, list[int]] = {}
    if newest_label > after_label:
        late_at = _late_rows(ws, project, reader, after_label, {b.id for b in new})
    for batch in in_order:
        is_new = batch in new
        if not is_new and batch.id not in late_at:
            continue
        read = reader.frame_or_none(batch)
        if read is None:
            continue
        frame, y = read
        mask = history.is_labelled(y, project.schema.task)
        if not is_new:
            mask &= frame.index.isin(late_at[batch.id])
        if mask.any():
            scores = reader.scores(batch)
            groups.append(
                _Group(
                    batch=batch,
                    frame=frame[mask].reset_index(drop=True),
                    y=y[mask],
                    scores=_rows_of(scores, mask) if scores else None,
                    keys=history.keys_of(batch, np.flatnonzero(mask)),
                    weights=_desk_weights(ws, project_id, frame[ROW_ID][mask].tolist()),
                )
            )
    unread = [b for b in new if (e := reader.damaged.get(b.number)) is not None and e.what == f"batch {b.number}"]
    set_aside += [_entry(b.number, reader.damaged[b.number]) for b in unread if not b.pending]
    _await(ws, unread)
    watermark = max([after_batch, *(b.id for b in reader.batches)])
    return project, _Found(
        batches=[b for b in new if b not in unread], groups=groups, batch_watermark=watermark,
        label_watermark=newest_label, news=news, set_aside=tuple(set_aside), damaged=reader.damaged, serves=serves,
        notes=notes,
    )  # fmt: skip


def _without_damaged(ws: Workspace, project: ProjectInfo, notes: list[str]) -> ProjectInfo:
    """The project as if it had no champion, or no shadow, where the artefact of one is missing or damaged."""
    for role, version in (("champion", project.champion), ("shadow", project.shadow)):
        if version is None:
            continue
        try:
            registry.check_artefact(ws, project.id, version)
        except Damaged as error:
            logger.warning("{error}", error=str(error))
            if role == "champion":
                notes.append(f"{error} This check goes on as if there were no champion.")
                project = dataclasses.replace(project, champion=None)
            else:
                notes.append(f"{error} The shadow has ended.")
                project = dataclasses.replace(project, shadow=None)
    return project


def _await(ws: Workspace, batches: Sequence[Batch]) -> None:
    """New batches that cannot be read: they wait for a cycle that finds them restored.

    Raises:
        StorageError: the folder of the batches is empty or not there at all, so nothing is known of any file in it.
    """
    root = ws.batches.root
    if batches and not (root.is_dir() and any(root.iterdir())):
        raise StorageError(
            f"The folder of the stored rows ({root.name}) is empty or not there. See that DATA_URL is right and that its disk "
            "is mounted; nothing was changed."
        )
    fresh = [b.id for b in batches if not b.pending]
    if fresh:
        with ws.database.write() as session:
            session.execute(update(Batch).where(Batch.id.in_(fresh)).values(pending=True))


def _desk_weights(ws: Workspace, project_id: int, row_ids: list[str]) -> np.ndarray | None:
    """What each row stands for where the label desk asked for some of them; None where it asked for none."""
    import numpy as np

    with ws.database.read() as session:
        told = desk.weights_of(session, project_id, row_ids)
    return np.array([told.get(row_id, 1.0) for row_id in row_ids]) if told else None


def _late_rows(
    ws: Workspace, project: ProjectInfo, reader: history.History, after_label: int, new: set[int]
) -> dict[int, list[int]]:
    """Positions of rows in earlier batches whose first label came since; replaced labels are no new evidence."""
    assert project.schema is not None
    with ws.database.read() as session:
        came = queries.labels_by_row(session, project.id, after=after_label)
        earlier = queries.first_labels(session, project.id, list(came))
    fresh = {row_id for row_id in came if earlier[row_id] > after_label}
    places: dict[int, list[int]] = {}
    for batch_id, at in reader.find(fresh).items():
        if batch_id in new:
            continue
        batch = next(b for b in reader.batches if b.id == batch_id)
        if history.is_set_aside(batch):
            continue
        try:
            embedded = history.is_labelled(reader.own_labels(batch), project.schema.task)
        except Damaged as error:
            reader.note(batch, error)
            continue
        unlabelled = [i for i in at if not embedded[i]]
        if unlabelled:
            places[batch_id] = unlabelled
    return places


def _rows_of(scores: history.Scores, mask: np.ndarray) -> history.Scores:
    probabilities = scores.probabilities[mask] if scores.probabilities is not None else None
    return history.Scores(
        labels=scores.labels[mask], probabilities=probabilities, classes=scores.classes, versions=scores.versions[mask]
    )


def _score_batch(ws: Workspace, project: ProjectInfo, reader: history.History, batch: Batch) -> Exception | None:
    """The champion's predictions for a new batch, made before anything is learnt from it; kept beside its rows.

    Rows that it cannot answer set the batch aside, and why is returned. That cannot be told from a model that answers
    nothing at all by the error alone: the model is asked about a row without any value first, and what that raises is
    raised.
    """
    assert project.schema is not None and project.champion is not None
    frame, _ = reader.frame(batch)
    try:
        answered = _predict(ws, project, project.champion, frame)
    except Exception as error:
        _predict(ws, project, project.champion, _blank_row(project.schema))
        logger.opt(exception=error).warning("batch {number} could not be scored", number=batch.number)
        with ws.database.write() as session:
            marked = update(Batch).where(Batch.id == batch.id, Batch.scores_path.is_(None))
            session.execute(marked.values(scored_by=project.champion))
        batch.scored_by = project.champion
        return error
    name = batch.path.removesuffix(".parquet") + "-scores.parquet"
    sha256 = history.write_scores(
        ws, name, answered.labels, answered.probabilities, answered.classes, [project.champion] * len(frame)
    )
    with ws.database.write() as session:
        session.execute(
            update(Batch)
            .where(Batch.id == batch.id, Batch.scores_path.is_(None))
            .values(scores_path=name, scores_sha256=sha256, scored_by=project.champion)
        )
    batch.scores_path, batch.scores_sha256, batch.scored_by = name, sha256, project.champion
    return None


def _blank_row(schema: FeatureSchema) -> pd.DataFrame:
    """One row with every feature missing."""
    import pandas as pd

    missing = {
        f.name: pd.Series([None], dtype="float64" if f.kind == "numeric" else "str") for f in schema.features
    }  # fmt: skip
    return pd.DataFrame(missing)


def _predict(ws: Workspace, project: ProjectInfo, version: int, frame: pd.DataFrame) -> serving.Predicted:
    """A version's answers for stored rows."""
    assert project.schema is not None
    model = registry.load_model(ws, project.id, version)
    served = serving.served_by(project.id, version, model, project.schema)
    return serving.predict(served, frame[list(project.schema.names)])


def _typed(y: np.ndarray) -> np.ndarray:
    """Known labels in an array of their own type, as estimators want them; stored ones come as objects."""
    import numpy as np

    return np.array(y.tolist()) if y.dtype == object and len(y) else y


# --- the turn ------------------------------------------------------------------------------------------------


def _turn(
    ws: Workspace,
    project: ProjectInfo,
    found: _Found,
    cycle_id: int,
    lease: str,
    *,
    now: datetime,
    force: bool,
    by: str | None,
    started: float,
    progress: Progress,
    on_close: OnClose | None,
) -> CycleReport:
    from core.learning.learner import advance
    from core.learning.policy import metric_for, next_scheduled

    assert project.schema is not None
    progress(0.05, "Measuring the new rows")
    rows_before = project.labelled - sum(len(g.y) for g in found.groups)
    state = _learner_state(ws, project, rows_before, found.notes)
    performance = _measure(ws, project, found, rows_before)
    drift = _measure_drift(ws, project, found)
    estimated = estimates.estimate_batches(ws, project, found.batches, now=now, seed=ESTIMATE_SEED)
    estimate, trusted = estimates.newest_estimate(
        ws, project, estimated, metric_for(project.policy, project.schema.task)
    )
    fresh = _labelled(project.schema, found.groups, rows_before, state)
    window, used = _window_reader(ws, project, found)
    with ws.database.read() as session:
        next_version = registry.next_version(session, project.id)
        seed = session.get_one(Cycle, cycle_id).seed
        # Races of the future are those of a clock that was ahead: they put nothing off.
        raced = [race for race in queries.races(session, project.id) if race[0] <= now + queries.LONGEST_PAUSE]
    last_race = max(at for at, _ in raced) if raced else None
    since = last_race or (project.created_at if project.created_at <= now + queries.LONGEST_PAUSE else now - DAY)
    due = next_scheduled(project.policy.schedule, since)
    progress(0.15, "Asking the policy")
    step = advance(
        state,
        fresh,
        window,
        schema=project.schema,
        policy=project.policy,
        drift=drift,
        forced=force,
        n_rows=sum(b.rows for b in found.batches),
        seconds_since_race=max((now - last_race).total_seconds(), 0.0) if last_race else None,
        races_last_day=sum(now - at < DAY and not by_hand for at, by_hand in raced),
        schedule_due=due is not None and due <= now,
        estimate=estimate,
        estimate_trusted=trusted,
        timed=True,
        seed=seed,
        next_version=next_version,
        progress=lambda share, text: progress(0.15 + 0.7 * share, text),
    )
    progress(0.9, "Writing the audit row")
    if step.challenger is not None and step.challenger_version is not None:
        _register(ws, project, step, window, used(), cycle_id=cycle_id, by=by, now=now)
    shadow = _shadow_told(ws, project, found, state, step)
    path = learners.save(ws, project.id, cycle_id, step.state)
    report = _close(
        ws,
        project,
        found,
        cycle_id,
        lease,
        step,
        [*performance, *estimated],
        drift,
        path,
        shadow,
        now=now,
        by=by,
        seconds=time.perf_counter() - started,
        on_close=on_close,
    )
    try:  # the cycle counts: what goes wrong now is mended by the next one
        learners.drop_old(ws, project.id, keep=path)
    except (OSError, ValueError) as error:
        logger.warning("earlier states of the learner stay: {error}", error=cause_of(error))
    pruning.prune_quietly(ws, project.id, now)
    _remember(ws, project.id, path, step.state)
    if step.unfinished:
        _left_running.set()
    progress(1.0, "Done")
    return report


_left_running = threading.Event()


def fits_left_running() -> bool:
    """Whether a fit was given up in this process and may still be at work: a worker then ends, and a new one starts."""
    return _left_running.is_set()


def _clock_asks(ws: Workspace, project_id: int, now: datetime) -> bool:
    """Whether the policy's age or schedule asks for a look now, news or not."""
    with ws.database.read() as session:
        asks = bool(session.scalar(select(jobs.clock_asks(now)).where(Project.id == project_id)))
        at = queries.project_row(session, project_id).next_race_at
    if asks and at is not None and at > now:  # of a clock that was ahead; asked for until a check has ended well
        with ws.database.write() as session:
            queries.project_row(session, project_id).next_race_at = now
    return asks


def _next_look(project: ProjectInfo, now: datetime) -> datetime | None:
    """When the clock asks next: what is older than that was looked at in this cycle."""
    from core.learning.policy import AND, next_scheduled

    policy = project.policy
    named = {name for entry in policy.triggers for name in entry.split(AND)}
    asks = [next_scheduled(policy.schedule, now)] if "schedule" in named else []
    if "age" in named and policy.max_age_s > 0:
        asks.append(now + timedelta(seconds=policy.max_age_s))
    return min((at for at in asks if at is not None), default=None)


def _shadow_told(
    ws: Workspace, project: ProjectInfo, found: _Found, before: LearnerState, step: Step
) -> dict[str, Any] | None:
    """The version in the shadow after this cycle: its record, and how often it answered as the champion did."""
    shadow = step.state.shadow
    if shadow is None:
        return None
    answered = agreed = 0
    with ws.database.read() as session:
        last = session.scalar(
            select(Cycle.shadow)
            .where(Cycle.project_id == project.id, Cycle.status == "done")
            .order_by(Cycle.id.desc())
            .limit(1)
        )
    same_champion = step.state.champion_version == before.champion_version
    if last is not None and last["version"] == shadow.version and same_champion:
        answered, agreed = last["answered"], last["agreed"]
    if before.shadow is not None and before.shadow.version == shadow.version and project.champion is not None:
        answers, same = _side_by_side(ws, project, found.batches, shadow.version)
        answered, agreed = answered + answers, agreed + same
    return {
        "version": shadow.version, "rows": shadow.rows, "wins": shadow.wins, "losses": shadow.losses,
        "for_better": shadow.bets.for_better, "for_worse": shadow.bets.for_worse,
        "answered": answered, "agreed": agreed, "wanted": project.policy.shadow_rows or None,
    }  # fmt: skip


def _side_by_side(ws: Workspace, project: ProjectInfo, batches: Sequence[Batch], version: int) -> tuple[int, int]:
    """Rows of new batches that a version answers beside the champion, labelled or not, and on how many both agree."""
    assert project.schema is not None
    reader = history.History(ws, project.id, project.schema)
    answered = agreed = 0
    for batch in batches:
        given = reader.scores(batch)
        if given is None:
            continue
        frame, _ = reader.frame(batch)
        try:
            labels = _predict(ws, project, version, frame).labels
        except BadInput:  # it has no answer where the champion has one: nowhere the same
            answered += sum(theirs is not None for theirs in given.labels)
            continue
        for mine, theirs in zip(labels, given.labels, strict=True):
            if theirs is None:
                continue
            answered += 1
            same = abs(mine - theirs) <= SAME_VALUE * abs(theirs) if project.task == "regression" else mine == theirs
            agreed += bool(same)
    return answered, agreed


_learners: dict[
    tuple[Path, int], tuple[str, LearnerState]
] = {}  # the newest state of each project, as long as this process lives


def _remember(ws: Workspace, project_id: int, path: str, state: LearnerState) -> None:
    _learners[ws.models_path, project_id] = (path, state)


def _learner_state(ws: Workspace, project: ProjectInfo, labelled: int, notes: list[str]) -> LearnerState:
    """The learner as the last finished cycle left it, with the champion that serves now.

    One whose files are missing or damaged begins anew from the stored rows, and `notes` gets a sentence on it.
    """
    from core.learning.state import LearnerState

    with ws.database.read() as session:
        path = queries.project_row(session, project.id).learner_path
    held = _learners.get((ws.models_path, project.id))
    if path is None:
        state = LearnerState()
    elif held is not None and held[0] == path:
        state = held[1]
    else:
        try:
            state = learners.load(ws, path)
        except Damaged as error:
            logger.warning("{error}", error=str(error))
            state = LearnerState()
            notes.append(
                f"The learner began anew, for the file {error.file} {error.how}: the rows and models are as they were, what it "
                "had learnt of earlier regimes and of its candidates' past scores is not."
            )
    state = _without_undone(ws, project, state)
    if project.champion is None and state.champion is not None:  # its artefact is damaged
        state = dataclasses.replace(state, champion=None, champion_version=None, watch=None, labels_since_race=labelled)
    if project.champion is not None and state.champion_version != project.champion:  # promoted by hand since
        state = state.serving(registry.load_model(ws, project.id, project.champion), project.champion)
    if project.shadow != project.champion and project.shadow != (
        state.shadow.version if state.shadow else None
    ):  # likewise
        model = registry.load_model(ws, project.id, project.shadow) if project.shadow is not None else None
        state = state.shadowing(model, project.shadow)
    return state


def _without_undone(ws: Workspace, project: ProjectInfo, state: LearnerState) -> LearnerState:
    """The learner without the rows of batches that it had learnt of and that were undone since."""
    import numpy as np

    assert project.schema is not None
    with ws.database.read() as session:
        own = select(Batch).where(Batch.project_id == project.id, Batch.backfill.is_(False))
        gone = list(session.scalars(own.where(Batch.undone_at.is_not(None), Batch.id.not_in(state.undone))))
        if not gone or not state.seen:
            return state
        # What was undone before a cycle began was never read by it.
        done = select(Cycle.batch_ids, Cycle.started_at).where(
            Cycle.project_id == project.id, Cycle.status == "done", Cycle.batch_ids.is_not(None)
        )
        counted = {batch_id for ids, _ in session.execute(done) for batch_id in ids}
        watermark = queries.project_row(session, project.id).label_watermark
    reader = history.History(ws, project.id, project.schema)
    was_there = [b for b in reader.measured if b.id in counted or b.backfill]
    for batch in sorted((b for b in gone if b.id in counted and not history.is_set_aside(b)), key=lambda b: -b.id):
        read = reader.frame_or_none(batch, features=())
        if read is not None:
            keys = history.keys_of(batch, np.flatnonzero(_known_by(ws, project, reader, batch, read, watermark)))
            after = queries.in_stream_order([batch, *was_there])
            behind = 0
            for later in after[after.index(batch) + 1 :]:
                rows = reader.frame_or_none(later, features=())
                behind += int(_known_by(ws, project, reader, later, rows, watermark).sum()) if rows is not None else 0
            state = state.without(keys.tolist(), before=max(state.seen - behind - len(keys), 0))
        state = dataclasses.replace(state, undone=(*state.undone, batch.id))
    return state


def _known_by(
    ws: Workspace, project: ProjectInfo, reader: history.History, batch: Batch, read: tuple[Any, Any], watermark: int
) -> np.ndarray:
    """Mask of a batch's rows whose label had come with the row, or by a label's id."""
    import numpy as np

    assert project.schema is not None
    frame, y = read
    known = history.is_labelled(y, project.schema.task)
    if not reader.has_late_labels:
        return known
    with ws.database.read() as session:
        first = queries.first_labels(session, project.id, frame[ROW_ID].tolist())
    own = history.is_labelled(reader.own_labels(batch), project.schema.task)
    came = np.array([0 < first.get(row_id, 0) <= watermark for row_id in frame[ROW_ID]], dtype=bool)
    return known & (own | came)


def _labelled(schema: FeatureSchema, groups: Sequence[_Group], first_row: int, state: LearnerState) -> Labelled:
    """The newly labelled rows as the learner takes them; rows that nobody predicted in time carry no prediction."""
    import numpy as np
    import pandas as pd

    from core.learning.learner import Labelled

    names = list(schema.names)
    if not groups:
        nothing = np.empty(0, dtype=float if schema.task == "regression" else object)
        return Labelled(X=pd.DataFrame(columns=names), y=nothing, first_row=first_row)
    X = pd.concat([g.frame[names].set_axis(g.keys) for g in groups])
    y = _typed(np.concatenate([g.y for g in groups]))
    stored = np.concatenate([g.scores.labels if g.scores is not None else np.full(len(g.y), None) for g in groups])
    answered = np.array([v is not None for v in stored], dtype=bool)
    y_pred = y_proba = None
    if answered.any():
        known = stored[answered]
        known = _typed(known.astype(float) if schema.task == "regression" else known)
        y_pred = np.empty(len(y), dtype=known.dtype)
        y_pred[answered] = known
        y_proba = _stored_chances(groups, state) if schema.task != "regression" else None
    weights = None
    if any(g.weights is not None for g in groups):
        weights = np.concatenate([g.weights if g.weights is not None else np.ones(len(g.y)) for g in groups])
    mask = None if answered.all() else answered
    return Labelled(X=X, y=y, first_row=first_row, y_pred=y_pred, y_proba=y_proba, weights=weights, answered=mask)


def _stored_chances(groups: Sequence[_Group], state: LearnerState) -> np.ndarray | None:
    """The stored probabilities by the champion's classes, 0 where a group has no prediction; None where one lacks them."""
    import numpy as np

    if state.champion is None or any(g.scores is not None and g.scores.probabilities is None for g in groups):
        return None
    wanted = tuple(state.champion.classes_.tolist())
    return np.concatenate(
        [
            monitoring.align(g.scores, wanted) if g.scores is not None else np.zeros((len(g.y), len(wanted)))
            for g in groups
        ]
    )


def _window_reader(
    ws: Workspace, project: ProjectInfo, found: _Found
) -> tuple[Callable[[int | None], tuple[pd.DataFrame, np.ndarray]], Callable[[], list[int]]]:
    """`window(n)`: the newest n labelled rows by their keys, the fresh ones at the end; and which batches were read for it."""
    import numpy as np
    import pandas as pd

    assert project.schema is not None
    names = list(project.schema.names)
    cap = project.policy.max_train_rows
    read: dict[str, Any] = {}

    def load() -> None:
        reader = history.History(ws, project.id, project.schema)  # type: ignore[arg-type]
        table, y, used = reader.newest(cap, labelled=True, measured=True)
        for number, error in reader.damaged.items():
            found.damaged.setdefault(number, error)
        fresh_ids = [row_id for g in found.groups for row_id in g.frame[ROW_ID]]
        if (
            fresh_ids and table[ROW_ID].tail(len(fresh_ids)).tolist() != fresh_ids
        ):  # late labels: they are the newest evidence
            old = ~table[ROW_ID].isin(set(fresh_ids)).to_numpy()
            table = pd.concat([table[old], *(g.frame.set_axis(g.keys) for g in found.groups)])
            y = np.concatenate([y[old], *(g.y for g in found.groups)])
        read.update(X=table[names], y=_typed(y), used=used)

    def window(n: int | None) -> tuple[pd.DataFrame, np.ndarray]:
        if not read:
            load()
        start = 0 if n is None else max(len(read["y"]) - n, 0)
        return read["X"].iloc[start:], read["y"][start:]

    return window, lambda: list(read.get("used", ()))


def _measure(ws: Workspace, project: ProjectInfo, found: _Found, rows_before: int) -> list[PerformanceRun]:
    """Realised performance of champion and first champion on each batch's newly labelled rows."""
    import numpy as np

    from core.performance.realised import measure

    assert project.schema is not None
    task = project.schema.task
    with ws.database.read() as session:
        first = queries.first_champion_of(session, project.id)
    runs: list[PerformanceRun] = []
    seen = rows_before
    for group in found.groups:
        seen += len(group.y)
        if group.scores is None:
            continue
        judged = np.array([v is not None for v in group.scores.labels])
        if not judged.any():
            continue
        y = group.y[judged]
        y_pred = group.scores.labels[judged]
        proba = group.scores.probabilities[judged] if group.scores.probabilities is not None else None
        versions = set(group.scores.versions[judged].tolist())
        measured = measure(
            task,
            y,
            y_pred.astype(float) if task == "regression" else y_pred,
            proba,
            group.scores.classes or None,
            ordered=True,
        )
        weights = group.weights[judged] if group.weights is not None else None
        measured = _weighed(measured, y, y_pred, weights)
        at = group.frame[ROW_TIME].max().to_pydatetime()
        version = versions.pop() if len(versions) == 1 else None
        runs.append(_performance_run(project, group, "champion", version, measured, seen, at))
        if first is not None:
            try:
                answered = _predict(ws, project, first, group.frame[judged])
            except (BadInput, Damaged) as error:  # the champion could: its own score stands, this one has no point
                logger.warning(
                    "v{first} has no answer to batch {batch}: {error}",
                    first=first,
                    batch=group.batch.number,
                    error=error,
                )
                continue
            predicted = np.array(answered.labels, dtype=float if task == "regression" else object)
            alone = measure(task, y, predicted, answered.probabilities, answered.classes or None, ordered=True)
            alone = _weighed(alone, y, predicted, weights)
            runs.append(_performance_run(project, group, "never", first, alone, seen, at))
    return runs


def _weighed(
    report: PerformanceReport, y: np.ndarray, y_pred: np.ndarray, weights: np.ndarray | None
) -> PerformanceReport:
    """The same metrics standing for all rows that could have been chosen, where these were chosen for their labels."""
    if weights is None:
        return report
    from core.learning.desk import weighted_score

    answers = _typed(y_pred)
    scores = {name: weighted_score(report.task, name, y, answers, weights) for name in report.scores}
    return dataclasses.replace(report, scores=scores)


def _performance_run(
    project: ProjectInfo,
    group: _Group,
    role: str,
    version: int | None,
    report: PerformanceReport,
    rows_seen: int,
    at: datetime,
) -> PerformanceRun:
    return PerformanceRun(
        project_id=project.id,
        batch_id=group.batch.id,
        role=role,
        model_version=version,
        n=report.n,
        rows_seen=rows_seen,
        at=at,
        scores=report.scores,
    )


def _measure_drift(ws: Workspace, project: ProjectInfo, found: _Found) -> DriftReport | None:
    """The new rows against those that the champion learnt from."""
    if not found.batches:
        return None
    new = {b.id for b in found.batches}
    return drifts.check(ws, project, new, lambda version, frame: _predict(ws, project, version, frame))


# --- writing -------------------------------------------------------------------------------------------------


def _open(
    ws: Workspace,
    project: ProjectInfo,
    found: _Found | None,
    *,
    cause: str,
    by: str | None,
    now: datetime,
    seed: int | None,
) -> int:
    from core.learning.policy import policy_to_document

    ids = list(dict.fromkeys([*(b.id for b in found.batches), *(g.batch.id for g in found.groups)])) if found else []
    with ws.database.write() as session:
        row = Cycle(
            project_id=project.id,
            cause=cause,
            by=by,
            status="running",
            started_at=now,
            seed=0,
            batch_ids=ids,
            policy=policy_to_document(project.policy),
            champion_before=found.serves if found else project.champion,
        )
        session.add(row)
        session.flush()
        row.seed = seed if seed is not None else zlib.crc32(f"{project.slug}:{row.id}".encode()) & 0x7FFFFFFF
        return row.id


def _export_champion(ws: Workspace, project: ProjectInfo) -> None:
    """A champion of a version of this program that knew no scorers gets one."""
    schema = project.schema
    if project.champion is not None and schema is not None:
        newest = history.History(ws, project.id, schema)
        registry.ensure_scorer(
            ws,
            project.id,
            project.champion,
            lambda: newest.newest(1000, labelled=False, measured=True)[0][list(schema.names)],
        )


def _register(
    ws: Workspace,
    project: ProjectInfo,
    step: Step,
    window: Callable[[int | None], tuple[pd.DataFrame, np.ndarray]],
    batch_ids: list[int],
    *,
    cycle_id: int,
    by: str | None,
    now: datetime,
) -> None:
    """Store the challenger with what it learnt from; it serves only when the cycle's transaction says so."""
    assert project.schema is not None
    challenger = step.challenger
    assert challenger is not None
    members = [{**known, "weight": weight} for known, weight in zip(challenger.info, challenger.weights, strict=True)]
    score = step.comparison.challenger if step.comparison else None
    n_rows = max((m.get("n_rows") or 0 for m in members), default=0)
    with ws.database.read() as session:
        spans = session.execute(
            select(Batch.first_at, Batch.last_at, Batch.sha256).where(Batch.id.in_(batch_ids)).order_by(Batch.id)
        ).all()
    digest = hashlib.sha256("".join(s[2] for s in spans).encode()).hexdigest()
    registry.register_version(
        ws,
        project,
        challenger,
        version=step.challenger_version,
        family=family_of(members),
        members=members,
        metrics={score.metric: score.value} if score is not None else {},
        schema=project.schema,
        X_learnt=window(n_rows or 5)[0],
        n_rows=n_rows,
        data_digest=digest,
        batch_ids=batch_ids,
        first_at=min((s[0] for s in spans), default=None),
        last_at=max((s[1] for s in spans), default=None),
        cycle_id=cycle_id,
        by=by or "loop",
        now=now,
        candidates=step.candidates,
    )


def family_of(members: Sequence[dict[str, Any]]) -> str:
    """A model in a word: its family, or "committee of ..." by falling weight."""
    shares: dict[str, float] = {}
    for member in members:
        shares[member["family"]] = shares.get(member["family"], 0.0) + member["weight"]
    names = sorted(shares, key=lambda name: -shares[name])
    return names[0] if len(members) == 1 else "committee of " + ", ".join(names)


def _close(
    ws: Workspace,
    project: ProjectInfo,
    found: _Found,
    cycle_id: int,
    lease: str,
    step: Step,
    measured: Sequence[PerformanceRun | EstimateRun],
    drift: DriftReport | None,
    learner_path: str,
    shadow: dict[str, Any] | None,
    *,
    now: datetime,
    by: str | None,
    seconds: float,
    on_close: OnClose | None,
) -> CycleReport:
    """Audit row, measurements, promotion, watermarks and notices: all or nothing.

    Raises:
        Overtaken: something of what the cycle began with has changed.
    """
    with ws.database.write() as session:
        row = session.get_one(Cycle, cycle_id)
        _refuse_overtaken(session, project, row, lease)
        row.status, row.finished_at, row.seconds = "done", now + timedelta(seconds=seconds), seconds
        row.evidence, row.decision, row.reason = (
            dataclasses.asdict(dataclasses.replace(step.evidence, set_aside=found.left_out())),
            step.decision.action,
            " ".join([step.decision.reason, *found.notes]),
        )
        row.firings = list(step.decision.firings)
        row.candidates = list(step.candidates)
        row.comparison = dataclasses.asdict(step.comparison) if step.comparison else None
        row.verdict = dataclasses.asdict(step.verdict) if step.verdict else None
        row.outcome, row.challenger, row.champion_after = step.outcome, step.challenger_version, step.champion_version
        row.memory = dataclasses.asdict(step.memory) if step.memory else None
        row.shadow, row.label_watermark = shadow, found.label_watermark
        for run in measured:
            run.cycle_id, run.created_at = cycle_id, now
            session.add(run)
        if drift is not None:
            newest = max(b.id for b in found.batches)
            at = drift.current.last_at or now
            session.add(
                DriftRun(
                    project_id=project.id,
                    cycle_id=cycle_id,
                    batch_id=newest,
                    created_at=now,
                    at=at,
                    share_drifted=drift.share_drifted,
                    report=dataclasses.asdict(drift),
                )
            )
        if step.outcome in ("promoted", "refreshed", "rolled_back") and step.champion_version is not None:
            reason = step.verdict.reason if step.verdict else step.decision.reason
            registry.record_event(
                session,
                project.id,
                step.champion_version,
                event=step.outcome,
                by=by or "loop",
                reason=reason,
                cycle_id=cycle_id,
                now=now,
            )
        owner = queries.project_row(session, project.id)
        owner.batch_watermark, owner.label_watermark, owner.learner_path = (
            found.batch_watermark,
            found.label_watermark,
            learner_path,
        )
        owner.checked_news, owner.checked_at, owner.labels_checked = found.news, now, found.label_watermark
        _mark_read(session, found)
        serves = registry.serving_version(session, project.id)  # a person may have promoted the shadow meanwhile
        kept = shadow["version"] if shadow else None
        stood = owner.shadow_version
        owner.shadow_version = None if serves is not None and serves[0] == kept else kept
        owner.next_race_at = _next_look(project, now)
        attempts.works_again(session, project.id)
        session.flush()
        session.refresh(row)  # as it is stored: records became documents
        report = monitoring.cycle_from(row)
        notify.enqueue(ws, session, report, now, shadow=(stood, owner.shadow_version))
        if on_close is not None:
            on_close(session, report)
        return report


def _refuse_overtaken(session: Session, project: ProjectInfo, row: Cycle, lease: str) -> None:
    """A cycle counts only if it still holds its lease, and champion and policy are those that it began with."""
    owner = session.scalar(select(Lease.owner).where(Lease.name == f"project:{project.id}").with_for_update())
    if owner != lease or row.status != "running":
        raise Overtaken("lease", "This check stood still for so long that another one began. Nothing of it was kept.")
    serves = registry.serving_version(session, project.id)
    if (serves[0] if serves is not None else None) != row.champion_before:
        raise Overtaken("champion", "Somebody changed the champion while this check ran. It begins anew.")
    if policy_from_document(queries.project_row(session, project.id).policy) != project.policy:
        raise Overtaken("policy", "Somebody changed the policy while this check ran. It begins anew.")


def _end_overtaken(ws: Workspace, cycle_id: int, error: Overtaken, *, now: datetime) -> None:
    """The audit row of a cycle that was overtaken; its evidence is still new."""
    with ws.database.write() as session:
        row = session.get_one(Cycle, cycle_id)
        if row.status == "running":
            row.status, row.outcome, row.finished_at, row.error = "failed", "failed", now, str(error)


def _end_if_deleted(ws: Workspace, project_id: int, error: Exception) -> None:
    """Where the project was deleted under its cycle, remove what the cycle has written since.

    Raises:
        NotFound: it was.
    """
    with ws.database.read() as session:
        there = queries.is_there(session, project_id)
    if not there:
        projects.remove_files(ws, project_id)
        raise NotFound("The project was deleted while this check ran. Nothing of the check was kept.") from error


def _mark_checked(ws: Workspace, project_id: int, now: datetime, found: _Found | None) -> None:
    """Nothing new: remember what was looked at, so that the next check costs one query."""
    with ws.database.write() as session:
        row = queries.project_row(session, project_id)
        row.checked_at = now
        if found is not None:
            row.checked_news = found.news
            row.batch_watermark, row.label_watermark = found.batch_watermark, found.label_watermark
            row.labels_checked = found.label_watermark
            _mark_read(session, found)
        attempts.works_again(session, project_id)


def _mark_read(session: Session, found: _Found) -> None:
    """Batches below the watermark that waited for a cycle have had theirs."""
    waited = [b.id for b in found.batches if b.pending]
    if waited:
        session.execute(update(Batch).where(Batch.id.in_(waited)).values(pending=False))


_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[\\/][^\\/\s'\":,;]+){2,}[\\/]?")
_CAUSE_CHARS = 200


def cause_of(error: Exception, *, step: str = "") -> str:
    """Why something failed, in a sentence for people: an error of ours as it is, another by its kind and first line.

    `Measuring the new rows failed: ValueError: Input y contains infinity.` No path of the machine is in it.
    """
    if isinstance(error, ContinualError):
        return str(error)
    trouble = trouble_of(error)
    if trouble is not None:
        return f"{step} failed: {trouble.text}" if step else trouble.text
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    first = _PATH.sub("a file", first)
    first = first if len(first) <= _CAUSE_CHARS else first[: _CAUSE_CHARS - 1].rstrip() + "…"
    said = f"{type(error).__name__}: {first}" if first else type(error).__name__
    said = f"{step} failed: {said}" if step else said
    return said if said.endswith((".", "…", "!", "?")) else f"{said}."


def _fail(
    ws: Workspace, project: ProjectInfo, cycle_id: int, error: Exception, *, step: str, now: datetime, seconds: float
) -> None:
    """Record a cycle that raised. Its evidence stays new, but is looked at again only when something else comes."""
    said = cause_of(error, step=step)
    if isinstance(error, StorageError) or trouble_of(error) is not None:
        logger.error("the cycle failed: {said}", said=said)
    else:
        logger.opt(exception=error).error("the cycle failed")
    try:
        _record_failed(ws, project, cycle_id, said, now=now, seconds=seconds)
    except (SQLAlchemyError, OSError) as later:  # the next cycle records it as one that was interrupted
        if trouble_of(later) is None:
            raise
        logger.warning("the failed cycle was not recorded: {said}", said=cause_of(later))


def _record_failed(
    ws: Workspace, project: ProjectInfo, cycle_id: int, said: str, *, now: datetime, seconds: float
) -> None:
    with ws.database.write() as session:
        row = session.get_one(Cycle, cycle_id)
        row.status, row.outcome, row.finished_at, row.seconds, row.error = (
            "failed",
            "failed",
            now + timedelta(seconds=seconds),
            seconds,
            said,
        )
        owner = queries.project_row(session, project.id)
        owner.checked_news, owner.checked_at = owner.news, now
        owner.labels_checked = queries.newest_label_id(session, project.id)
        attempts.works_again(session, project.id)
        session.flush()
        session.refresh(row)
        notify.enqueue(ws, session, monitoring.cycle_from(row), now)
