"""How a command is declared: its group, its example, and the options that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Handler = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """Plain text epilogs and a fixed program name."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)


def add_command(group: Any, name: str, handler: Handler, text: str, example: str) -> argparse.ArgumentParser:
    """A command that `handler` runs and whose --help shows `example`; the caller adds its options."""
    parser = group.add_parser(name, help=text, description=text, epilog=f"example:\n  python -m core.cli {example}")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.set_defaults(handler=handler)
    return parser


def add_group(commands: Any, name: str, text: str) -> Any:
    """A noun with subcommands; without one it prints its help and exits 2."""
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(handler=None, group=parser)
    return parser.add_subparsers(metavar="COMMAND")


def add_project(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--project", metavar="P", help="slug; default: `default`, or the only project")


def add_roles(command: argparse.ArgumentParser) -> None:
    """The roles of a file's columns, where they should not be guessed."""
    command.add_argument("--id", metavar="COLUMN", help="row ids; '' = none; default: guessed")
    command.add_argument("--time", metavar="COLUMN", help="times of the rows; '' = none; default: guessed")
    command.add_argument("--exclude", metavar="a,b", help="columns to keep but not to train on")
    command.add_argument("--categorical", metavar="a,b", help="numeric columns that are categories")


def split_names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()


def share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return value


def count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def delay(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value
