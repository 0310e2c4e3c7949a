"""What a person does with models: import one of their own, compare two, try one in the shadow, promote one, go back.

The loop's own race is `core.learning`; both meet in the registry.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from loguru import logger
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.data.packed import unpack
from core.errors import BadInput, Busy, Conflict, NotEnoughRows, StorageError
from core.records import Change, Comparison, FeatureSchema, ModelVersion, Outcome, ProjectInfo, Score, because
from core.services.access.actors import require, require_proof
from core.services.incidents import notify
from core.services.models import sandbox
from core.services.models.sandbox import ImportReport
from core.services.serving import champion_cache, predicting
from core.storage import audit, history, leases, mlflow_copy, queries, registry
from core.storage.artefacts import loads
from core.storage.tables import AuditEntry, Cycle, ModelRow
from core.storage.workspace import Workspace
from core.text import vocabulary

if TYPE_CHECKING:
    import pandas as pd

    from core.performance.paired import Given

CHECK_ROWS = 500  # newest labelled rows that an imported model has to answer
COMPARE_ROWS = 2_000
SHADOW_STARTED, SHADOW_ENDED = "shadow started", "shadow ended"  # in the audit
DEFAULT_MAX_BYTES = 200 * 1024 * 1024


# --- a model of the user's own ----------------------------------------------------------------------------------


def inspect_import(path: Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> ImportReport:
    """What a .skops file holds, read in a child process; nothing of it is loaded.

    Raises:
        UnsupportedFormat: pickle, joblib, cloudpickle, or no skops file.
        TooLarge, BadInput: beyond a limit, unreadable.
    """
    return sandbox.inspect(sandbox.read_skops(path, max_bytes))


def import_challenger(ws: Workspace, project: ProjectInfo, path: Path, *, by: str, now: datetime) -> ModelVersion:
    """Register a user's fitted pipeline as the challenger; it serves only once somebody promotes it.

    Everything in it has to be on the list of `core.storage.modelfile`; then it is loaded and asked for the newest labelled
    rows in a child process, and only then here, by the same list.

    Raises:
        UnsupportedFormat, TooLarge: as in `inspect_import`.
        BadInput: a part or type that is not loaded, or a model that cannot answer this project's rows as it should.
        NotEnoughRows: no labelled row to ask it for.
        Busy: a check of the project is under way.
    """
    require_proof(ws, by, "admin", now)
    schema = _schema_of(project)
    data = sandbox.read_skops(path, ws.settings.max_upload_bytes)
    X, y, _ = history.History(ws, project.id, schema).newest(CHECK_ROWS, measured=True)
    if not len(y):
        raise NotEnoughRows("The check of an imported model", needed=1, found=0)
    X = X[list(schema.names)].reset_index(drop=True)
    checked = sandbox.check_score(data, X, y.tolist(), schema=schema)
    model = loads(data) if checked.packed is None else _converted(checked.packed, X, schema)

    def beside(session: Session) -> None:
        # a check that races has given the next version's number away already
        _refuse_while_checked(session, project.id, "Import the model")
        after = {"file": path.name, "checked_on": checked.n}
        audit.record(session, who=by, what="model imported", project_id=project.id, after=after, now=now)

    version = registry.register_version(
        ws,
        project,
        registry.NewVersion(
            model=model,
            family=f"imported {checked.kind}",
            metrics=checked.metrics,
            schema=schema,
            X_learnt=X,
            source="import",
        ),
        Change(by=by, now=now),
        also=beside,
    )
    mlflow_copy.sync_in_child(ws, project.id)
    return version


def _converted(packed: bytes, X: pd.DataFrame, schema: FeatureSchema) -> Any:
    """The model as the numbers that the trial made of it, held to what a model of this project answers.

    Raises:
        BadInput: it is not of that form.
    """
    import numpy as np

    from core.learning.models import Converted

    try:
        document, _ = unpack(packed)
        model = Converted(np.frombuffer(packed, dtype=np.uint8), schema.task, document["classes"])
        answers = model.predict(X) if schema.task == "regression" else model.predict_proba(X)
    except (StorageError, KeyError, TypeError, ValueError, IndexError) as error:
        raise BadInput(f"The model's numbers cannot be read ({type(error).__name__}). It was not imported.") from error
    sandbox.refuse_answers(answers, len(X), len(document["classes"]), schema.task == "regression")
    alien = [c for c in document["classes"] if c not in schema.classes]
    if alien:
        raise BadInput(f"The model knows {alien[:5]}, which are no classes of this project. It was not imported.")
    return model


def _schema_of(project: ProjectInfo) -> FeatureSchema:
    if project.schema is None:
        raise Conflict(f"Project '{project.slug}' has no data yet. Store labelled rows first.")
    return project.schema


def _refuse_while_checked(session: Session, project_id: int, what: str) -> None:
    """A check under way began before this change, and would overwrite it at its end."""
    if leases.is_held(session, project_id, datetime.now(UTC)):
        raise Busy(f"A check of this project is under way. {what} when it has ended, in a minute at most.")


# --- comparing --------------------------------------------------------------------------------------------------


def compare(ws: Workspace, project: ProjectInfo, a: int, b: int) -> Comparison:
    """Version b (as challenger) against version a on the newest labelled rows that neither has learnt from.

    Raises:
        NotFound, StorageError: no such version, or a damaged one.
    """
    import numpy as np

    from core.performance.paired import paired

    schema = _schema_of(project)
    metric = project.policy.metric
    X, y, told = _unseen_rows(ws, project, schema, (a, b))
    if not len(y):
        nothing = Score(metric=metric, value=None, n=0, reason=because("no_row_new_to_both"))
        return Comparison(n=0, metric=metric, champion=nothing, challenger=nothing, difference=None, rows_from=told)
    scores, merits, given = [], [], []
    for version in (a, b):
        served = champion_cache.served_by(project.id, version, registry.load_model(ws, project.id, version), schema)
        score, merit, answers = _judged(served, X, y, metric)
        scores.append(score)
        merits.append(merit)
        given.append(answers)
    wins, losses = int(np.sum(merits[1] > merits[0])), int(np.sum(merits[0] > merits[1]))
    judged = paired(schema.task, metric, y, given[1], given[0])
    return Comparison(
        n=len(y),
        metric=metric,
        champion=scores[0],
        challenger=scores[1],
        difference=judged.difference,
        wins=wins,
        losses=losses,
        p=judged.p,
        test=judged.test,
        rows_from=told,
    )


def _judged(served: champion_cache.Served, X: Any, y: Any, metric: str) -> tuple[Score, Any, Given]:
    """The metric, each row's merit (1 when right, or minus the error), and what was answered."""
    import numpy as np

    from core.performance.paired import Given
    from core.performance.realised import measure

    predicted = predicting.predict(served, X)
    if served.schema.task == "regression":
        values = np.array(predicted.labels)
        return (
            measure("regression", y, values, metrics=[metric]).score(metric),
            -np.abs(y - values),
            Given(answers=values),
        )
    labels = np.empty(len(y), dtype=object)
    labels[:] = predicted.labels
    report = measure(served.schema.task, y, labels, predicted.probabilities, predicted.classes, metrics=[metric])
    answers = Given(answers=labels, proba=predicted.probabilities, classes=predicted.classes or ())
    return report.score(metric), (labels == y).astype(float), answers


def _unseen_rows(
    ws: Workspace, project: ProjectInfo, schema: FeatureSchema, versions: tuple[int, int]
) -> tuple[Any, Any, str]:
    """Features and labels of rows younger than all that both versions learnt from, and in words which rows they are."""
    import numpy as np
    import pandas as pd

    with ws.database.read() as session:
        for version in versions:
            registry.get_version(session, project.id, version)
        made = session.execute(
            select(ModelRow.version, ModelRow.batch_ids, ModelRow.source).where(
                ModelRow.project_id == project.id, ModelRow.version.in_(versions)
            )
        ).all()
    learnt = {batch_id for row in made for batch_id in row.batch_ids or ()}
    newest = max(learnt, default=0)
    reader = history.History(ws, project.id, schema)
    frames: list[Any] = []
    labels: list[Any] = []
    found = 0
    for batch in reader.measured:
        if found >= COMPARE_ROWS:
            break
        if batch.id <= newest or batch.id in learnt:
            continue
        frame, y = reader.frame(batch)
        mask = history.is_labelled(y, schema.task)
        at = np.flatnonzero(mask)[-(COMPARE_ROWS - found) :]
        frames.insert(0, frame.iloc[at][list(schema.names)])
        labels.insert(0, y[at])
        found += len(at)
    told = f"the newest {found:,} labelled rows that neither has learnt from"
    imported = [f"v{row.version}" for row in made if row.source == "import"]
    if imported:
        told += f"; what {' and '.join(imported)} learnt from before the import is not known"
    if not found:
        return pd.DataFrame(columns=list(schema.names)), np.empty(0), told
    return pd.concat(frames, ignore_index=True), np.concatenate(labels), told


# --- which one serves -------------------------------------------------------------------------------------------


def promote(ws: Workspace, project: ProjectInfo, version: int, *, reason: str, by: str, now: datetime) -> None:
    """Let a version serve, by hand; every process serves it within 2 s. In the shadow, it leaves the shadow.

    Raises:
        NotFound: no such version.
        StorageError: its artefact cannot be loaded.
        Conflict: it serves already.
        BadInput: no reason.
    """
    require(ws, by, "operator")
    registry.load_model(ws, project.id, version)  # what cannot be loaded must not be made champion
    _let_serve(ws, project, version, event=Outcome.PROMOTED, reason=reason, by=by, now=now)


def rollback(ws: Workspace, project: ProjectInfo, *, reason: str, by: str, now: datetime) -> int:
    """Let the version that the champion replaced serve again; returns its number.

    Raises:
        Conflict: the champion replaced nothing.
        StorageError: the earlier artefact cannot be loaded.
        BadInput: no reason.
    """
    require(ws, by, "operator")
    with ws.database.read() as session:
        version = next(
            (v.version for v in registry.list_versions(session, project.id) if "previous" in v.aliases), None
        )
    if version is None:
        raise Conflict(f"Project '{project.slug}' has no earlier champion to go back to.")
    registry.load_model(ws, project.id, version)
    _let_serve(ws, project, version, event=Outcome.ROLLED_BACK, reason=reason, by=by, now=now)
    return version


def _let_serve(
    ws: Workspace, project: ProjectInfo, version: int, *, event: Outcome, reason: str, by: str, now: datetime
) -> None:
    _need(reason)
    with ws.database.write() as session:
        before = registry.serving_version(session, project.id)
        if before is not None and before[0] == version:
            raise Conflict(f"v{version} of '{project.slug}' serves already.")
        registry.record_event(session, project.id, version, event, reason.strip(), Change(by=by, now=now))
        row = queries.project_row(session, project.id)
        was = before[0] if before else None
        kind = vocabulary.OUTCOMES[event].message or ""
        told = {"version": version, "before": was, "after": version, "by": by}
        notify.tell_of(ws, session, kind, project.id, reason.strip(), now, **told)
        if row.shadow_version == version:
            row.shadow_version = None
            notify.tell_of(ws, session, "shadow_ended", project.id, "It serves now.", now, version=version, by=by)
        audit.record(
            session,
            who=by,
            what=f"model {event.replace('_', ' ')}",
            project_id=project.id,
            before={"champion": was},
            after={"champion": version, "reason": reason.strip()},
            now=now,
        )
    logger.info("{event} by hand: v{version}", event=event, version=version)
    mlflow_copy.sync_in_child(ws, project.id)


def _need(reason: str) -> None:
    if not reason.strip():
        raise BadInput("A reason is expected: it stands in the audit beside your name. Write one sentence.")


# --- in the shadow ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowStanding:
    """How the version in the champion's shadow does, after the newest finished cycle."""

    version: int
    state: Literal["better", "worse", "unknown"]  # by the evidence so far; unknown = cannot tell yet
    rows: int = 0  # labelled rows that both answered
    wins: int = 0  # of these, rows that only it has right (regression: is nearer)
    losses: int = 0
    for_better: float = 1.0  # evidence "x : 1" that it is better than the champion by the policy's metric
    for_worse: float = 1.0
    needed: float = 0.0  # that settles it
    answered: int = 0  # new rows that both answered, labelled or not
    agreed: int = 0  # of these, rows with the same answer
    wanted: int | None = None  # labelled rows after which the loop itself decides; None = a person does
    since: datetime | None = None
    by: str = ""  # who put it there; "loop" for the loop itself
    reason: str = ""

    @property
    def agreement(self) -> float | None:
        """Share of the new rows with the same answer; None before there is one."""
        return self.agreed / self.answered if self.answered else None


def shadow(ws: Workspace, project: ProjectInfo, version: int, *, reason: str, by: str, now: datetime) -> None:
    """Let a version answer every new batch beside the champion, without serving. Another one in the shadow leaves it.

    Raises:
        NotFound: no such version.
        StorageError: its artefact cannot be loaded.
        Conflict: it serves, stands in the shadow already, or nothing serves that it could stand beside.
        BadInput: no reason.
        Busy: a check of the project is under way.
    """
    require(ws, by, "operator")
    _need(reason)
    registry.load_model(ws, project.id, version)  # what cannot be loaded would fail every cycle
    with ws.database.write() as session:
        _refuse_while_checked(session, project.id, "Try it in the shadow")
        serving_now = registry.serving_version(session, project.id)
        if serving_now is None:
            raise Conflict(
                f"'{project.slug}' has no champion yet that v{version} could stand beside. Promote a version."
            )
        if serving_now[0] == version:
            raise Conflict(f"v{version} of '{project.slug}' serves: its own shadow would tell nothing. Choose another.")
        row = queries.project_row(session, project.id)
        if row.shadow_version == version:
            raise Conflict(f"v{version} of '{project.slug}' is in the shadow already.")
        before = {"shadow": row.shadow_version}
        if row.shadow_version is not None:
            left = {"version": row.shadow_version, "by": by}
            notify.tell_of(ws, session, "shadow_ended", project.id, f"v{version} takes its place.", now, **left)
        notify.tell_of(ws, session, "shadow_begun", project.id, reason.strip(), now, version=version, by=by)
        row.shadow_version = version
        after = {"shadow": version, "reason": reason.strip()}
        audit.record(session, who=by, what=SHADOW_STARTED, project_id=project.id, before=before, after=after, now=now)
    logger.info("in the shadow by hand: v{version}", version=version)


def end_shadow(ws: Workspace, project: ProjectInfo, *, reason: str, by: str, now: datetime) -> int:
    """Take the version out of the champion's shadow; returns its number.

    Raises:
        Conflict: none is there.
        BadInput: no reason.
        Busy: a check of the project is under way.
    """
    require(ws, by, "operator")
    _need(reason)
    with ws.database.write() as session:
        _refuse_while_checked(session, project.id, "End the shadow")
        row = queries.project_row(session, project.id)
        version = row.shadow_version
        if version is None:
            raise Conflict(f"No version of '{project.slug}' is in the shadow.")
        row.shadow_version = None
        notify.tell_of(ws, session, "shadow_ended", project.id, reason.strip(), now, version=version, by=by)
        before, after = {"shadow": version}, {"shadow": None, "reason": reason.strip()}
        audit.record(session, who=by, what=SHADOW_ENDED, project_id=project.id, before=before, after=after, now=now)
    logger.info("out of the shadow by hand: v{version}", version=version)
    return version


def shadow_standing(ws: Workspace, project: ProjectInfo) -> ShadowStanding | None:
    """The record of the version in the shadow; None when there is none."""
    from core.learning.evidence import counted
    from core.learning.policy import EVIDENCE_NEEDED

    version = project.shadow
    if version is None or version == project.champion:
        return None
    with ws.database.read() as session:
        told = session.scalar(
            select(Cycle.shadow)
            .where(Cycle.project_id == project.id, Cycle.status == "done")
            .order_by(Cycle.id.desc())
            .limit(1)
        )
        since, by, reason = _shadow_began(session, project.id, version)
    counts = told if told is not None and told["version"] == version else {}
    wins, losses = counts.get("wins", 0), counts.get("losses", 0)
    bets = counted(wins, losses)  # of a record stored before the evidence was
    better, worse = counts.get("for_better", bets.for_better), counts.get("for_worse", bets.for_worse)
    said: Literal["better", "worse", "unknown"] = "unknown"
    if max(better, worse) >= EVIDENCE_NEEDED:
        said = "better" if better > worse else "worse"
    return ShadowStanding(
        version=version,
        state=said,
        rows=counts.get("rows", 0),
        wins=wins,
        losses=losses,
        for_better=better,
        for_worse=worse,
        needed=EVIDENCE_NEEDED,
        answered=counts.get("answered", 0),
        agreed=counts.get("agreed", 0),
        wanted=project.policy.shadow_rows or None,
        since=since,
        by=by,
        reason=reason,
    )


def _shadow_began(session: Session, project_id: int, version: int) -> tuple[datetime | None, str, str]:
    """When a version last came into the shadow, who put it there, and why."""
    by_hand = session.scalars(
        select(AuditEntry)
        .where(AuditEntry.project_id == project_id, AuditEntry.what == SHADOW_STARTED)
        .order_by(AuditEntry.id.desc())
        .limit(1)
    ).first()
    cycle = session.scalars(
        select(Cycle)
        .where(Cycle.project_id == project_id, Cycle.outcome == Outcome.SHADOWED, Cycle.challenger == version)
        .order_by(Cycle.id.desc())
        .limit(1)
    ).first()
    found = [(cycle.started_at, "loop", cycle.reason or "")] if cycle is not None else []
    if by_hand is not None and (by_hand.after or {}).get("shadow") == version:
        found.append((by_hand.at, by_hand.who, (by_hand.after or {}).get("reason", "")))
    return max(found, key=lambda f: f[0], default=(None, "", ""))
