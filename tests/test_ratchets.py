"""What is still too long or too mixed, each with today's number: these lists and numbers only shrink.

A test fails when something grows, when something new crosses its limit, and when a number here has fallen behind: lower it
then, or take the line out, so that what was won is kept. docs/architecture.md ("Ratchets") says what the limits are for.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

CORE_LINES = 500  # of a module of core/
EDGE_LINES = 120  # of a page or an entry point
FUNCTION_LINES = 60  # without the docstring
PARAMETERS = 7  # self and cls aside
KEPT = 0.9  # a held number is true while at least so much of it is there

MODULES: dict[str, int] = {
    "core/learning/learner.py": 578,
}

FUNCTIONS: dict[str, int] = {}

PARAMETER_LISTS: dict[str, int] = {}

ANY_DICTS = 21  # of `dict[str, Any]` in core/; fewer than 40 is the goal: a record says what is in it
FMT_SKIPS = 102  # of lines and statements that the formatter has to leave alone

# What pages still fetch or calculate themselves, instead of asking a service.
BENEATH_A_PAGE = ("core.storage", "core.performance", "core.learning", "core.drift", "sqlalchemy")
PAGE_IMPORTS: dict[str, set[str]] = {}


@cache
def _texts() -> dict[str, str]:
    """Code of the program by its path: core, pages and the entry points."""
    paths = [*ROOT.glob("core/**/*.py"), *ROOT.glob("pages/**/*.py"), *ROOT.glob("*.py")]
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in sorted(paths)}


@cache
def _trees() -> dict[str, ast.Module]:
    return {name: ast.parse(text) for name, text in _texts().items()}


Function = ast.FunctionDef | ast.AsyncFunctionDef


def _functions() -> Iterator[tuple[str, Function]]:
    """Every function of the program as "core/cycle/run.py:run_cycle", those within classes and functions among them."""

    def within(node: ast.AST, before: str) -> Iterator[tuple[str, Function]]:
        for child in ast.iter_child_nodes(node):
            named = isinstance(child, Function | ast.ClassDef)
            name = f"{before}{child.name}" if named else before
            if isinstance(child, Function):
                yield name, child
            yield from within(child, f"{name}." if named else before)

    for path, tree in _trees().items():
        yield from within(tree, f"{path}:")


def _length(function: Function) -> int:
    first = function.body[0]
    reported = ast.get_docstring(function) is not None
    return function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if reported else 0)


def _n_parameters(function: Function) -> int:
    names = [a.arg for a in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def _imports(tree: ast.Module) -> set[str]:
    """Modules that are imported, at the head or within a function; `from core.storage import registry` is core.storage.registry."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = node.module == "core" or (node.module.startswith("core.") and node.module.count(".") == 1)
            found |= {f"{node.module}.{alias.name}" for alias in node.names} if whole else {node.module}
    return found


def _broken(found: dict[str, int], held: dict[str, int], *, unit: str, limit: int, mend: str) -> list[str]:
    """In words, where things that are over the limit and the list that names them disagree.

    Args:
        found: name -> today's number, of those over the limit only.
        held: name -> the number that it may have.
    """
    problems = []
    for name, n in sorted(found.items()):
        if name not in held:
            problems.append(f"{name} has {n} {unit}, at most {limit} are allowed: {mend}.")
        elif n > held[name]:
            problems.append(f"{name} grew from {held[name]} to {n} {unit}: {mend}, or take out as much as you put in.")
        elif n < KEPT * held[name]:
            problems.append(f"{name} shrank from {held[name]} to {n} {unit}. Well done: write {n} into the list.")
    gone = sorted(held.keys() - found.keys())
    return problems + [
        f"{name} is within the limit of {limit} {unit}, or gone: take it out of the list." for name in gone
    ]


def _count_broken(n: int, held: int, *, what: str, mend: str) -> list[str]:
    if n > held:
        return [f"There are {n} {what}, {held} are allowed: {mend}."]
    return [f"There are {n} {what} instead of {held}. Well done: write {n} into this file."] if n < KEPT * held else []


def test_modules_stay_within_their_limit() -> None:
    lines = {name: len(text.splitlines()) for name, text in _texts().items()}
    core = {name: n for name, n in lines.items() if name.startswith("core/") and n > CORE_LINES}
    edge = {name: n for name, n in lines.items() if not name.startswith("core/") and n > EDGE_LINES}
    held_in_core = {name: n for name, n in MODULES.items() if name.startswith("core/")}
    held_at_the_edge = {name: n for name, n in MODULES.items() if name not in held_in_core}
    problems = _broken(core, held_in_core, unit="lines", limit=CORE_LINES, mend="give each of its ideas a module")
    problems += _broken(
        edge, held_at_the_edge, unit="lines", limit=EDGE_LINES, mend="move what it draws or calculates into core"
    )
    assert problems == []


def test_functions_stay_within_their_limit() -> None:
    found = {name: n for name, function in _functions() if (n := _length(function)) > FUNCTION_LINES}
    assert (
        _broken(found, FUNCTIONS, unit="lines", limit=FUNCTION_LINES, mend="make a function of each of its steps") == []
    )


def test_functions_take_few_parameters() -> None:
    found = {name: n for name, function in _functions() if (n := _n_parameters(function)) > PARAMETERS}
    mend = "hand over a record of those that belong together"
    assert _broken(found, PARAMETER_LISTS, unit="parameters", limit=PARAMETERS, mend=mend) == []


def test_records_take_the_place_of_dictionaries() -> None:
    n = sum(text.count("dict[str, Any]") for name, text in _texts().items() if name.startswith("core/"))
    mend = "a frozen record, or a TypedDict, says what is in it"
    assert _count_broken(n, ANY_DICTS, what="`dict[str, Any]` in core/", mend=mend) == []


def test_the_formatter_is_seldom_made_to_leave_lines_alone() -> None:
    n = sum(text.count("# fmt: skip") for text in _texts().values())
    assert _count_broken(n, FMT_SKIPS, what="`# fmt: skip`", mend="let the formatter have it") == []


def test_pages_ask_services() -> None:
    pages = {name: tree for name, tree in _trees().items() if name.startswith("pages/") or name == "Home.py"}
    problems = []
    for name, tree in pages.items():
        found = {module for module in _imports(tree) if f"{module}.".startswith(tuple(f"{b}." for b in BENEATH_A_PAGE))}
        held = PAGE_IMPORTS.get(name, set())
        problems += [f"{name} imports {module}: ask a service for it, or draw it in core." for module in found - held]
        problems += [f"{name} imports {module} no longer: take it out of the list." for module in held - found]
    problems += [f"{name} is gone: take it out of the list." for name in PAGE_IMPORTS.keys() - pages.keys()]
    assert problems == []


def test_streamlit_stays_with_the_pages() -> None:
    """Of core, import-linter checks the same: there only core.ui and the server in front of the pages know it."""
    entries = {name: tree for name, tree in _trees().items() if "/" not in name}
    using = {name for name, tree in entries.items() if any(m.split(".")[0] == "streamlit" for m in _imports(tree))}
    assert using == {"Home.py", "server.py"}


def test_what_grew_appeared_shrank_or_went_is_reported() -> None:
    found = {"same": 70, "grew": 71, "new": 61, "shrank": 62, "a line less": 69}
    held = {"same": 70, "grew": 70, "shrank": 70, "a line less": 70, "went": 70}
    reported = _broken(found, held, unit="lines", limit=60, mend="split it")
    assert [problem.split(" ")[0] for problem in reported] == ["grew", "new", "shrank", "went"]
    assert len(_count_broken(11, 10, what="such", mend="fewer")) == len(_count_broken(8, 10, what="such", mend="")) == 1
    assert _count_broken(9, 10, what="such", mend="fewer") == []
