"""Replay of the loop over the rows of a file, as in a live project: its turns, and the schema of its warm-up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Unpack

import numpy as np
from pandas import DataFrame, concat, isna

from core.data.conforming import conform
from core.data.contract import with_classes
from core.data.inferring import ColumnChoices, first_schema
from core.errors import BadInput, NotEnoughRows
from core.learning.backtest import ReplayReport, Turn, replay_turns
from core.learning.candidates import plain_labels
from core.learning.policy import policy_named
from core.records import FeatureSchema, Policy, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The pace at which a file's rows and labels arrive.

    Raises:
        BadInput: a number out of its range.
    """

    batch_rows: int = 500  # rows predicted before any of their labels is known
    warmup_rows: int = 1000  # labelled rows that the first model is trained on; not scored
    label_delay: int = 0  # further batches until a row's label is known
    label_fraction: float = 1.0  # share of the rows after the warm-up whose label the loop receives; all are scored
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("batch_rows", 1), ("warmup_rows", 2), ("label_delay", 0)):
            if getattr(self, name) < least:
                raise BadInput(f"{name} is {getattr(self, name)}, expected a whole number from {least}.")
        if not 0.0 <= self.label_fraction <= 1.0:
            raise BadInput(f"label_fraction is {self.label_fraction}, expected a number from 0 to 1.")


def replay(
    frame: DataFrame,
    target: str,
    *,
    policy: str | Policy = "default",
    pace: Pace | None = None,
    progress: Callable[[float, str], None] | None = None,
    **columns: Unpack[ColumnChoices],
) -> ReplayReport:
    """Runs the loop over the rows of a file, in their order.

    Raises:
        BadInput: a target that cannot be used.
        NotEnoughRows: nothing is left to score after the warm-up.
    """
    pace = pace or Pace()
    X, y, schema, problems = _as_live(frame, target, pace, columns)
    if len(X) <= pace.warmup_rows:
        raise NotEnoughRows(
            f"A replay with a warm-up of {pace.warmup_rows:,} rows (--warm-up)",
            needed=pace.warmup_rows + 1,
            found=len(X),
        )
    chosen = policy_named(policy) if isinstance(policy, str) else policy
    report = replay_rows(X, plain_labels(y), schema, chosen, pace, progress=progress)
    report.problems = problems
    return report


def _with_a_second_class(frame: DataFrame, first: DataFrame, target: str) -> DataFrame:
    """The warm-up, and the first row of another class where all its labels are one: a schema needs two."""
    if target not in frame.columns or not frame.columns.is_unique or first[target].nunique() != 1:
        return first
    others = np.flatnonzero((frame[target] != first[target].iloc[0]).to_numpy(dtype=bool))
    return concat([first, frame.iloc[others[:1]]]) if len(others) else first


def _as_live(
    frame: DataFrame, target: str, pace: Pace, columns: ColumnChoices
) -> tuple[DataFrame, np.ndarray, FeatureSchema, tuple[Problem, ...]]:
    """The labelled rows of a file as a project would have stored them, the final schema, and what was assumed.

    The warm-up is the first file: it alone fixes roles, kinds and categories. Each later batch has to conform, and may only
    add classes; one that does not is refused as a whole, so that earlier rows never depend on later ones.
    """
    frame = frame.rename(columns=str)
    if target in frame.columns and frame.columns.is_unique:
        frame = frame[frame[target].notna()]
    first = frame.iloc[: pace.warmup_rows]
    schema, assumed = first_schema(_with_a_second_class(frame, first, target), target=target, **columns)
    frames, labels, problems = [], [], [*assumed]
    for start in (0, *range(pace.warmup_rows, len(frame), pace.batch_rows)):
        batch = first if start == 0 else frame.iloc[start : start + pace.batch_rows]
        try:
            conformed = conform(batch, schema)
        except BadInput as error:
            if start == 0:
                raise
            problems.append(Problem(code="batch_refused", count=len(batch), example=str(error)))
            continue
        assert conformed.y is not None  # the target column exists
        schema = with_classes(schema, conformed.new_classes)
        known = ~isna(conformed.y)
        frames.append(conformed.X.loc[known])
        labels.append(conformed.y[known])
        problems += conformed.problems
    return concat(frames, ignore_index=True), np.concatenate(labels), schema, _merged(problems)


def _merged(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """One problem for all batches: the first example, and the total of rows or cells."""
    merged: dict[tuple[str, str | None], Problem] = {}
    for problem in problems:
        key = (problem.code, problem.column)
        earlier = merged.get(key)
        merged[key] = problem if earlier is None else replace(earlier, count=earlier.count + problem.count)
    return tuple(merged.values())


def replay_rows(
    X: DataFrame,
    y: np.ndarray,
    schema: FeatureSchema,
    policy: Policy,
    pace: Pace,
    *,
    progress: Callable[[float, str], None] | None = None,
) -> ReplayReport:
    """As `replay`, over rows that already conform to a schema and all have labels."""
    reaches = np.random.default_rng(pace.seed).random(len(y)) < pace.label_fraction  # rows whose label becomes known
    nothing = np.empty(0, dtype=np.int64)
    turns = [Turn(arrived=nothing, due=np.arange(pace.warmup_rows), row=pace.warmup_rows, seed=pace.seed)]
    asked = pace.warmup_rows
    for start in range(pace.warmup_rows, len(y), pace.batch_rows):
        end = min(start + pace.batch_rows, len(y))
        until = max(asked, end - pace.label_delay * pace.batch_rows)
        due = np.arange(asked, until)
        turns.append(Turn(arrived=np.arange(start, end), due=due[reaches[due]], row=end, seed=pace.seed))
        asked = until
    return replay_turns(X, y, schema, policy, turns, progress=progress)
