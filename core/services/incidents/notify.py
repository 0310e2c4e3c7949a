"""Messages to people: written to an outbox in the transaction of the event itself, sent later, retried, never lost.

The kinds are those of `core.services.incidents.messages`, each switched on or off per project. A state is reported when it begins
and not again while it lasts. A refresh or an uneventful check is an audit row and no message. A failed delivery never fails a cycle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from core import words
from core.records import SERVING, CycleReport, Outcome, Score, is_worse
from core.services.incidents.channels import channels, dead_row
from core.services.incidents.messages import Facts, Message, payload, sends
from core.storage import queries
from core.storage.tables import Cycle, Notice
from core.storage.workspace import Workspace
from core.text import vocabulary
from core.text.reasons import sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckState:
    """The state found by a check; reported if it differs from the check before."""

    drifting: bool | None = None  # None: it was not measured
    below: bool | None = None


def check_state(evidence: Any, policy: Mapping[str, Any]) -> CheckState:
    """Drift and score in a check's evidence (a record or its document), judged by the policy of that check."""
    if evidence is None:
        return CheckState()
    values = evidence if isinstance(evidence, dict) else {k: getattr(evidence, k) for k in _EVIDENCE_FIELDS}
    share, score = values["share_drifted"], values["score"]
    drifting = None if share is None else share >= policy["drift_share"] and bool(values["drifted"])
    below = None
    if score is not None and values["score_n"] >= policy["min_rows"]:
        below = is_worse(score, policy["threshold"], values["metric"])
    return CheckState(drifting=drifting, below=below)


_EVIDENCE_FIELDS = ("share_drifted", "drifted", "score", "score_n", "metric")


def messages_of(
    report: CycleReport,
    project: str,
    slug: str,
    *,
    policy: Mapping[str, Any] | None = None,
    before: CheckState | None = None,
    shadow: tuple[int | None, int | None] = (None, None),
) -> list[Message]:
    """The messages about a cycle, most important first.

    Args:
        policy: the one that decided the cycle.
        before: drift and score when they were last measured.
        shadow: version in shadow mode before and after.
    """
    verdict, facts = sentence(report.verdict.reason) if report.verdict else "", _facts(report, policy)
    why = sentence(report.reason)
    messages: list[Message] = []

    def _add(kind: str, *reasons: str, version: int | None = None) -> None:
        text = "\n".join(dict.fromkeys(r for r in reasons if r))
        figures = dataclasses.replace(facts, version=version)
        messages.append(Message(kind=kind, text=text, project=project, slug=slug, cycle=report.id, facts=figures))

    if report.status == "failed":
        _add("failed", report.error or "See the log for the reason.")
    elif (kind := vocabulary.outcome(report.outcome).message) is not None:
        # The reason for a race does not explain why an earlier version was restored.
        texts = (verdict or why,) if report.outcome == Outcome.ROLLED_BACK else (why, verdict)
        _add(kind, *texts, version=report.champion_after if report.outcome in SERVING else report.challenger)
    if shadow[0] != shadow[1]:
        if shadow[0] is not None:
            _add("shadow_ended", verdict, version=shadow[0])
        if shadow[1] is not None:
            _add("shadow_begun", why, verdict, version=shadow[1])
    now, then = check_state(report.evidence, policy) if policy else CheckState(), before or CheckState()
    if now.below and not then.below:
        _add("below_threshold", why)
    if now.drifting and not then.drifting:
        _add("drift", why)
    if report.decision == "alert" and not messages:
        _add("attention", why)
    return messages


def _facts(report: CycleReport, policy: Mapping[str, Any] | None) -> Facts:
    seen, race = report.evidence, report.comparison
    if seen is None:
        return Facts(before=report.champion_before, after=report.champion_after)
    score = Score(metric=seen.metric, value=seen.score, low=seen.score_low, high=seen.score_high, n=seen.score_n)
    return Facts(
        before=report.champion_before,
        after=report.champion_after,
        metric=seen.metric,
        score=score if seen.score is not None else None,
        threshold=policy["threshold"] if policy and seen.score is not None else None,
        difference=race.difference if race else None,
        share=seen.share_drifted,
        share_limit=policy["drift_share"] if policy and seen.share_drifted is not None else None,
        drifted=seen.drifted,
        rows=seen.n_rows,
        labelled=seen.n_labelled,
    )


def enqueue(
    ws: Workspace,
    session: Session,
    report: CycleReport,
    now: datetime,
    *,
    shadow: tuple[int | None, int | None] = (None, None),
) -> None:
    """Add the messages about a cycle to the outbox of each channel, for the kinds that its project sends."""
    row = queries.project_row(session, report.project_id)
    policy = session.scalar(select(Cycle.policy).where(Cycle.id == report.id)) or row.policy
    before = _earlier_state(session, report)
    news = messages_of(report, row.name, row.slug, policy=policy, before=before, shadow=shadow)
    wanted = [message for message in news if sends(row.messages, message.kind)]
    aside = "\n".join(words.set_aside(report.evidence))
    if aside and wanted:
        wanted[0] = dataclasses.replace(wanted[0], text=f"{wanted[0].text}\n{aside}")
    elif aside and sends(row.messages, "attention"):
        headline = "rows set aside"
        wanted = [
            Message(kind="attention", headline=headline, text=aside, project=row.name, slug=row.slug, cycle=report.id)
        ]
    for message in wanted:
        put(ws, session, message, now, project_id=row.id, cycle_id=report.id)


def _earlier_state(session: Session, report: CycleReport) -> CheckState:
    """Drift and score when an earlier check last measured them."""
    earlier = session.execute(
        select(Cycle.evidence, Cycle.policy)
        .where(Cycle.project_id == report.project_id, Cycle.id < report.id, Cycle.status == "done")
        .order_by(Cycle.id.desc())
        .limit(LOOK_BACK)
    )
    drifting = below = None
    for evidence, policy in earlier:
        if evidence is None or policy is None:
            continue
        then = check_state(evidence, policy)
        drifting = then.drifting if drifting is None else drifting
        below = then.below if below is None else below
        if drifting is not None and below is not None:
            break
    return CheckState(drifting=drifting, below=below)


LOOK_BACK = 50  # checks in which nothing was measured are skipped


def enqueue_message(
    ws: Workspace,
    session: Session,
    message: Message,
    now: datetime,
    *,
    project_id: int,
    cycle_id: int | None = None,
) -> None:
    """Add a message about a project to the outbox of each channel, if the project sends its kind."""
    if sends(queries.project_row(session, project_id).messages, message.kind):
        put(ws, session, message, now, project_id=project_id, cycle_id=cycle_id)


def enqueue_event(
    ws: Workspace, session: Session, kind: str, project_id: int, text: str, now: datetime, **facts: Any
) -> None:
    """The same from its parts: facts by name, and `headline`."""
    row = queries.project_row(session, project_id)
    headline = facts.pop("headline", None)
    message = Message(kind=kind, text=text, project=row.name, slug=row.slug, headline=headline, facts=Facts(**facts))
    enqueue_message(ws, session, message, now, project_id=project_id)


def put(
    ws: Workspace, session: Session, message: Message, now: datetime, *, project_id: int | None, cycle_id: int | None
) -> None:
    body = payload(message, ws.settings.public_url, now)
    for channel in channels(ws):
        dead = dead_row(ws, session, channel)
        session.add(
            Notice(
                project_id=project_id,
                cycle_id=cycle_id,
                channel=channel,
                payload=body,
                created_at=now,
                next_attempt_at=None if dead else now,
                error=dead.why if dead else None,
            )
        )
