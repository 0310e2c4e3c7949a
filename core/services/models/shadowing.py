"""A version that answers beside the champion without serving: begun, ended, and how it stands."""

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
    reason: Reason = NO_REASON

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
    need(reason)
    registry.load_model(ws, project.id, version)  # what cannot be loaded would fail every cycle
    with ws.database.write() as session:
        refuse_while_checked(session, project.id, "Try it in the shadow")
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
    need(reason)
    with ws.database.write() as session:
        refuse_while_checked(session, project.id, "End the shadow")
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
    counts = from_document(ShadowRecord, told) if told and told["version"] == version else ShadowRecord(version=version)
    bets = counted(counts.wins, counts.losses)  # of a record stored before the evidence was
    better = counts.for_better if counts.for_better is not None else bets.for_better
    worse = counts.for_worse if counts.for_worse is not None else bets.for_worse
    said: Literal["better", "worse", "unknown"] = "unknown"
    if max(better, worse) >= EVIDENCE_NEEDED:
        said = "better" if better > worse else "worse"
    return ShadowStanding(
        version=version,
        state=said,
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


def _shadow_began(session: Session, project_id: int, version: int) -> tuple[datetime | None, str, Reason]:
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
    found = [(cycle.started_at, "loop", cycle.reason or NO_REASON)] if cycle is not None else []
    if by_hand is not None and (by_hand.after or {}).get("shadow") == version:
        found.append((by_hand.at, by_hand.who, as_written((by_hand.after or {}).get("reason", ""))))
    return max(found, key=lambda f: f[0], default=(None, "", NO_REASON))
