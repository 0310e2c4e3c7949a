"""The shadow version's record against the champion, carried from cycle to cycle.

Its predictions are not served. Out of scope: whether it is promoted (`core.learning.learner`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from core.cycle.predictions import predict
from core.cycle.records import NewEvidence
from core.errors import BadInput
from core.records import ProjectInfo, ShadowRecord, from_document
from core.storage.tables import Cycle
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    from core.learning.state import LearnerState
    from core.learning.step import Step

SAME_VALUE = 0.01  # two values this near to each other (as a share) count as agreement


def shadow_record(
    ws: Workspace, project: ProjectInfo, evidence: NewEvidence, before: LearnerState, step: Step
) -> ShadowRecord | None:
    """The shadow version after this cycle: its record, and how often its predictions agree with the champion's."""
    shadow = step.state.shadow
    if shadow is None:
        return None
    answered = agreed = 0
    with ws.database.read() as session:
        last = session.scalar(
            select(Cycle.shadow)
            .where(Cycle.project_id == project.id, Cycle.status == "done")
            .order_by(Cycle.id.desc())
            .limit(1)
        )
    same_champion = step.state.champion_version == before.champion_version
    stored = from_document(ShadowRecord, last) if last else None
    if stored is not None and stored.version == shadow.version and same_champion:
        answered, agreed = stored.answered, stored.agreed
    if before.shadow is not None and before.shadow.version == shadow.version and project.champion is not None:
        answers, same = _side_by_side(ws, project, evidence, shadow.version)
        answered, agreed = answered + answers, agreed + same
    return ShadowRecord(
        version=shadow.version,
        rows=shadow.rows,
        wins=shadow.wins,
        losses=shadow.losses,
        for_better=shadow.bets.for_better,
        for_worse=shadow.bets.for_worse,
        answered=answered,
        agreed=agreed,
        wanted=project.policy.shadow_rows or None,
    )


def _side_by_side(ws: Workspace, project: ProjectInfo, evidence: NewEvidence, version: int) -> tuple[int, int]:
    """Rows of new batches that both versions predicted, labelled or not, and the number on which they agree."""
    reader = evidence.reader
    answered = agreed = 0
    for batch in evidence.batches:
        champion_scores = reader.scores(batch)
        if champion_scores is None:
            continue
        frame, _ = reader.frame(batch)
        try:
            labels = predict(ws, project, version, frame).labels
        except BadInput:  # it cannot predict these rows: counted as disagreement
            answered += sum(theirs is not None for theirs in champion_scores.labels)
            continue
        for mine, theirs in zip(labels, champion_scores.labels, strict=True):
            if theirs is None:
                continue
            answered += 1
            same = abs(mine - theirs) <= SAME_VALUE * abs(theirs) if project.task == "regression" else mine == theirs
            agreed += bool(same)
    return answered, agreed
