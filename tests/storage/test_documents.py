"""Stored documents: each is read as the record that it was, and written again it is the same document."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy.dialects import sqlite

from core.records import (
    BatchSetAside,
    Candidate,
    CommitteeMember,
    Comparison,
    CycleReport,
    DriftReport,
    EstimateGrade,
    EstimatePoint,
    Evidence,
    Firing,
    Memory,
    Reason,
    Score,
    ShadowRecord,
    Verdict,
    Window,
    as_written,
    because,
    from_document,
    to_document,
)
from core.storage.tables.base import ReasonText
from core.text.reasons import sentence

AT = "2026-05-03T14:05:00+00:00"
REASON = {"code": "too_few_rows", "numbers": {"needed": 2, "found": 1}}
SCORE = {
    "metric": "accuracy", "value": 1, "low": None, "high": 0.9, "n": 50, "method": "Wilson 95 %", "reason": REASON,
    "n_effective": None,
}  # fmt: skip
WINDOW = {"name": "reference", "n_rows": 9, "first_at": AT, "last_at": None, "description": "the first rows"}
PART = {"of": "values", "test": "KS", "statistic": 0.4, "p_value": 0.0, "effect": 0.4, "gate": 0.02, "passed": True}
FEATURE = {
    "name": "a", "kind": "numeric", "drifted": True, "statistic": 0.4, "p_value": 0.0, "effect": 0.4, "gate": 0.02,
    "test": "Kolmogorov-Smirnov", "miss_rate_reference": 0.0, "miss_rate_current": None, "new_share": None,
    "vanished_share": None, "parts": [PART], "reason": REASON, "judged": True,
}  # fmt: skip
DRIFT = {
    "reference": WINDOW, "current": WINDOW, "scores": [FEATURE], "prediction": FEATURE, "label": None, "residual": None,
    "multivariate": {"drifted": True, "auc": 0.9, "low": 0.85, "high": 0.95, "features": {"a": 0.2, "b": 0.1}},
    "reconstruction": {
        "drifted": False, "error_reference": 1.0, "error_current": 1.1, "low": 0.9, "high": 1.2, "components": 3,
        "reason": REASON,
    },
    "explanation": "71 % of it is a > 31",
    "segment": {
        "rule": "a > 31", "conditions": [["a", ">", 31.0], ["b", "missing", None]], "part": 0.71, "before": 0.01,
        "after": 0.38, "since": AT, "n": 412, "inside": 0.8, "outside": 0.9, "metric": "accuracy",
    },
    "importance": {"a": 0.1},
    "attribution": {
        "drifted": True,
        "scores": [{"name": "a", "before": 0.1, "after": 0.2, "difference": 0.1, "z": None, "drifted": True, "reason": REASON}],
        "rank_correlation": None, "finding": "The model leans more on a", "weighed": 1, "features": 2, "version": 4,
    },
}  # fmt: skip
EVIDENCE = to_document(
    Evidence(
        n_rows=500, n_labelled=400, metric="accuracy", score=0.9, score_low=None, score_high=0.95, score_n=400,
        recent_mean=0.9, share_drifted=0.2,
    )
) | {
    "drifted": ["a"], "error_alarms": ["page-hinkley"],
    "watched": {"version": 2, "rows": 300, "for_better": 3.5, "for_worse": 0.1},
    "set_aside": [{"code": "batch_damaged", "batch": 4, "cause": "It is damaged."}],
}  # fmt: skip
COMPARISON = {
    "n": 50, "metric": "accuracy", "champion": None, "challenger": SCORE, "difference": SCORE, "wins": 3, "losses": 1, "p": 0.6,
    "test": "exact McNemar", "rows_from": "rows held back",
    "worst_slice": {"rule": "a = x", "n": 40, "wins": 1, "losses": 12, "p": 0.0034, "tried": 4},
    "past": {"n": 100, "regimes": 2, "challenger": 0.7, "champion": 0.8, "difference": -0.1, "answers_change": True},
    "calibration": {"challenger": 0.1, "champion": None, "error": 0.04},
    "seconds": {"challenger": 0.05, "champion": 0.04}, "problem": "",
}  # fmt: skip
CLAUSE = {"name": "not_worse", "passed": True, "reason": REASON, "observed": 0.1, "required": None, "decides": False}
VERDICT = {"promote": True, "kind": "promotion", "reason": REASON, "clauses": [CLAUSE]}
MEMORY = {
    "metric": "accuracy", "regimes": [{"number": 1, "row": 0, "n": 50}, {"number": 2, "row": 900, "n": 25}],
    "matrix": [[0.9, None], [0.5, 0.8]], "bwt": -0.4,
}  # fmt: skip
SHADOW = {
    "version": 2, "rows": 40, "wins": 3, "losses": 1, "for_better": 2.0, "for_worse": 0.5, "answered": 60, "agreed": 50,
    "wanted": None,
}  # fmt: skip
CANDIDATE = {
    "name": "trees", "family": "forest", "window": "all", "n_rows": 100, "score": SCORE, "loss": 0.4, "weight": None,
    "fitted": True, "seconds": 1.5, "error": None,
}  # fmt: skip
FIRING = {"trigger": "by_hand", "observed": 1.0, "threshold": 1.0, "reason": REASON}
MEMBER = {"key": "forest-3", "name": "trees", "family": "forest", "window": "all", "n_rows": 100, "weight": 0.5}
GRADE = {"trusted": False, "z": 3.1, "n_chunks": 4, "reason": REASON, "width": 1.5}
POINT = {
    "at": AT, "rows_seen": 9, "n": 5, "batch_id": 1, "cycle_id": None, "model_version": 3, "estimates": {"accuracy": SCORE},
    "realised": {"accuracy": 0.9}, "trust": {"accuracy": GRADE},
}  # fmt: skip
CYCLE = {
    "id": 7, "project_id": 1, "cause": "cli", "status": "done", "started_at": AT, "finished_at": None, "decision": "retrain",
    "reason": "Asked.", "outcome": "promoted", "seconds": 1.5, "by": None, "evidence": EVIDENCE, "firings": [FIRING],
    "candidates": [CANDIDATE], "comparison": COMPARISON, "verdict": VERDICT, "champion_before": None, "champion_after": 1,
    "challenger": 1, "error": None, "batch_ids": [1, 2], "seed": 3, "memory": MEMORY, "shadow": SHADOW,
}  # fmt: skip
STORED: list[tuple[type[Any], dict[str, Any]]] = [
    (Score, SCORE), (Window, WINDOW), (DriftReport, DRIFT), (Evidence, EVIDENCE), (Comparison, COMPARISON),
    (Verdict, VERDICT), (Memory, MEMORY), (ShadowRecord, SHADOW), (Candidate, CANDIDATE), (Firing, FIRING),
    (CommitteeMember, MEMBER), (EstimateGrade, GRADE), (EstimatePoint, POINT), (CycleReport, CYCLE),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "document"), STORED, ids=[kind.__name__ for kind, _ in STORED])
def test_a_stored_document_is_read_and_written_back_equal(kind: type[Any], document: dict[str, Any]) -> None:
    read = from_document(kind, document)
    assert json.dumps(to_document(read)) == json.dumps(document)
    assert from_document(kind, to_document(read)) == read


def test_what_is_read_is_records_all_the_way_down() -> None:
    cycle = from_document(CycleReport, CYCLE)
    assert cycle.started_at == datetime(2026, 5, 3, 14, 5, tzinfo=UTC)
    assert cycle.evidence is not None
    assert cycle.evidence.set_aside == (BatchSetAside(code="batch_damaged", batch=4, cause="It is damaged."),)
    assert cycle.verdict is not None and cycle.verdict.clauses[0].reason == because("too_few_rows", needed=2, found=1)
    assert cycle.memory is not None and cycle.memory.matrix == ((0.9, None), (0.5, 0.8))
    drift = from_document(DriftReport, DRIFT)
    assert drift.segment is not None and drift.segment.conditions == (("a", ">", 31.0), ("b", "missing", None))
    assert drift.drifted == ("a",)


def test_a_document_of_an_earlier_version_takes_defaults_and_keeps_its_sentences() -> None:
    lacking = {name: DRIFT[name] for name in ("reference", "current")}
    old = {name: FEATURE[name] for name in ("name", "kind", "drifted", "statistic", "p_value", "effect")}
    report = from_document(
        DriftReport,
        {
            **lacking,
            "scores": [{**old, "reason": "steady", "flavour": 3}],
            "segment": {},
            "multivariate": None,
            "attribution": {"finding": "as before", "scores": [{"name": "a", "reason": None}]},
        },
    )
    assert report.scores[0].reason == as_written("steady") and report.scores[0].judged
    assert report.segment is report.multivariate is report.reconstruction is None
    assert report.attribution is not None and report.attribution.weighed is None
    assert report.attribution.scores[0].reason == Reason("")
    bets = ShadowRecord(version=2, rows=3, wins=1, losses=1, answered=4, agreed=4)
    assert (
        from_document(ShadowRecord, {"version": 2, "rows": 3, "wins": 1, "losses": 1, "answered": 4, "agreed": 4})
        == bets
    )


def test_a_document_that_lacks_what_has_no_default_is_refused() -> None:
    with pytest.raises(TypeError, match="metric"):
        from_document(Score, {"value": 0.5})


@pytest.mark.parametrize(
    ("reason", "stored"),
    [
        (because("too_few_rows", needed=2, found=1), '{"code": "too_few_rows", "numbers": {"needed": 2, "found": 1}}'),
        (as_written("better on the holiday rows"), "better on the holiday rows"),
        (as_written('{"code": "leans_on"}'), '{"code": "text", "numbers": {"text": "{\\"code\\": \\"leans_on\\"}"}}'),
        (Reason(""), ""),
        (None, None),
    ],
)
def test_a_reason_is_stored_by_its_facts_and_a_persons_text_as_it_is(reason: Reason | None, stored: str | None) -> None:
    column, dialect = ReasonText(), sqlite.dialect()
    assert column.process_bind_param(reason, dialect) == stored
    assert column.process_result_value(stored, dialect) == reason
    if isinstance(stored, str) and reason:
        assert sentence(reason)
