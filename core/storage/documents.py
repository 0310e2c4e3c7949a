"""Stored documents and audit rows as the records that they were: cycles, evidence, drift reports, memory, scores."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from core.records import (
    Candidate,
    Clause,
    Comparison,
    CycleReport,
    DriftPart,
    DriftReport,
    DriftScore,
    Evidence,
    Firing,
    Memory,
    Score,
    Verdict,
    Window,
    reason_from,
)
from core.storage.tables import Cycle

T = TypeVar("T")


def _reasoned(record: Callable[..., T], document: dict[str, Any]) -> T:
    """A stored record that carries a reason."""
    return record(**{**document, "reason": reason_from(document.get("reason"))})


def score_from(document: dict[str, Any]) -> Score:
    """A stored score."""
    return _reasoned(Score, document)


def drift_from(document: dict[str, Any]) -> DriftReport:
    """A stored drift report."""

    def window(d: dict[str, Any]) -> Window:
        return Window(
            **{**d, **{k: datetime.fromisoformat(d[k]) if d.get(k) else None for k in ("first_at", "last_at")}}
        )

    def drift_score(d: dict[str, Any] | None) -> DriftScore | None:
        if d is None:
            return None
        return _reasoned(DriftScore, {**d, "parts": tuple(DriftPart(**p) for p in d.get("parts", ()))})

    structure, weights = document.get("reconstruction"), document.get("attribution")
    return DriftReport(
        reference=window(document["reference"]),
        current=window(document["current"]),
        scores=tuple(s for s in map(drift_score, document["scores"]) if s is not None),
        prediction=drift_score(document.get("prediction")),
        label=drift_score(document.get("label")),
        residual=drift_score(document.get("residual")),
        reconstruction=_reasoned(dict, structure) if structure else None,
        attribution=weights and {**weights, "scores": [_reasoned(dict, s) for s in weights["scores"]]},
        **{k: document.get(k) for k in ("multivariate", "explanation", "segment", "importance")},
    )


def cycle_from(row: Cycle) -> CycleReport:
    """An audit row as a record."""
    comparison = row.comparison and Comparison(
        **{
            **row.comparison,
            **{
                k: score_from(row.comparison[k]) if row.comparison.get(k) else None
                for k in ("champion", "challenger", "difference")
            },
        }
    )
    verdict = row.verdict and _reasoned(
        Verdict, {**row.verdict, "clauses": tuple(_reasoned(Clause, c) for c in row.verdict["clauses"])}
    )
    return CycleReport(
        id=row.id,
        project_id=row.project_id,
        cause=row.cause,
        status=row.status,  # type: ignore[arg-type]
        started_at=row.started_at,
        finished_at=row.finished_at,
        decision=row.decision or "",
        reason=row.reason or "",
        outcome=row.outcome or "",
        seconds=row.seconds,
        by=row.by,
        evidence=evidence_from(row.evidence) if row.evidence else None,
        firings=tuple(_reasoned(Firing, f) for f in row.firings or ()),
        candidates=tuple(Candidate(**{**c, "score": score_from(c["score"])}) for c in row.candidates or ()),
        comparison=comparison or None,
        verdict=verdict or None,
        champion_before=row.champion_before,
        champion_after=row.champion_after,
        challenger=row.challenger,
        error=row.error,
        batch_ids=tuple(row.batch_ids or ()),
        seed=row.seed,
        memory=memory_from(row.memory),
        shadow=row.shadow,
    )


def memory_from(document: dict[str, Any] | None) -> Memory | None:
    """Stored memory of past regimes as a record."""
    if document is None:
        return None
    matrix = tuple(tuple(line) for line in document["matrix"])
    return Memory(**{**document, "regimes": tuple(document["regimes"]), "matrix": matrix})


def evidence_from(document: dict[str, Any]) -> Evidence:
    """Stored evidence as a record."""
    lists = {name: tuple(document.get(name, ())) for name in ("drifted", "set_aside")}
    alarms = tuple(reason_from(alarm) for alarm in document.get("error_alarms", ()))
    return Evidence(**{**document, **lists, "error_alarms": alarms})
