"""Projects: list, create, set, rename, delete, export."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from core.cli.common import BY, as_table, open_state, say, utc_now
from core.cli.options import add_command, add_group, count
from core.records import JsonObject, ProjectInfo


def add(commands: Any) -> None:
    """Declare the commands of this module."""
    group = add_group(commands, "projects", "List, create, change, delete or export projects.")
    add_command(group, "list", _list, "All projects.", "projects list --json")
    _add_create(group)
    _add_set(group)
    _add_rename(group)
    _add_delete(group)
    _add_export(group)


def _list(args: argparse.Namespace) -> int:
    from core.services.projects import projects

    lines = [_project_line(p) for p in projects.list_projects(open_state())]
    table = as_table(
        [[d["slug"], d["task"], d["target"], d["policy"], d["rows"], d["champion"]] for d in lines],
        ["slug", "task", "target", "policy", "rows", "champion"],
    )
    return say(
        args,
        {"projects": lines},
        table if lines else "No project yet. Create one with `projects create insects --sample insects`.",
    )


def _add_create(group: Any) -> None:
    create = add_command(group, "create", _create, "Create a project.", "projects create insects --sample insects")
    create.add_argument("name", metavar="NAME")
    create.add_argument("--policy", help="never, original, careful, balanced (default) or fast")
    create.add_argument("--task", choices=("binary", "multiclass", "regression"))
    origin = create.add_mutually_exclusive_group()
    origin.add_argument("--sample", help="a bundled sample, e.g. insects")
    origin.add_argument("--generate", action="store_true", help="rows from the generator")
    create.add_argument("--rows", type=count, default=1000, help="for the generator")
    create.add_argument("--features", type=count, default=2, help="for the generator")
    create.add_argument("--seed", type=int, help="for the generator")


def _create(args: argparse.Namespace) -> int:
    from core.services.ingestion import generated
    from core.services.projects import projects, streams

    ws = open_state()
    now = utc_now()
    if args.sample:
        project = streams.create_sample_project(
            ws, by=BY, now=now, name=args.name, sample=args.sample, policy=args.policy or "balanced"
        )
    else:
        task = args.task
        options = {"features": args.features, "task": task or "binary"} if args.generate else None
        project = projects.create_project(
            ws,
            args.name,
            projects.Origin(source="generator" if args.generate else "file", task=task, generator=options),
            by=BY,
            now=now,
            policy=args.policy or "balanced",
        )
        if args.generate:
            generated.generate(ws, project, rows=args.rows, seed=args.seed, by=BY, now=now)
        project = projects.project_by_id(ws, project.id)
    return say(args, _project_line(project), f"Project '{project.slug}' created with {project.rows:,} rows.")


def _add_set(group: Any) -> None:
    text = "Change the policy, its threshold, or pause the checks."
    change = add_command(group, "set", _set, text, "projects set insects --policy careful --threshold 0.75")
    change.add_argument("name", metavar="NAME")
    change.add_argument("--policy")
    change.add_argument("--threshold", type=float)
    change.add_argument("--pause", choices=("yes", "no"))


def _set(args: argparse.Namespace) -> int:
    from core.learning.policy import policy_named
    from core.services.projects import projects

    ws = open_state()
    project = projects.get_project(ws, args.name)
    changes = {"threshold": args.threshold if args.threshold is not None else project.policy.threshold}
    policy = policy_named(args.policy or project.policy.name, **changes)
    project = projects.set_policy(ws, project, policy, by=BY, now=utc_now())
    if args.pause is not None:
        project = projects.set_paused(ws, project, args.pause == "yes", by=BY, now=utc_now())
    return say(
        args,
        _project_line(project),
        f"Project '{project.slug}': policy {project.policy.name}, threshold {project.policy.threshold:g}.",
    )


def _add_rename(group: Any) -> None:
    text = "Change the display name; the slug stays."
    rename = add_command(group, "rename", _rename, text, "projects rename insects --to 'Field insects'")
    rename.add_argument("name", metavar="NAME")
    rename.add_argument("--to", required=True)


def _rename(args: argparse.Namespace) -> int:
    from core.services.projects import projects

    ws = open_state()
    project = projects.rename_project(ws, projects.get_project(ws, args.name), args.to, by=BY, now=utc_now())
    return say(args, _project_line(project), f"Project '{project.slug}' is now shown as {project.name}.")


def _add_delete(group: Any) -> None:
    text = "Delete a project with everything in it."
    delete = add_command(group, "delete", _delete, text, "projects delete insects")
    delete.add_argument("name", metavar="NAME")


def _delete(args: argparse.Namespace) -> int:
    from core.services.projects import projects

    ws = open_state()
    project = projects.get_project(ws, args.name)
    projects.delete_project(ws, project, by=BY, now=utc_now())
    return say(
        args, {"deleted": project.slug, "rows": project.rows}, f"Deleted '{project.slug}' with {project.rows:,} rows."
    )


def _add_export(group: Any) -> None:
    text = "Export rows, cycles and model history as one zip."
    export = add_command(group, "export", _export, text, "projects export insects --out insects.zip")
    export.add_argument("name", metavar="NAME")
    export.add_argument("--out", type=Path, metavar="F")


def _export(args: argparse.Namespace) -> int:
    from core.services.projects import projects

    ws = open_state()
    project = projects.get_project(ws, args.name)
    path = projects.export_project(ws, project, args.out or Path(f"{project.slug}.zip"))
    return say(args, {"file": str(path)}, str(path))


def _project_line(p: ProjectInfo) -> JsonObject:
    target = p.schema.target if p.schema else None
    return {
        "slug": p.slug,
        "name": p.name,
        "task": p.task,
        "target": target,
        "policy": p.policy.name,
        "rows": p.rows,
        "labelled": p.labelled,
        "champion": p.champion,
        "paused": p.paused,
    }
