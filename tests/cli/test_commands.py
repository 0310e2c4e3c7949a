"""Every command tells an example that it understands, and help comes without what is heavy."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from core import cli
from core.cli.main import make_parser

HEAVY = {"numpy", "pandas", "pyarrow", "scipy", "sklearn", "sqlalchemy", "mlflow", "pydantic"}


def _choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    groups = [a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return groups[0] if groups else {}


def _commands(parser: argparse.ArgumentParser, path: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for name, inner in _choices(parser).items():
        if _choices(inner):
            yield from _commands(inner, f"{path}{name} ")
        else:
            yield f"{path}{name}", inner


COMMANDS = dict(_commands(make_parser()))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example_that_the_command_understands(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main([*name.split(), "--help"])
    shown = capsys.readouterr().out
    assert "--json" in shown
    example = shown.split("example:\n  python -m core.cli ")[1].strip()
    assert f"{example} ".startswith(f"{name} ")
    assert make_parser().parse_args(shlex.split(example)).handler is COMMANDS[name].get_default("handler")


@pytest.mark.parametrize("arguments", [[], ["projects"], ["models"]])
def test_a_noun_alone_prints_its_help_and_is_a_usage_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"usage: python -m core.cli {' '.join(arguments)}".strip())
    assert printed.out == ""


def test_help_as_a_child_process_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "core.cli", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("usage: python -m core.cli")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argparse" in imported
    assert not imported & HEAVY
