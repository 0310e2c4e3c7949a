"""The version in the shadow: its record against the champion, kept from cycle to cycle.

It answers beside the champion and serves nobody; whether it is let in is the learner's to decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from core.cycle.answers import predict
from core.cycle.records import Found
from core.errors import BadInput
from core.records import ProjectInfo, ShadowRecord, from_document
from core.storage.tables import Cycle
from core.storage.workspace import Workspace

if TYPE_CHECKING:
    from core.learning.state import LearnerState
    from core.learning.step import Step

SAME_VALUE = 0.01  # two values this near to each other (as a share) count as agreement


def shadow_record(
    ws: Workspace, project: ProjectInfo, found: Found, before: LearnerState, step: Step
) -> ShadowRecord | None:
    """The version in the shadow after this cycle: its record, and how often it answered as the champion did."""
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
    kept = from_document(ShadowRecord, last) if last else None
    if kept is not None and kept.version == shadow.version and same_champion:
        answered, agreed = kept.answered, kept.agreed
    if before.shadow is not None and before.shadow.version == shadow.version and project.champion is not None:
        answers, same = _side_by_side(ws, project, found, shadow.version)
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


def _side_by_side(ws: Workspace, project: ProjectInfo, found: Found, version: int) -> tuple[int, int]:
    """Rows of new batches that a version answers beside the champion, labelled or not, and on how many both agree."""
    reader = found.reader
    answered = agreed = 0
    for batch in found.batches:
        given = reader.scores(batch)
        if given is None:
            continue
        frame, _ = reader.frame(batch)
        try:
            labels = predict(ws, project, version, frame).labels
        except BadInput:  # it has no answer where the champion has one: nowhere the same
            answered += sum(theirs is not None for theirs in given.labels)
            continue
        for mine, theirs in zip(labels, given.labels, strict=True):
            if theirs is None:
                continue
            answered += 1
            same = abs(mine - theirs) <= SAME_VALUE * abs(theirs) if project.task == "regression" else mine == theirs
            agreed += bool(same)
    return answered, agreed
