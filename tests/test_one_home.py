"""Each fact has one home: no module keeps a table of its own of what a catalogue knows."""

from __future__ import annotations

import ast
import math
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from core import words
from core.learning.policy import policy_named
from core.performance.estimated import ESTIMATED
from core.performance.realised import COMPUTE
from core.records import (
    METRICS,
    estimated_metrics,
    higher_is_better,
    is_worse,
    metric_for,
    metrics_of,
    replay_metrics,
    row_metric,
    sides,
)

ROOT = Path(__file__).resolve().parent.parent
FEW = 3  # keys of a catalogue in one literal: from here on it is a table

METRIC_TABLES = {
    "core/records/metrics.py": "the catalogue itself",
    "core/performance/realised.py": "COMPUTE: the functions, which records may not import",
}


def _tables(path: Path, keys: Collection[str]) -> Iterator[tuple[int, list[str]]]:
    """Line and keys of each literal (dictionary, tuple, list, set) that names at least FEW of some keys."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Dict):
            parts = [node.keys, node.values]
        elif isinstance(node, ast.Tuple | ast.List | ast.Set):
            parts = [node.elts]
        else:
            continue
        for part in parts:
            named = [n.value for n in part if isinstance(n, ast.Constant) and n.value in keys]
            if len(set(named)) >= FEW:
                yield node.lineno, named


def _elsewhere(keys: Collection[str], allowed: Collection[str]) -> list[str]:
    paths = [*ROOT.glob("core/**/*.py"), *ROOT.glob("pages/**/*.py"), *ROOT.glob("*.py")]
    names = {path.relative_to(ROOT).as_posix(): path for path in sorted(paths)}
    found = {name: list(_tables(path, keys)) for name, path in names.items()}
    told = [
        f"{name}:{line} names {', '.join(named)}: ask the catalogue."
        for name, tables in found.items()
        if name not in allowed
        for line, named in tables
    ]
    return told + [
        f"{name} has no such table any more: take it out of the list." for name in allowed if not found.get(name)
    ]


def test_only_the_catalogue_names_metrics_in_a_table() -> None:
    assert _elsewhere(METRICS, METRIC_TABLES) == []


def test_a_table_is_found_in_whatever_form(tmp_path: Path) -> None:
    code = tmp_path / "code.py"
    code.write_text(
        'a = {"mae": 1, "rmse": 2, "r2": 3}\nb = ("mae", "rmse")\nc = {"x": ["mae", "rmse", "r2"]}\nd = frozenset({"mae", "rmse", "r2"})\n'
    )
    assert [line for line, _ in _tables(code, METRICS)] == [1, 3, 4]


# --- the catalogue --------------------------------------------------------------------------------------------------


def test_whatever_is_in_the_catalogue_is_computed() -> None:
    assert list(COMPUTE) == list(METRICS)


def test_the_estimator_knows_what_the_catalogue_says_it_does() -> None:
    assert ESTIMATED["multiclass"] == ("accuracy", "kappa", "macro_f1", "roc_auc", "log_loss")
    assert estimated_metrics("binary") == ("accuracy", "kappa", "roc_auc", "log_loss")
    assert ESTIMATED["regression"] == ("mae", "rmse")


def test_replays_tell_the_usual_metrics() -> None:
    assert replay_metrics("multiclass") == ("accuracy", "kappa", "macro_f1")
    assert replay_metrics("regression") == ("mae", "rmse", "r2") == metrics_of("regression")


@pytest.mark.parametrize("metric", METRICS)
def test_which_side_is_wrong_is_told_by_one_function(metric: str) -> None:
    low, high = 0.25, 0.75
    wrong, right = sides(metric)
    assert is_worse(low, high, metric) == higher_is_better(metric) == (wrong == "below")
    assert is_worse(high, low, metric) != is_worse(low, high, metric)
    assert not is_worse(low, low, metric)
    assert {wrong, right} == {"below", "above"}


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_has_a_name_for_each_kind_of_sentence(metric: str) -> None:
    assert words.metric_label(metric) == METRICS[metric].label
    assert words.metric_in_finding(metric)
    assert words.metric_in_reason(metric).isascii()  # stored, and held against the same reason later
    assert not math.isnan(METRICS[metric].range[0]) and METRICS[metric].range[0] < METRICS[metric].range[1]


def test_a_policy_measures_what_the_task_has() -> None:
    for task in ("binary", "multiclass", "regression"):
        for metric in METRICS:
            chosen = metric_for(policy_named("balanced", metric=metric), task)
            assert chosen == metric if metric in metrics_of(task) else chosen in ("accuracy", "r2")
            assert chosen in metrics_of(task)
        assert METRICS[row_metric(task)].mean_of_rows
