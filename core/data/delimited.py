"""CSV that strangers send: its encoding, its header, its separator, ragged lines, and what its columns hold.

Every column is read as text first and becomes numbers or booleans only where every value is one, so that names with
leading zeros are kept and nothing is turned into a date behind the user's back.
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any

import pandas as pd

from core.data.cells import MAX_PROBLEMS, MISSING_MARKERS, NUMBER, listed, plural, refusal, shown
from core.data.limits import MAX_ROWS, check_names, check_shape, megabytes
from core.errors import BadInput, FieldProblem, TooLarge

if TYPE_CHECKING:
    import pyarrow as pa

_MAX_HEADER = 1 << 20  # bytes of the first line
_SAMPLE = 50  # cells of a column that are looked at before the whole column is parsed
# 007 and 0x1F are names, not numbers; whole numbers of so many digits would lose their last ones.
_NAMES = r"^\s*([+-]?0[0-9xX]|[+-]?[0-9]{17,}\s*$)"


def read_csv_text(data: bytes, name: str, target: str | None) -> pd.DataFrame:
    _check_encoding(data, name)
    start = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    start += len(data[start:]) - len(data[start:].lstrip(b"\r\n \t"))
    if start >= len(data):
        raise BadInput(f"{name} holds only blank lines, expected a header line and rows.")
    end = _record_end(data, start, name)
    header = data[start:end].decode("utf-8")
    delimiter, names = _split_header(header, target, name)
    _check_header(names, target, name)
    body = memoryview(data)[end:]
    n_lines = data.count(b"\n") + data.count(b"\r")
    if n_lines > 2 * MAX_ROWS:
        check_shape(n_lines // 2, len(names), name, 1 << 62)
    first_line = data[:end].count(b"\n") + 1 if b"\n" in data else 1
    table = _parse_csv(body, names, delimiter, name, first_line)
    if not table.num_rows:
        raise BadInput(f"{name} has a header line but no row, expected rows.")
    return pd.DataFrame({n: _typed(table.column(i), delimiter).to_pandas() for i, n in enumerate(names)})


def _check_encoding(data: bytes, name: str) -> None:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadInput(f"{name} is encoded in UTF-16, expected UTF-8. Save it as CSV in UTF-8.")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadInput(
            f"{name} is not UTF-8: byte {data[error.start]:#04x} at position {error.start:,} (line {line:,}). "
            "Save it as CSV in UTF-8.",
            (FieldProblem(f"line {line}", f"byte {data[error.start]:#04x}", "UTF-8 text"),),
        ) from None
    if b"\0" in data:
        raise BadInput(f"{name} holds a zero byte at position {data.index(0):,}, expected text.")
    if data.count(b'"') % 2:
        raise BadInput(f"{name} holds an odd number of quotation marks, so one is not closed. Close or double it.")


def _record_end(data: bytes, start: int, name: str) -> int:
    """Where the header ends: at a line end outside quotation marks."""
    quoted = False
    for found in re.finditer(rb'["\r\n]', data[start : start + _MAX_HEADER]):
        if found.group() == b'"':
            quoted = not quoted
        elif not quoted:
            return start + found.start()
    if len(data) - start > _MAX_HEADER:
        raise TooLarge(f"{name}: its first line has more than {megabytes(_MAX_HEADER)}, expected a header line.")
    return len(data)


def _split_header(header: str, target: str | None, name: str) -> tuple[str, list[str]]:
    """Delimiter and column names: the delimiter that yields the target's name, else most columns."""
    splits: dict[str, list[str]] = {}
    for delimiter in (",", ";", "\t"):
        try:
            splits[delimiter] = [
                n.strip() for n in next(csv.reader(io.StringIO(header, newline=""), delimiter=delimiter))
            ]
        except csv.Error as error:
            raise BadInput(f"{name}: its header line cannot be read ({error}).") from None
    best = max(splits, key=lambda d: (target is not None and target in splits[d], len(splits[d])))
    return best, splits[best]


def _check_header(names: list[str], target: str | None, name: str) -> None:
    if target not in names and all(NUMBER.fullmatch(n) or n in MISSING_MARKERS for n in names) and any(names):
        raise BadInput(
            f"{name} has no header line: its first line is {listed(names, at_most=6)}, expected column names"
            f"{f' with {shown(target)} among them' if target else ''}. Add a first line that names the columns.",
            (FieldProblem("line 1", ",".join(names)[:60], "column names"),),
        )
    check_names(names, name)


def _parse_csv(body: memoryview, names: list[str], delimiter: str, name: str, first_line: int) -> pa.Table:
    """All columns as text, missing markers as null."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    ragged: list[int] = []

    def note(row: Any) -> str:
        ragged.append(row.actual_columns)
        return "skip" if len(ragged) <= MAX_PROBLEMS else "error"

    keys = [str(i) for i in range(len(names))]
    if not bytes(body[: 1 << 16]).strip(b"\r\n") and not bytes(body).strip(b"\r\n"):
        return pa.table({k: pa.array([], pa.string()) for k in keys})
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(pa.py_buffer(body)),
            read_options=arrow_csv.ReadOptions(use_threads=False, column_names=keys, block_size=16 << 20),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=b'"' in bytes(body), invalid_row_handler=note
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(keys, pa.string()),
                null_values=list(MISSING_MARKERS),
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        if not ragged:
            raise BadInput(f"{name} cannot be read as CSV: {str(error).splitlines()[0][:200]}.") from None
    if ragged:
        raise _ragged(body, len(names), delimiter, name, first_line)
    return table


def _ragged(body: memoryview, expected: int, delimiter: str, name: str, first_line: int) -> BadInput:
    """The refusal that names the lines; read again by the slower parser, which knows them."""
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(body), encoding="utf-8", newline=""), delimiter=delimiter)
    problems: list[FieldProblem] = []
    line = 0
    try:
        for fields in reader:
            begins, line = line, reader.line_num
            if fields and len(fields) != expected and begins + first_line > 0:
                at = begins + first_line
                problems.append(
                    FieldProblem(f"line {at}", plural(len(fields), "field"), f"{expected} as in the header")
                )
                if len(problems) >= MAX_PROBLEMS:
                    break
    except csv.Error as error:
        problems.append(FieldProblem(f"line {reader.line_num + first_line}", str(error), "CSV"))
    return refusal(f"{name} has ragged rows", problems, "Quote values that hold the separator.", verb="has")


def _typed(column: pa.ChunkedArray, delimiter: str) -> pa.ChunkedArray:
    """A text column as int64, float64 or boolean where every value is one; else as it is."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = column.drop_null()
    if not len(known):
        return column.cast(pa.float64())
    head = [v.strip() for v in known.slice(0, _SAMPLE).to_pylist()]
    if all(v.lower() in ("true", "false") for v in head):
        words = pc.utf8_lower(pc.utf8_trim_whitespace(column))
        if pc.all(pc.is_in(words, pa.array(["true", "false", None]))).as_py():
            return words.cast(pa.bool_())
        return column
    if not all(NUMBER.fullmatch(v) or v in MISSING_MARKERS for v in head):
        return column
    for read in (_whole, _real, _trimmed, _decimal_comma if delimiter == ";" else _trimmed):
        try:
            numeric = read(column)
        except pa.ArrowInvalid:
            continue
        return column if pc.any(pc.match_substring_regex(column, _NAMES)).as_py() else numeric
    return column


def _whole(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast("int64")


def _real(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast("float64")


def _trimmed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Blanks around numbers and missing markers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    bare = pc.utf8_trim_whitespace(column)
    missing = pc.is_in(bare, pa.array(list(MISSING_MARKERS)))
    return pc.if_else(missing, pa.scalar(None, pa.string()), bare).cast("float64")


def _decimal_comma(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """1,5 where the separator is a semicolon."""
    import pyarrow.compute as pc

    return _trimmed(pc.replace_substring(column, ",", "."))
