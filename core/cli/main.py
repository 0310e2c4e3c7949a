"""Builds the parser, runs one command, and turns what it raises into a message and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from core import __version__
from core.cli import access, cycles, data, drift, guards, messages, models, projects, setup
from core.cli.options import Parser
from core.errors import ContinualError
from core.storage import private


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    # As in the worker: the models are small, and on busy cores the threads of each step would wait for one another.
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 2) // 2, 1)))
    private.keep_private()
    parser = make_parser()
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


def make_parser() -> Parser:
    """The parser of every command; a parsed command carries the `handler` that runs it."""
    parser = Parser(prog="python -m core.cli", description="Continual ML: monitor and retrain a model in production.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(handler=None, group=parser)
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)
    for noun in NOUNS:
        noun.add(commands)
    return parser


# --help lists them in this order.
NOUNS = (setup, projects, data, cycles, drift, models, guards, messages, access)
