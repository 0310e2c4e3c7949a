"""The command line: `python -m core.cli`. Exit 0 = done, 1 = failed, 2 = usage; with --json one document on stdout.

Only translates between a person and the services. `replay` and `drift` touch neither settings nor state.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import __version__
from core.drift import words
from core.errors import BadInput, ContinualError, NeedsConsent, NotEnoughRows
from core.records import FeatureSchema, LabelPlan, Problem, ProjectInfo, to_document
from core.storage import private

if TYPE_CHECKING:
    import pandas as pd

    from core.records import ModelVersion
    from core.services.label_changes import LabelChange
    from core.storage.workspace import Workspace

BY = "cli"
Handler = Callable[[argparse.Namespace], int]
MAX_FILE_BYTES = 4 * 1024**3  # replay and drift read files of the caller's own


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    # As in the worker: the models are small, and on busy cores the threads of each step would wait for one another.
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 2) // 2, 1)))
    private.keep_private()
    parser = _parser()
    args = parser.parse_args(argv)
    if getattr(args, "handler", None) is None:
        args.group.print_help(sys.stderr)
        return 2
    try:
        return args.handler(args)
    except ContinualError as error:
        print(f"error: {error}", file=sys.stderr)
        for problem in getattr(error, "problems", ())[:20]:
            print(f"  {problem.field}: seen {problem.seen}, expected {problem.expected}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except Exception as error:
        from core.storage.troubles import trouble_of

        trouble = trouble_of(error)
        if trouble is None:
            raise
        print(f"error: {trouble.text}", file=sys.stderr)
        return 1


# --- shared --------------------------------------------------------------------------------------------------


def _now() -> datetime:
    return datetime.now(UTC)


def _open() -> Workspace:
    """The state folder, migrated; logs go to stderr."""
    from core.logs import set_up_logs
    from core.settings import get_settings
    from core.storage.workspace import open_workspace

    settings = get_settings()
    set_up_logs(settings, "cli")
    return open_workspace(settings, migrate=True)


def _project(ws: Workspace, args: argparse.Namespace) -> ProjectInfo:
    from core.services import projects

    return projects.get_project(ws, args.project) if args.project else projects.root_project(ws)


def _say(args: argparse.Namespace, document: Any, text: str) -> int:
    """Answer: the document with --json, else the text."""
    print(json.dumps(to_document(document), ensure_ascii=False, allow_nan=False) if args.json else text)
    return 0


def _table(rows: Sequence[Sequence[Any]], head: Sequence[str]) -> str:
    cells = [[("-" if v is None else str(v)) for v in row] for row in [head, *rows]]
    widths = [max(len(row[k]) for row in cells) for k in range(len(head))]
    return "\n".join("  ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def _progress(share: float, text: str) -> None:
    print(f"  {share:>4.0%}  {text}", file=sys.stderr)


def _read(path: Path, target: str | None) -> Any:
    from core.data.files import read_table

    return read_table(path, name=path.name, max_bytes=MAX_FILE_BYTES, target=target)


def _told(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    from core.data.problems import document_of

    return [document_of(p) for p in problems]


def _sentences(problems: Sequence[Problem]) -> list[str]:
    from core.data.problems import texts_of

    return texts_of(problems)


# --- set up --------------------------------------------------------------------------------------------------


def _init(args: argparse.Namespace) -> int:
    from core.services import setup
    from core.settings import get_settings

    written = setup.ensure_secrets(Path(".env"), os.environ)
    get_settings.cache_clear()
    lines = setup.initialise(get_settings(), now=_now())
    text = "\n".join(lines)
    if args.json:
        return _say(args, {"secrets_written": written, "first_user": setup.FIRST_USER if lines else None}, "")
    if text:
        print(text, flush=True)
    return 0


def _migrate(args: argparse.Namespace) -> int:
    from core.settings import get_settings
    from core.storage import engine

    settings = get_settings()
    done = engine.migrate(settings.database_url, settings.home_path / "locks")
    return _say(args, {"migrated": done}, "Brought the database up to date." if done else "The database is up to date.")


def _demo(args: argparse.Namespace) -> int:
    from core import loop
    from core.services import live, projects, streams

    ws = _open()
    project = streams.create_sample_project(ws, by=BY, now=_now(), name=args.name)
    loop.run_cycle(ws, project.id, cause="cli", now=_now(), by=BY)
    run = live.start_live(ws, projects.project_by_id(ws, project.id), by=BY, now=_now(), seconds_per_batch=0.0)
    told = 0
    while run.status == "playing" and run.error is None and (args.batches is None or told < args.batches):
        loop.advance_live(ws, run.id, now=_now())
        told += 1
        _tell_newest(ws, project.id)
        latest = live.latest_live(ws, project.id)
        assert latest is not None
        run = latest
    error = run.error
    if run.status == "playing":
        run = live.set_live_status(ws, run.id, "paused", by=BY, now=_now())
    if error:
        raise ContinualError(error)
    return _say(
        args,
        {"project": project.slug, "batches": told, "rows": run.position},
        f"Project '{project.slug}' holds {run.position:,} rows. Open Live to see it.",
    )


def _tell_newest(ws: Workspace, project_id: int) -> None:
    from core.services import monitoring

    report = monitoring.cycles(ws, project_id, limit=1)[0][0]
    evidence = report.evidence
    score = (
        f"{evidence.metric} {words.score(evidence.score)}"
        if evidence is not None and evidence.score is not None
        else "not measured"
    )
    served = f"v{report.champion_after}" if report.champion_after else "no champion"
    print(
        f"cycle {report.id}: {score}, {report.decision}, {report.outcome}, {served} ({report.seconds or 0:.1f} s)",
        file=sys.stderr,
    )


def _doctor(args: argparse.Namespace) -> int:
    from core.logs import set_up_logs
    from core.services import doctor
    from core.settings import get_settings
    from core.storage.workspace import open_workspace

    settings = get_settings()
    set_up_logs(settings, "cli")
    checks = doctor.examine(open_workspace(settings), now=_now(), deep=args.deep)
    well = all(c.ok for c in checks)
    lines = [f"{'ok  ' if c.ok else 'BAD '} {c.name}: {c.detail}" + (f". {c.mend}" if c.mend else "") for c in checks]
    _say(args, {"ok": well, "checks": checks}, "\n".join(lines))
    return 0 if well else 1


def _repair(args: argparse.Namespace) -> int:
    from core.services import projects, repairing

    ws = _open()
    chosen = projects.get_project(ws, args.project) if args.project else None
    actions = repairing.repair(ws, now=_now(), project=chosen, dry_run=args.dry_run)
    lines = []
    for action in actions:
        word = "done" if action.done else "would be done" if args.dry_run else "not done"
        lines += [f"{word}: {action.project or 'all'}: {action.what}", f"  cost: {action.cost}"]
    _say(args, {"actions": actions}, "\n".join(lines) or "Nothing is damaged.")
    return 0 if args.dry_run or all(a.done for a in actions) else 1


def _backup(args: argparse.Namespace) -> int:
    from core.services import backup

    report = backup.backup(_open(), args.file, now=_now(), damaged=args.damaged)
    lines = [
        f"{report.path}: {report.files} files, {report.bytes:,} bytes",
        *(f"missing or damaged: {name}" for name in report.damaged),
    ]
    return _say(
        args,
        {"file": str(report.path), "files": report.files, "bytes": report.bytes, "damaged": report.damaged},
        "\n".join(lines),
    )


def _restore(args: argparse.Namespace) -> int:
    from core.services import backup

    report = backup.restore(args.file, args.to)
    return _say(
        args,
        {"folder": str(report.path), "files": report.files, "bytes": report.bytes},
        f"{report.files} files verified and written. Start with CONTINUAL_HOME={report.path}",
    )


# --- projects, rows, labels ----------------------------------------------------------------------------------


def _project_line(p: ProjectInfo) -> dict[str, Any]:
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


def _projects_list(args: argparse.Namespace) -> int:
    from core.services import projects

    lines = [_project_line(p) for p in projects.list_projects(_open())]
    table = _table(
        [[d["slug"], d["task"], d["target"], d["policy"], d["rows"], d["champion"]] for d in lines],
        ["slug", "task", "target", "policy", "rows", "champion"],
    )
    return _say(
        args,
        {"projects": lines},
        table if lines else "No project yet. `projects create insects --sample insects` makes one.",
    )


def _projects_create(args: argparse.Namespace) -> int:
    from core.services import ingest, projects, streams

    ws = _open()
    now = _now()
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
            source="generator" if args.generate else "file",
            by=BY,
            now=now,
            policy=args.policy or "balanced",
            task=task,
            generator=options,
        )
        if args.generate:
            ingest.generate(ws, project, rows=args.rows, seed=args.seed, by=BY, now=now)
        project = projects.project_by_id(ws, project.id)
    return _say(args, _project_line(project), f"Project '{project.slug}' is there with {project.rows:,} rows.")


def _projects_set(args: argparse.Namespace) -> int:
    from core.learning.policy import policy_named
    from core.services import projects

    ws = _open()
    project = projects.get_project(ws, args.name)
    changes = {"threshold": args.threshold if args.threshold is not None else project.policy.threshold}
    policy = policy_named(args.policy or project.policy.name, **changes)
    project = projects.set_policy(ws, project, policy, by=BY, now=_now())
    if args.pause is not None:
        project = projects.set_paused(ws, project, args.pause == "yes", by=BY, now=_now())
    return _say(
        args,
        _project_line(project),
        f"Project '{project.slug}': policy {project.policy.name}, threshold {project.policy.threshold:g}.",
    )


def _guards_show(args: argparse.Namespace) -> int:
    from core.services import guarding
    from core.services.guards import guards_to_document

    ws = _open()
    document = guards_to_document(guarding.guards_of(ws, _project(ws, args)))
    return _say(args, document, _table(list(document.items()), ("guard", "value")))


def _guards_set(args: argparse.Namespace) -> int:
    from core.services import guarding
    from core.services.guards import guards_to_document

    ws = _open()
    project = _project(ws, args)
    given = {name: getattr(args, name) for name in guards_to_document(guarding.guards_of(ws, project))}
    changes = {name: value for name, value in given.items() if value is not None}
    if "override" in changes and project.schema is not None:
        changes["override"] = _answer_of(project.schema, changes["override"])
    guards = guarding.changed(guarding.guards_of(ws, project), changes)
    document = guards_to_document(guarding.set_guards(ws, project, guards, by=BY, now=_now()))
    return _say(args, document, _table(list(document.items()), ("guard", "value")))


def _notify(args: argparse.Namespace) -> int:
    from core.services import notify
    from core.services.messages import KINDS

    ws = _open()
    project = _project(ws, args)
    changes = {**dict.fromkeys(args.on, True), **dict.fromkeys(args.off, False)}
    if both := sorted(set(args.on) & set(args.off)):
        raise BadInput(f"{both[0]} cannot be both on and off. Name it once.")
    if changes:
        switches = notify.set_switches(ws, project, changes, by=BY, now=_now())
    else:
        switches = notify.switches(ws, project)
    rows = [(name, "on" if on else "off", KINDS[name].label) for name, on in switches.items()]
    return _say(args, switches, _table(rows, ("message", "sent", "when")))


def _answer_of(schema: FeatureSchema, text: str) -> Any:
    """A class, or a number, that is written like this; the text itself where there is none."""
    if schema.task != "regression":
        return next((label for label in schema.classes if str(label).lower() == text.lower()), text)
    try:
        return float(text)
    except ValueError:
        return text


def _projects_rename(args: argparse.Namespace) -> int:
    from core.services import projects

    ws = _open()
    project = projects.rename_project(ws, projects.get_project(ws, args.name), args.to, by=BY, now=_now())
    return _say(args, _project_line(project), f"Project '{project.slug}' is now shown as {project.name}.")


def _projects_delete(args: argparse.Namespace) -> int:
    from core.services import projects

    ws = _open()
    project = projects.get_project(ws, args.name)
    projects.delete_project(ws, project, by=BY, now=_now())
    return _say(
        args, {"deleted": project.slug, "rows": project.rows}, f"Deleted '{project.slug}' with {project.rows:,} rows."
    )


def _projects_export(args: argparse.Namespace) -> int:
    from core.services import projects

    ws = _open()
    project = projects.get_project(ws, args.name)
    path = projects.export_project(ws, project, args.out or Path(f"{project.slug}.zip"))
    return _say(args, {"file": str(path)}, str(path))


def _ingest(args: argparse.Namespace) -> int:
    from core.services import ingest

    ws = _open()
    report = ingest.ingest_file(
        ws,
        _project(ws, args),
        args.file,
        by=BY,
        now=_now(),
        target=args.target,
        id_column=args.id,
        time_column=args.time,
        task=args.task,
        exclude=_names(args.exclude),
        categorical=_names(args.categorical),
        backfill=args.backfill,
    )
    text = "\n".join(
        [
            f"Batch {report.batch.number} (id {report.batch.id}): {report.rows:,} rows, {report.labelled:,} labelled.",
            *(
                ["These rows are a backfill: they are stored with their instants, and are neither measured nor news."]
                if report.backfill
                else []
            ),
            *_sentences(report.problems),
        ]
    )
    document = {
        "batch": report.batch.id,
        "rows": report.rows,
        "labelled": report.labelled,
        "backfill": report.backfill,
        "problems": _told(report.problems),
        "assumed": report.assumed,
    }
    return _say(args, document, text)


def _labels(args: argparse.Namespace) -> int:
    from core.services import label_changes, label_intake

    ws = _open()
    project = _project(ws, args)
    if args.undo is not None:
        change = label_changes.undo_labels(ws, project, args.undo, by=BY, now=_now())
        return _say(
            args, change, f"Change {change.id} is undone: {_changed(change)}. The labels before it count again."
        )
    if args.changes:
        changes = label_changes.newest_changes(ws, project, limit=50)
        lines = [(c.id, f"{c.at:%Y-%m-%d %H:%M}", c.by, _changed(c), "undone" if c.undone else "") for c in changes]
        return _say(args, changes, _table(lines, ["id", "at (UTC)", "by", "what", ""]))
    if args.file is None:
        raise BadInput("There is no file, expected one of labels, or --changes, or --undo ID.")
    try:
        taken = label_intake.add_label_file(
            ws, project, args.file, name=args.file.name, by=BY, now=_now(), replace=args.yes
        )
    except NeedsConsent as asked:
        document = {"needs_consent": True, **_label_counts(asked.plan), "plan": asked.plan}
        return _say(args, document, "\n".join([*_label_plan(asked.plan), str(asked)])) or 1
    document = {**_label_counts(taken.plan), "problems": _told(taken.problems), "change": taken.change}
    text = [", ".join(f"{n:,} {status}" for status, n in _label_counts(taken.plan).items())]
    if taken.plan.new_classes:
        text.append(f"{label_intake.new_classes_text(taken.plan)}.")
    if taken.change is not None:
        text.append(f"To take this back: labels --undo {taken.change} --project {project.slug}")
    return _say(args, document, "\n".join([*text, *_sentences(taken.problems)]))


def _label_counts(plan: LabelPlan) -> dict[str, int]:
    return {
        "stored": plan.stored, "unchanged": plan.unchanged, "replaced": plan.replaced, "waiting": plan.waiting
    }  # fmt: skip


def _label_plan(plan: LabelPlan) -> list[str]:
    """What would become of labels, a line each."""
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


def _predict(args: argparse.Namespace) -> int:
    from core.data.files import write_csv
    from core.services import serving

    ws = _open()
    project = _project(ws, args)
    read = _read(args.file, project.schema.target if project.schema else None)
    answered = serving.predict_file(ws, project, read.frame, now=_now())
    out = args.out
    if out is not None:
        out.write_bytes(write_csv(answered))
    document = {"rows": len(answered), "model_version": project.champion, "file": str(out) if out else None}
    return _say(
        args,
        document,
        f"{len(answered):,} rows predicted by v{project.champion}, written to {out}"
        if out
        else write_csv(answered).decode(),
    )


def _batches_list(args: argparse.Namespace) -> int:
    from core.services import ingest

    ws = _open()
    infos, _ = ingest.list_batches(ws, _project(ws, args).id, limit=1_000_000)
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
    table = _table(
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
    return _say(args, {"batches": lines}, table)


def _batches_undo(args: argparse.Namespace) -> int:
    from core.services import ingest, projects
    from core.storage.tables import Batch

    ws = _open()
    with ws.database.read() as session:
        row = session.get(Batch, args.id)
        project_id = row.project_id if row is not None else None
    if project_id is None:
        raise BadInput(f"There is no batch with id {args.id}. `batches list` shows them.")
    info = ingest.undo_batch(ws, projects.project_by_id(ws, project_id), args.id, by=BY, now=_now())
    return _say(
        args,
        {"batch": info.id, "rows": info.rows, "undone": info.undone},
        f"Batch {info.number} is undone: its {info.rows:,} rows no longer count.",
    )


# --- the loop ------------------------------------------------------------------------------------------------


def _cycle(args: argparse.Namespace) -> int:
    from core import loop

    ws = _open()
    project = _project(ws, args)
    report = loop.run_cycle(
        ws, project.id, cause="cli", now=_now(), by=BY, force=args.force, progress=None if args.json else _progress
    )
    if report is None:
        return _say(
            args,
            {"cycle": None, "decision": "nothing", "reason": "Nothing new since the last check.", "outcome": "none"},
            "Nothing new since the last check.",
        )
    document = {"cycle": report.id, "decision": report.decision, "reason": report.reason, "outcome": report.outcome}
    return _say(args, document, f"Cycle {report.id}: {report.decision}, {report.outcome}. {report.reason}")


def _replay(args: argparse.Namespace) -> int:
    from core.learning.backtest import replay

    read = _read(args.file, args.target)
    report = replay(
        read.frame,
        args.target,
        batch_rows=args.batch,
        warmup_rows=args.warm_up,
        policy=args.policy,
        seed=args.seed,
        task=args.task,
        categorical=_names(args.categorical),
        id_column=args.id,
        time_column=args.time,
        exclude=_names(args.exclude),
        label_delay=args.label_delay,
        label_fraction=args.label_fraction,
    )
    document = report.to_document()
    scores = ", ".join(
        f"{k} {words.score(document[k])}"
        for k in ("accuracy", "kappa", "macro_f1", "mae", "rmse", "r2")
        if document.get(k) is not None
    )
    counts = ", ".join(f"{document[name]:,} {name}" for name in ("fits", "promotions", "refreshes", "rollbacks"))
    document["problems"] = _told((*read.problems, *report.problems))
    text = f"{document['rows_scored']:,} rows in {document['batches']} batches: {scores}; {counts}, {document['seconds']:.1f} s"
    return _say(args, document, "\n".join([text, *_sentences((*read.problems, *report.problems))]))


def _drift(args: argparse.Namespace) -> int:
    import scipy.stats  # noqa: F401  # what is imported when it is first needed is not what drift costs

    from core.drift.frames import compare, read_alike
    from core.drift.univariate import headline

    before, after = _read(args.reference, args.target), _read(args.current, args.target)
    started = time.process_time()
    frames = read_alike(
        before.frame,
        after.frame,
        target=args.target,
        id_column=args.id,
        time_column=args.time,
        exclude=_names(args.exclude),
        categorical=_names(args.categorical),
    )
    report = compare(frames)
    seconds = time.process_time() - started
    reference, current, schema = frames.reference, frames.current, frames.schema
    problems = (*before.problems, *after.problems, *frames.problems)
    multivariate = explanation = None
    if args.multivariate or args.explain:
        judged = {s.name for s in report.scores if s.judged}
        common = dataclasses.replace(schema, features=tuple(f for f in schema.features if f.name in judged))
        if args.multivariate:
            multivariate = _told_apart(reference, current, common)
        if args.explain:
            from core.drift.explain import explain

            explanation = explain(reference, current, common, seed=0)
    document = {
        "features": report.scores,
        "drifted_features": report.drifted,
        "share_drifted": report.share_drifted,
        "seconds": seconds,
        "multivariate": multivariate,
        "explanation": explanation,
        "label": report.label,
        "problems": _told(problems),
    }
    lines = [
        headline(report),
        *(f"  {s.name}: {s.reason}" for s in report.scores if s.drifted or not s.judged),
        *([f"Labels: {report.label.reason}"] if report.label is not None else []),
        *([f"All features together: {multivariate['reason']}"] if multivariate is not None else []),
    ]
    _say(args, document, "\n".join([*lines, *([explanation] if explanation else []), *_sentences(problems)]))
    found = bool(report.drifted) or bool(multivariate and multivariate["drifted"])
    return 3 if args.fail_on_drift and found else 0


def _told_apart(reference: pd.DataFrame, current: pd.DataFrame, schema: FeatureSchema) -> dict[str, Any]:
    """The domain classifier's result with its reason in words; where it cannot judge, no numbers and why."""
    from core.drift.multivariate import domain_classifier

    try:
        found = domain_classifier(reference, current, schema)
    except NotEnoughRows as error:
        numbers = dict.fromkeys(("auc", "low", "high"))
        return {"drifted": False, **numbers, "features": {}, "reason": f"not judged: {error}"}
    size = f"AUC {found['auc']:.3f}, 95 % interval {found['low']:.3f} to {found['high']:.3f}"
    if not found["drifted"]:
        return {**found, "reason": f"the windows cannot be told apart for sure ({size})"}
    by = f", by {words.listed(list(found['features']))}" if found["features"] else ""
    return {**found, "reason": f"the windows can be told apart{by} ({size})"}


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()


# --- models --------------------------------------------------------------------------------------------------


def _models_list(args: argparse.Namespace) -> int:
    from core.storage import registry

    ws = _open()
    project = _project(ws, args)
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
    table = _table(
        [
            [f"v{v.version}", ", ".join(v.aliases), v.family, f"{v.created_at:%Y-%m-%d %H:%M}", v.source, _artefact(v)]
            for v in versions
        ],
        ["version", "aliases", "family", "created", "source", "artefact"],
    )
    return _say(args, {"models": lines}, table if lines else "No model yet. `cycle --force` starts the first race.")


def _models_compare(args: argparse.Namespace) -> int:
    from core.services import training

    ws = _open()
    comparison = training.compare(ws, _project(ws, args), args.a, args.b)
    difference = comparison.difference
    text = f"v{args.b} minus v{args.a} over {comparison.n:,} rows ({comparison.rows_from}): " + (
        f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"
        if difference is not None
        and difference.value is not None
        and difference.low is not None
        and difference.high is not None
        else "cannot be told"
    )
    return _say(args, comparison, text)


def _models_download(args: argparse.Namespace) -> int:
    from core.storage import registry

    ws = _open()
    project = _project(ws, args)
    source = registry.artefact_path(ws, project.id, args.version)
    if args.out.exists():
        raise BadInput(f"{args.out} exists. Name a new file.")
    args.out.write_bytes(source.read_bytes())
    return _say(
        args,
        {"version": args.version, "file": str(args.out), "bytes": args.out.stat().st_size},
        f"v{args.version} written to {args.out}; load it with skops.io.load.",
    )


def _artefact(version: ModelVersion) -> str:
    return "artefact removed" if version.removed_at is not None else "there"


def _models_prune(args: argparse.Namespace) -> int:
    from core.services import pruning

    ws = _open()
    pruned = pruning.prune(
        ws, _project(ws, args).id, _now(), by=BY, keep_former=args.keep_former, keep_rejected=args.keep
    )
    told = ", ".join(f"v{v}" for v in pruned.versions)
    text = f"Removed the artefacts of {told}: {pruned.bytes / 1e6:.1f} MB." if told else "Nothing to remove."
    return _say(args, {"versions": pruned.versions, "bytes": pruned.bytes}, text)


def _models_import(args: argparse.Namespace) -> int:
    from core.services import training

    ws = _open()
    version = training.import_challenger(ws, _project(ws, args), args.file, by=BY, now=_now())
    return _say(
        args,
        {"version": version.version, "aliases": version.aliases},
        f"Imported as v{version.version}, the challenger. `promote {version.version} --reason ...` lets it serve.",
    )


def _promote(args: argparse.Namespace) -> int:
    from core.services import training

    ws = _open()
    project = _project(ws, args)
    training.promote(ws, project, args.version, reason=args.reason, by=BY, now=_now())
    return _say(
        args,
        {"champion": args.version, "replaced": project.champion},
        f"v{args.version} serves now, it replaced " + (f"v{project.champion}." if project.champion else "nothing."),
    )


def _rollback(args: argparse.Namespace) -> int:
    from core.services import training

    ws = _open()
    project = _project(ws, args)
    version = training.rollback(ws, project, reason=args.reason, by=BY, now=_now())
    return _say(
        args,
        {"champion": version, "replaced": project.champion},
        f"v{version} serves again instead of v{project.champion}.",
    )


# --- tokens and people ---------------------------------------------------------------------------------------


def _keys_create(args: argparse.Namespace) -> int:
    from core.services import auth, projects

    ws = _open()
    project = projects.get_project(ws, args.project) if args.project else None
    expires = _now() + _duration(args.expires) if args.expires else None
    info, token = auth.create_token(
        ws,
        args.name,
        list(_names(args.scope)),
        project.id if project else None,
        expires,
        rate_limit=args.per_minute,
        by=BY,
        now=_now(),
    )
    return _say(
        args,
        {
            "id": info.id,
            "token": token,
            "scopes": info.scopes,
            "project": project.slug if project else None,
            "expires_at": expires,
            "per_minute": info.rate_limit,
        },
        f"{token}\n(id {info.id}; shown this once; it opens "
        + (f"project '{project.slug}' only)" if project else "every project: --project P binds it to one)"),
    )


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d+)([dhm])", text.strip())
    if match is None or int(match[1]) == 0:
        raise BadInput(f"--expires is {text!r}, expected a number with d, h or m: 90d, 12h, 30m.")
    return timedelta(**{{"d": "days", "h": "hours", "m": "minutes"}[match[2]]: int(match[1])})


def _keys_list(args: argparse.Namespace) -> int:
    from core.services import auth, projects

    ws = _open()
    tokens = auth.list_tokens(ws)
    slugs: dict[int | None, str] = {None: "every project", **{p.id: p.slug for p in projects.list_projects(ws)}}
    here = {user.uid for user in auth.list_users(ws)}
    gone = {t.id: t.created_uid is not None and t.created_uid not in here for t in tokens}
    table = _table(
        [
            [
                t.id,
                t.name,
                t.prefix,
                ",".join(t.scopes),
                slugs.get(t.project_id),
                t.expires_at,
                t.rate_limit,
                f"{t.created_by} (removed)" if gone[t.id] else t.created_by,
                "revoked" if t.revoked_at else "",
            ]
            for t in tokens
        ],
        ["id", "name", "begins", "scopes", "project", "expires", "a minute", "made by", ""],
    )
    keys = [
        {
            **to_document(t),
            "project": slugs.get(t.project_id) if t.project_id is not None else None,
            "maker_removed": gone[t.id],
        }
        for t in tokens
    ]
    return _say(args, {"keys": keys}, table if tokens else "No token yet. `keys create --scope predict` makes one.")


def _keys_revoke(args: argparse.Namespace) -> int:
    from core.services import auth

    auth.revoke_token(_open(), args.id, by=BY, now=_now())
    return _say(args, {"revoked": args.id}, f"Token {args.id} is revoked; every process refuses it within 2 s.")


def _new_password(args: argparse.Namespace) -> tuple[str, bool]:
    """The password from standard input, or a generated one; and whether it was generated."""
    if args.password_stdin:
        return sys.stdin.readline().rstrip("\n"), False
    return secrets.token_urlsafe(12), True


def _users_add(args: argparse.Namespace) -> int:
    from core.services import auth

    password, generated = _new_password(args)
    auth.create_user(_open(), args.name, password, args.role, by=BY, now=_now())
    document = {"user": args.name, "role": args.role, "password": password if generated else None}
    return _say(
        args, document, f"User: {args.name}" + (f"\nPassword: {password} (shown this once)" if generated else "")
    )


def _users_set_password(args: argparse.Namespace) -> int:
    from core.services import auth

    password, generated = _new_password(args)
    auth.set_password(_open(), args.name, password, by=BY, now=_now())
    document = {"user": args.name, "password": password if generated else None}
    return _say(
        args,
        document,
        f"The password of {args.name} is changed; older sessions end."
        + (f"\nPassword: {password} (shown this once)" if generated else ""),
    )


def _users_set_role(args: argparse.Namespace) -> int:
    from core.services import auth

    auth.set_role(_open(), args.name, args.role, by=BY, now=_now())
    return _say(args, {"user": args.name, "role": args.role}, f"{args.name} is {args.role} now.")


def _users_remove(args: argparse.Namespace) -> int:
    from core.services import auth

    tokens = auth.remove_user(_open(), args.name, keep_tokens=args.keep_tokens, by=BY, now=_now())
    told = [f"{args.name} is removed."]
    if tokens:
        told.append(
            "Their tokens work on; `keys revoke ID` ends one:" if args.keep_tokens else "Their tokens are revoked:"
        )
        told += [f"  {t.id}  {t.name}  {t.prefix}…  {','.join(t.scopes)}" for t in tokens]
    document = {"removed": args.name, "tokens": [t.id for t in tokens], "tokens_revoked": not args.keep_tokens}
    return _say(args, document, "\n".join(told))


def _users_second_factor(args: argparse.Namespace) -> int:
    from core.services import second_factor

    had = second_factor.disable(_open(), args.name, by=BY, now=_now())
    told = "The password alone signs in again." if had else "There was none."
    return _say(args, {"user": args.name, "had": had}, f"Second factor of {args.name}: {told}")


def _users_list(args: argparse.Namespace) -> int:
    from core.services import auth

    users = [
        {
            "name": u.name,
            "role": u.role,
            "created_at": u.created_at,
            "last_seen_at": u.last_seen_at,
            "second_factor": u.second_factor,
        }
        for u in auth.list_users(_open())
    ]
    return _say(
        args,
        {"users": users},
        _table([[u["name"], u["role"], u["last_seen_at"]] for u in users], ["name", "role", "last seen"]),
    )


# --- the parser ----------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Plain text epilogs and a fixed program name."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)


def _command(group: Any, name: str, handler: Handler, text: str, example: str) -> argparse.ArgumentParser:
    parser = group.add_parser(name, help=text, description=text, epilog=f"example:\n  python -m core.cli {example}")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.set_defaults(handler=handler)
    return parser


def _group(commands: Any, name: str, text: str) -> Any:
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(handler=None, group=parser)
    return parser.add_subparsers(metavar="COMMAND")


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def _delay(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def _add_project(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--project", metavar="P", help="slug; left out: `default`, or the only project")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m core.cli", description="Continual ML: the life of a model after it ships.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(handler=None, group=parser)
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=_Parser)
    _add_setup(commands)
    _add_data(commands)
    _add_loop(commands)
    _add_models(commands)
    _add_guards(commands)
    _add_notify(commands)
    _add_access(commands)
    return parser


def _add_setup(commands: Any) -> None:
    _command(commands, "init", _init, "Secrets, database and first user.", "init")
    demo = _command(
        commands, "demo", _demo, "Make the sample project and play its rows through the loop.", "demo --batches 10"
    )
    demo.add_argument("--name", default="Insects")
    demo.add_argument("--batches", type=_count, help="stop after so many")
    doctor = _command(
        commands, "doctor", _doctor, "Check the installation; exits 1 when something needs mending.", "doctor --deep"
    )
    repair = _command(
        commands, "repair", _repair, "Go on when stored files are missing or damaged: make anew what can be, do without the rest.",
        "repair --dry-run",
    )  # fmt: skip
    repair.add_argument("--project", help="slug; all projects when left out")
    repair.add_argument("--dry-run", action="store_true", help="only say what would be done and what it costs")
    doctor.add_argument("--deep", action="store_true", help="also compare every stored file with its digest")
    backup = _command(
        commands, "backup", _backup, "One consistent file of the whole state, while it runs.", "backup monday.zip"
    )
    backup.add_argument("file", type=Path, metavar="FILE")
    backup.add_argument(
        "--damaged", action="store_true", help="also where files are missing or damaged: copy what there is, name them"
    )
    restore = _command(
        commands, "restore", _restore, "A new state folder from a backup, verified.", "restore monday.zip --to restored"
    )
    restore.add_argument("file", type=Path, metavar="FILE")
    restore.add_argument("--to", type=Path, required=True, metavar="NEW_FOLDER")
    _command(commands, "migrate", _migrate, "Bring the database's schema up to date.", "migrate")


def _add_guards(commands: Any) -> None:
    guards = _group(commands, "guards", "What is done about answers that should not be trusted.")
    _add_project(_command(guards, "show", _guards_show, "The project's guards.", "guards show --project insects"))
    change = _command(
        guards,
        "set",
        _guards_set,
        "Change some of them; the others stay.",
        "guards set --project insects --out-of-range abstain --range-margin 0.2",
    )
    _add_project(change)
    for kind in ("unseen-category", "out-of-range", "low-confidence"):
        change.add_argument(f"--{kind}", choices=("off", "warn", "abstain", "override"))
    change.add_argument("--range-margin", type=float, metavar="SHARE", help="of the range, allowed beyond either end")
    change.add_argument("--least-confidence", type=float, metavar="P", help="probability below which it is low")
    change.add_argument("--override", metavar="ANSWER", help="what is answered instead")


def _add_notify(commands: Any) -> None:
    from core.services.messages import SWITCHES

    notify = _command(
        commands,
        "notify",
        _notify,
        "Which messages the project sends; without --on and --off only tells.",
        "notify --project insects --on refused --off drift",
    )
    _add_project(notify)
    for way in ("on", "off"):
        notify.add_argument(
            f"--{way}", action="append", default=[], choices=SWITCHES, metavar="KIND", help=", ".join(SWITCHES)
        )


def _add_data(commands: Any) -> None:
    group = _group(commands, "projects", "List, make, change, delete or export projects.")
    _command(group, "list", _projects_list, "All projects.", "projects list --json")
    create = _command(group, "create", _projects_create, "Make a project.", "projects create insects --sample insects")
    create.add_argument("name", metavar="NAME")
    create.add_argument("--policy", help="never, original, careful, balanced (default) or fast")
    create.add_argument("--task", choices=("binary", "multiclass", "regression"))
    origin = create.add_mutually_exclusive_group()
    origin.add_argument("--sample", help="a bundled sample, e.g. insects")
    origin.add_argument("--generate", action="store_true", help="rows from the generator")
    create.add_argument("--rows", type=_count, default=1000, help="of the generator")
    create.add_argument("--features", type=_count, default=2, help="of the generator")
    create.add_argument("--seed", type=int, help="of the generator")
    change = _command(
        group,
        "set",
        _projects_set,
        "Change the policy, its threshold, or pause the checks.",
        "projects set insects --policy careful --threshold 0.75",
    )
    change.add_argument("name", metavar="NAME")
    change.add_argument("--policy")
    change.add_argument("--threshold", type=float)
    change.add_argument("--pause", choices=("yes", "no"))
    rename = _command(
        group,
        "rename",
        _projects_rename,
        "Change the shown name; the slug stays.",
        "projects rename insects --to 'Field insects'",
    )
    rename.add_argument("name", metavar="NAME")
    rename.add_argument("--to", required=True)
    delete = _command(
        group, "delete", _projects_delete, "Delete a project with everything in it.", "projects delete insects"
    )
    delete.add_argument("name", metavar="NAME")
    export = _command(
        group,
        "export",
        _projects_export,
        "Rows, cycles and model history as one zip.",
        "projects export insects --out insects.zip",
    )
    export.add_argument("name", metavar="NAME")
    export.add_argument("--out", type=Path, metavar="F")

    ingest = _command(
        commands,
        "ingest",
        _ingest,
        "Store a CSV or Parquet file as one batch.",
        "ingest rows.csv --project insects --target y",
    )
    ingest.add_argument("file", type=Path, metavar="FILE")
    _add_project(ingest)
    ingest.add_argument("--target", help="label column; needed with the first file only")
    ingest.add_argument("--task", choices=("binary", "multiclass", "classification", "regression"))
    _add_roles(ingest)
    ingest.add_argument("--backfill", action="store_true", help="rows of the past: stored, not measured, no news")
    labels = _command(
        commands,
        "labels",
        _labels,
        "Store labels: a file with row_id (or prediction_id, or the id column) and label (or the target).",
        "labels labels.csv --project insects",
    )
    labels.add_argument("file", type=Path, metavar="FILE", nargs="?")
    labels.add_argument(
        "--yes", action="store_true", help="replace labels and add classes; left out, what would change is shown only"
    )
    taking_back = labels.add_mutually_exclusive_group()
    taking_back.add_argument("--changes", action="store_true", help="list what replaced labels or added classes")
    taking_back.add_argument("--undo", type=int, metavar="ID", help="take back one of these changes")
    _add_project(labels)
    predict = _command(
        commands,
        "predict",
        _predict,
        "Predict every row of a file with the champion.",
        "predict rows.csv --project insects --out answers.csv",
    )
    predict.add_argument("file", type=Path, metavar="FILE")
    _add_project(predict)
    predict.add_argument("--out", type=Path, metavar="F", help="CSV; left out: stdout")
    batches = _group(commands, "batches", "List or undo stored batches.")
    listing = _command(
        batches, "list", _batches_list, "Stored batches, newest first.", "batches list --project insects"
    )
    _add_project(listing)
    undo = _command(batches, "undo", _batches_undo, "Mark a batch: its rows no longer count.", "batches undo 3")
    undo.add_argument("id", type=int, metavar="ID")


def _add_roles(command: argparse.ArgumentParser) -> None:
    """What the columns of a file are, where that is not to be guessed."""
    command.add_argument("--id", metavar="COLUMN", help="row ids; '' = there is none; left out: guessed")
    command.add_argument("--time", metavar="COLUMN", help="instants of the rows; '' = there is none; left out: guessed")
    command.add_argument("--exclude", metavar="a,b", help="columns to keep but not to learn from")
    command.add_argument("--categorical", metavar="a,b", help="columns of numbers that are categories")


def _add_loop(commands: Any) -> None:
    cycle = _command(commands, "cycle", _cycle, "Turn the loop once.", "cycle --project insects --force")
    _add_project(cycle)
    cycle.add_argument("--force", action="store_true", help="race whatever the policy says")
    replay = _command(
        commands,
        "replay",
        _replay,
        "Play a file through the loop in memory, batch by batch.",
        "replay stream.csv.gz --target y --json",
    )
    replay.add_argument("file", type=Path, metavar="FILE")
    replay.add_argument("--target", required=True)
    replay.add_argument("--task", choices=("classification", "regression"))
    _add_roles(replay)
    replay.add_argument("--batch", type=_count, default=500)
    replay.add_argument("--warm-up", type=_count, default=1000)
    replay.add_argument("--policy", default="default")
    replay.add_argument("--seed", type=int, default=0)
    replay.add_argument("--label-delay", type=_delay, default=0, metavar="BATCHES")
    replay.add_argument("--label-fraction", type=_share, default=1.0)
    drift = _command(
        commands, "drift", _drift, "Drift between two files.", "drift june.csv july.csv --target y --fail-on-drift"
    )
    drift.add_argument("reference", type=Path, metavar="REFERENCE")
    drift.add_argument("current", type=Path, metavar="CURRENT")
    drift.add_argument("--target")
    _add_roles(drift)
    drift.add_argument("--multivariate", action="store_true", help="also a domain classifier")
    drift.add_argument("--explain", action="store_true", help="also where it is, in a sentence")
    drift.add_argument("--fail-on-drift", action="store_true", help="exit 3 when anything drifted")


def _add_models(commands: Any) -> None:
    models = _group(commands, "models", "List, compare, download or import models.")
    listing = _command(
        models, "list", _models_list, "Registered versions, newest first.", "models list --project insects"
    )
    _add_project(listing)
    compare = _command(
        models,
        "compare",
        _models_compare,
        "Two versions on the same newest labelled rows.",
        "models compare 1 2 --project insects",
    )
    compare.add_argument("a", type=int, metavar="A")
    compare.add_argument("b", type=int, metavar="B")
    _add_project(compare)
    download = _command(
        models,
        "download",
        _models_download,
        "A version's artefact.",
        "models download 2 --project insects --out v2.skops",
    )
    download.add_argument("version", type=int, metavar="VERSION")
    _add_project(download)
    download.add_argument("--out", type=Path, required=True, metavar="F")
    prune = _command(
        models,
        "prune",
        _models_prune,
        "Remove the artefacts of former champions and rejected challengers for good; their rows stay.",
        "models prune --project insects",
    )
    _add_project(prune)
    prune.add_argument("--keep", type=int, metavar="N", help="rejected ones to keep (CONTINUAL_KEEP_REJECTED)")
    prune.add_argument("--keep-former", type=int, metavar="N", help="former champions to keep (CONTINUAL_KEEP_FORMER)")
    bring = _command(
        models,
        "import",
        _models_import,
        "A pipeline of your own as challenger.",
        "models import mine.skops --project insects",
    )
    bring.add_argument("file", type=Path, metavar="FILE")
    _add_project(bring)
    promote = _command(
        commands, "promote", _promote, "Let a version serve.", "promote 2 --project insects --reason 'reviewed'"
    )
    promote.add_argument("version", type=int, metavar="VERSION")
    _add_project(promote)
    promote.add_argument("--reason", required=True, metavar="R")
    rollback = _command(
        commands,
        "rollback",
        _rollback,
        "Let the previous version serve again.",
        "rollback --project insects --reason 'worse on site B'",
    )
    _add_project(rollback)
    rollback.add_argument("--reason", required=True, metavar="R")


def _add_access(commands: Any) -> None:
    keys = _group(commands, "keys", "API tokens.")
    create = _command(
        keys,
        "create",
        _keys_create,
        "Make a token; it is shown once.",
        "keys create --scope predict,ingest --project insects --expires 90d",
    )
    create.add_argument("--scope", required=True, metavar="a,b", help="predict, ingest, read, admin")
    create.add_argument("--project", metavar="P", help="slug of the one project that it opens; left out: every project")
    create.add_argument("--expires", metavar="90d")
    create.add_argument(
        "--per-minute", type=_count, metavar="N", help="requests that it may make a minute; else any number"
    )
    create.add_argument("--name", default="cli")
    _command(keys, "list", _keys_list, "All tokens, without their secret part.", "keys list")
    revoke = _command(keys, "revoke", _keys_revoke, "Revoke a token.", "keys revoke 3")
    revoke.add_argument("id", type=int, metavar="ID")
    users = _group(commands, "users", "People who may sign in.")
    add = _command(users, "add", _users_add, "Add a person.", "users add maria --role operator")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--role", required=True, choices=("viewer", "operator", "admin"))
    add.add_argument("--password-stdin", action="store_true", help="read it from standard input")
    password = _command(
        users, "set-password", _users_set_password, "Change a password; older sessions end.", "users set-password maria"
    )
    password.add_argument("name", metavar="NAME")
    password.add_argument("--password-stdin", action="store_true", help="read it from standard input")
    role = _command(
        users, "set-role", _users_set_role, "Change what a person may do.", "users set-role maria --role admin"
    )
    role.add_argument("name", metavar="NAME")
    role.add_argument("--role", required=True, choices=("viewer", "operator", "admin"))
    remove = _command(users, "remove", _users_remove, "Remove a person.", "users remove maria")
    remove.add_argument("name", metavar="NAME")
    remove.add_argument(
        "--keep-tokens", action="store_true", help="let the tokens that they made work on; else they are revoked"
    )
    factor = _command(
        users,
        "second-factor",
        _users_second_factor,
        "Take off the second factor of who has lost it.",
        "users second-factor maria --off",
    )
    factor.add_argument("name", metavar="NAME")
    factor.add_argument("--off", action="store_true", required=True, help="the person sets up another on the page")
    _command(users, "list", _users_list, "Everybody who may sign in.", "users list")


if __name__ == "__main__":
    sys.exit(main())
