"""Repair when stored files are missing or damaged: what can be is rebuilt, the rest is excluded, nothing is deleted.

Each step states its cost. A damaged database is not touched: a backup has to be restored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from loguru import logger
from sqlalchemy import select, update

from core.data.contract import schema_from_document
from core.drift import profile as profiles
from core.errors import ContinualError, Damaged, StorageError
from core.records import Change, Outcome, ProjectInfo, as_written
from core.services.ingestion import stored_batches
from core.services.monitoring import windows
from core.services.operations import tidying
from core.services.projects import projects
from core.services.serving import champion_cache, predicting
from core.storage import audit, history, learners, queries, registry
from core.storage.batches import verify
from core.storage.tables import Batch, ModelEvent, ModelRow, Project
from core.storage.workspace import Workspace

BY = "repair"


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One problem, what is done about it, and what that costs."""

    project: str | None  # its slug
    what: str
    done: bool
    cost: str


@dataclass(frozen=True, slots=True)
class _Step:
    what: str
    cost: str
    do: Callable[[], None] | None  # None: it cannot be repaired here


def repair(ws: Workspace, *, now: datetime, project: ProjectInfo | None = None, dry_run: bool = False) -> list[Action]:
    """Check every file of one project or of all, and repair what can be; with `dry_run` only report what would be done.

    Raises:
        StorageError: database and folders do not belong together, or a folder is missing.
    """
    wrong = ws.database.integrity()
    if wrong:
        cost = "Changes made after that backup are lost. Stop the program, then: `restore FILE --to FOLDER`."
        return [
            Action(project=None, what=f"The database is damaged ({wrong}): restore a backup.", done=False, cost=cost)
        ]
    _refuse_foreign(ws)
    chosen = [project] if project is not None else projects.list_projects(ws)
    return [action for info in chosen for action in _repaired(ws, info, now, dry_run)]


def _refuse_foreign(ws: Workspace) -> None:
    """Refuse if files are elsewhere, or on a disk that is not mounted: they are not lost."""
    refused = tidying.mismatch(ws)
    for folder in (ws.batches.root, ws.models_path):
        if tidying.named(ws) and not (folder.is_dir() and any(folder.iterdir())):
            refused = f"The folder {folder.name} is empty or missing. Check that DATA_URL and CONTINUAL_HOME are correct and their disk is mounted."
    if refused:
        raise StorageError(f"Nothing was repaired. {refused}")


def _repaired(ws: Workspace, project: ProjectInfo, now: datetime, dry_run: bool) -> Iterator[Action]:
    for find_steps in (_models, _learner, _batches, _scores, _profiles):
        for step in find_steps(ws, projects.project_by_id(ws, project.id), now):
            done, cost = False, step.cost
            if step.do is not None and not dry_run:
                try:
                    step.do()
                    done = True
                    logger.info("repaired in {project}: {what}", project=project.slug, what=step.what)
                except ContinualError as error:
                    cost = f"Not done: {error}"
            yield Action(project=project.slug, what=step.what, done=done, cost=cost)


def _harm(check: Callable[[], object]) -> Damaged | None:
    try:
        check()
    except Damaged as error:
        return error
    return None


# --- models -------------------------------------------------------------------------------------------------------


def _models(ws: Workspace, project: ProjectInfo, now: datetime) -> Iterator[_Step]:
    with ws.database.read() as session:
        own = ModelRow.project_id == project.id
        rows = list(session.scalars(select(ModelRow).where(own, ModelRow.removed_at.is_(None))))
        served = set(session.scalars(select(ModelEvent.version).where(ModelEvent.project_id == project.id)))
        given_up = queries.given_up(session)
    bad: dict[int, Damaged] = {}
    for row in rows:
        error = _harm(partial(registry.check_artefact, ws, project.id, row.version, reread=True))
        if error is not None:
            bad[row.version] = error
    whole = [row.version for row in rows if row.version not in bad]
    for version, error in bad.items():
        if version == project.champion:
            yield _champion_replaced(ws, project, version, error, whole, served, now)
        elif (project.id, version) not in given_up:
            yield _Step(
                f"The artefact of v{version} is given up: the file {error.file} {error.how}.",
                "It can neither serve nor be downloaded; it stays in the history."
                + (" Its shadow run ends." if version == project.shadow else ""),
                partial(_give_up, ws, project, version, now),
            )
    for row in rows:
        if row.version in bad or row.scorer_path is None:
            continue
        path, sha256 = ws.models_path / row.scorer_path, str(row.scorer_sha256)
        error = _harm(partial(verify, path, sha256, what="a scorer", reread=True))
        if error is not None:
            yield _Step(
                f"The scorer of v{row.version} is exported again: the file {error.file} {error.how}.",
                "Nothing: it is rebuilt from the artefact.",
                partial(_export, ws, project, row),
            )


def _champion_replaced(
    ws: Workspace, project: ProjectInfo, version: int, error: Damaged, whole: list[int], served: set[int], now: datetime
) -> _Step:
    """What replaces a champion whose artefact is lost."""
    earlier = sorted((v for v in whole if v < version), key=lambda v: (v in served, v), reverse=True)
    reason = f"The artefact of v{version} cannot be read: the file {error.file} {error.how}."

    def serve() -> None:
        with ws.database.write() as session:
            registry.record_event(
                session, project.id, earlier[0], Outcome.ROLLED_BACK, as_written(reason), Change(by=BY, now=now)
            )
        _give_up(ws, project, version, now)

    if earlier:
        return _Step(
            f"v{earlier[0]} becomes the champion again: the file {error.file} of the champion v{version} {error.how}.",
            f"What v{version} had learned since v{earlier[0]}; the next training starts from there.",
            serve,
        )
    return _Step(
        f"The champion v{version} is given up: the file {error.file} {error.how}, and no earlier version is undamaged.",
        "The next check trains a new champion on the stored rows; until then no predictions are returned once the program "
        "has been restarted.",
        lambda: _give_up(ws, project, version, now),
    )


def _give_up(ws: Workspace, project: ProjectInfo, version: int, now: datetime) -> None:
    with ws.database.write() as session:
        if (project.id, version) not in queries.given_up(session):
            audit.record(
                session, who=BY, what=queries.MODEL_GIVEN_UP, project_id=project.id, after={"version": version}, now=now
            )
        if project.shadow == version:
            queries.project_row(session, project.id).shadow_version = None
        stored_batches.touch_news(session, project.id)


def _export(ws: Workspace, project: ProjectInfo, row: ModelRow) -> None:
    (ws.models_path / str(row.scorer_path)).unlink(
        missing_ok=True
    )  # named by its content, so it is written to the same path
    with ws.database.write() as session:
        session.execute(update(ModelRow).where(ModelRow.id == row.id).values(scorer_path=None, scorer_sha256=None))
    schema = schema_from_document(row.schema)
    reader = history.History(ws, project.id, schema)
    registry.ensure_scorer(
        ws, project.id, row.version, lambda: reader.newest(1000, labelled=False)[0][list(schema.names)]
    )


# --- learner ------------------------------------------------------------------------------------------------------


def _learner(ws: Workspace, project: ProjectInfo, now: datetime) -> Iterator[_Step]:
    with ws.database.read() as session:
        path = queries.project_row(session, project.id).learner_path
    error = _harm(lambda: learners.check(ws, path, reread=True)) if path is not None else None
    if error is None:
        return

    def reset_learner() -> None:
        with ws.database.write() as session:
            held = Project.id == project.id, Project.learner_path == path
            session.execute(update(Project).where(*held).values(learner_path=None, news=Project.news + 1))
            audit.record(
                session, who=BY, what="learner begun anew", project_id=project.id, before={"file": path}, now=now
            )

    yield _Step(
        f"The learner is rebuilt from the stored rows: the file {error.file} {error.how}.",
        "Its memory of earlier regimes and its candidates' past scores; rows, models and history stay.",
        reset_learner,
    )


# --- batches ------------------------------------------------------------------------------------------------------


def _counting(ws: Workspace, project: ProjectInfo) -> list[Batch]:
    with ws.database.read() as session:
        return queries.stored_batches(session, project.id, newest_first=False)


def check_rows(ws: Workspace, batch: Batch) -> None:
    """Read a batch's file again and verify it; Damaged if that fails."""
    verify(ws.batches.root / batch.path, batch.sha256, what=f"batch {batch.number}", name=batch.path, reread=True)


def check_scores(ws: Workspace, batch: Batch) -> None:
    """Verify the file of a batch's predictions, if it has one; Damaged if that fails."""
    if batch.scores_path is not None:
        what = f"the predictions of batch {batch.number}"
        path = ws.batches.root / batch.scores_path
        verify(path, str(batch.scores_sha256), what=what, name=batch.scores_path, reread=True)


def _batches(ws: Workspace, project: ProjectInfo, now: datetime) -> Iterator[_Step]:
    for batch in _counting(ws, project):
        error = _harm(partial(check_rows, ws, batch))
        if error is not None:
            yield _Step(
                f"Batch {batch.number} ({batch.origin}) is marked as lost: the file {error.file} {error.how}.",
                f"{batch.rows:,} rows and their labels no longer count; what models learned from them stays. Store the rows again "
                "if you have them.",
                partial(_mark_lost, ws, project, batch, error, now),
            )


def _mark_lost(ws: Workspace, project: ProjectInfo, batch: Batch, error: Damaged, now: datetime) -> None:
    stored_batches.undo_batch(ws, project, batch.id, by=BY, now=now)
    with ws.database.write() as session:
        note = {"batch": batch.number, "file": error.file, "how": error.how}
        audit.record(session, who=BY, what="batch lost", project_id=project.id, after=note, now=now)
        session.execute(update(Batch).where(Batch.id == batch.id).values(pending=False))
        stored_batches.touch_news(session, project.id)


def _scores(ws: Workspace, project: ProjectInfo, now: datetime) -> Iterator[_Step]:
    for batch in _counting(ws, project):
        error = _harm(partial(check_scores, ws, batch))
        if error is None or _harm(partial(check_rows, ws, batch)) is not None:
            continue
        version = batch.scored_by
        artefact = None if version is None else _harm(partial(registry.check_artefact, ws, project.id, version))
        if version is not None and artefact is None:
            yield _Step(
                f"The predictions of batch {batch.number} are recomputed by v{version}: the file {error.file} {error.how}.",
                "Nothing: the same version gives the same predictions.",
                partial(_score_again, ws, project, batch, version),
            )
        else:
            yield _Step(
                f"The predictions of batch {batch.number} are given up: the file {error.file} {error.how}, and the version "
                "that made them is not available.",
                "Its rows count as not predicted: they are used for training, but no longer measured.",
                partial(_store_scores, ws, batch, None, None, None),
            )


def _score_again(ws: Workspace, project: ProjectInfo, batch: Batch, version: int) -> None:
    assert project.schema is not None
    frame, _ = history.History(ws, project.id, project.schema).frame(batch)
    served = champion_cache.served_by(project.id, version, registry.load_model(ws, project.id, version), project.schema)
    answered = predicting.predict(served, frame[list(project.schema.names)])
    name = batch.path.removesuffix(".parquet") + "-scores.parquet"
    sha256 = history.write_scores(
        ws, name, answered.labels, answered.probabilities, answered.classes, [version] * len(frame)
    )
    _store_scores(ws, batch, name, sha256, version)


def _store_scores(ws: Workspace, batch: Batch, path: str | None, sha256: str | None, version: int | None) -> None:
    """Remove path and version together: a batch with only one of them would be set aside."""
    with ws.database.write() as session:
        named = update(Batch).where(Batch.id == batch.id, Batch.scores_path == batch.scores_path)
        session.execute(named.values(scores_path=path, scores_sha256=sha256, scored_by=version))


def _profiles(ws: Workspace, project: ProjectInfo, now: datetime) -> Iterator[_Step]:
    with ws.database.read() as session:
        own = select(Batch).where(Batch.project_id == project.id, Batch.undone_at.is_(None)).order_by(Batch.id)
        batches = list(session.scalars(own))
    for batch in batches:
        try:
            profiles.from_bytes(batch.profile or b"")
        except StorageError:
            yield _Step(
                f"The profile of batch {batch.number} is rebuilt.",
                "Nothing: it is rebuilt from the rows.",
                partial(_profile, ws, project, batch),
            )


def _profile(ws: Workspace, project: ProjectInfo, batch: Batch) -> None:
    windows.profiled(ws, project, batch.id)
