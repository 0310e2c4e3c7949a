"""The loop: run one cycle of a project, or replay a file in memory.

`replay` uses neither settings nor state.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from core import words
from core.cli.common import (
    BY,
    open_state,
    problem_documents,
    problem_sentences,
    project_of,
    read_rows,
    say,
    show_progress,
    utc_now,
)
from core.cli.options import add_command, add_project, add_roles, count, delay, share, split_names
from core.records import METRICS
from core.text.reasons import sentence


def add(commands: Any) -> None:
    """Declare the commands of this module."""
    _add_cycle(commands)
    _add_replay(commands)


def _add_cycle(commands: Any) -> None:
    cycle = add_command(commands, "cycle", _cycle, "Run one cycle of the loop.", "cycle --project insects --force")
    add_project(cycle)
    cycle.add_argument("--force", action="store_true", help="retrain regardless of the policy")


def _cycle(args: argparse.Namespace) -> int:
    from core import cycle

    ws = open_state()
    project = project_of(ws, args)
    report = cycle.run_cycle(
        ws,
        project.id,
        cause="cli",
        now=utc_now(),
        by=BY,
        force=args.force,
        watcher=None if args.json else cycle.Watcher(progress=show_progress),
    )
    if report is None:
        return say(
            args,
            {"cycle": None, "decision": "nothing", "reason": "Nothing new since the last check.", "outcome": "none"},
            "Nothing new since the last check.",
        )
    document = {
        "cycle": report.id,
        "decision": report.decision,
        "reason": sentence(report.reason),
        "outcome": report.outcome,
    }
    return say(args, document, f"Cycle {report.id}: {report.decision}, {report.outcome}. {sentence(report.reason)}")


def _add_replay(commands: Any) -> None:
    text = "Replay a file through the loop in memory, batch by batch."
    replay = add_command(commands, "replay", _replay, text, "replay stream.csv.gz --target y --json")
    replay.add_argument("file", type=Path, metavar="FILE")
    replay.add_argument("--target", required=True)
    replay.add_argument("--task", choices=("classification", "regression"))
    add_roles(replay)
    replay.add_argument("--batch", type=count, default=500)
    replay.add_argument("--warm-up", type=count, default=1000)
    replay.add_argument("--policy", default="default")
    replay.add_argument("--seed", type=int, default=0)
    replay.add_argument("--label-delay", type=delay, default=0, metavar="BATCHES")
    replay.add_argument("--label-fraction", type=share, default=1.0)


def _replay(args: argparse.Namespace) -> int:
    from core.learning.replay import Pace, replay

    read = read_rows(args.file, args.target)
    pace = Pace(
        batch_rows=args.batch,
        warmup_rows=args.warm_up,
        label_delay=args.label_delay,
        label_fraction=args.label_fraction,
        seed=args.seed,
    )
    began = time.perf_counter()
    report = replay(
        read.frame,
        args.target,
        policy=args.policy,
        pace=pace,
        task=args.task,
        categorical=split_names(args.categorical),
        id_column=args.id,
        time_column=args.time,
        exclude=split_names(args.exclude),
    )
    document = report.to_document() | {"seconds": round(time.perf_counter() - began, 3)}
    scores = ", ".join(
        f"{k} {words.plain_score(document[k])}"
        for k, metric in METRICS.items()
        if metric.shown_by_replays and document.get(k) is not None
    )
    counts = ", ".join(f"{document[name]:,} {name}" for name in ("fits", "promotions", "refreshes", "rollbacks"))
    document["problems"] = problem_documents((*read.problems, *report.problems))
    text = f"{document['rows_scored']:,} rows in {document['batches']} batches: {scores}; {counts}, {document['seconds']:.1f} s"
    return say(args, document, "\n".join([text, *problem_sentences((*read.problems, *report.problems))]))
