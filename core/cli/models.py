"""Models: list, compare, download, prune and import them; promote and rollback choose the serving version."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.cli.common import BY, as_table, open_state, project_of, say, utc_now
from core.cli.options import add_command, add_group, add_project
from core.errors import BadInput

if TYPE_CHECKING:
    from core.records import ModelVersion


def add(commands: Any) -> None:
    """Declare the commands of this module."""
    models = add_group(commands, "models", "List, compare, download or import models.")
    _add_list(models)
    _add_compare(models)
    _add_download(models)
    _add_prune(models)
    _add_import(models)
    _add_promote(commands)
    _add_rollback(commands)


def _add_list(models: Any) -> None:
    add_project(
        add_command(models, "list", _list, "Registered versions, newest first.", "models list --project insects")
    )


def _list(args: argparse.Namespace) -> int:
    from core.storage import registry

    ws = open_state()
    project = project_of(ws, args)
    with ws.database.read() as session:
        versions = registry.list_versions(session, project.id)
    lines = [
        {
            "version": v.version,
            "aliases": v.aliases,
            "family": v.family,
            "created_at": v.created_at,
            "promoted_at": v.promoted_at,
            "artefact_removed_at": v.removed_at,
        }
        for v in versions
    ]
    table = as_table(
        [
            [f"v{v.version}", ", ".join(v.aliases), v.family, f"{v.created_at:%Y-%m-%d %H:%M}", v.source, _artefact(v)]
            for v in versions
        ],
        ["version", "aliases", "family", "created", "source", "artefact"],
    )
    return say(args, {"models": lines}, table if lines else "No model yet. `cycle --force` starts the first race.")


def _artefact(version: ModelVersion) -> str:
    return "artefact removed" if version.removed_at is not None else "available"


def _add_compare(models: Any) -> None:
    text = "Compare two versions on the same newest labelled rows."
    compare = add_command(models, "compare", _compare, text, "models compare 1 2 --project insects")
    compare.add_argument("a", type=int, metavar="A")
    compare.add_argument("b", type=int, metavar="B")
    add_project(compare)


def _compare(args: argparse.Namespace) -> int:
    from core.services.models import comparing

    ws = open_state()
    comparison = comparing.compare(ws, project_of(ws, args), args.a, args.b)
    difference = comparison.difference
    text = f"v{args.b} minus v{args.a} over {comparison.n:,} rows ({comparison.rows_from}): " + (
        f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"
        if difference is not None
        and difference.value is not None
        and difference.low is not None
        and difference.high is not None
        else "cannot be determined"
    )
    return say(args, comparison, text)


def _add_download(models: Any) -> None:
    text = "Download a version's artefact."
    download = add_command(models, "download", _download, text, "models download 2 --project insects --out v2.skops")
    download.add_argument("version", type=int, metavar="VERSION")
    add_project(download)
    download.add_argument("--out", type=Path, required=True, metavar="F")


def _download(args: argparse.Namespace) -> int:
    from core.storage import registry

    ws = open_state()
    project = project_of(ws, args)
    source = registry.artefact_path(ws, project.id, args.version)
    if args.out.exists():
        raise BadInput(f"{args.out} exists. Name a new file.")
    args.out.write_bytes(source.read_bytes())
    return say(
        args,
        {"version": args.version, "file": str(args.out), "bytes": args.out.stat().st_size},
        f"v{args.version} written to {args.out}; load it with skops.io.load.",
    )


def _add_prune(models: Any) -> None:
    text = "Permanently remove the artefacts of former champions and rejected challengers; their history stays."
    prune = add_command(models, "prune", _prune, text, "models prune --project insects")
    add_project(prune)
    prune.add_argument("--keep", type=int, metavar="N", help="rejected ones to keep (CONTINUAL_KEEP_REJECTED)")
    prune.add_argument("--keep-former", type=int, metavar="N", help="former champions to keep (CONTINUAL_KEEP_FORMER)")


def _prune(args: argparse.Namespace) -> int:
    from core.services.models import pruning

    ws = open_state()
    pruned = pruning.prune(
        ws, project_of(ws, args).id, utc_now(), by=BY, keep_former=args.keep_former, keep_rejected=args.keep
    )
    removed = ", ".join(f"v{v}" for v in pruned.versions)
    text = f"Removed the artefacts of {removed}: {pruned.bytes / 1e6:.1f} MB." if removed else "Nothing to remove."
    return say(args, {"versions": pruned.versions, "bytes": pruned.bytes}, text)


def _add_import(models: Any) -> None:
    text = "Import your own pipeline as the challenger."
    bring = add_command(models, "import", _import, text, "models import mine.skops --project insects")
    bring.add_argument("file", type=Path, metavar="FILE")
    add_project(bring)


def _import(args: argparse.Namespace) -> int:
    from core.services.models import importing

    ws = open_state()
    version = importing.import_challenger(ws, project_of(ws, args), args.file, by=BY, now=utc_now())
    return say(
        args,
        {"version": version.version, "aliases": version.aliases},
        f"Imported as v{version.version}, the challenger. `promote {version.version} --reason ...` makes it the champion.",
    )


def _add_promote(commands: Any) -> None:
    text = "Make a version the champion."
    promote = add_command(commands, "promote", _promote, text, "promote 2 --project insects --reason 'reviewed'")
    promote.add_argument("version", type=int, metavar="VERSION")
    add_project(promote)
    promote.add_argument("--reason", required=True, metavar="R")


def _promote(args: argparse.Namespace) -> int:
    from core.services.models import lifecycle

    ws = open_state()
    project = project_of(ws, args)
    lifecycle.promote(ws, project, args.version, reason=args.reason, by=BY, now=utc_now())
    return say(
        args,
        {"champion": args.version, "replaced": project.champion},
        f"v{args.version} is now the champion, it replaced "
        + (f"v{project.champion}." if project.champion else "nothing."),
    )


def _add_rollback(commands: Any) -> None:
    rollback = add_command(
        commands,
        "rollback",
        _rollback,
        "Make the previous version the champion again.",
        "rollback --project insects --reason 'worse on site B'",
    )
    add_project(rollback)
    rollback.add_argument("--reason", required=True, metavar="R")


def _rollback(args: argparse.Namespace) -> int:
    from core.services.models import lifecycle

    ws = open_state()
    project = project_of(ws, args)
    version = lifecycle.rollback(ws, project, reason=args.reason, by=BY, now=utc_now())
    return say(
        args,
        {"champion": version, "replaced": project.champion},
        f"v{version} is the champion again and replaces v{project.champion}.",
    )
