"""What labels would change in the stored data, and which changes need confirmation.

Labels that would replace others, or add a class to a project with a champion, need confirmation. Nothing is stored here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from loguru import logger
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.data.cells import (
    MAX_ID_LENGTH,
    MAX_PROBLEMS,
    as_id,
    expected_label,
    label_of,
    listed,
    shown,
)
from core.data.limits import MAX_CLASSES
from core.errors import BadInput, Damaged, FieldProblem, NeedsConsent
from core.records import ROW_ID, FeatureSchema, JsonObject, Label, LabelPlan, NewClass, ProjectInfo, Replacement
from core.services.serving.logged_predictions import waiting_rows
from core.storage import history, queries
from core.storage.tables import AuditEntry, Batch
from core.storage.tables import Label as LabelRow
from core.storage.workspace import Workspace

LabelStatus = Literal["stored", "unchanged", "replaced", "waiting"]
UNDONE = "labels undone"
SHOWN_REPLACEMENTS = 20  # of a plan
MAX_REMEMBERED = 10_000  # different values whose meaning is kept while a file is read


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelResult:
    """The status of one label."""

    row_id: str
    status: LabelStatus


@dataclass(frozen=True, slots=True)
class PlanState:
    """The state that a plan depends on: while it is unchanged, the plan is valid."""

    newest_label: int
    newest_undo: int
    batches: tuple[int, int, int]  # how many, the newest, how many undone
    schema: JsonObject | None
    champion: int | None


@dataclass(frozen=True, slots=True)
class LabelCheck:
    """Labels as they would be stored."""

    state: PlanState
    results: list[LabelResult]
    plan: LabelPlan
    fresh: list[tuple[str, Label]]  # row id and label of those that have to be stored
    predicted: dict[str, datetime]  # rows still in the log: when they were predicted
    labelled: int  # stored rows that get their first label


def parse_label(value: Any, schema: FeatureSchema, *, field: str) -> Label:
    """A label in the project's form: a class of the right type, also a new one, or a finite number.

    Raises:
        BadInput: with the field, what was seen and what is expected.
    """
    try:
        label = label_of(value, schema.task, schema.classes)
    except (ValueError, OverflowError, TypeError):
        label = None
    if label is None:
        expected = expected_label(schema.task, schema.classes)
        raise BadInput(
            f"{field} is {shown(value)}, expected {expected}.", (FieldProblem(field, shown(value), expected),)
        )
    return label


def current_project(ws: Workspace, project: ProjectInfo) -> ProjectInfo:
    """The project with the schema and champion that it has now."""
    with ws.database.read() as session:
        return queries.project_info(session, queries.project_row(session, project.id))


def plan_state(session: Session, project_id: int) -> PlanState:
    """The current state that plans depend on."""
    counts = select(func.count(), func.max(Batch.id), func.count(Batch.undone_at)).where(Batch.project_id == project_id)
    total, newest, undone = session.execute(counts).one()
    undo = select(func.max(AuditEntry.id)).where(AuditEntry.project_id == project_id, AuditEntry.what == UNDONE)
    return PlanState(
        newest_label=queries.newest_label_id(session, project_id),
        newest_undo=session.scalar(undo) or 0,
        batches=(total, newest or 0, undone),
        schema=queries.project_row(session, project_id).schema,
        champion=queries.champion_of(session, project_id),
    )


def still_holds(ws: Workspace, session: Session, project_id: int, check: LabelCheck) -> bool:
    """Whether nothing that was stored since the check concerns its rows.

    Other writers wait for the answer, so only newer labels and newer batches' ids are read, not the whole history.
    """
    before, state = check.state, plan_state(session, project_id)
    if state == before:
        return True
    (_, newest, undone), (_, _, undone_now) = before.batches, state.batches
    same = dataclasses.replace(state, newest_label=before.newest_label, batches=before.batches) == before
    if not same or undone_now != undone:
        return False
    row_ids = {result.row_id for result in check.results}
    labels = select(LabelRow.row_id).where(LabelRow.project_id == project_id, LabelRow.id > before.newest_label)
    batches = select(Batch).where(Batch.project_id == project_id, Batch.id > newest)
    try:
        newer = [history.read_rows(ws, batch, [ROW_ID])[ROW_ID] for batch in session.scalars(batches)]
    except Damaged:
        return False
    return row_ids.isdisjoint(session.scalars(labels)) and all(map(row_ids.isdisjoint, newer))


def checked_labels(project: ProjectInfo, pairs: Sequence[tuple[str, Any]]) -> list[tuple[str, Label]]:
    """Row ids and labels in the project's form.

    Raises:
        BadInput: no schema yet, or an id or a label that is not valid.
    """
    schema = project.schema
    if schema is None:
        raise BadInput(f"Project '{project.slug}' has no rows yet, so labels cannot be checked. Store rows first.")
    known: dict[tuple[type, Any], Label] = {}
    checked: list[tuple[str, Label]] = []
    for i, (given_id, value) in enumerate(pairs):
        row_id = as_id(given_id) or ""
        if not row_id or len(row_id) > MAX_ID_LENGTH:
            raise BadInput(
                f"labels[{i}].row_id is {row_id[:40]!r}, expected 1 to {MAX_ID_LENGTH} characters.",
                (FieldProblem(f"labels[{i}].row_id", row_id[:40], "a row id"),),
            )
        key = (type(value), value) if isinstance(value, (str, int, float)) else None
        label = known.get(key) if key is not None else None
        if label is None:
            label = parse_label(value, schema, field=f"labels[{i}].label")
            if key is not None and len(known) < MAX_REMEMBERED:
                known[key] = label
        checked.append((row_id, label))
    return checked


def check_labels(ws: Workspace, project: ProjectInfo, pairs: Sequence[tuple[str, Label]]) -> LabelCheck:
    """What would happen to each label, given the stored data.

    Raises:
        BadInput: more classes in all than a project can have.
    """
    assert project.schema is not None
    classes = set(project.schema.classes)
    row_ids = {row_id for row_id, _ in pairs}
    with ws.database.read() as session:  # before anything is read: data stored meanwhile changes it
        state = plan_state(session, project.id)
    present, embedded = embedded_labels(ws, project, project.schema, row_ids)
    with ws.database.read() as session:
        stored = queries.labels_by_row(session, project.id, row_ids)
        logged = waiting_rows(session, project.id, list(row_ids - present))
    current = {**embedded, **{row_id: entry[0] for row_id, entry in stored.items()}}
    counts: dict[LabelStatus, int] = dict.fromkeys(("stored", "unchanged", "replaced", "waiting"), 0)
    results, fresh, first = [], [], 0
    replacements: list[Replacement] = []
    new: dict[Label, NewClass] = {}
    for place, (row_id, label) in enumerate(pairs):
        known = row_id in present or row_id in logged
        before = current.get(row_id)
        unchanged = before is not None and before == label and type(before) is type(label)
        status: LabelStatus
        if unchanged:
            status = "unchanged" if known else "waiting"
        else:
            status = "replaced" if before is not None else "stored" if known else "waiting"
            if before is None:
                first += row_id in present
            elif len(replacements) < SHOWN_REPLACEMENTS:
                replacements.append(Replacement(place=place, row_id=row_id, before=before, after=label))
            fresh.append((row_id, label))
            current[row_id] = label
            if project.schema.task != "regression" and label not in classes:
                seen = new.get(label)
                new[label] = (
                    NewClass(label=label, count=1, place=place, row_id=row_id)
                    if seen is None
                    else dataclasses.replace(seen, count=seen.count + 1)
                )
        counts[status] += 1
        results.append(LabelResult(row_id=row_id, status=status))
    _refuse_many_classes(classes, new)
    plan = LabelPlan(
        **counts,
        new_classes=tuple(new.values()),
        replacements=tuple(replacements),
        needs_consent=bool(counts["replaced"] or (new and project.champion is not None)),
    )
    return LabelCheck(state, results, plan, fresh, logged, first)


def _refuse_many_classes(classes: set[Label], new: dict[Label, NewClass]) -> None:
    if new and len(classes) + len(new) > MAX_CLASSES:
        raise BadInput(
            f"The labels add {len(new):,} new classes ({listed(sorted(new, key=str))}), expected at most "
            f"{MAX_CLASSES:,} in all. Is it the right column? Nothing was stored."
        )


def require_consent(plan: LabelPlan, project: ProjectInfo, replace: bool) -> None:
    """Raises NeedsConsent if the plan needs confirmation that was not given."""
    if replace or not plan.needs_consent:
        return
    assert project.schema is not None
    consent = 'or "replace": true'
    problems = [
        (r.place, FieldProblem(f"labels[{r.place}].label", shown(r.after), f"{shown(r.before)}, as stored, {consent}"))
        for r in plan.replacements
    ]
    known = expected_label(project.schema.task, project.schema.classes)
    problems += [
        (n.place, FieldProblem(f"labels[{n.place}].label", f"{shown(n.label)}, a new class", f"{known}, {consent}"))
        for n in plan.new_classes
    ]
    named = {p.field: p for _, p in sorted(problems, key=lambda at: at[0])}
    raise NeedsConsent(
        f'{changes_text(plan)} Nothing was stored. If this is intended, confirm with `--yes`, "replace": true, or the button on '
        "the Data page.",
        plan=plan,
        problems=tuple(named.values())[:MAX_PROBLEMS],
    )


def changes_text(plan: LabelPlan) -> str:
    """The changes of a plan that need confirmation, with an example of each; empty if there are none."""
    sentences = []
    if plan.replaced:
        r = plan.replacements[0]
        many = "1 label would be replaced" if plan.replaced == 1 else f"{plan.replaced:,} labels would be replaced"
        sentences.append(f"{many} (row {r.row_id[:60]!r}: {shown(r.before)} becomes {shown(r.after)}).")
    if plan.new_classes:
        sentences.append(f"{new_classes_text(plan)}.")
    return " ".join(sentences)


def new_classes_text(plan: LabelPlan) -> str:
    """The classes that a plan adds, with an example."""
    n = plan.new_classes[0]
    names = listed([c.label for c in plan.new_classes])
    rows = sum(c.count for c in plan.new_classes)
    many = "1 class is new" if len(plan.new_classes) == 1 else f"{len(plan.new_classes):,} classes are new"
    return f"{many}: {names} ({rows:,} {'label' if rows == 1 else 'labels'}, e.g. row {n.row_id[:60]!r})"


def embedded_labels(
    ws: Workspace, project: ProjectInfo, schema: FeatureSchema, row_ids: set[str]
) -> tuple[set[str], dict[str, Label]]:
    """Which row ids are in batches, and the labels stored with them."""
    present: set[str] = set()
    labels: dict[str, Label] = {}
    for batch, at in history.locate(ws, project.id, row_ids):
        try:
            table = history.read_rows(ws, batch, [ROW_ID, schema.target])
        except Damaged as error:
            logger.warning("{error}", error=str(error))
            continue
        ids = table[ROW_ID].iloc[at].tolist()
        present.update(ids)
        y = history.decode_target(table[schema.target].iloc[at], schema.task)
        mask = history.is_labelled(y, schema.task)
        labels.update({row_id: y[i] for i, row_id in enumerate(ids) if mask[i]})
    return present, labels
