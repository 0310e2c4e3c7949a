"""Guards: how predictions that should not be trusted are handled."""

from __future__ import annotations

import argparse
from typing import Any

from core.cli.common import BY, as_table, open_state, project_of, say, utc_now
from core.cli.options import add_command, add_group, add_project
from core.records import FeatureSchema


def add(commands: Any) -> None:
    """Declare the commands of this module."""
    group = add_group(commands, "guards", "How predictions that should not be trusted are handled.")
    add_project(add_command(group, "show", _show, "The project's guards.", "guards show --project insects"))
    _add_set(group)


def _show(args: argparse.Namespace) -> int:
    from core.services.serving import guarding
    from core.services.serving.guards import guards_to_document

    ws = open_state()
    document = guards_to_document(guarding.guards_of(ws, project_of(ws, args)))
    return say(args, document, as_table(list(document.items()), ("guard", "value")))


def _add_set(group: Any) -> None:
    change = add_command(
        group,
        "set",
        _set,
        "Change some guards; the others stay as they are.",
        "guards set --project insects --out-of-range abstain --range-margin 0.2",
    )
    add_project(change)
    for kind in ("unseen-category", "out-of-range", "low-confidence"):
        change.add_argument(f"--{kind}", choices=("off", "warn", "abstain", "override"))
    change.add_argument(
        "--range-margin", type=float, metavar="SHARE", help="share of the range allowed beyond either end"
    )
    change.add_argument(
        "--least-confidence", type=float, metavar="P", help="probability below which confidence counts as low"
    )
    change.add_argument("--override", metavar="ANSWER", help="the value returned instead")


def _set(args: argparse.Namespace) -> int:
    from core.services.serving import guarding
    from core.services.serving.guards import guards_to_document

    ws = open_state()
    project = project_of(ws, args)
    given = {name: getattr(args, name) for name in guards_to_document(guarding.guards_of(ws, project))}
    changes = {name: value for name, value in given.items() if value is not None}
    if "override" in changes and project.schema is not None:
        changes["override"] = _answer_of(project.schema, changes["override"])
    guards = guarding.changed(guarding.guards_of(ws, project), changes)
    document = guards_to_document(guarding.set_guards(ws, project, guards, by=BY, now=utc_now()))
    return say(args, document, as_table(list(document.items()), ("guard", "value")))


def _answer_of(schema: FeatureSchema, text: str) -> Any:
    """The class or number that the text stands for; the text itself if there is none."""
    if schema.task != "regression":
        return next((label for label in schema.classes if str(label).lower() == text.lower()), text)
    try:
        return float(text)
    except ValueError:
        return text
