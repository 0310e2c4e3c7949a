"""Shadow mode: a version that predicts next to the champion without serving. Start, end, and its current record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from loguru import logger
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import Conflict
from core.records import NO_REASON, Outcome, ProjectInfo, Reason, ShadowRecord, as_written, from_document
from core.services.access.actors import require
from core.services.incidents import notify
from core.services.models.conditions import need, refuse_while_checked
from core.storage import audit, queries, registry
from core.storage.tables import AuditEntry, Cycle
from core.storage.workspace import Workspace

SHADOW_STARTED, SHADOW_ENDED = "shadow started", "shadow ended"  # in the audit


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowStatus:
    """The record of the version in shadow mode, after the newest finished cycle."""

    version: int
    state: Literal["better", "worse", "unknown"]  # by the evidence so far; unknown = not enough evidence yet
    rows: int = 0  # labelled rows that both predicted
    wins: int = 0  # of these, rows that only it predicted correctly (regression: more closely)
    losses: int = 0
    for_better: float = 1.0  # evidence "x : 1" that it is better than the champion by the policy's metric
    for_worse: float = 1.0
    needed: float = 0.0  # evidence that decides
    answered: int = 0  # new rows that both predicted, labelled or not
    agreed: int = 0  # of these, rows with the same prediction
    wanted: int | None = None  # labelled rows after which the loop itself decides; None = a person does
    since: datetime | None = None
    by: str = ""  # who put it there; "loop" for the loop itself
    reason: Reason = NO_REASON

    @property
    def agreement(self) -> float | None:
        """Share of the new rows with the same prediction; None before there are any."""
        return self.agreed / self.answered if self.answered else None


def shadow(ws: Workspace, project: ProjectInfo, version: int, *, reason: str, by: str, now: datetime) -> None:
    """Start shadow mode: the version predicts every new batch next to the champion, without serving. It replaces another one.

    Raises:
        NotFound: no such version.
        StorageError: its artefact cannot be loaded.
        Conflict: it is the champion, is already in shadow mode, or there is no champion.
        BadInput: no reason.
        Busy: a check of the project is in progress.
    """
    require(ws, by, "operator")
    need(reason)
    registry.load_model(ws, project.id, version)  # a version that cannot be loaded would fail every cycle
    with ws.database.write() as session:
        refuse_while_checked(session, project.id, "Start shadow mode")
        serving_now = registry.serving_version(session, project.id)
        if serving_now is None:
            raise Conflict(
                f"'{project.slug}' has no champion yet that v{version} could be compared with. Promote a version first."
            )
        if serving_now[0] == version:
            raise Conflict(
                f"v{version} of '{project.slug}' is the champion, which cannot be compared with itself. Choose another version."
            )
        row = queries.project_row(session, project.id)
        if row.shadow_version == version:
            raise Conflict(f"v{version} of '{project.slug}' is already in shadow mode.")
        before = {"shadow": row.shadow_version}
        if row.shadow_version is not None:
            left = {"version": row.shadow_version, "by": by}
            notify.enqueue_event(ws, session, "shadow_ended", project.id, f"v{version} takes its place.", now, **left)
        notify.enqueue_event(ws, session, "shadow_begun", project.id, reason.strip(), now, version=version, by=by)
        row.shadow_version = version
        after = {"shadow": version, "reason": reason.strip()}
        audit.record(session, who=by, what=SHADOW_STARTED, project_id=project.id, before=before, after=after, now=now)
    logger.info("shadow mode started manually: v{version}", version=version)


def end_shadow(ws: Workspace, project: ProjectInfo, *, reason: str, by: str, now: datetime) -> int:
    """End shadow mode; returns the version's number.

    Raises:
        Conflict: no version is in shadow mode.
        BadInput: no reason.
        Busy: a check of the project is in progress.
    """
    require(ws, by, "operator")
    need(reason)
    with ws.database.write() as session:
        refuse_while_checked(session, project.id, "End shadow mode")
        row = queries.project_row(session, project.id)
        version = row.shadow_version
        if version is None:
            raise Conflict(f"No version of '{project.slug}' is in shadow mode.")
        row.shadow_version = None
        notify.enqueue_event(ws, session, "shadow_ended", project.id, reason.strip(), now, version=version, by=by)
        before, after = {"shadow": version}, {"shadow": None, "reason": reason.strip()}
        audit.record(session, who=by, what=SHADOW_ENDED, project_id=project.id, before=before, after=after, now=now)
    logger.info("shadow mode ended manually: v{version}", version=version)
    return version


def shadow_status(ws: Workspace, project: ProjectInfo) -> ShadowStatus | None:
    """The record of the version in shadow mode; None if there is none."""
    from core.learning.evidence import counted
    from core.learning.policy import EVIDENCE_NEEDED

    version = project.shadow
    if version is None or version == project.champion:
        return None
    with ws.database.read() as session:
        document = session.scalar(
            select(Cycle.shadow)
            .where(Cycle.project_id == project.id, Cycle.status == "done")
            .order_by(Cycle.id.desc())
            .limit(1)
        )
        since, by, reason = _shadow_start(session, project.id, version)
    counts = (
        from_document(ShadowRecord, document)
        if document and document["version"] == version
        else ShadowRecord(version=version)
    )
    bets = counted(counts.wins, counts.losses)  # the record was stored before evidence was
    better = counts.for_better if counts.for_better is not None else bets.for_better
    worse = counts.for_worse if counts.for_worse is not None else bets.for_worse
    state: Literal["better", "worse", "unknown"] = "unknown"
    if max(better, worse) >= EVIDENCE_NEEDED:
        state = "better" if better > worse else "worse"
    return ShadowStatus(
        version=version,
        state=state,
        rows=counts.rows,
        wins=counts.wins,
        losses=counts.losses,
        for_better=better,
        for_worse=worse,
        needed=EVIDENCE_NEEDED,
        answered=counts.answered,
        agreed=counts.agreed,
        wanted=project.policy.shadow_rows or None,
        since=since,
        by=by,
        reason=reason,
    )


def _shadow_start(session: Session, project_id: int, version: int) -> tuple[datetime | None, str, Reason]:
    """When a version last entered shadow mode, who started it, and why."""
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
    entries = [(cycle.started_at, "loop", cycle.reason or NO_REASON)] if cycle is not None else []
    if by_hand is not None and (by_hand.after or {}).get("shadow") == version:
        entries.append((by_hand.at, by_hand.who, as_written((by_hand.after or {}).get("reason", ""))))
    return max(entries, key=lambda f: f[0], default=(None, "", NO_REASON))
