"""Which projects the scheduler has to check, and whether work is queued for a worker."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from core.services.automation.jobs import is_free
from core.storage import queries
from core.storage.tables import Label, LiveRun, Notice, Prediction, Project

LABELS_WORTH_A_CHECK = 100


LABEL_AGE = queries.SEAL_AGE


def pending(session: Session, now: datetime) -> bool:
    """Whether a worker is needed now: a job is queued, or a live run is due. One query."""
    jobs = exists().where(is_free(now))
    live = exists().where(LiveRun.status == "playing", queries.is_due(LiveRun.next_at, now))
    return bool(session.scalar(select(or_(jobs, live))))


def notices_due(session: Session, now: datetime) -> bool:
    """Whether a message is queued. One query."""
    return bool(
        session.scalar(select(exists().where(Notice.sent_at.is_(None), queries.is_due(Notice.next_attempt_at, now))))
    )


def clock_asks(now: datetime) -> ColumnElement[bool]:
    """The SQL condition that a project's policy requires a check by time: by the model's age or its schedule.

    Also if the last check ran while the clock was ahead, which would delay the next one.
    """
    ahead = Project.checked_at > now + queries.LONGEST_PAUSE
    return and_(Project.next_race_at.is_not(None), or_(Project.next_race_at <= now, ahead))


def due_projects(session: Session, now: datetime) -> list[int]:
    """Projects with new data (batches, enough or old enough log rows or labels), or whose policy requires a check by time.

    The one checked longest ago is first. If checks are suspended, only rows and labels that arrived since then count.
    """
    waiting = Prediction.unsealed(Project.id)
    log = select(func.coalesce(func.sum(Prediction.rows), 0)).where(waiting).scalar_subquery()
    old_log = exists().where(
        waiting,
        or_(Prediction.created_at <= now - queries.SEAL_AGE, Prediction.created_at > now + queries.LONGEST_PAUSE),
    )
    # Labels that a failed check has seen are checked again only with other new data: compared by id, not by time.
    fresh = and_(
        Label.project_id == Project.id,
        Label.id > Project.label_watermark,
        Label.undone_at.is_(None),
        Label.id > Project.labels_checked,
    )
    labels = select(func.count()).where(fresh).scalar_subquery()
    old_labels = exists().where(
        fresh, or_(Label.created_at <= now - LABEL_AGE, Label.created_at > now + queries.LONGEST_PAUSE)
    )
    new_data = or_(Project.news != Project.checked_news, labels >= LABELS_WORTH_A_CHECK, old_labels)
    ripe = or_(clock_asks(now), log >= queries.SEAL_ROWS, old_log)
    works = Project.checks_stopped_at.is_(None)
    return list(
        session.scalars(
            select(Project.id)
            .where(Project.paused.is_(False), Project.schema.is_not(None), or_(new_data, and_(works, ripe)))
            .order_by(Project.turn_at.asc().nulls_first(), Project.id)
        )
    )
