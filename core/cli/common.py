"""What handlers share: the state folder and the project, reading a file, and the answer as text or JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.records import Problem, ProjectInfo
from core.text.reasons import in_words

if TYPE_CHECKING:
    from core.data.files import TableRead
    from core.data.problems import ProblemDocument
    from core.storage.workspace import Workspace

BY = "cli"  # who did it, in the audit
MAX_FILE_BYTES = 4 * 1024**3  # replay and drift read the user's own files


def utc_now() -> datetime:
    return datetime.now(UTC)


def open_state() -> Workspace:
    """The state folder, migrated; logs go to stderr."""
    from core.logs import set_up_logs
    from core.settings import get_settings
    from core.storage.workspace import open_workspace

    settings = get_settings()
    set_up_logs(settings, "cli")
    return open_workspace(settings, migrate=True)


def project_of(ws: Workspace, args: argparse.Namespace) -> ProjectInfo:
    from core.services.projects import projects

    return projects.get_project(ws, args.project) if args.project else projects.root_project(ws)


def read_rows(path: Path, target: str | None) -> TableRead:
    from core.data.files import read_table

    return read_table(path, name=path.name, max_bytes=MAX_FILE_BYTES, target=target)


def say(args: argparse.Namespace, document: Any, text: str) -> int:
    """Answer: the document with --json, else the text."""
    print(json.dumps(in_words(document), ensure_ascii=False, allow_nan=False) if args.json else text)
    return 0


def as_table(rows: Sequence[Sequence[Any]], head: Sequence[str]) -> str:
    cells = [[("-" if v is None else str(v)) for v in row] for row in [head, *rows]]
    widths = [max(len(row[k]) for row in cells) for k in range(len(head))]
    return "\n".join("  ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def show_progress(share: float, text: str) -> None:
    print(f"  {share:>4.0%}  {text}", file=sys.stderr)


def problem_documents(problems: Sequence[Problem]) -> list[ProblemDocument]:
    from core.data.problems import document_of

    return [document_of(p) for p in problems]


def problem_sentences(problems: Sequence[Problem]) -> list[str]:
    from core.data.problems import texts_of

    return texts_of(problems)
