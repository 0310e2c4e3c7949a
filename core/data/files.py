"""Tables from untrusted files, and CSV for downloads: CSV, CSV.gz, Parquet, Arrow.

A file's format is determined by its name and its first bytes, which must agree. Every limit is checked before the step
that it protects: size before reading, expansion while unpacking, shape before decoding.
"""

from __future__ import annotations

import csv
import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.data.cells import guarded, refusal
from core.data.limits import EXPANSION, check_names, check_shape, megabytes
from core.errors import BadInput, FieldProblem, NotFound, TooLarge, UnsupportedFormat
from core.records import Problem
from core.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

_CHUNK, _FED = 1 << 20, 1 << 16
_ENDINGS = {
    "csv": (".csv", ".txt", ".tsv"),
    "gzip": (".csv.gz", ".txt.gz", ".tsv.gz", ".gz"),
    "parquet": (".parquet", ".pq"),
    "arrow": (".arrow", ".arrows", ".feather", ".ipc"),
}
_WORDS = {"csv": "CSV text", "gzip": "gzip", "parquet": "Parquet", "arrow": "Arrow"}
_FOREIGN = (
    (b"PK\x03\x04", "a zip archive (an Excel file is one, too)"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstandard archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"SQLite format 3", "an SQLite database"),
    (b"%PDF", "a PDF"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"\x89PNG", "a picture"),
)
_ASK = "Send CSV, CSV.gz, Parquet or Arrow."


@dataclass(frozen=True, slots=True)
class TableRead:
    """What a file holds."""

    frame: pd.DataFrame  # of CSV: columns of `columns.CELLS`; else numbers, `str`, booleans and instants
    problems: tuple[Problem, ...] = ()  # lines that are not rows, and columns that are not data


def read_table(source: Path | bytes, *, name: str, max_bytes: int, target: str | None = None) -> TableRead:
    """A file's table. The cells of CSV stay text: their types come from a schema or from `infer_schema`.

    CSV: UTF-8 with a header line; comma, semicolon or tab. Missing: `cells.MISSING_MARKERS`. Blanks around names and
    values are ignored.

    Args:
        name: the file's name, which determines the format together with the first bytes.
        max_bytes: largest file; unpacked it may have ten times as much.
        target: a first line that holds this name is a header even when the other names are digits.

    Raises:
        TooLarge: more bytes, rows or columns than the limits.
        UnsupportedFormat: another format, a name that does not fit the content, a damaged file.
        BadInput: no header, ragged rows, quotation marks that are not closed, duplicate or empty names, another encoding,
            no rows.
    """
    data = _load(source, name, max_bytes)
    kind = _format(data, name)
    if kind == "gzip":
        data = _gunzip(data, name, max_bytes * EXPANSION)
        kind = _format(data, name[:-3] if name.lower().endswith(".gz") else name)
        if kind != "csv":
            raise UnsupportedFormat(f"{name} holds {_WORDS[kind]} inside gzip, expected CSV text. {_ASK}")
    if kind == "csv":
        from core.data.delimited import read_csv_text

        return TableRead(*read_csv_text(data, name, target))
    budget = max_bytes * EXPANSION
    table = _read_parquet(data, name, budget) if kind == "parquet" else _read_arrow(data, name, budget)
    table = table.rename_columns([str(c).strip() for c in table.column_names])
    _check_table(table, name)
    return TableRead(table.to_pandas(ignore_metadata=True))


def read_arrow(data: bytes, *, name: str, max_bytes: int) -> pa.Table:
    """The table of an Arrow stream or file, without pandas.

    Raises:
        TooLarge, UnsupportedFormat, BadInput: as `read_table`; also for any other format.
    """
    data = _load(data, name, max_bytes)
    kind = _format(data, name)
    if kind != "arrow":
        raise UnsupportedFormat(f"{name} holds {_WORDS[kind]}, expected Arrow.")
    table = _read_arrow(data, name, max_bytes * EXPANSION)
    _check_table(table, name)
    return table


def _check_table(table: pa.Table, name: str) -> None:
    check_names([str(c) for c in table.column_names], name)
    if not table.num_rows:
        raise BadInput(f"{name} has {counted(table.num_columns, 'column')} but no row, expected rows.")


# --- what it is ---------------------------------------------------------------------------------------------------


def _load(source: Path | bytes, name: str, max_bytes: int) -> bytes:
    if isinstance(source, Path):
        try:
            with source.open("rb") as file:
                data = file.read(max_bytes + 1)
                size = max(file.seek(0, io.SEEK_END), len(data))
        except FileNotFoundError:
            raise NotFound(f"There is no file {name}.") from None
        except OSError as error:
            raise BadInput(f"{name} cannot be read: {error.strerror or error}.") from None
    else:
        data, size = bytes(source), len(source)
    if size > max_bytes:
        raise TooLarge(
            f"{name} has {megabytes(size)}, expected at most {megabytes(max_bytes)}. "
            "Send it in parts, or raise the upload limit."
        )
    if not data:
        raise BadInput(f"{name} is empty, expected a header line and rows.")
    return data


def _format(data: bytes, name: str) -> str:
    """csv, gzip, parquet or arrow, by name and content."""
    lower = name.lower()
    named = next((k for k in ("gzip", "csv", "parquet", "arrow") if lower.endswith(_ENDINGS[k])), None)
    kind = _sniff(data)
    if kind not in _ENDINGS:
        called = f"is named as {_WORDS[named]} but holds" if named else "holds"
        raise UnsupportedFormat(f"{name} {called} {kind}. {_ASK}")
    if named is not None and named != kind:
        raise UnsupportedFormat(
            f"{name} is named as {_WORDS[named]} but holds {_WORDS[kind]}. Rename it to match its content."
        )
    return kind


def _sniff(data: bytes) -> str:
    if data.startswith(b"\x1f\x8b"):
        return "gzip"
    if data.startswith(b"PAR1"):
        return "parquet"
    if data.startswith((b"ARROW1\0\0", b"\xff\xff\xff\xff")):
        return "arrow"
    foreign = next((words for magic, words in _FOREIGN if data.startswith(magic)), None)
    if foreign is not None:
        return foreign
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "csv"  # UTF-16: reported as an encoding problem, below
    return "binary data" if b"\0" in data[:65536] else "csv"


def _gunzip(data: bytes, name: str, limit: int) -> bytes:
    """The unpacked content, also of several members; never holds more than `limit` bytes, and only one copy."""
    out, size = io.BytesIO(), 0
    for piece in _unpacked(data, name):
        size += len(piece)
        if size > limit:
            raise TooLarge(f"{name} unpacks to more than {megabytes(limit)}, which is the limit. Send it in parts.")
        out.write(piece)
    if not size:
        raise BadInput(f"{name} is empty once unpacked, expected a header line and rows.")
    return out.getvalue()


def _unpacked(data: bytes, name: str) -> Iterator[bytes]:
    """The content of gzip in pieces of at most a megabyte."""
    view, at = memoryview(data), 0
    while bytes(view[at : at + 2]) == b"\x1f\x8b":
        unpacker, fed = zlib.decompressobj(wbits=31), b""
        while not unpacker.eof:
            if not fed:  # small pieces: the unread rest of each step is copied
                fed = bytes(view[at : at + _FED])
                at += len(fed)
            try:
                piece = unpacker.decompress(fed, _CHUNK)
            except zlib.error:
                raise UnsupportedFormat(
                    f"{name} is damaged: its gzip stream cannot be unpacked. Send it again."
                ) from None
            fed = unpacker.unconsumed_tail
            if not piece and not fed and at == len(view) and not unpacker.eof:
                raise UnsupportedFormat(f"{name} is truncated: its gzip stream has no end. Send it again.")
            yield piece
        at -= len(unpacker.unused_data)
    rest = bytes(view[at:])
    if rest.strip(b"\0"):
        raise UnsupportedFormat(
            f"{name} is damaged: {counted(len(rest), 'byte')} after its gzip stream cannot be unpacked. Send it again."
        )


def unpacks_beyond(path: Path, limit: int) -> bool:
    """Whether a file's table unpacks to more bytes than the limit, counted piece by piece without holding it.

    True for a file that is larger than that itself. For a file that cannot be parsed only its own size counts; `read_table`
    reports what is wrong with it.
    """
    if path.stat().st_size > limit:
        return True
    import pyarrow as pa

    data = path.read_bytes()
    kind = _sniff(data)
    size = 0
    try:
        if kind == "gzip":
            for piece in _unpacked(data, path.name):
                size += len(piece)
                if size > limit:
                    return True
        elif kind in ("parquet", "arrow"):
            claimed, batches = (_claimed_parquet if kind == "parquet" else _claimed_arrow)(data)
            if claimed > limit:
                return True
            for batch in batches:
                size += _plain_bytes(batch)
                if size > limit:
                    return True
    except (BadInput, pa.ArrowException, OSError, ValueError):
        return False
    return False


# --- Parquet and Arrow --------------------------------------------------------------------------------------------


def _read_parquet(data: bytes, name: str, budget: int) -> pa.Table:
    import pyarrow as pa

    damaged = f"{name} is damaged: it looks like Parquet but cannot be read as Parquet. Send it again."
    try:
        file = _parquet(data)
        meta = file.metadata
        check_shape(meta.num_rows, meta.num_columns, name, budget)
        claimed = _row_groups_bytes(meta)
        if claimed > budget:
            raise TooLarge(f"{name} unpacks to {megabytes(claimed)}, expected at most {megabytes(budget)}.")
        _check_types(file.schema_arrow, name)
        batches: list[pa.RecordBatch] = []
        used = 0
        for batch in file.iter_batches(batch_size=65_536, use_threads=False):
            batch.validate(full=True)
            plain = _plain(batch, name, budget - used)
            used += plain.nbytes
            batches.append(plain)
        schema = batches[0].schema if batches else file.schema_arrow
        return _undecimal(pa.Table.from_batches(batches, schema))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last: a column's name
        raise UnsupportedFormat(damaged) from error


def _parquet(data: bytes) -> pq.ParquetFile:
    """A file whose text is read as codes: a value of a megabyte in a million rows is then held once until it is counted."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = pa.BufferReader(data)
    texts = [c.path for c in pq.ParquetFile(source).schema if c.physical_type == "BYTE_ARRAY" and "." not in c.path]
    return pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts)


def _row_groups_bytes(meta: pq.FileMetaData) -> int:
    return sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))


def _claimed_parquet(data: bytes) -> tuple[int, Iterator[pa.RecordBatch]]:
    """The unpacked size that a file declares, and its batches with text as codes."""
    file = _parquet(data)
    meta = file.metadata
    claimed = max(_row_groups_bytes(meta), meta.num_rows * meta.num_columns * 8)
    return claimed, file.iter_batches(batch_size=65_536, use_threads=False)


def _claimed_arrow(data: bytes) -> tuple[int, Iterator[pa.RecordBatch]]:
    """The unpacked size that a stream declares, and its batches."""
    import pyarrow as pa

    from core.data.ipc import unpacked_bytes

    stream = data[8:] if data.startswith(b"ARROW1") else data
    return unpacked_bytes(stream), iter(pa.ipc.open_stream(pa.BufferReader(stream)))


def _plain_bytes(batch: pa.RecordBatch) -> int:
    """Bytes of a batch once its codes are replaced by their values."""
    import pyarrow.compute as pc
    import pyarrow.types as at

    batch.validate(full=True)
    total = 0
    for column in batch.columns:
        if not at.is_dictionary(column.type):
            total += column.nbytes
        elif at.is_string(column.type.value_type) or at.is_large_string(column.type.value_type):
            lengths = pc.binary_length(column.dictionary).cast("int64")
            total += (pc.sum(lengths.take(column.indices)).as_py() or 0) + 8 * len(column)
        else:
            total += 8 * len(column)
    return total


def _check_types(schema: pa.Schema, name: str) -> None:
    """Refuse columns with more than one value per row, or with bytes."""
    import pyarrow.types as at

    takes = (
        at.is_boolean, at.is_integer, at.is_floating, at.is_decimal, at.is_string, at.is_large_string,
        at.is_string_view, at.is_timestamp, at.is_date, at.is_null,
    )  # fmt: skip
    problems = []
    for field in schema:
        kind = field.type.value_type if at.is_dictionary(field.type) else field.type
        if not any(takes_it(kind) for takes_it in takes):
            problems.append(
                FieldProblem(f"column {field.name}", str(field.type)[:60], "numbers, text, booleans or instants")
            )
    if problems:
        raise refusal(f"{name} has columns of unsupported types", problems, "Remove or flatten them.")


def _plain(batch: pa.RecordBatch, name: str, budget: int) -> pa.RecordBatch:
    """The batch with codes replaced by their values and decimals by floats, if that fits the budget.

    Raises:
        TooLarge: the values would take more bytes than that.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as at

    left = budget - batch.nbytes
    out = []
    for column in batch.columns:
        kind = column.type
        if at.is_dictionary(kind):
            words = at.is_string(kind.value_type) or at.is_large_string(kind.value_type)
            if words and len(column.dictionary):
                lengths = pc.binary_length(column.dictionary).cast("int64")
                left -= pc.sum(lengths.take(column.indices)).as_py() or 0
            if left < 0:
                break
            column = column.cast(kind.value_type)
        if at.is_string_view(column.type):
            column = column.cast(pa.large_string())
        if at.is_decimal(column.type) and column.type.scale > 0:
            column = column.cast(pa.float64())
        out.append(column)
    if left < 0:
        raise TooLarge(f"{name} unpacks to more bytes than allowed. Send it in parts.")
    return pa.RecordBatch.from_arrays(out, names=batch.schema.names)


def _undecimal(table: pa.Table) -> pa.Table:
    """Whole decimals exactly: as integers, or as text of their digits if they are too long for that."""
    import pyarrow as pa
    import pyarrow.types as at

    for i, field in enumerate(table.schema):
        if not at.is_decimal(field.type):
            continue
        try:
            column = table.column(i).cast(pa.int64())
        except pa.ArrowInvalid:
            column = table.column(i).cast(pa.string())
        table = table.set_column(i, field.name, column)
    return table


def _read_arrow(data: bytes, name: str, budget: int) -> pa.Table:
    """An Arrow stream, or an Arrow file, which is a stream after eight bytes."""
    import pyarrow as pa

    from core.data.ipc import unpacked_bytes

    stream = data[8:] if data.startswith(b"ARROW1") else data
    try:
        claimed = unpacked_bytes(stream)
        if claimed > budget:
            raise TooLarge(f"{name} unpacks to {megabytes(claimed)}, expected at most {megabytes(budget)}.")
        reader = pa.ipc.open_stream(pa.BufferReader(stream))
        _check_types(reader.schema, name)
        check_shape(0, len(reader.schema), name, budget)
        batches: list[pa.RecordBatch] = []
        rows = used = 0
        for batch in reader:
            batch.validate(full=True)
            rows += batch.num_rows
            check_shape(rows, batch.num_columns, name, budget)
            plain = _plain(batch, name, budget - used)
            used += plain.nbytes
            batches.append(plain)
        return _undecimal(pa.Table.from_batches(batches, batches[0].schema if batches else reader.schema))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UnsupportedFormat(
            f"{name} is damaged: it looks like Arrow but cannot be read as Arrow. Send it again."
        ) from error


# --- downloads ----------------------------------------------------------------------------------------------------


def write_csv(frame: pd.DataFrame) -> bytes:
    """A frame as CSV (UTF-8, comma, empty = missing) in which a spreadsheet executes nothing.

    Text that begins like a formula (= + - @ tab return) gets an apostrophe before it, which reading removes again;
    numbers written as text do not.
    """
    import pandas as pd

    safe = frame.copy(deep=False)
    for i, dtype in enumerate(frame.dtypes):
        if not (pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_datetime64_any_dtype(dtype)):
            safe.isetitem(i, frame.iloc[:, i].map(_harmless, na_action="ignore").array)
    safe.columns = [guarded(str(c)) for c in frame.columns]
    text = safe.to_csv(index=False, lineterminator="\n")
    if (
        "\r" in text
    ):  # inside of a value: Python's writer gives it no quotation marks, and every reader ends the line there
        text = safe.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    return text.encode("utf-8")


def _harmless(value: Any) -> Any:
    return guarded(value) if isinstance(value, str) else value
