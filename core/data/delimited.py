"""CSV from untrusted sources: encoding, header, separator, quotation marks, ragged lines, lines that are not rows.

Every cell stays text, trimmed; what a column holds is determined later, by `columns.py`.
A quotation mark opens a value only where a value begins, anywhere else it is an ordinary character: the rule of the
parser (pyarrow's) and of Python's `csv`. Rows are never dropped silently: what is dropped is reported as problems.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from core.data.cells import MAX_PROBLEMS, MISSING_MARKERS, NUMBER, listed, refusal, shown, unguarded
from core.data.columns import CELLS
from core.data.limits import MAX_ROWS, check_names, check_shape, megabytes
from core.errors import BadInput, FieldProblem, TooLarge
from core.records import Problem
from core.words import counted

if TYPE_CHECKING:
    import pyarrow as pa

_MAX_HEADER = 1 << 20  # bytes of the first line
INDEX_NAME = "Unnamed: 0"  # of a first column without a name, as pandas names it
csv.field_size_limit(1 << 30)  # the file's limit is its size in bytes


def read_csv_text(data: bytes, name: str, target: str | None) -> tuple[pd.DataFrame, tuple[Problem, ...]]:
    """Columns of `CELLS`, and problems with lines that are not rows."""
    _check_encoding(data, name)
    start = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    start += _blank_lines(data, start)
    if start >= len(data):
        raise BadInput(f"{name} holds only blank lines, expected a header line and rows.")
    end, delimiter, names = _header(data, start, target, name)
    _check_header(names, target, name)
    body = memoryview(data)[end:]
    n_lines = data.count(b"\n") or data.count(b"\r")
    if n_lines > 2 * MAX_ROWS:
        check_shape(n_lines, len(names), name, 1 << 62)
    first_line = _lines(data[:end]) + 1
    table, notes = _parse_csv(body, names, delimiter, name, first_line)
    if not table.num_rows:
        raise BadInput(f"{name} has a header line but no row, expected rows.")
    table, dropped = _real_rows(table, names)
    if not table.num_rows:
        raise BadInput(f"{name} has a header line but no row with a value, expected rows.")
    frame = table.rename_columns(names).to_pandas(types_mapper=lambda kind: CELLS)
    return frame, (*notes, *dropped)


def _blank_lines(data: bytes, start: int) -> int:
    """Bytes of the blank lines that the text begins with; a tab before the first name is a separator, and stays."""
    blank = re.compile(rb"(?:[ \t]*+[\r\n])*+(?:[ \t]*+\Z)?").match(data, start)
    return 0 if blank is None else blank.end() - start


def _check_encoding(data: bytes, name: str) -> None:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadInput(f"{name} is encoded in UTF-16, expected UTF-8. Save it as CSV in UTF-8.")
    try:
        if not data.isascii():
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


def _lines(data: bytes) -> int:
    """The number of line ends, CR LF counted once."""
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")


# --- header ---------------------------------------------------------------------------------------------------------


def _header(data: bytes, start: int, target: str | None, name: str) -> tuple[int, str, list[str]]:
    """Where the header ends, the delimiter, the names: the delimiter that yields the target's name, else most columns."""
    headers: dict[str, tuple[int, list[str]]] = {}
    problem: BadInput | None = None
    for delimiter in (",", ";", "\t"):
        try:
            headers[delimiter] = _first_record(data, start, delimiter, name)
        except BadInput as error:
            problem = problem or error
    if not headers:
        assert problem is not None
        raise problem
    best = max(headers, key=lambda d: (target is not None and target in headers[d][1], len(headers[d][1])))
    end, names = headers[best]
    if len(names) > 1 and not names[0]:
        names = [INDEX_NAME, *names[1:]]
    return end, best, names


def _first_record(data: bytes, start: int, delimiter: str, name: str) -> tuple[int, list[str]]:
    """The end of the header and its fields, as the parser of the rows would read them."""
    text = data[start : start + _MAX_HEADER].decode("utf-8", errors="ignore")
    used: list[str] = []

    def some() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            used.append(line)
            yield line

    try:
        next(csv.reader(some(), delimiter=delimiter))
        record = "".join(used)
        bare = _tidied(record.encode(), delimiter).decode()
        fields = next(csv.reader(io.StringIO(bare, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise BadInput(
            f"{name}: its header line cannot be read ({error}). Close or double its quotation marks."
        ) from None
    size = len(record.rstrip("\r\n").encode())
    if size >= _MAX_HEADER - 4:
        raise TooLarge(f"{name}: its first line is longer than {megabytes(_MAX_HEADER)}, expected a header line.")
    return start + size, [unguarded(f.strip()) for f in fields]


def _check_header(names: list[str], target: str | None, name: str) -> None:
    if target not in names and all(NUMBER.fullmatch(n) or n in MISSING_MARKERS for n in names) and any(names):
        raise BadInput(
            f"{name} has no header line: its first line is {listed(names, at_most=6)}, expected column names"
            f"{f' with {shown(target)} among them' if target else ''}. Add a first line that names the columns.",
            (FieldProblem("line 1", ",".join(names)[:60], "column names"),),
        )
    check_names(names, name)


# --- rows -----------------------------------------------------------------------------------------------------------


def _parse_csv(
    body: memoryview, names: list[str], delimiter: str, name: str, first_line: int
) -> tuple[pa.Table, list[Problem]]:
    """All columns as trimmed text, missing markers as null; and suspicious multi-line values."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    ragged: list[int] = []

    def note(row: Any) -> str:
        ragged.append(row.actual_columns)
        return "skip" if len(ragged) <= MAX_PROBLEMS else "error"

    keys = [str(i) for i in range(len(names))]
    content = bytes(body)
    if not content[: 1 << 16].strip(b"\r\n") and not content.strip(b"\r\n"):
        return pa.table({k: pa.array([], pa.string()) for k in keys}), []
    quoted = b'"' in content
    if quoted:
        content = _tidied(content, delimiter)
    notes = _check_quotes(content, len(names), delimiter, name, first_line) if quoted else []
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(pa.py_buffer(content)),
            # With line ends in values a CR LF at the end of a block would lose its second half: one block, then.
            read_options=arrow_csv.ReadOptions(column_names=keys, block_size=len(content) + 1 if quoted else 4 << 20),
            parse_options=arrow_csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=quoted, invalid_row_handler=note
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(keys, pa.large_string()),
                null_values=list(MISSING_MARKERS),
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        if not ragged:
            raise BadInput(f"{name} cannot be read as CSV: {str(error).splitlines()[0][:200]}.") from None
    if ragged:
        raise _ragged(content, len(names), delimiter, name, first_line)
    if _has_blanks_at_edges(content):
        table = pa.table({k: _trimmed(table.column(k)) for k in keys})
    if b"'" in content:
        table = pa.table({k: _unguarded(table.column(k)) for k in keys})
    return table, notes


def _has_blanks_at_edges(content: bytes) -> bool:
    """Whether a value may have blanks at its edges; True if only a closer check could tell."""
    if b'"' in content or not content.isascii() or content[-1:] in b" \t":
        return True
    blanks = [b" "] if b" " in content else []
    blanks += [b"\t"] if b"\t" in content else []
    return any(edge in content for b in blanks for e in (b",", b";", b"\t", b"\r", b"\n") for edge in (b + e, e + b))


def _tidied(content: bytes, delimiter: str) -> bytes:
    """The text without blanks between separators and quotation marks, if that makes it well formed.

    Whole quoted values are matched, so that their content stays unchanged.
    """
    if _well_formed(content, delimiter):
        return content
    edge = re.escape(delimiter).encode()
    quoted = rb"(^|[\r\n" + edge + rb']) *+("[^"]*+(?:""[^"]*+)*+") *+(?=$|[\r\n' + edge + rb"])"
    bare = re.sub(quoted, rb"\1\2", content)
    return bare if bare != content and _well_formed(bare, delimiter) else content


def _trimmed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values without surrounding blanks; a missing marker between blanks counts as missing, too."""
    import pyarrow as pa
    import pyarrow.compute as pc

    bare = pc.utf8_trim_whitespace(column)
    missing = pc.is_in(bare, pa.array(list(MISSING_MARKERS), pa.large_string()))
    return pc.if_else(missing, pa.scalar(None, pa.large_string()), bare)


def _unguarded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values without the apostrophe that a download puts before a text that a spreadsheet would execute."""
    import pyarrow.compute as pc

    guarded = pc.match_substring_regex(column, r"^'+[=+\-@\t\r]")
    if not pc.any(guarded).as_py():
        return column
    return pc.if_else(guarded, pc.utf8_slice_codeunits(column, 1), column)


def _real_rows(table: pa.Table, names: list[str]) -> tuple[pa.Table, list[Problem]]:
    """The table without rows of separators only and without repeated headers, and how many there were."""
    import pyarrow as pa
    import pyarrow.compute as pc

    first = table.column(0)
    notes: list[Problem] = []
    drop = np.zeros(table.num_rows, dtype=bool)
    blank = np.asarray(first.is_null().to_numpy())
    for i in range(1, table.num_columns):
        if not blank.any():
            break
        blank &= np.asarray(table.column(i).is_null().to_numpy())
    same = np.ones(table.num_rows, dtype=bool)
    for i in range(table.num_columns):
        if not same.any():
            break
        alike = pc.equal(table.column(i), pa.scalar(names[i], pa.large_string()))
        # A blank name, or one like a missing marker, was read as a missing cell.
        unread = names[i] in MISSING_MARKERS or (i == 0 and names[i] == INDEX_NAME)
        same &= np.asarray(pc.fill_null(alike, unread).to_numpy())
    same &= ~blank
    for code, mask in (("blank_rows", blank), ("repeated_header", same)):
        if mask.any():
            example = f"row {int(np.argmax(mask)) + 1:,}"
            notes.append(Problem(code=code, count=int(mask.sum()), example=example))
            drop |= mask
    return (table.filter(pa.array(~drop)) if notes else table), notes


# --- quotation marks and ragged lines -------------------------------------------------------------------------------


def _check_quotes(content: bytes, n_columns: int, delimiter: str, name: str, first_line: int) -> list[Problem]:
    """Refuse values whose quotation mark is not closed; report those that span lines which look like rows.

    Where every mark opens a value, closes one or is doubled, the file is well formed, which the positions of the
    marks show. Otherwise, and if values span lines, the file is read by the slower parser, which knows the lines.
    """
    if _well_formed(content, delimiter) and not _runs_over_lines(content):
        return []
    reader = csv.reader(_text_lines(content), delimiter=delimiter, strict=True)
    suspicious: list[int] = []
    begins = 0
    try:
        for fields in reader:
            if reader.line_num - begins > 1 and n_columns > 1 and _looks_like_rows(fields, n_columns, delimiter):
                suspicious.append(begins + first_line)
            begins = reader.line_num
    except csv.Error as error:
        line = begins + first_line
        closed = "unexpected end" in str(error)
        seen = (
            "a quotation mark that is not closed"
            if closed
            else f"a value that continues after its closing quotation mark ({error})"
        )
        raise refusal(
            f"{name} has a value that cannot be read",
            [FieldProblem(f"line {line:,}", seen, "quotation marks around the whole value, doubled inside")],
            verb="has",
        ) from None
    if not suspicious:
        return []
    return [Problem(code="lines_in_value", count=len(suspicious), example=f"line {suspicious[0]:,}")]


def _text_lines(content: bytes) -> Iterator[str]:
    return iter(io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline=""))


def _looks_like_rows(fields: list[str], n_columns: int, delimiter: str) -> bool:
    """Whether the lines of a record would be separate rows if its quotation marks were ordinary characters."""
    lines = delimiter.join(fields).splitlines()
    return len(fields) == n_columns and all(line.count(delimiter) == n_columns - 1 for line in lines if line.strip())


def _well_formed(content: bytes, delimiter: str) -> bool:
    """Whether every quotation mark opens a value, closes one, or is one of a pair inside."""
    text = np.frombuffer(content, dtype=np.uint8)
    at = np.flatnonzero(text == 0x22)
    if len(at) % 2:
        return False
    edges = np.array([ord(delimiter), 0x0A, 0x0D], dtype=np.uint8)
    opening, closing = at[::2], at[1::2]
    before = text[np.maximum(opening - 1, 0)]
    after = text[np.minimum(closing + 1, len(text) - 1)]
    pair_before = np.concatenate([[False], opening[1:] - closing[:-1] == 1])
    pair_after = np.concatenate([pair_before[1:], [False]])
    opens = (opening == 0) | np.isin(before, edges) | pair_before
    closes = (closing == len(text) - 1) | np.isin(after, edges) | pair_after
    return bool(opens.all() and closes.all())


def _runs_over_lines(content: bytes) -> bool:
    """Whether there is a line end between quotation marks of a well-formed text."""
    text = np.frombuffer(content, dtype=np.uint8)
    at = np.flatnonzero(text == 0x22)
    ends = np.flatnonzero((text == 0x0A) | (text == 0x0D))
    return bool((np.searchsorted(at, ends) % 2).any())


def _ragged(content: bytes, expected: int, delimiter: str, name: str, first_line: int) -> BadInput:
    """The refusal that lists the lines; the file is read again by the slower parser, which knows them."""
    reader = csv.reader(_text_lines(content), delimiter=delimiter)
    problems: list[FieldProblem] = []
    line = 0
    try:
        for fields in reader:
            begins, line = line, reader.line_num
            if fields and len(fields) != expected and begins + first_line > 0:
                at = begins + first_line
                problems.append(
                    FieldProblem(f"line {at}", counted(len(fields), "field"), f"{expected} as in the header")
                )
                if len(problems) >= MAX_PROBLEMS:
                    break
    except csv.Error as error:
        problems.append(FieldProblem(f"line {reader.line_num + first_line}", str(error), "CSV"))
    return refusal(f"{name} has ragged rows", problems, "Quote values that contain the separator.", verb="has")
