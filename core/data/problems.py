"""The sentences for what was assumed about rows, or taken otherwise than it came: one for each code of a `Problem`."""

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
    """A problem as it is stored and answered; `Problem` says what its facts mean."""

    code: str
    column: str | None
    count: int
    example: str | None
    text: str  # the sentence


def document_of(problem: Problem) -> ProblemDocument:
    """As stored and answered: the facts, and the sentence for those who read it elsewhere."""
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
    """One sentence a problem."""
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
        f"{counted(p.count, 'value runs', 'values run')} over several lines that each look like a row (the first begins at "
        f"{p.example}). If rows are missing, a quotation mark was not closed."
    ),
    # roles of columns
    "classes_assumed": lambda p: (
        f"The {p.count} different whole numbers in {_of(p)} are taken as classes. If they are amounts, say that the task is regression."
    ),
    "index_column": lambda p: f"Column {_of(p)} is an index that a program wrote; it is left out.",
    "target_assumed": lambda p: f"Column {_of(p)} is taken as the target.",
    "id_assumed": lambda p: f"Column {_of(p)} is taken as the row id (e.g. {p.example}).",
    "time_assumed": lambda p: f"Column {_of(p)} is taken as the time of the rows (e.g. {p.example}).",
    "date_column": lambda p: f"Column {_of(p)} holds dates (e.g. {p.example}); it is kept but not learnt from.",
    "id_column": lambda p: f"Column {_of(p)} names each row (e.g. {p.example}); it is kept but not learnt from.",
    "empty_column": lambda p: f"Column {_of(p)} has no value in any row; it is kept but not learnt from.",
    "column_for_this_file": lambda p: f"Column {_of(p)} is used as the {p.example} of this file only.",
    "new_column": lambda p: f"New column {_of(p)} is kept but not used.",
    "more_new_columns": lambda p: f"{p.count:,} more new columns are kept but not used.",
    "reserved_column": lambda p: f"Column {_of(p)} is left out: '{p.example}' is used in its place.",
    "no_ids": lambda p: f"Column {_of(p)} is not there: ids are made.",
    "no_times": lambda p: f"Column {_of(p)} is not there: the moment of arrival counts.",
    "other_case": lambda p: f"Column {_of(p)} is taken as '{p.example}'.",
    # cells
    "nearly_numbers": lambda p: (
        f"{_of(p)} is taken as categories: {counted(p.count, 'value is', 'values are')} no number, "
        f"e.g. {p.example}; all others are."
    ),
    "ambiguous_numbers": lambda p: (
        f"{_of(p)} is taken as categories: {p.example} could be two numbers, and nothing in the column says which. "
        "Write the numbers without thousands separators."
    ),
    "mixed_units": lambda p: f"{_of(p)} is taken as categories: its numbers have different units, e.g. {p.example}.",
    "numbers_written": lambda p: f"Numbers in {_of(p)} are read without their signs and separators, e.g. {p.example}.",
    "infinite": lambda p: f"{counted(p.count, 'infinite value', 'infinite values')} in {_of(p)} taken as missing.",
    "too_great": lambda p: (
        f"{counted(p.count, 'value', 'values')} in {_of(p)} beyond what models can count with, e.g. {p.example}, taken as missing."
    ),
    "no_number": lambda p: f"{counted(p.count, 'value', 'values')} in {_of(p)} taken as missing, e.g. {p.example}.",
    "new_categories": lambda p: f"{_of(p)} has categories that are new: {p.example} ({counted(p.count, 'row')}).",
    "new_classes": lambda p: f"{_of(p)} has classes that are new: {p.example} ({counted(p.count, 'row')}).",
    "batch_refused": lambda p: (
        f"{counted(p.count, 'row')} left out, in batches that do not fit the first rows, e.g.: {p.example}"
    ),
    "zone_assumed": lambda p: f"The instants in {_of(p)} have no zone (e.g. {p.example}): they are taken as UTC.",
    "digits_as_time": lambda p: f"The numbers in {_of(p)} are read as instants, e.g. {p.example}.",
    "no_label": lambda p: f"{counted(p.count, 'line', 'lines')} without a label left out, e.g. {p.example}.",
}
