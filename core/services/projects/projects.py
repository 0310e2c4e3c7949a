"""Projects: created from the sample, a file or the generator; renamed, paused, exported, deleted."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Literal

from sqlalchemy import select

from core.errors import BadInput, Conflict, NotFound
from core.learning.policy import policy_named, policy_to_document
from core.records import JsonObject, Policy, ProjectInfo, Task, metric_for
from core.services.access.actors import require
from core.storage import audit, documents, queries
from core.storage.layout import folder_of
from core.storage.tables import Batch, Cycle, Project
from core.storage.workspace import Workspace
from core.text.reasons import in_words

ROOT_SLUG = "default"
MAX_NAME = 100


def slug_of(name: str) -> str:
    """A project's slug: lower-case letters, digits and hyphens of its name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60]


def list_projects(ws: Workspace) -> list[ProjectInfo]:
    """All projects, oldest first."""
    with ws.database.read() as session:
        return [queries.project_info(session, row) for row in session.scalars(select(Project).order_by(Project.id))]


def get_project(ws: Workspace, slug: str) -> ProjectInfo:
    """The project with that slug or name.

    Raises:
        NotFound: the message lists the existing projects.
    """
    with ws.database.read() as session:
        row = session.scalar(
            select(Project).where(
                (Project.slug == slug) | (Project.slug == slug_of(slug) if slug_of(slug) else Project.name == slug)
            )
        )
        if row is not None:
            return queries.project_info(session, row)
    raise NotFound(f"There is no project '{slug}'. {_existing(ws)}")


def project_by_id(ws: Workspace, project_id: int) -> ProjectInfo:
    """The project with that id; NotFound if it was deleted."""
    with ws.database.read() as session:
        return queries.project_info(session, queries.project_row(session, project_id))


def root_project(ws: Workspace) -> ProjectInfo:
    """The project that the API's root addresses: `default` if it exists, else the only one.

    Raises:
        NotFound: none, or several without a `default`; the message lists them.
    """
    projects = list_projects(ws)
    for project in projects:
        if project.slug == ROOT_SLUG:
            return project
    if len(projects) == 1:
        return projects[0]
    raise NotFound(_existing(ws))


def _existing(ws: Workspace) -> str:
    slugs = [p.slug for p in list_projects(ws)]
    if not slugs:
        return "There is no project yet. Create one on the Data page, with `projects create`, or with POST /generate."
    return "Projects: " + ", ".join(slugs) + ". Specify one: /projects/{slug}/... or --project."


def threshold_policy(ws: Workspace, name: str) -> Policy:
    """A policy by name with this installation's threshold."""
    return policy_named(name, threshold=ws.settings.performance_threshold)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the rows of a new project come from."""

    source: Literal["sample", "file", "generator", "api"]
    generator: JsonObject | None = None  # its settings, if it is used
    task: Task | None = None  # the first batch has to match it; for regression, the policy's metric becomes R2


def create_project(
    ws: Workspace, name: str, origin: Origin, *, by: str, now: datetime, policy: str | Policy = "balanced"
) -> ProjectInfo:
    """Create an empty project.

    Raises:
        BadInput: the name holds no letter or digit, or is too long.
        Conflict: the name is taken.
    """
    require(ws, by, "operator")
    slug = slug_of(name)
    if not slug or len(name) > MAX_NAME:
        raise BadInput(
            f"Project name {name[:120]!r} cannot be used: expected 1 to {MAX_NAME} characters with at least one letter or digit."
        )
    chosen = policy if isinstance(policy, Policy) else threshold_policy(ws, policy)
    if origin.task == "regression":
        chosen = dataclasses.replace(chosen, metric=metric_for(chosen, origin.task))
    with ws.database.write() as session:
        if session.scalar(select(Project.id).where(Project.slug == slug)) is not None:
            raise Conflict(f"There is already a project '{slug}'. Choose another name.")
        row = Project(
            slug=slug,
            name=name.strip(),
            source=origin.source,
            task=origin.task,
            policy=policy_to_document(chosen),
            generator=origin.generator,
            created_at=now,
        )
        session.add(row)
        session.flush()
        audit.record(
            session,
            who=by,
            what="project created",
            project_id=row.id,
            after={"name": row.name, "source": origin.source, "policy": chosen.name},
            now=now,
        )
        return queries.project_info(session, row)


def rename_project(ws: Workspace, project: ProjectInfo, name: str, *, by: str, now: datetime) -> ProjectInfo:
    """Change the display name; the slug, and so every URL, stays the same."""
    require(ws, by, "operator")
    if not name.strip() or len(name) > MAX_NAME:
        raise BadInput(f"Project name has {len(name)} characters, expected 1 to {MAX_NAME}.")
    with ws.database.write() as session:
        row = queries.project_row(session, project.id)
        audit.record(
            session,
            who=by,
            what="project renamed",
            project_id=row.id,
            before={"name": row.name},
            after={"name": name.strip()},
            now=now,
        )
        row.name = name.strip()
        return queries.project_info(session, row)


def set_policy(ws: Workspace, project: ProjectInfo, policy: Policy, *, by: str, now: datetime) -> ProjectInfo:
    """Store another policy; it takes effect with the next cycle."""
    require(ws, by, "operator")
    with ws.database.write() as session:
        row = queries.project_row(session, project.id)
        if project.task:
            policy = dataclasses.replace(policy, metric=metric_for(policy, project.task))
        document = policy_to_document(policy)
        audit.record(
            session, who=by, what="policy changed", project_id=row.id, before=row.policy, after=document, now=now
        )
        row.policy = document
        row.next_race_at = now  # the scheduler applies the new rules immediately
        return queries.project_info(session, row)


def set_paused(ws: Workspace, project: ProjectInfo, paused: bool, *, by: str, now: datetime) -> ProjectInfo:
    """Pause or resume scheduled checks; manually requested cycles still run."""
    require(ws, by, "operator")
    with ws.database.write() as session:
        row = queries.project_row(session, project.id)
        if row.paused != paused:
            audit.record(
                session, who=by, what="checks paused" if paused else "checks resumed", project_id=row.id, now=now
            )
        row.paused = paused
        return queries.project_info(session, row)


def delete_project(ws: Workspace, project: ProjectInfo, *, by: str, now: datetime) -> None:
    """Delete a project with its rows, labels, predictions and models. Cannot be undone."""
    require(ws, by, "operator")
    with ws.database.write() as session:
        row = queries.project_row(session, project.id)
        audit.record(
            session,
            who=by,
            what="project deleted",
            before={"slug": row.slug, "name": row.name, "rows": row.rows},
            now=now,
        )
        session.delete(row)
    remove_files(ws, project.id)


def remove_files(ws: Workspace, project_id: int) -> None:
    """Remove the files of a deleted project."""
    shutil.rmtree(ws.batches.root / folder_of(project_id), ignore_errors=True)
    shutil.rmtree(ws.models_path / folder_of(project_id), ignore_errors=True)


def export_project(ws: Workspace, project: ProjectInfo, target: Path) -> Path:
    """Write everything stored about a project into one zip: rows, schema, policy, cycles, model history.

    Raises:
        Conflict: the file exists.
    """
    from core.storage import registry

    if target.exists():
        raise Conflict(f"{target} exists. Name a new file.")
    temporary = target.with_name(target.name + ".tmp")
    with ws.database.read() as session:
        rows = session.scalars(select(Cycle).where(Cycle.project_id == project.id).order_by(Cycle.id.desc()))
        cycles = [documents.cycle_from(row) for row in rows]
        batches = list(session.scalars(select(Batch).where(Batch.project_id == project.id).order_by(Batch.number)))
        versions = registry.list_versions(session, project.id)
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("project.json", json.dumps(in_words(project), indent=2))
        archive.writestr("cycles.json", json.dumps(in_words(cycles), indent=2))
        archive.writestr("models.json", json.dumps(in_words(versions), indent=2))
        archive.writestr("batches.json", json.dumps(in_words([queries.batch_info(b) for b in batches]), indent=2))
        for batch in batches:
            archive.write(ws.batches.root / batch.path, f"batches/{batch.number:06d}.parquet")
    temporary.rename(target)
    return target
