"""Checks of an installation: what is checked, whether it is healthy, and how to fix it if not."""

from __future__ import annotations

import shlex
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, defer

from core.errors import Damaged, StorageError
from core.services.incidents import channels, status
from core.services.operations import repairing, tidying
from core.settings import ROOT
from core.storage import learners, leases, private, queries, registry
from core.storage.batches import verify
from core.storage.engine import newest_revision
from core.storage.tables import Batch, ModelRow, Project
from core.storage.troubles import trouble_of, what_failed
from core.storage.workspace import Workspace, holding

LEAST_FREE = 500 * 1024 * 1024
RESTORE_HINT = "Restore it from a backup, or run `repair --dry-run` to see how to continue without it."
SHOWN = 10  # damaged files that a check lists


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The result of one check. `fix` says how to fix it; empty if nothing is wrong."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


def examine(ws: Workspace, *, now: datetime, deep: bool = False) -> list[Check]:
    """Every check in order; `deep` also reads each stored file and verifies its checksum."""
    checks = [*_installation(ws), *_database(ws, now)]
    if deep and all(c.ok for c in checks if c.name == "database"):
        checks.extend(_files(ws))
    return checks


def _installation(ws: Workspace) -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check(
        name="python",
        ok=sys.version_info >= (3, 11),
        detail=f"Python {version}",
        fix="" if sys.version_info >= (3, 11) else "Install Python 3.11 or newer.",
    )
    home = ws.settings.home_path
    free = shutil.disk_usage(home).free
    yield Check(
        name="disk",
        ok=free >= LEAST_FREE,
        detail=f"{free / 1e9:.1f} GB free",
        fix=""
        if free >= LEAST_FREE
        else "Free disk space: new rows are refused while there is too little, stored ones are safe.",
    )
    probe = home / ".doctor"
    try:
        probe.write_text("")
        probe.unlink()
        yield Check(name="state folder", ok=True, detail="is writable")
    except OSError as error:
        yield Check(
            name="state folder",
            ok=False,
            detail=f"is not writable: {error.strerror}",
            fix="Give this user write permission to CONTINUAL_HOME.",
        )
    yield _private(ws)
    env = ROOT / ".env"
    if env.exists():
        private = not env.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        yield Check(
            name=".env",
            ok=private,
            detail="readable by its owner only" if private else "readable by others",
            fix="" if private else "chmod 600 .env",
        )
    secrets_set = ws.settings.api_key is not None
    yield Check(
        name="API_KEY", ok=True, detail="set" if secrets_set else "not set: the API accepts tokens only (`keys create`)"
    )


def _private(ws: Workspace) -> Check:
    """Whether only its owner can read the state."""
    home = ws.settings.home_path
    bad = [path for path in holding(ws.settings) if private.is_open(path)]
    bad = [home] if home in bad else bad
    return Check(
        name="modes",
        ok=not bad,
        detail="accessible to its owner only"
        if not bad
        else f"other users can access {', '.join(p.name for p in bad)}",
        fix="" if not bad else "chmod -R go= " + " ".join(shlex.quote(str(p)) for p in bad),
    )


def _database(ws: Workspace, now: datetime) -> Iterator[Check]:
    try:
        revision = ws.database.revision()
    except (SQLAlchemyError, OSError) as error:
        trouble = trouble_of(error)
        yield Check(
            name="database",
            ok=False,
            detail=f"cannot be used ({trouble.kind})" if trouble else f"cannot be read ({type(error).__name__})",
            fix=trouble.text if trouble else "Check DATABASE_URL and that the server runs.",
        )
        return
    yield _schema(revision)
    if revision != newest_revision():
        return
    try:
        with ws.database.read() as session:
            projects = list(session.scalars(select(Project).order_by(Project.id)))
            yield Check(name="database", ok=True, detail=f"answers, {len(projects)} projects")
            yield _scheduler(ws, session, now)
            yield _messages(ws)
            yield from _loop(session, projects, now)
            yield from _champions(ws, session, projects)
    except SQLAlchemyError as error:
        yield Check(name="database", ok=False, detail="cannot be read", fix=what_failed(error))


def _scheduler(ws: Workspace, session: Session, now: datetime) -> Check:
    """Whether the scheduler sends heartbeats."""
    age = status.scheduler_age(session, now)
    if age is None:
        return Check(name="scheduler", ok=True, detail="has never run here")
    late = status.is_late(age, ws.settings.check_interval_s)
    fix = "Start it: `make run`, or `python scheduler.py`."
    if age < 0:
        fix = f"Check this machine's clock. {fix}"
    detail = f"last heartbeat {age:.0f} s ago" if age >= 0 else f"last heartbeat {-age:.0f} s in the future"
    return Check(name="scheduler", ok=not late, detail=detail, fix=fix if late else "")


def _loop(session: Session, projects: Sequence[Project], now: datetime) -> Iterator[Check]:
    """What may block the loop: suspended checks, rows from the future, leases of dead processes."""
    stopped = [p.slug for p in projects if p.checks_stopped_at is not None]
    yield Check(
        name="checks",
        ok=not stopped,
        detail=f"suspended for {', '.join(stopped)}: they ended their worker repeatedly"
        if stopped
        else "none is suspended",
        fix="Give them more memory or time (CONTINUAL_CYCLE_TIMEOUT_SECONDS), or choose a lighter policy; then run `cycle`."
        if stopped
        else "",
    )
    ahead = [p.slug for p in projects if p.clock_at is not None and p.clock_at > now + timedelta(hours=1)]
    yield Check(
        name="clock",
        ok=not ahead,
        detail="no rows from the future" if not ahead else f"rows from the future in {', '.join(ahead)}",
        fix="" if not ahead else "Check this machine's clock and the time column.",
    )
    stuck = leases.run_out(session, datetime.now(UTC))
    detail = "none is stuck" if not stuck else f"{len(stuck)} expired; the next cycle takes over"
    yield Check(name="leases", ok=True, detail=detail)


def _champions(ws: Workspace, session: Session, projects: Sequence[Project]) -> Iterator[Check]:
    """Whether the artefact of each champion exists and is undamaged."""
    for project in projects:
        champion = queries.champion_of(session, project.id)
        if champion is None:
            yield Check(name=f"champion of {project.slug}", ok=True, detail="none yet")
            continue
        harm = _harm(partial(registry.check_artefact, ws, project.id, champion))
        yield Check(
            name=f"champion of {project.slug}",
            ok=not harm,
            detail=f"v{champion}{': its artefact ' + harm if harm else ''}",
            fix=RESTORE_HINT if harm else "",
        )


def _messages(ws: Workspace) -> Check:
    """Whether messages can be delivered."""
    channel = channels.state_of(ws)
    if channel.dead_since is None:
        return Check(
            name="messages",
            ok=True,
            detail="sent to Discord" if channel.set_up else "not sent: no webhook is configured",
        )
    return Check(
        name="messages",
        ok=False,
        detail=f"not sent since {channel.dead_since:%Y-%m-%d %H:%M} UTC: {channel.why}",
        fix="Create a new webhook in Discord, set DISCORD_WEBHOOK_URL to it and restart.",
    )


def _schema(revision: str | None) -> Check:
    newest = newest_revision()
    if revision == newest:
        return Check(name="schema", ok=True, detail=f"revision {newest}")
    if revision is None:
        fix = "If there was data before, the database file is missing or another one is used: check CONTINUAL_HOME and DATABASE_URL, or restore a backup. For a new installation: `init`."
        return Check(name="schema", ok=False, detail="the database is empty", fix=fix)
    if revision < newest:
        fix = "Upgrade it: `migrate`."
    else:
        fix = "It was written by a newer version of the program: start that version, or restore a backup."
    return Check(name="schema", ok=False, detail=f"revision {revision}, this version expects {newest}", fix=fix)


def _harm(check: Callable[[], object]) -> str:
    """What is wrong with a stored file, in a few words; empty if it is undamaged."""
    try:
        check()
    except Damaged as error:
        return f"{error.how} ({error.file})"
    except StorageError as error:
        return str(error)
    return ""


def _files(ws: Workspace) -> Iterator[Check]:
    """Every file that counts, read again: those of undone batches and of models given up do not count."""
    wrong = ws.database.integrity()
    yield Check(
        name="database pages",
        ok=not wrong,
        detail=wrong or "whole",
        fix="Stop the program, then put a backup in its place with `restore`." if wrong else "",
    )
    if wrong:
        return
    with ws.database.read() as session:
        slugs = {p.id: p.slug for p in session.scalars(select(Project))}
        batches = list(session.scalars(select(Batch).where(Batch.undone_at.is_(None)).options(defer(Batch.profile))))
        given_up = queries.given_up(session)
        stored = session.scalars(select(ModelRow).where(ModelRow.removed_at.is_(None)))
        models = [m for m in stored if (m.project_id, m.version) not in given_up]
        states = session.execute(select(Project.slug, Project.learner_path).where(Project.learner_path.is_not(None)))
        learnt = [(slug, str(path)) for slug, path in states]
    yield _check_files(
        "batches",
        {f"batch {b.number} of {slugs[b.project_id]}": partial(repairing.check_rows, ws, b) for b in batches},
    )
    scored = [b for b in batches if b.scores_path is not None]
    yield _check_files(
        "scores",
        {f"those of batch {b.number} of {slugs[b.project_id]}": partial(repairing.check_scores, ws, b) for b in scored},
    )
    checks = {
        f"v{m.version} of {slugs[m.project_id]}": partial(
            registry.check_artefact, ws, m.project_id, m.version, reread=True
        )
        for m in models
    }
    exported = {
        f"the scorer of v{m.version} of {slugs[m.project_id]}": partial(
            verify, ws.models_path / m.scorer_path, str(m.scorer_sha256), what="a scorer", reread=True
        )
        for m in models
        if m.scorer_path is not None
    }
    yield _check_files("models", {**checks, **exported})
    yield _check_files(
        "learners", {f"that of {slug}": partial(learners.check, ws, path, reread=True) for slug, path in learnt}
    )
    unreferenced = tidying.orphans(ws, datetime.now(UTC))
    yield Check(
        name="orphans", ok=True, detail=f"{len(unreferenced)} unreferenced files; a worker moves them to the trash"
    )
    refused = tidying.mismatch(ws)
    yield Check(
        name="installation",
        ok=not refused,
        detail=refused or "database and folders belong together",
        fix="Connect the database that belongs to these folders." if refused else "",
    )


def _check_files(name: str, checks: Mapping[str, Callable[[], object]]) -> Check:
    """One check of many files: the first few damaged ones, and what is wrong with them."""
    bad = {what: harm for what, check in checks.items() if (harm := _harm(check))}
    if not bad:
        return Check(name=name, ok=True, detail=f"all {len(checks)} checksums match")
    listed = "; ".join(f"{what} {harm}" for what, harm in list(bad.items())[:SHOWN])
    more = f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    return Check(name=name, ok=False, detail=f"{len(bad)} of {len(checks)} damaged: {listed}{more}", fix=RESTORE_HINT)
