"""Messages: which ones a project sends."""

from __future__ import annotations

import argparse
from typing import Any

from core.cli.common import BY, as_table, open_state, project_of, say, utc_now
from core.cli.options import add_command, add_project
from core.errors import BadInput


def add(commands: Any) -> None:
    """Declare the commands of this module."""
    from core.services.incidents.messages import SWITCHES

    notify = add_command(
        commands,
        "notify",
        _notify,
        "Show or change which messages the project sends; without --on and --off it only shows them.",
        "notify --project insects --on refused --off drift",
    )
    add_project(notify)
    for way in ("on", "off"):
        notify.add_argument(
            f"--{way}", action="append", default=[], choices=SWITCHES, metavar="KIND", help=", ".join(SWITCHES)
        )


def _notify(args: argparse.Namespace) -> int:
    from core.services.incidents import message_switches
    from core.services.incidents.messages import KINDS

    ws = open_state()
    project = project_of(ws, args)
    changes = {**dict.fromkeys(args.on, True), **dict.fromkeys(args.off, False)}
    if both := sorted(set(args.on) & set(args.off)):
        raise BadInput(f"{both[0]} cannot be both on and off. Name it once.")
    if changes:
        switches = message_switches.set_switches(ws, project, changes, by=BY, now=utc_now())
    else:
        switches = message_switches.switches(ws, project)
    rows = [(name, "on" if on else "off", KINDS[name].label) for name, on in switches.items()]
    return say(args, switches, as_table(rows, ("message", "sent", "when")))
