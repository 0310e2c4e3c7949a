"""Projects: their rows, and the record that pages and commands see."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.data.contract import schema_from_document
from core.errors import NotFound
from core.learning.policy import policy_from_document
from core.records import ProjectInfo
from core.storage.queries.models import champion_of
from core.storage.tables import Project


def project_row(session: Session, project_id: int) -> Project:
    """The project's row; NotFound when it was deleted."""
    row = session.get(Project, project_id)
    if row is None:
        raise NotFound(f"There is no project with id {project_id}; it may have been deleted.")
    return row


def project_info(session: Session, row: Project) -> ProjectInfo:
    """A project's record."""
    schema = schema_from_document(row.schema) if row.schema else None
    return ProjectInfo(
        id=row.id,
        slug=row.slug,
        name=row.name,
        source=row.source,
        task=schema.task if schema else row.task,
        schema=schema,
        policy=policy_from_document(row.policy),
        created_at=row.created_at,
        paused=row.paused,
        rows=row.rows,
        labelled=row.labelled,
        champion=champion_of(session, row.id),
        clock_at=row.clock_at,
        checked_at=row.checked_at,
        generator=row.generator,
        shadow=row.shadow_version,
    )


def is_there(session: Session, project_id: int) -> bool:
    """Whether the project exists."""
    return session.scalar(select(Project.id).where(Project.id == project_id)) is not None
