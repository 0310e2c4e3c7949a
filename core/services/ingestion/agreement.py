"""Options of later files must agree with the first file; other names of id or time columns apply to that file only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from core.data.cells import nearest, refusal
from core.errors import BadInput, FieldProblem
from core.records import ROW_ID, ROW_TIME, FeatureSchema, Problem, Task

if TYPE_CHECKING:
    import pandas as pd


def refuse_changes(
    schema: FeatureSchema, target: str | None, task: str | None, categorical: Sequence[str], exclude: Sequence[str]
) -> None:
    """Refuse options of a later call that contradict the schema."""
    if target is not None and target != schema.target:
        raise BadInput(
            f"This project's target is '{schema.target}', but '{target}' was given. Omit the target, or create another project."
        )
    if task is not None and not _same_task(task, schema.task):
        raise BadInput(
            f"This project's task is {schema.task}, but {task} was given. Omit the task, or create another project."
        )
    kinds = {f.name: f.kind for f in schema.features}
    problems = [
        FieldProblem(f"column {name}", kinds.get(name, "no feature"), "a categorical feature, as in the first file")
        for name in categorical
        if kinds.get(name) != "categorical"
    ]
    problems += [
        FieldProblem(f"column {name}", "a feature of this project", "a column that is not a feature")
        for name in exclude
        if name in kinds
    ]
    if problems:
        raise refusal("The columns are fixed by the first file", problems, "Create another project to change them.")


def _same_task(given: str, task: Task) -> bool:
    return given == task or (given != "regression" and task != "regression")


def with_known_names(
    frame: pd.DataFrame, schema: FeatureSchema, id_column: str | None, time_column: str | None, notes: list[Problem]
) -> pd.DataFrame:
    """The frame with the columns that hold this file's ids and instants under the names that the project knows.

    Raises:
        BadInput: a named column that does not exist, or is the target or a feature.
    """
    names = [str(c) for c in frame.columns]
    new_names: dict[str, str] = {}
    for role, given, known, reserved in (
        ("id column", id_column, schema.id_column, ROW_ID),
        ("time column", time_column, schema.time_column, ROW_TIME),
    ):
        if not given or given == known:
            continue
        if given not in names:
            near = nearest(given, names)
            seen = f"not there ('{near}' is)" if near else "not there"
            raise refusal(
                f"The {role} is missing", [FieldProblem(f"column {given}", seen, f"a column named '{given}'")]
            )
        if given == schema.target or given in schema.names:
            seen = "the target" if given == schema.target else "a feature of this project"
            raise refusal(
                f"The {role} cannot be that", [FieldProblem(f"column {given}", seen, "a column that is neither")]
            )
        new_names[given] = known or reserved
        notes.append(Problem(code="column_for_this_file", column=given, count=len(frame), example=role))
    clash = [new for new in new_names.values() if new in names]
    frame = frame.set_axis(names, axis=1)
    return frame.drop(columns=clash).rename(columns=new_names) if new_names else frame
