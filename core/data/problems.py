"""The sentences for assumptions about rows and conversions of the input: one for each code of a `Problem`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypedDict

from core.records import Problem
from core.words import counted


def text_of(problem: Problem) -> str:
    """The problem as a sentence for people."""
    sentence = SENTENCES.get(problem.code)
    return sentence(problem) if sentence is not None else problem.example or problem.code


class ProblemDocument(TypedDict):
    """A problem as it is stored and returned by the API; `Problem` explains its facts."""

    code: str
    column: str | None
    count: int
    example: str | None
    text: str  # the sentence


def document_of(problem: Problem) -> ProblemDocument:
    """The problem as stored and returned: the facts, and the sentence for readers of the JSON."""
    return {
        "code": problem.code,
        "column": problem.column,
        "count": problem.count,
        "example": problem.example,
        "text": text_of(problem),
    }


def from_document(document: Mapping[str, Any] | str) -> Problem:
    """The problem that `document_of` wrote; batches of earlier versions hold only a sentence."""
    if isinstance(document, str):
        return Problem(code=SENTENCE, example=document)
    return Problem(
        code=document["code"], column=document["column"], count=document["count"], example=document["example"]
    )


def texts_of(problems: Iterable[Problem]) -> list[str]:
    """One sentence per problem."""
    return [text_of(p) for p in problems]


def _of(p: Problem) -> str:
    return f"'{p.column}'"


SENTENCE = "sentence"  # the example is the whole sentence
SENTENCES: dict[str, Callable[[Problem], str]] = {
    # rows of a file
    "blank_rows": lambda p: f"Left out: {counted(p.count, 'row')} without any value (the first is {p.example}).",
    "repeated_header": lambda p: (
        f"Left out: {counted(p.count, 'repetition')} of the header (the first is {p.example})."
    ),
    "lines_in_value": lambda p: (
        f"{counted(p.count, 'value runs', 'values run')} over several lines that each look like a row (the first starts at "
        f"{p.example}). If rows are missing, a quotation mark was not closed."
    ),
    # roles of columns
    "classes_assumed": lambda p: (
        f"The {p.count} different whole numbers in {_of(p)} are treated as classes. If they are quantities, set the task to regression."
    ),
    "index_column": lambda p: f"Column {_of(p)} is an index written by a program; it is ignored.",
    "target_assumed": lambda p: f"Column {_of(p)} is used as the target.",
    "id_assumed": lambda p: f"Column {_of(p)} is used as the row id (e.g. {p.example}).",
    "time_assumed": lambda p: f"Column {_of(p)} is used as the time of the rows (e.g. {p.example}).",
    "date_column": lambda p: f"Column {_of(p)} holds dates (e.g. {p.example}); it is kept but not used for training.",
    "id_column": lambda p: (
        f"Column {_of(p)} has a different value in each row (e.g. {p.example}); it is kept but not used for training."
    ),
    "empty_column": lambda p: f"Column {_of(p)} has no value in any row; it is kept but not used for training.",
    "column_for_this_file": lambda p: f"Column {_of(p)} is used as the {p.example} of this file only.",
    "new_column": lambda p: f"New column {_of(p)} is kept but not used.",
    "more_new_columns": lambda p: f"{p.count:,} more new columns are kept but not used.",
    "reserved_column": lambda p: f"Column {_of(p)} is ignored: '{p.example}' is used instead.",
    "no_ids": lambda p: f"There is no column {_of(p)}: ids are generated.",
    "no_times": lambda p: f"There is no column {_of(p)}: the time of arrival is used.",
    "other_case": lambda p: f"Column {_of(p)} is used as '{p.example}'.",
    # cells
    "nearly_numbers": lambda p: (
        f"{_of(p)} is treated as categorical: {counted(p.count, 'value is', 'values are')} not a number, "
        f"e.g. {p.example}; all other values are numbers."
    ),
    "ambiguous_numbers": lambda p: (
        f"{_of(p)} is treated as categorical: {p.example} could be two different numbers, and the column does not show which. "
        "Write the numbers without thousands separators."
    ),
    "mixed_units": lambda p: f"{_of(p)} is treated as categorical: its numbers have different units, e.g. {p.example}.",
    "numbers_written": lambda p: f"Numbers in {_of(p)} are read without their signs and separators, e.g. {p.example}.",
    "infinite": lambda p: f"{counted(p.count, 'infinite value', 'infinite values')} in {_of(p)} treated as missing.",
    "too_great": lambda p: (
        f"{counted(p.count, 'value', 'values')} in {_of(p)} too large for models, e.g. {p.example}, treated as missing."
    ),
    "no_number": lambda p: f"{counted(p.count, 'value', 'values')} in {_of(p)} treated as missing, e.g. {p.example}.",
    "new_categories": lambda p: f"{_of(p)} has new categories: {p.example} ({counted(p.count, 'row')}).",
    "new_classes": lambda p: f"{_of(p)} has new classes: {p.example} ({counted(p.count, 'row')}).",
    "batch_refused": lambda p: (
        f"{counted(p.count, 'row')} left out, in batches that do not fit the first rows, e.g.: {p.example}"
    ),
    "zone_assumed": lambda p: (
        f"The instants in {_of(p)} have no time zone (e.g. {p.example}): they are treated as UTC."
    ),
    "digits_as_time": lambda p: f"The numbers in {_of(p)} are read as instants, e.g. {p.example}.",
    "no_label": lambda p: f"{counted(p.count, 'line', 'lines')} without a label ignored, e.g. {p.example}.",
}
