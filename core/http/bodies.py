"""Request bodies: content types, size limits, tables, uploads. JSON is decoded in `json_decoding`."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from core.data.rows import Table
from core.errors import BadInput, FieldProblem, StorageError, TooLarge, UnsupportedFormat
from core.http.content_coding import decompressor_of
from core.http.json_decoding import MAX_ROWS, decode_aside
from core.http.problems import TooSlow
from core.records import JsonObject
from core.storage import private

if TYPE_CHECKING:
    import pyarrow as pa

    from core.records import FeatureSchema, Problem

MAX_JSON_BYTES = 32 * 1024 * 1024
SILENCE_S = 30.0  # a body is given up when nothing arrives for this long
MIN_BYTES_PER_S = 1_000  # or when it is slower than this
MAX_NPY_HEADER = 2_000
_KINDS = (("arrow", "arrow"), ("npy", "npy"), ("numpy", "npy"), ("parquet", "parquet"), ("csv", "csv"))
ENDINGS = {"csv": ".csv", "parquet": ".parquet", "arrow": ".arrow"}
_NPY = re.compile(
    rb"\{'descr': '([<>|=][fiubcSUOV]\d{1,6})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,15}, ?)*\d{0,15}),?\), ?\}\s*"
)


def kind_of(headers: Headers) -> str:
    """`json`, unless the Content-Type names arrow, npy, parquet or csv."""
    named = headers.get("content-type", "").partition(";")[0].lower()
    return next((kind for word, kind in _KINDS if word in named), "json")


def kind_at_once(headers: Mapping[bytes, bytes]) -> str | None:
    """`json` for plain application/json, the fast path; None for anything else."""
    plain = headers.get(b"content-type") == b"application/json" and b"content-encoding" not in headers
    return "json" if plain else None


def require_kind(headers: Headers, *kinds: str) -> str:
    """The kind of the body, if the route accepts it.

    Raises:
        UnsupportedFormat: another kind.
    """
    kind = kind_of(headers)
    seen = headers.get("content-type", "no Content-Type")[:80]
    form = seen.lower().startswith("multipart/")
    if kind not in kinds or form:
        words = {"json": "JSON", "arrow": "an Arrow stream", "npy": "npy", "parquet": "Parquet", "csv": "CSV"}
        accepted = f"this route accepts {', '.join(words[k] for k in kinds)}"
        advice = " Send the file itself as the body: `curl --data-binary @FILE`, with its Content-Type." if form else ""
        raise UnsupportedFormat(f"The body is {seen!r}; {accepted}.{advice}")
    return kind


# --- reading ----------------------------------------------------------------------------------------------------


async def chunks(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body in chunks, decompressed if it is compressed.

    Raises:
        TooLarge: before anything is read if Content-Length exceeds the limit, else when it is reached, decompressed or not.
        TooSlow: the body stalled.
        UnsupportedFormat: a Content-Encoding that is unknown, or not the body's.
    """
    decompressor = decompressor_of(request.headers.get("content-encoding"))
    sent = _sent(request, limit)
    if decompressor is None:
        async for chunk in sent:
            yield chunk
        return
    total = 0
    async for chunk in sent:
        for piece in decompressor.pieces(chunk):
            total += len(piece)
            if total > limit:
                raise _too_large(total, limit)
            yield piece
            await asyncio.sleep(0)  # decompressing takes a while: others may go on in between
    if rest := decompressor.rest():
        yield rest


async def _sent(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body as it arrives."""
    _check_length(request.headers.get("content-length", "").encode(), limit)
    began, total, pieces = time.monotonic(), 0, request.stream()
    while True:
        try:
            chunk = await asyncio.wait_for(anext(pieces), _patience(began, total))
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise _too_slow() from None
        total += len(chunk)
        if total > limit:
            raise _too_large(total, limit)
        yield chunk


def _check_length(declared: bytes, limit: int) -> None:
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(int(declared), limit)


def _patience(began: float, total: int) -> float:
    """Seconds within which the next chunk must arrive, when `total` bytes have arrived since `began`."""
    return min(SILENCE_S, began + SILENCE_S + total / MIN_BYTES_PER_S - time.monotonic())


def _too_slow() -> TooSlow:
    return TooSlow(f"The body stalled: too little arrived within {SILENCE_S:g} seconds. Send the request again.")


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, limit: int = MAX_JSON_BYTES) -> bytes:
    """The whole body of an ASGI request; a body in a single message, the usual case, is not copied.

    Raises:
        TooLarge: before anything is read if Content-Length exceeds the limit, else when it is reached.
        TooSlow: the body stalled.
        UnsupportedFormat: as `chunks`.
        ClientDisconnect: the client disconnected.
    """
    if b"content-encoding" in headers:
        return await read_bytes(Request({"type": "http", "headers": list(headers.items())}, receive), limit)
    _check_length(headers.get(b"content-length", b""), limit)
    message = await _next(receive, SILENCE_S)
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return body
    began, pieces, total = time.monotonic(), [body], len(body)
    while message.get("more_body", False):
        message = await _next(receive, _patience(began, total))
        pieces.append(message.get("body", b""))
        total += len(pieces[-1])
        if total > limit:
            raise _too_large(total, limit)
    return b"".join(pieces)


async def _next(receive: Receive, wait_s: float) -> Message:
    try:
        async with asyncio.timeout(wait_s):
            message = await receive()
    except TimeoutError:
        raise _too_slow() from None
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message


def _too_large(seen: int, limit: int) -> TooLarge:
    return TooLarge(
        f"The body has {seen:,} bytes or more, expected at most {limit:,}. Split it into several requests.",
        (FieldProblem("body", f"{seen:,} bytes", f"at most {limit:,} bytes"),),
    )


async def read_bytes(request: Request, limit: int = MAX_JSON_BYTES) -> bytes:
    """The whole body."""
    return b"".join([chunk async for chunk in chunks(request, limit)])


async def read_json(request: Request, *, empty: Any = None) -> Any:
    """The body as JSON; `empty` is returned for an empty body.

    Raises:
        NotJson, TooLarge, BadInput: as `decode`.
    """
    body = await read_bytes(request)
    if empty is not None and not body.strip():
        return empty
    return await decode_aside(body)


def require_object(document: Any, known: tuple[str, ...], *, expected: str = "") -> JsonObject:
    """The document, if it is an object without unknown fields.

    Args:
        expected: what the body may be, for its error; by default an object with the known fields.

    Raises:
        BadInput: names the unknown fields and the closest known ones.
    """
    if not isinstance(document, dict):
        from core.data.cells import refusal, shown_json

        expected = expected or f"an object with {', '.join(known)}"
        raise refusal("The request is not valid", [FieldProblem("body", shown_json(document), expected)])
    unknown = [key for key in document if key not in known]
    if unknown:
        from core.data.cells import nearest, refusal

        raise refusal(
            "The body has unknown fields",
            [
                FieldProblem(key[:80], "an unknown field", f"'{near}'" if near else f"one of {', '.join(known)}")
                for key in unknown[:20]
                for near in [nearest(key[:200], known)]
            ],
        )
    return document


# --- tables -----------------------------------------------------------------------------------------------------


def table_of(body: bytes, kind: str, schema: FeatureSchema, max_bytes: int) -> tuple[Table, tuple[Problem, ...]]:
    """The rows of an Arrow or npy body, and the conversions applied to them; npy columns are the features in the
    project's order.

    Raises:
        TooLarge: more than 100,000 rows.
        BadInput, UnsupportedFormat: the body is not of its declared type, or does not match the schema.
    """
    if kind == "npy":
        table = Table(*_npy(body, schema))
    else:
        from core.data.files import read_arrow

        arrow = read_arrow(body, name="body.arrow", max_bytes=max_bytes)
        check_rows(arrow.num_rows)
        columns = _plain_numbers(arrow, schema)
        if columns is None:
            return _conformed(arrow, schema)
        table = Table(columns, arrow.num_rows)
    return table, _drop_too_great(table, schema)


def _plain_numbers(arrow: pa.Table, schema: FeatureSchema) -> list[Any] | None:
    """The columns of a table of exactly the features, all numeric; None for any other table."""
    import pyarrow as pa

    if len(arrow.schema) != len(schema.features) or any(f.kind != "numeric" for f in schema.features):
        return None
    by_name = {str(field.name): i for i, field in enumerate(arrow.schema)}
    if by_name.keys() != set(schema.names):
        return None
    if not all(pa.types.is_integer(field.type) or pa.types.is_floating(field.type) for field in arrow.schema):
        return None
    return [arrow.column(by_name[name]).to_numpy().astype("float64") for name in schema.names]


def _drop_too_great(table: Table, schema: FeatureSchema) -> tuple[Problem, ...]:
    """Replace infinite values, and values too large for models, by missing ones; the problems to report."""
    import numpy as np

    from core.data.cells import TOO_GREAT, shown
    from core.records import Problem

    notes = []
    for j, name in enumerate(schema.names):
        column = table.columns[j]
        with np.errstate(invalid="ignore"):
            great = np.abs(column) >= TOO_GREAT
        if great.any():
            table.columns[j] = np.where(great, np.nan, column)
            code = "infinite" if np.isinf(column[great]).all() else "too_great"
            notes.append(Problem(code=code, column=name, count=int(great.sum()), example=shown(column[great][0])))
    return tuple(notes)


def _conformed(arrow: pa.Table, schema: FeatureSchema) -> tuple[Table, tuple[Problem, ...]]:
    """Any other table: with ids, timestamps, text or unknown columns."""
    from core.data.cells import nearest, refusal
    from core.data.conforming import table_of

    table, notes, unknown = table_of(arrow.to_pandas(ignore_metadata=True), schema)
    unknown = tuple(name for name in unknown if name not in schema.excluded)
    if unknown:
        raise refusal(
            "The table has unknown columns",
            [
                FieldProblem(f"column {name}"[:80], "an unknown feature", f"'{near}'" if near else "a known feature")
                for name in unknown[:20]
                for near in [nearest(name[:200], schema.names)]
            ],
        )
    return table, notes


def check_rows(n_rows: int) -> None:
    """Reject a request with too many rows."""
    if n_rows > MAX_ROWS:
        raise TooLarge(
            f"The request has {n_rows:,} rows, expected at most {MAX_ROWS:,}. Split it into several requests.",
            (FieldProblem("rows", f"{n_rows:,} rows", f"at most {MAX_ROWS:,} rows"),),
        )


def _npy_header(body: bytes) -> tuple[int, str, bool, tuple[int, ...]]:
    """Offset of the values, dtype, Fortran order, shape.

    numpy's reader evaluates the header as Python; this pattern accepts only the few forms that numpy.save writes.
    """
    wide = body[6:7] in (b"\x02", b"\x03")
    start = 12 if wide else 10
    length = int.from_bytes(body[8:start], "little")
    header = _NPY.fullmatch(body[start : start + min(length, MAX_NPY_HEADER)])
    if not body.startswith(b"\x93NUMPY") or body[6:7] not in (b"\x01", b"\x02", b"\x03") or header is None:
        raise BadInput("The body is not an npy array of numbers as numpy.save writes it.")
    shape = tuple(int(n) for n in header[3].split(b",") if n.strip())
    return start + length, header[1].decode(), header[2] == b"True", shape


def _npy(body: bytes, schema: FeatureSchema) -> tuple[list[Any], int]:
    import numpy as np

    text = [f.name for f in schema.features if f.kind != "numeric"]
    if text:
        raise BadInput(
            f"An npy body can hold only numbers, but {', '.join(map(repr, text[:5]))} of this project "
            "are not numeric. Send JSON or Arrow."
        )
    start, dtype_text, fortran, shape = _npy_header(body)
    if dtype_text[1:] not in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"):
        raise BadInput(
            f"The array holds {dtype_text!r}, expected numbers.",
            (FieldProblem("dtype", dtype_text, "float64 or int64"),),
        )
    dtype = np.dtype(dtype_text)
    n_features = len(schema.features)
    if len(shape) not in (1, 2) or shape[-1] != n_features:
        raise BadInput(
            f"The array has the shape {shape}, expected (rows, {n_features}): {', '.join(schema.names[:8])}"
            f"{' ...' if n_features > 8 else ''}.",
            (FieldProblem("shape", str(shape)[:80], f"(rows, {n_features})"),),
        )
    # The shape is checked against the bytes before anything is allocated.
    expected, available = math.prod(shape) * dtype.itemsize, len(body) - start
    if expected != available:
        raise BadInput(f"The array of shape {shape} needs {expected:,} bytes, but the body has {available:,}.")
    values = np.frombuffer(body, dtype, offset=start).reshape(shape, order="F" if fortran else "C")
    if not len(values):
        raise BadInput(
            "The array has no rows, expected at least one.", (FieldProblem("rows", "none", "at least one row"),)
        )
    check_rows(len(np.atleast_2d(values)))
    columns = list(np.ascontiguousarray(np.atleast_2d(values).T, dtype=np.float64))
    return columns, len(columns[0])


# --- uploads ----------------------------------------------------------------------------------------------------


async def spool(request: Request, folder: Path, kind: str, limit: int) -> tuple[Path, int, str]:
    """Write the body to a file, synced to disk; its path, size and sha256. The caller removes it.

    Raises:
        TooLarge: the limit is exceeded; no file is left behind.
        StorageError: the disk is full or not writable.
    """
    import anyio.to_thread

    try:
        private.make_folder(folder)
        part = folder / f"{secrets.token_hex(12)}.part"
        file = private.new_file(part)
    except OSError as error:
        raise StorageError(
            f"The upload cannot be stored: {error.strerror}. Free some disk space, then try again."
        ) from error
    size, first, digest = 0, b"", hashlib.sha256()
    try:
        with file:
            async for chunk in chunks(request, limit):
                size += len(chunk)
                first = first or chunk[:2]
                digest.update(chunk)
                await anyio.to_thread.run_sync(file.write, chunk)
            await anyio.to_thread.run_sync(_to_disk, file)
        packed = kind == "csv" and first == b"\x1f\x8b"
        path = part.with_suffix(".csv.gz" if packed else ENDINGS[kind])
        part.rename(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StorageError(
            f"The upload cannot be stored: {error.strerror}. Free some disk space, then try again."
        ) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return path, size, digest.hexdigest()


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def remove_parts(folder: Path, older_than: float) -> None:
    """Remove files of interrupted uploads last modified before `older_than` (Unix seconds)."""
    for part in folder.glob("*.part"):
        with contextlib.suppress(OSError):
            if part.stat().st_mtime < older_than:
                part.unlink()
