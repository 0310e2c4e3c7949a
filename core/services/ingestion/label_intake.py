"""Labels come in by row id: looked at first, then stored all or none.

Labels that would replace others, or add a class to a project with a champion, wait for a yes. What they changed leaves an
audit row, by whose id `label_changes` takes it back.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from loguru import logger
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from core.data.cells import (
    MAX_ID_LENGTH,
    MAX_PROBLEMS,
    as_id,
    expected_label,
    label_of,
    listed,
    refusal,
    shown,
)
from core.data.contract import schema_from_document, schema_to_document, with_classes
from core.data.files import read_table
from core.data.limits import MAX_CLASSES
from core.errors import BadInput, Damaged, FieldProblem, NeedsConsent
from core.records import (
    ROW_ID,
    FeatureSchema,
    Label,
    LabelPlan,
    NewClass,
    Problem,
    ProjectInfo,
    Replacement,
)
from core.services.access.actors import require
from core.services.serving.prediction_log import row_ids, waiting_rows
from core.storage import audit, history, queries
from core.storage.tables import AuditEntry, Batch, Project
from core.storage.tables import Label as LabelRow
from core.storage.workspace import Workspace

LabelStatus = Literal["stored", "unchanged", "replaced", "waiting"]
REPLACED = "labels replaced"
CLASSES_ADDED = "classes added by labels"
UNDONE = "labels undone"
SHOWN_REPLACEMENTS = 20  # of a plan
MAX_REMEMBERED = 10_000  # different values whose meaning is kept while a file is read


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelResult:
    """What became of one label."""

    row_id: str
    status: LabelStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelsTaken:
    """What became of a file of labels."""

    results: list[LabelResult]
    plan: LabelPlan
    problems: tuple[Problem, ...]  # what was noticed when the file was read
    change: int | None  # id by which it can be undone; None = no label was replaced and no class added


@dataclass(frozen=True, slots=True)
class LabelFile:
    """What a file of labels holds."""

    pairs: list[tuple[str, Any]]  # id and label
    by_prediction: bool  # the ids are those of predictions
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """What a look depends on: while it is the same, the look is right."""

    newest_label: int
    newest_undo: int
    batches: tuple[int, int, int]  # how many, the newest, how many undone
    schema: dict[str, Any] | None
    champion: int | None


@dataclass(frozen=True, slots=True)
class _Look:
    """Labels as they would be taken."""

    mark: Mark
    results: list[LabelResult]
    plan: LabelPlan
    fresh: list[tuple[str, Label]]  # row id and label of those that have to be stored
    predicted: dict[str, datetime]  # rows that wait in the log: when they were predicted
    labelled: int  # stored rows that get their first label


# --- one label, one file ------------------------------------------------------------------------------------------


def parse_label(value: Any, schema: FeatureSchema, *, field: str) -> Label:
    """A label as the project takes it: a class of the right type, a new one too, or a finite number.

    Raises:
        BadInput: names the field, what was seen and what is expected.
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


def read_labels(source: Path | bytes, *, name: str, max_bytes: int, project: ProjectInfo) -> LabelFile:
    """Ids and labels of a file in any format of batches; lines without a label are left out, and said.

    The ids stand under row_id, prediction_id, _id, id or the project's own id column, the labels under label or the
    name of the target; case does not count.

    Raises:
        BadInput: no such columns, an id missing, no label at all; as `read_table`.
    """
    from core.data import columns

    read = read_table(source, name=name, max_bytes=max_bytes, target="label")
    frame = read.frame
    schema = project.schema
    by_name = {str(c).strip().lower(): str(c) for c in reversed(frame.columns)}
    own_id = schema.id_column if schema is not None else None
    key = next((k for k in ("row_id", "prediction_id", ROW_ID, own_id, "id") if k and k.lower() in by_name), None)
    target = schema.target if schema is not None else None
    label = next((k for k in ("label", target) if k and k.lower() in by_name and k != key), None)
    if key is None or label is None:
        names = ["row_id", "prediction_id", *([own_id] if own_id else [])]
        expected = f"{' or '.join(names)}, and {' or '.join(['label', *([target] if target else [])])}"
        raise BadInput(
            f"{name} begins with the columns {listed(map(str, frame.columns))}, expected {expected}.",
            (FieldProblem("header", listed(map(str, frame.columns)), expected),),
        )
    ids, labels = frame[by_name[key.lower()]], frame[by_name[label.lower()]]
    there = labels.notna().to_numpy()
    if not there.any():
        raise BadInput(f"{name} holds no label: expected one line a label below the header.")
    keys = columns.mapped(ids, key, as_id, "a row id")
    missing = [i for i, k in enumerate(keys) if k is None and there[i]]
    if missing:
        problems = [FieldProblem(f"row {i + 1}", "no id", "the id of a row") for i in missing[:MAX_PROBLEMS]]
        raise refusal(f"{name} has labels without an id", problems)
    said = list(read.problems)
    if not there.all():
        example = next(str(keys[i]) for i in range(len(keys)) if not there[i])
        said.append(Problem(code="no_label", column=label, count=int((~there).sum()), example=example))
    pairs = [(k, v) for k, v, known in zip(keys, labels.tolist(), there, strict=True) if known]
    return LabelFile(pairs, key.lower() == "prediction_id", tuple(said))


# --- taking -------------------------------------------------------------------------------------------------------


def plan_labels(ws: Workspace, project: ProjectInfo, pairs: Sequence[tuple[str, Any]]) -> LabelPlan:
    """What `add_labels` would do with these labels; nothing is stored.

    Raises:
        BadInput: as `add_labels`.
    """
    project = as_now(ws, project)
    return _look(ws, project, _checked(project, pairs)).plan


def plan_label_file(ws: Workspace, project: ProjectInfo, source: Path | bytes, *, name: str) -> LabelsTaken:
    """What `add_label_file` would do with this file; nothing is stored.

    Raises:
        BadInput: as `add_label_file`.
    """
    project = as_now(ws, project)
    pairs, problems = _file_pairs(ws, project, source, name)
    look = _look(ws, project, _checked(project, pairs))
    return LabelsTaken(results=look.results, plan=look.plan, problems=problems, change=None)


def add_labels(
    ws: Workspace,
    project: ProjectInfo,
    pairs: Sequence[tuple[str, Any]],
    *,
    by: str,
    now: datetime,
    replace: bool = False,
    also: Callable[[Session, list[LabelResult]], None] | None = None,
) -> list[LabelResult]:
    """Store labels by row id, all or none; answers one status a label, in order.

    `stored`: the row is known and had none; `unchanged`: it had this one; `replaced`: it had another; `waiting`: no
    such row yet, the label is joined when it comes.

    Args:
        replace: labels that are there may be replaced, and classes that a champion does not know be added.
        also: more to write in the transaction that stores the labels.

    Raises:
        BadInput: no schema yet, or a label that the project cannot take.
        NeedsConsent: labels would be replaced or classes added, and `replace` is false.
    """
    require(ws, by, "operator")
    look, _ = _store(ws, project, pairs, by=by, now=now, replace=replace, source=None, also=also)
    return look.results


def add_label_file(
    ws: Workspace,
    project: ProjectInfo,
    source: Path | bytes,
    *,
    name: str,
    by: str,
    now: datetime,
    replace: bool = False,
) -> LabelsTaken:
    """Store the labels of a file by row id or prediction id, all or none.

    Raises:
        BadInput: as `read_labels` and `add_labels`.
        NeedsConsent: as `add_labels`.
    """
    require(ws, by, "operator")
    pairs, problems = _file_pairs(ws, project, source, name)
    look, change = _store(ws, project, pairs, by=by, now=now, replace=replace, source=name, also=None)
    return LabelsTaken(results=look.results, plan=look.plan, problems=problems, change=change)


def _file_pairs(
    ws: Workspace, project: ProjectInfo, source: Path | bytes, name: str
) -> tuple[list[tuple[str, Any]], tuple[Problem, ...]]:
    found = read_labels(source, name=name, max_bytes=ws.settings.max_upload_bytes, project=project)
    pairs = found.pairs
    if found.by_prediction:
        rows = row_ids(ws, project.id, [key for key, _ in pairs])
        pairs = [(rows.get(key, key), label) for key, label in pairs]
    return pairs, found.problems


def _store(
    ws: Workspace,
    project: ProjectInfo,
    pairs: Sequence[tuple[str, Any]],
    *,
    by: str,
    now: datetime,
    replace: bool,
    source: str | None,
    also: Callable[[Session, list[LabelResult]], None] | None,
) -> tuple[_Look, int | None]:
    """Look, ask where that is needed, store; the id of the change besides."""
    project = as_now(ws, project)
    given = _checked(project, pairs)
    look = _look(ws, project, given)
    _ask(look.plan, project, replace)
    with ws.database.write() as session:
        # One call at a time stores labels of a project, so that its labels' ids follow one another.
        session.execute(select(Project.id).where(Project.id == project.id).with_for_update())
        row = queries.project_row(session, project.id)
        if mark_of(session, project.id) != look.mark:  # something came in between
            project = queries.project_info(session, row)
            look = _look(ws, project, given)
            _ask(look.plan, project, replace)
        first, last = _insert(session, project.id, look, by=by, now=now)
        row.labelled += look.labelled
        new = tuple(n.label for n in look.plan.new_classes)
        if new:
            row.schema = schema_to_document(with_classes(schema_from_document(row.schema or {}), new))
        change = None
        if new or look.plan.replaced:
            facts = {
                "source": source,
                "labels": len(look.fresh),
                "replaced": look.plan.replaced,
                "new_classes": list(new),
                "first_label": first,
                "last_label": last,
            }
            what = REPLACED if look.plan.replaced else CLASSES_ADDED
            audit.record(session, who=by, what=what, now=now, project_id=project.id, after=facts)
            session.flush()
            change = session.scalar(
                select(func.max(AuditEntry.id)).where(AuditEntry.project_id == project.id, AuditEntry.what == what)
            )
        if also is not None:
            also(session, look.results)
    return look, change


def _insert(session: Session, project_id: int, look: _Look, *, by: str, now: datetime) -> tuple[int, int]:
    """Store what is new; the first and the last id it got.

    A label of a row that waits in the log is no older than the row's prediction, though the clock be set back in between.
    """
    if not look.fresh:
        return 0, 0
    texts = {(type(value), value): json.dumps(value) for _, value in look.fresh}
    common = {"project_id": project_id, "created_by": by}
    session.execute(
        insert(LabelRow),
        [
            {
                **common,
                "row_id": row_id,
                "value": texts[type(value), value],
                "created_at": max(now, look.predicted.get(row_id, now)),
            }
            for row_id, value in look.fresh
        ],
    )
    first, last = session.execute(
        select(func.min(LabelRow.id), func.max(LabelRow.id)).where(
            LabelRow.project_id == project_id, LabelRow.id > look.mark.newest_label
        )
    ).one()
    return first, last


def as_now(ws: Workspace, project: ProjectInfo) -> ProjectInfo:
    """The project with the schema and champion that it has now."""
    with ws.database.read() as session:
        return queries.project_info(session, queries.project_row(session, project.id))


def mark_of(session: Session, project_id: int) -> Mark:
    """What looks at labels depend on, as it is now."""
    counts = select(func.count(), func.max(Batch.id), func.count(Batch.undone_at)).where(Batch.project_id == project_id)
    total, newest, undone = session.execute(counts).one()
    undo = select(func.max(AuditEntry.id)).where(AuditEntry.project_id == project_id, AuditEntry.what == UNDONE)
    return Mark(
        newest_label=queries.newest_label_id(session, project_id),
        newest_undo=session.scalar(undo) or 0,
        batches=(total, newest or 0, undone),
        schema=queries.project_row(session, project_id).schema,
        champion=queries.champion_of(session, project_id),
    )


def _checked(project: ProjectInfo, pairs: Sequence[tuple[str, Any]]) -> list[tuple[str, Label]]:
    """Row ids and labels as the project takes them.

    Raises:
        BadInput: no schema yet, or an id or a label that cannot be taken.
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


def _look(ws: Workspace, project: ProjectInfo, given: Sequence[tuple[str, Label]]) -> _Look:
    """What would become of each label, by what is stored now.

    Raises:
        BadInput: more classes in all than a project can have.
    """
    assert project.schema is not None
    classes = set(project.schema.classes)
    wanted = {row_id for row_id, _ in given}
    with ws.database.read() as session:  # before anything is read: what comes meanwhile changes it
        mark = mark_of(session, project.id)
    present, embedded = embedded_labels(ws, project, project.schema, wanted)
    with ws.database.read() as session:
        stored = queries.labels_by_row(session, project.id, wanted)
        logged = waiting_rows(session, project.id, list(wanted - present))
    current = {**embedded, **{row_id: entry[0] for row_id, entry in stored.items()}}
    counts: dict[LabelStatus, int] = dict.fromkeys(("stored", "unchanged", "replaced", "waiting"), 0)
    results, fresh, first = [], [], 0
    replacements: list[Replacement] = []
    new: dict[Label, NewClass] = {}
    for place, (row_id, label) in enumerate(given):
        known = row_id in present or row_id in logged
        before = current.get(row_id)
        same = before is not None and before == label and type(before) is type(label)
        status: LabelStatus
        if same:
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
    return _Look(mark, results, plan, fresh, logged, first)


def _refuse_many_classes(classes: set[Label], new: dict[Label, NewClass]) -> None:
    if new and len(classes) + len(new) > MAX_CLASSES:
        raise BadInput(
            f"The labels bring {len(new):,} new classes ({listed(sorted(new, key=str))}), expected at most "
            f"{MAX_CLASSES:,} in all. Is it the right column? Nothing was stored."
        )


def _ask(plan: LabelPlan, project: ProjectInfo, replace: bool) -> None:
    """Raises NeedsConsent where the plan needs a yes that was not given."""
    if replace or not plan.needs_consent:
        return
    assert project.schema is not None
    agreed = 'or "replace": true'
    problems = [
        (r.place, FieldProblem(f"labels[{r.place}].label", shown(r.after), f"{shown(r.before)}, as stored, {agreed}"))
        for r in plan.replacements
    ]
    known = expected_label(project.schema.task, project.schema.classes)
    problems += [
        (n.place, FieldProblem(f"labels[{n.place}].label", f"{shown(n.label)}, a new class", f"{known}, {agreed}"))
        for n in plan.new_classes
    ]
    named = {p.field: p for _, p in sorted(problems, key=lambda at: at[0])}
    raise NeedsConsent(
        f'{consent_text(plan)} Nothing was stored. If that is meant, agree: `--yes`, "replace": true, or the button on '
        "the Data page.",
        plan=plan,
        problems=tuple(named.values())[:MAX_PROBLEMS],
    )


def consent_text(plan: LabelPlan) -> str:
    """What of a plan needs a yes, with an example of each; empty where nothing does."""
    said = []
    if plan.replaced:
        r = plan.replacements[0]
        many = "1 label would be replaced" if plan.replaced == 1 else f"{plan.replaced:,} labels would be replaced"
        said.append(f"{many} (row {r.row_id[:60]!r}: {shown(r.before)} becomes {shown(r.after)}).")
    if plan.new_classes:
        said.append(f"{new_classes_text(plan)}.")
    return " ".join(said)


def new_classes_text(plan: LabelPlan) -> str:
    """The classes that a plan adds, with an example."""
    n = plan.new_classes[0]
    names = listed([c.label for c in plan.new_classes])
    rows = sum(c.count for c in plan.new_classes)
    many = "1 class is new" if len(plan.new_classes) == 1 else f"{len(plan.new_classes):,} classes are new"
    return f"{many}: {names} ({rows:,} {'label' if rows == 1 else 'labels'}, e.g. row {n.row_id[:60]!r})"


def embedded_labels(
    ws: Workspace, project: ProjectInfo, schema: FeatureSchema, wanted: set[str]
) -> tuple[set[str], dict[str, Label]]:
    """Which row ids lie in batches, and the labels that came with them."""
    present: set[str] = set()
    labels: dict[str, Label] = {}
    for batch, at in history.locate(ws, project.id, wanted):
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
