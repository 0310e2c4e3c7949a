"""The installation: init and demo to begin, then doctor, repair, backup, restore and migrate."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import words
from core.cli.common import BY, open_state, say, utc_now
from core.cli.options import add_command, count
from core.errors import Busy, ContinualError

if TYPE_CHECKING:
    from core.records import CycleReport
    from core.storage.workspace import Workspace

ASK_AGAIN_S = 0.5  # between two attempts while another worker holds the project's lease


def add(commands: Any) -> None:
    """Declare the commands of this module."""
    add_command(commands, "init", _init, "Create secrets, database and first user.", "init")
    _add_demo(commands)
    _add_doctor(commands)
    _add_repair(commands)
    _add_backup(commands)
    _add_restore(commands)
    add_command(commands, "migrate", _migrate, "Upgrade the database schema.", "migrate")


def _init(args: argparse.Namespace) -> int:
    from core.services.operations import setup
    from core.settings import get_settings

    written = setup.ensure_secrets(Path(".env"), os.environ)
    get_settings.cache_clear()
    lines = setup.initialise(get_settings(), now=utc_now())
    text = "\n".join(lines)
    if args.json:
        return say(args, {"secrets_written": written, "first_user": setup.FIRST_USER if lines else None}, "")
    if text:
        print(text, flush=True)
    return 0


def _add_demo(commands: Any) -> None:
    demo = add_command(
        commands, "demo", _demo, "Create the sample project and play its rows through the loop.", "demo --batches 10"
    )
    demo.add_argument("--name", default="Insects")
    demo.add_argument("--batches", type=count, help="stop after this many batches")


def _demo(args: argparse.Namespace) -> int:
    from core import cycle
    from core.services.automation import live
    from core.services.projects import projects, streams

    ws = open_state()
    project = streams.create_sample_project(ws, by=BY, now=utc_now(), name=args.name)
    _cycle(ws, project.id)
    run = live.start_live(
        ws, projects.project_by_id(ws, project.id), by=BY, now=utc_now(), seconds_per_batch=0.0, by_clock=False
    )
    played, reported = 0, _newest(ws, project.id).id
    while run.status == "playing" and run.error is None and (args.batches is None or played < args.batches):
        cycle.advance_live(ws, run.id, now=utc_now())
        played += 1
        newest = _newest(ws, project.id)
        latest = live.latest_live(ws, project.id)
        assert latest is not None
        run = latest
        if run.error is None and (newest.status == "running" or newest.id == reported):
            _cycle(
                ws, project.id
            )  # the rows are stored, but another worker held the project's lease and may have missed them
            newest = _newest(ws, project.id)
        if newest.id != reported and newest.status != "running":
            _report(newest)
            reported = newest.id
    error = run.error
    if run.status == "playing":
        run = live.set_live_status(ws, run.id, "paused", by=BY, now=utc_now())
    if error:
        raise ContinualError(error)
    return say(
        args,
        {"project": project.slug, "batches": played, "rows": run.position},
        f"Project '{project.slug}' holds {run.position:,} rows. Open the Live page to see it.",
    )


def _cycle(ws: Workspace, project_id: int) -> None:
    """Run one cycle; while another worker runs one, print that and wait. The lease of a dead worker expires within a minute."""
    from core import cycle

    waits = False
    while True:
        try:
            cycle.run_cycle(ws, project_id, cause="cli", now=utc_now(), by=BY)
            return
        except Busy:
            if not waits:
                print("another worker is running a cycle of this project; waiting", file=sys.stderr)
            waits = True
            time.sleep(ASK_AGAIN_S)


def _newest(ws: Workspace, project_id: int) -> CycleReport:
    from core.services.monitoring import monitoring

    return monitoring.cycles(ws, project_id, limit=1)[0][0]


def _report(report: CycleReport) -> None:
    evidence = report.evidence
    score = (
        f"{evidence.metric} {words.plain_score(evidence.score)}"
        if evidence is not None and evidence.score is not None
        else "not measured"
    )
    served = f"v{report.champion_after}" if report.champion_after else "no champion"
    print(
        f"cycle {report.id}: {score}, {report.decision}, {report.outcome}, {served} ({report.seconds or 0:.1f} s)",
        file=sys.stderr,
    )


def _add_doctor(commands: Any) -> None:
    doctor = add_command(
        commands, "doctor", _doctor, "Check the installation; exits 1 if something needs fixing.", "doctor --deep"
    )
    doctor.add_argument("--deep", action="store_true", help="also verify the checksum of every stored file")


def _doctor(args: argparse.Namespace) -> int:
    from core.logs import set_up_logs
    from core.services.operations import doctor
    from core.settings import get_settings
    from core.storage.workspace import open_workspace

    settings = get_settings()
    set_up_logs(settings, "cli")
    checks = doctor.examine(open_workspace(settings), now=utc_now(), deep=args.deep)
    well = all(c.ok for c in checks)
    lines = [f"{'ok  ' if c.ok else 'BAD '} {c.name}: {c.detail}" + (f". {c.fix}" if c.fix else "") for c in checks]
    documents = [{"name": c.name, "ok": c.ok, "detail": c.detail, "mend": c.fix} for c in checks]
    say(args, {"ok": well, "checks": documents}, "\n".join(lines))
    return 0 if well else 1


def _add_repair(commands: Any) -> None:
    text = "Recover from missing or damaged files: rebuild what can be rebuilt, exclude the rest."
    repair = add_command(commands, "repair", _repair, text, "repair --dry-run")
    repair.add_argument("--project", help="slug; default: all projects")
    repair.add_argument("--dry-run", action="store_true", help="only show what would be done and what would be lost")


def _repair(args: argparse.Namespace) -> int:
    from core.services.operations import repairing
    from core.services.projects import projects

    ws = open_state()
    chosen = projects.get_project(ws, args.project) if args.project else None
    actions = repairing.repair(ws, now=utc_now(), project=chosen, dry_run=args.dry_run)
    lines = []
    for action in actions:
        word = "done" if action.done else "would be done" if args.dry_run else "not done"
        lines += [f"{word}: {action.project or 'all'}: {action.what}", f"  cost: {action.cost}"]
    say(args, {"actions": actions}, "\n".join(lines) or "Nothing is damaged.")
    return 0 if args.dry_run or all(a.done for a in actions) else 1


def _add_backup(commands: Any) -> None:
    backup = add_command(
        commands,
        "backup",
        _backup,
        "Write a consistent backup of the whole state to one file, while everything runs.",
        "backup monday.zip",
    )
    backup.add_argument("file", type=Path, metavar="FILE")
    backup.add_argument(
        "--damaged", action="store_true", help="also if files are missing or damaged: copy what there is and list them"
    )


def _backup(args: argparse.Namespace) -> int:
    from core.services.operations import backup

    report = backup.backup(open_state(), args.file, now=utc_now(), damaged=args.damaged)
    lines = [
        f"{report.path}: {report.files} files, {report.bytes:,} bytes",
        *(f"missing or damaged: {name}" for name in report.damaged),
    ]
    return say(
        args,
        {"file": str(report.path), "files": report.files, "bytes": report.bytes, "damaged": report.damaged},
        "\n".join(lines),
    )


def _add_restore(commands: Any) -> None:
    restore = add_command(
        commands,
        "restore",
        _restore,
        "Verify a backup and restore it into a new state folder.",
        "restore monday.zip --to restored",
    )
    restore.add_argument("file", type=Path, metavar="FILE")
    restore.add_argument("--to", type=Path, required=True, metavar="NEW_FOLDER")


def _restore(args: argparse.Namespace) -> int:
    from core.services.operations import backup

    report = backup.restore(args.file, args.to)
    return say(
        args,
        {"folder": str(report.path), "files": report.files, "bytes": report.bytes},
        f"{report.files} files verified and written. Start with CONTINUAL_HOME={report.path}",
    )


def _migrate(args: argparse.Namespace) -> int:
    from core.settings import get_settings
    from core.storage import engine

    settings = get_settings()
    done = engine.migrate(settings.database_url, settings.home_path / "locks")
    return say(
        args,
        {"migrated": done},
        "The database schema was upgraded." if done else "The database schema is already up to date.",
    )
