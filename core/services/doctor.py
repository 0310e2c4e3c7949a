"""Checks of an installation: what is looked at, whether it is well, and how to mend it if not."""

from __future__ import annotations

import shlex
import shutil
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from core.services import status, tidying
from core.settings import ROOT
from core.storage import private, queries
from core.storage.batches import sha256_of
from core.storage.tables import Batch, Lease, ModelRow, Project
from core.storage.workspace import Workspace, holding

LEAST_FREE = 500 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding. `mend` is empty when all is well."""

    name: str
    ok: bool
    detail: str
    mend: str = ""


def examine(ws: Workspace, *, now: datetime, deep: bool = False) -> list[Check]:
    """Every check in order; `deep` also reads each stored file and compares its digest."""
    found = [*_installation(ws), *_database(ws, now)]
    if deep and all(c.ok for c in found if c.name == "database"):
        found.extend(_files(ws))
    return found


def _installation(ws: Workspace) -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check(
        name="python",
        ok=sys.version_info >= (3, 11),
        detail=f"Python {version}",
        mend="" if sys.version_info >= (3, 11) else "Install Python 3.11 or newer.",
    )
    home = ws.settings.home_path
    free = shutil.disk_usage(home).free
    yield Check(
        name="disk",
        ok=free >= LEAST_FREE,
        detail=f"{free / 1e9:.1f} GB free",
        mend="" if free >= LEAST_FREE else "Free disk space: rows are refused before anything is lost.",
    )
    probe = home / ".doctor"
    try:
        probe.write_text("")
        probe.unlink()
        yield Check(name="state folder", ok=True, detail="can be written")
    except OSError as error:
        yield Check(
            name="state folder",
            ok=False,
            detail=f"cannot be written: {error.strerror}",
            mend="Give this user write permission to CONTINUAL_HOME.",
        )
    yield _private(ws)
    env = ROOT / ".env"
    if env.exists():
        private = not env.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        yield Check(
            name=".env",
            ok=private,
            detail="readable by its owner only" if private else "readable by others",
            mend="" if private else "chmod 600 .env",
        )
    secrets_set = ws.settings.api_key is not None
    yield Check(
        name="API_KEY", ok=True, detail="set" if secrets_set else "not set: the API takes tokens only (`keys create`)"
    )


def _private(ws: Workspace) -> Check:
    """Whether nobody but its owner can read the state."""
    home = ws.settings.home_path
    bad = [path for path in holding(ws.settings) if private.is_open(path)]
    bad = [home] if home in bad else bad
    return Check(
        name="modes",
        ok=not bad,
        detail="for its owner only" if not bad else f"other users may enter or read {', '.join(p.name for p in bad)}",
        mend="" if not bad else "chmod -R go= " + " ".join(shlex.quote(str(p)) for p in bad),
    )


def _database(ws: Workspace, now: datetime) -> Iterator[Check]:
    if not ws.database.ping():
        yield Check(
            name="database",
            ok=False,
            detail="out of reach",
            mend="Check DATABASE_URL and that the server runs; `migrate` makes an empty one.",
        )
        return
    try:
        with ws.database.read() as session:
            projects = list(session.scalars(select(Project).order_by(Project.id)))
            yield Check(name="database", ok=True, detail=f"answers, {len(projects)} projects")
            age = status.scheduler_age(session, now)
            late = age is not None and status.is_late(age, ws.settings.check_interval_s)
            told = "never ran here" if age is None else f"last beat {age:.0f} s ago"
            if age is not None and age < 0:
                told = f"last beat {-age:.0f} s in the future"
            mend = "Start it: `make run`, or `python scheduler.py`."
            if age is not None and age < 0:
                mend = f"Check this machine's clock. {mend}"
            yield Check(
                name="scheduler",
                ok=not late,
                detail=told,
                mend=mend if late else "",
            )
            stopped = [p.slug for p in projects if p.checks_stopped_at is not None]
            yield Check(
                name="checks",
                ok=not stopped,
                detail=f"set aside for {', '.join(stopped)}: they ended their worker again and again"
                if stopped
                else "none is set aside",
                mend="Give them more memory or time (CONTINUAL_CYCLE_TIMEOUT_SECONDS), or a lighter policy; then `cycle`."
                if stopped
                else "",
            )
            ahead = [p.slug for p in projects if p.clock_at is not None and p.clock_at > now + timedelta(hours=1)]
            yield Check(
                name="clock",
                ok=not ahead,
                detail="rows are not from the future" if not ahead else f"rows from the future in {', '.join(ahead)}",
                mend="" if not ahead else "Check this machine's clock and the time column.",
            )
            stuck = [row.name for row in session.scalars(select(Lease)) if row.expires_at < now]
            yield Check(
                name="leases",
                ok=True,
                detail="none is stuck" if not stuck else f"{len(stuck)} expired, taken over by the next cycle",
            )
            for project in projects:
                champion = queries.champion_of(session, project.id)
                if champion is None:
                    yield Check(name=f"champion of {project.slug}", ok=True, detail="none yet")
                    continue
                row = session.scalar(
                    select(ModelRow).where(ModelRow.project_id == project.id, ModelRow.version == champion)
                )
                there = row is not None and (ws.models_path / row.path).is_file()
                yield Check(
                    name=f"champion of {project.slug}",
                    ok=there,
                    detail=f"v{champion}" if there else f"v{champion}: its artefact is missing",
                    mend="" if there else "Restore the file from a backup, or roll back to another version.",
                )
    except SQLAlchemyError as error:
        yield Check(
            name="database",
            ok=False,
            detail=f"cannot be read ({type(error).__name__})",
            mend="Bring the schema up to date: `migrate`.",
        )


def _files(ws: Workspace) -> Iterator[Check]:
    with ws.database.read() as session:
        wanted = [(ws.batches.root / path, sha) for path, sha in session.execute(select(Batch.path, Batch.sha256))]
        wanted += [
            (ws.batches.root / str(path), str(sha))
            for path, sha in session.execute(
                select(Batch.scores_path, Batch.scores_sha256).where(Batch.scores_path.is_not(None))
            )
        ]
        stored = select(ModelRow.path, ModelRow.sha256).where(ModelRow.removed_at.is_(None))
        models = [(ws.models_path / path, sha) for path, sha in session.execute(stored)]
        exported = select(ModelRow.scorer_path, ModelRow.scorer_sha256).where(ModelRow.scorer_path.is_not(None))
        exported = exported.where(ModelRow.removed_at.is_(None))
        models += [(ws.models_path / str(path), str(sha)) for path, sha in session.execute(exported)]
        named = session.scalars(select(Project.learner_path).where(Project.learner_path.is_not(None)))
        learners = [ws.models_path / path for path in named if path is not None]
    yield _compare("batches", wanted)
    yield _compare("models", models)
    lost = [path for path in learners if not path.is_file()]
    yield Check(
        name="learners",
        ok=not lost,
        detail=f"{len(learners)} learner states are there" if not lost else f"{len(lost)} learner states are missing",
        mend="" if not lost else "Restore them from a backup.",
    )
    found = tidying.orphans(ws, datetime.now(UTC))
    yield Check(
        name="orphans", ok=True, detail=f"{len(found)} files that no row names; a worker moves them to the trash"
    )
    refused = tidying.mismatch(ws)
    yield Check(
        name="installation",
        ok=not refused,
        detail=refused or "database and folders belong together",
        mend="Connect the database that belongs to these folders." if refused else "",
    )


def _compare(name: str, wanted: list[tuple[Path, str]]) -> Check:
    bad = [path.name for path, sha in wanted if not path.is_file() or sha256_of(path) != sha]
    if bad:
        return Check(
            name=name,
            ok=False,
            detail=f"{len(bad)} of {len(wanted)} files are missing or changed, e.g. {bad[0]}",
            mend="Restore them from a backup.",
        )
    return Check(name=name, ok=True, detail=f"{len(wanted)} files match their digests")
