"""Each fact has one home: no module keeps a table of its own of what a catalogue knows."""

from __future__ import annotations

import ast
import json
import math
import pickle
import sqlite3
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from pydantic import TypeAdapter

from core import plots, words
from core.learning.policy import policy_named
from core.performance.estimated import ESTIMATED
from core.performance.formulas import COMPUTE
from core.plots import ScoreHistory
from core.records import (
    METRICS,
    SERVING,
    CycleReport,
    EventKind,
    Outcome,
    as_written,
    estimated_metrics,
    higher_is_better,
    is_worse,
    metric_for,
    metrics_of,
    replay_metrics,
    row_metric,
    sides,
    to_document,
)
from core.services.incidents import notify
from core.services.incidents.messages import KINDS
from core.text import vocabulary
from core.ui.components.cards import STATES

ROOT = Path(__file__).resolve().parent.parent
NOW = datetime(2026, 3, 2, tzinfo=UTC)
FEW = 3  # keys of a catalogue in one literal: from here on it is a table

FORMATS = frozenset(
    {"ago", "change", "count", "counted", "duration", "figure", "listed", "number", "p_value", "percent", "plural"}
    | {"points", "score_text", "seconds", "share", "shares", "signed"}
)

METRIC_TABLES = {
    "core/records/metrics.py": "the catalogue itself",
    "core/performance/formulas.py": "COMPUTE: the functions, which records may not import",
}


OUTCOME_TABLES = {
    "core/records/outcomes.py": "what it says on top",
    "core/text/vocabulary.py": "the vocabulary itself",
}


def _key(node: ast.AST | None) -> str:
    """The key that a literal or a member of one of the enumerations names; "" for anything else."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.attr.lower() if node.value.id in ("Outcome", "EventKind") else ""
    return ""


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
            named = [name for n in part if (name := _key(n)) in keys]
            if len(set(named)) >= FEW:
                yield node.lineno, named


def _elsewhere(keys: Collection[str], allowed: Collection[str]) -> list[str]:
    paths = [*ROOT.glob("core/**/*.py"), *ROOT.glob("pages/**/*.py"), *ROOT.glob("*.py")]
    names = {path.relative_to(ROOT).as_posix(): path for path in sorted(paths)}
    found = {name: list(_tables(path, keys)) for name, path in names.items()}
    reported = [
        f"{name}:{line} names {', '.join(named)}: ask the catalogue."
        for name, tables in found.items()
        if name not in allowed
        for line, named in tables
    ]
    return reported + [
        f"{name} has no such table any more: take it out of the list." for name in allowed if not found.get(name)
    ]


def test_only_the_catalogue_names_metrics_in_a_table() -> None:
    assert _elsewhere(METRICS, METRIC_TABLES) == []


def test_only_the_vocabulary_says_something_of_outcomes_and_events() -> None:
    keys = {*Outcome, *EventKind} - {"none"}
    assert _elsewhere({str(key) for key in keys}, OUTCOME_TABLES) == []


def test_formats_are_written_in_one_place() -> None:
    """A function of that name that gives a text: elsewhere only the list that quotes each value as an error text does."""
    found = {
        f"{path.relative_to(ROOT).as_posix()}:{node.name}"
        for path in [*ROOT.glob("core/**/*.py"), *ROOT.glob("pages/**/*.py"), *ROOT.glob("*.py")]
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.lstrip("_") in FORMATS
        if isinstance(node.returns, ast.Name) and node.returns.id == "str"
    }
    assert {name for name in found if not name.startswith("core/words.py:")} == {"core/data/cells.py:listed"}


def test_only_one_module_knows_the_rule_of_leases() -> None:
    """Who holds a lease, until when, and when it may be taken over: read and written nowhere else."""
    users = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.glob("core/**/*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if (isinstance(node, ast.Name) and node.id == "Lease") or (isinstance(node, ast.alias) and node.name == "Lease")
    }
    assert users - {"core/storage/tables/__init__.py"} == {"core/storage/leases.py"}


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


def test_replays_show_the_usual_metrics() -> None:
    assert replay_metrics("multiclass") == ("accuracy", "kappa", "macro_f1")
    assert replay_metrics("regression") == ("mae", "rmse", "r2") == metrics_of("regression")


@pytest.mark.parametrize("metric", METRICS)
def test_which_side_is_wrong_is_reported_by_one_function(metric: str) -> None:
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
    assert words.metric_in_reason(metric).isascii()
    assert not math.isnan(METRICS[metric].range[0]) and METRICS[metric].range[0] < METRICS[metric].range[1]


def test_a_policy_measures_what_the_task_has() -> None:
    for task in ("binary", "multiclass", "regression"):
        for metric in METRICS:
            chosen = metric_for(policy_named("balanced", metric=metric), task)
            assert chosen == metric if metric in metrics_of(task) else chosen in ("accuracy", "r2")
            assert chosen in metrics_of(task)
        assert METRICS[row_metric(task)].mean_of_rows


# --- the vocabulary -------------------------------------------------------------------------------------------------


def test_the_vocabulary_has_every_member() -> None:
    assert list(vocabulary.OUTCOMES) == list(Outcome)
    assert list(vocabulary.EVENTS) == list(EventKind)
    assert set(SERVING) < set(Outcome) and set(map(str, SERVING)) < set(map(str, EventKind))


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_a_sign_a_state_and_words_for_every_place(outcome: Outcome) -> None:
    said = vocabulary.outcome(str(outcome))
    assert said is vocabulary.OUTCOMES[outcome] and said.sign != vocabulary.UNKNOWN
    assert said.state in STATES
    assert said.line == f"{said.sign} {said.happened}"  # Home
    assert said.short == (f"{said.sign} {said.word}" if outcome != Outcome.NONE else "")  # Automation
    assert said.race.format(v=7) and said.inline == said.inline.lower()  # Train, Live
    assert "{" not in said.live.format(v=7)
    assert bool(said.origin) == all(said.changes) == (outcome in SERVING)  # Models
    assert said.message is None or said.message in KINDS


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_is_reported_by_its_message_or_is_no_news(outcome: Outcome) -> None:
    report = CycleReport(
        id=3, project_id=1, cause="schedule", status="done", started_at=NOW, finished_at=NOW, decision="retrain",
        reason=as_written("It was due."), outcome=outcome, champion_before=1, champion_after=2, challenger=2,
    )  # fmt: skip
    reported = [message.kind for message in notify.messages_of(report, project="P", slug="p")]
    message = vocabulary.OUTCOMES[outcome].message
    assert reported == ([message] if message else [])


@pytest.mark.parametrize("kind", EventKind)
def test_every_kind_of_event_is_drawn_and_explained(kind: EventKind) -> None:
    points = [plots.Point(at=NOW + timedelta(days=i), value=0.9, n=10) for i in range(9)]
    events = [plots.Event(at=NOW + timedelta(days=4), kind=kind, text="v2")]
    fig = plots.performance_over_time(ScoreHistory(measured=points), colors=plots.palette("light"), events=events)
    mark = vocabulary.EVENTS[kind]
    signs = [a.hovertext for a in fig.layout.annotations if a.text.startswith(mark.sign)]
    ticks = [t.hovertemplate[0] for t in fig.data if t.marker.symbol == "line-ns-open"]
    assert mark.words in (ticks if mark.tick else signs)[0]
    assert vocabulary.legend([str(kind)])[0].endswith(mark.words) or mark.legend


@pytest.mark.parametrize("outcome", SERVING)
def test_every_change_of_the_champion_is_reported_over_its_span(outcome: Outcome) -> None:
    spans = ((1, NOW, None, str(outcome), ""),)
    fig = plots.versions(spans, now=NOW + timedelta(days=1), colors=plots.palette("light"))
    assert vocabulary.EVENTS[EventKind(outcome)].words in fig.data[0].hovertemplate


def test_signs_mean_one_thing() -> None:
    assert [o for o in Outcome if vocabulary.OUTCOMES[o].sign == vocabulary.CROSS] == [Outcome.FAILED]
    assert vocabulary.outcome("shadowed").line == "◐ Challenger in shadow mode"
    assert vocabulary.outcome("rejected").short == "– Rejected"


def test_before_the_end_there_is_nothing_to_say_and_what_is_not_known_is_shown_as_it_is() -> None:
    assert (vocabulary.outcome("").line, vocabulary.outcome("").short) == ("", "")
    assert vocabulary.outcome("taken_over").line == "· taken_over"


# --- what is stored and sent ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("member", [*Outcome, *EventKind])
def test_a_member_is_stored_and_sent_as_its_text(member: Outcome | EventKind) -> None:
    text = f'"{member.value}"'
    assert json.dumps(member) == text
    assert orjson.dumps(member).decode() == text
    assert TypeAdapter(str).dump_json(member).decode() == text
    assert type(to_document(member)) is str and to_document({"x": member}) == {"x": member.value}
    assert f"{member}" == str(member) == member.value
    assert pickle.loads(pickle.dumps(member)) is member
    with sqlite3.connect(":memory:") as database:
        assert database.execute("select ?, typeof(?1)", (member,)).fetchone() == (member.value, "text")
