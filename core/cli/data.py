"""Rows: ingest and labels store them, predict returns predictions, batches lists and undoes them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.cli.common import (
    BY,
    as_table,
    open_state,
    problem_documents,
    problem_sentences,
    project_of,
    read_rows,
    say,
    utc_now,
)
from core.cli.options import add_command, add_group, add_project, add_roles, split_names
from core.errors import BadInput, NeedsConsent
from core.records import LabelPlan

if TYPE_CHECKING:
    from core.services.ingestion.label_changes import LabelChange


def add(commands: Any) -> None:
    """Declare the commands of this module."""
    _add_ingest(commands)
    _add_labels(commands)
    _add_predict(commands)
    batches = add_group(commands, "batches", "List or undo stored batches.")
    _add_batches_list(batches)
    _add_batches_undo(batches)


def _add_ingest(commands: Any) -> None:
    ingest = add_command(
        commands,
        "ingest",
        _ingest,
        "Store a CSV or Parquet file as one batch.",
        "ingest rows.csv --project insects --target y",
    )
    ingest.add_argument("file", type=Path, metavar="FILE")
    add_project(ingest)
    ingest.add_argument("--target", help="label column; needed with the first file only")
    ingest.add_argument("--task", choices=("binary", "multiclass", "classification", "regression"))
    add_roles(ingest)
    ingest.add_argument(
        "--backfill", action="store_true", help="historical rows: stored, but neither measured nor treated as new data"
    )


def _ingest(args: argparse.Namespace) -> int:
    from core.services.ingestion import ingest

    ws = open_state()
    report = ingest.ingest_file(
        ws,
        project_of(ws, args),
        args.file,
        by=BY,
        now=utc_now(),
        target=args.target,
        id_column=args.id,
        time_column=args.time,
        task=args.task,
        exclude=split_names(args.exclude),
        categorical=split_names(args.categorical),
        backfill=args.backfill,
    )
    text = "\n".join(
        [
            f"Batch {report.batch.number} (id {report.batch.id}): {report.rows:,} rows, {report.labelled:,} labelled.",
            *(
                [
                    "These rows are a backfill: they are stored with their times, but neither measured nor treated as new data."
                ]
                if report.backfill
                else []
            ),
            *problem_sentences(report.problems),
        ]
    )
    document = {
        "batch": report.batch.id,
        "rows": report.rows,
        "labelled": report.labelled,
        "backfill": report.backfill,
        "problems": problem_documents(report.problems),
        "assumed": report.assumed,
    }
    return say(args, document, text)


def _add_labels(commands: Any) -> None:
    labels = add_command(
        commands,
        "labels",
        _labels,
        "Store labels: a file with row_id (or prediction_id, or the id column) and label (or the target).",
        "labels labels.csv --project insects",
    )
    labels.add_argument("file", type=Path, metavar="FILE", nargs="?")
    labels.add_argument(
        "--yes", action="store_true", help="replace labels and add classes; without it the changes are only shown"
    )
    undoing = labels.add_mutually_exclusive_group()
    undoing.add_argument(
        "--changes", action="store_true", help="list the changes that replaced labels or added classes"
    )
    undoing.add_argument("--undo", type=int, metavar="ID", help="undo one of these changes")
    add_project(labels)


def _labels(args: argparse.Namespace) -> int:
    from core.services.ingestion import label_changes, label_intake, label_plans

    ws = open_state()
    project = project_of(ws, args)
    if args.undo is not None:
        change = label_changes.undo_labels(ws, project, args.undo, by=BY, now=utc_now())
        return say(args, change, f"Change {change.id} is undone: {_changed(change)}. The labels before it count again.")
    if args.changes:
        changes = label_changes.newest_changes(ws, project, limit=50)
        lines = [(c.id, f"{c.at:%Y-%m-%d %H:%M}", c.by, _changed(c), "undone" if c.undone else "") for c in changes]
        return say(args, changes, as_table(lines, ["id", "at (UTC)", "by", "what", ""]))
    if args.file is None:
        raise BadInput("No file was given, expected a file of labels, --changes or --undo ID.")
    try:
        stored = label_intake.add_label_file(
            ws, project, args.file, name=args.file.name, by=BY, now=utc_now(), replace=args.yes
        )
    except NeedsConsent as refusal:
        document = {"needs_consent": True, **_label_counts(refusal.plan), "plan": refusal.plan}
        return say(args, document, "\n".join([*_label_plan(refusal.plan), str(refusal)])) or 1
    document = {**_label_counts(stored.plan), "problems": problem_documents(stored.problems), "change": stored.change}
    text = [", ".join(f"{n:,} {status}" for status, n in _label_counts(stored.plan).items())]
    if stored.plan.new_classes:
        text.append(f"{label_plans.new_classes_text(stored.plan)}.")
    if stored.change is not None:
        text.append(f"To undo this: labels --undo {stored.change} --project {project.slug}")
    return say(args, document, "\n".join([*text, *problem_sentences(stored.problems)]))


def _label_counts(plan: LabelPlan) -> dict[str, int]:
    return {
        "stored": plan.stored, "unchanged": plan.unchanged, "replaced": plan.replaced, "waiting": plan.waiting
    }  # fmt: skip


def _label_plan(plan: LabelPlan) -> list[str]:
    """What would happen to the labels, one line each."""
    counts = ", ".join(f"{n:,} {status}" for status, n in _label_counts(plan).items())
    lines = [f"These labels would be: {counts}"]
    lines += [f"  new class {c.label!r}: {c.count:,}, e.g. row {c.row_id!r}" for c in plan.new_classes[:20]]
    if len(plan.new_classes) > 20:
        lines.append(f"  and {len(plan.new_classes) - 20:,} more new classes")
    lines += [f"  row {r.row_id!r}: {r.before!r} becomes {r.after!r}" for r in plan.replacements]
    if plan.replaced > len(plan.replacements):
        lines.append(f"  and {plan.replaced - len(plan.replacements):,} more")
    return lines


def _changed(change: LabelChange) -> str:
    n = len(change.new_classes)
    new = f", {n:,} new {'class' if n == 1 else 'classes'}" if n else ""
    return f"labels stored: {change.labels:,}, of which {change.replaced:,} replaced others{new}"


def _add_predict(commands: Any) -> None:
    predict = add_command(
        commands,
        "predict",
        _predict,
        "Predict every row of a file with the champion.",
        "predict rows.csv --project insects --out answers.csv",
    )
    predict.add_argument("file", type=Path, metavar="FILE")
    add_project(predict)
    predict.add_argument("--out", type=Path, metavar="F", help="CSV file; default: stdout")


def _predict(args: argparse.Namespace) -> int:
    from core.data.files import write_csv
    from core.services.serving import file_answers

    ws = open_state()
    project = project_of(ws, args)
    read = read_rows(args.file, project.schema.target if project.schema else None)
    answered = file_answers.predict_file(ws, project, read.frame, now=utc_now())
    out = args.out
    if out is not None:
        out.write_bytes(write_csv(answered))
    document = {"rows": len(answered), "model_version": project.champion, "file": str(out) if out else None}
    return say(
        args,
        document,
        f"{len(answered):,} rows predicted by v{project.champion}, written to {out}"
        if out
        else write_csv(answered).decode(),
    )


def _add_batches_list(batches: Any) -> None:
    add_project(
        add_command(batches, "list", _batches_list, "Stored batches, newest first.", "batches list --project insects")
    )


def _batches_list(args: argparse.Namespace) -> int:
    from core.services.ingestion import stored_batches

    ws = open_state()
    infos, _ = stored_batches.list_batches(ws, project_of(ws, args).id, limit=1_000_000)
    lines = [
        {
            "id": b.id,
            "number": b.number,
            "rows": b.rows,
            "labelled": b.labelled,
            "created_at": b.created_at,
            "undone": b.undone,
            "origin": b.origin,
        }
        for b in infos
    ]
    table = as_table(
        [
            [
                d["id"],
                d["rows"],
                d["labelled"],
                f"{d['created_at']:%Y-%m-%d %H:%M}",
                "undone" if d["undone"] else "",
                d["origin"],
            ]
            for d in lines
        ],
        ["id", "rows", "labelled", "created", "", "origin"],
    )
    return say(args, {"batches": lines}, table)


def _add_batches_undo(batches: Any) -> None:
    undo = add_command(batches, "undo", _batches_undo, "Mark a batch: its rows no longer count.", "batches undo 3")
    undo.add_argument("id", type=int, metavar="ID")


def _batches_undo(args: argparse.Namespace) -> int:
    from core.services.ingestion import stored_batches
    from core.services.projects import projects
    from core.storage.tables import Batch

    ws = open_state()
    with ws.database.read() as session:
        row = session.get(Batch, args.id)
        project_id = row.project_id if row is not None else None
    if project_id is None:
        raise BadInput(f"There is no batch with id {args.id}. `batches list` shows them.")
    info = stored_batches.undo_batch(ws, projects.project_by_id(ws, project_id), args.id, by=BY, now=utc_now())
    return say(
        args,
        {"batch": info.id, "rows": info.rows, "undone": info.undone},
        f"Batch {info.number} is undone: its {info.rows:,} rows no longer count.",
    )
