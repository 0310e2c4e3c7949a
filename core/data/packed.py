"""A document and arrays of numbers as one sequence of bytes: the format of scorers and of blocks of the prediction log.

Layout: the magic, the header's length (4 bytes, little-endian), the header (JSON: the document, and name, type and
length of every array), then the arrays one after the other, little-endian; the magic shows whether they are compressed with
zlib. Reading needs no numpy.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any

import orjson

from core.errors import StorageError
from core.records import JsonObject

PLAIN, SQUEEZED = b"CML1", b"CML2"
SIZES = {"d": 8, "i": 4, "b": 1}  # float64, int32, int8
_LENGTH = struct.Struct("<I")


def pack(document: Mapping[str, Any], arrays: Mapping[str, tuple[str, bytes]], *, squeeze: bool = False) -> bytes:
    """The packed bytes; an array is its type code (d, i, b) and its little-endian bytes."""
    index = [[name, code, len(data) // SIZES[code]] for name, (code, data) in arrays.items()]
    header = orjson.dumps({"document": document, "arrays": index})
    magic, content = PLAIN, b"".join(data for _, data in arrays.values())
    if squeeze:
        magic, content = SQUEEZED, zlib.compress(content, 1)
    return b"".join([magic, _LENGTH.pack(len(header)), header, content])


def unpack(data: bytes) -> tuple[JsonObject, dict[str, memoryview]]:
    """The document, and each array as a view of plain bytes.

    Raises:
        StorageError: it does not have this form, or is truncated.
    """
    try:
        if data[:4] not in (PLAIN, SQUEEZED):
            raise ValueError("another kind of file")
        begin = 8 + _LENGTH.unpack_from(data, 4)[0]
        header = orjson.loads(data[8:begin])
        total = sum(SIZES[code] * length for _, code, length in header["arrays"])
        content = memoryview(data)[begin:]
        if data[:4] == SQUEEZED:
            packed = zlib.decompressobj()
            content = memoryview(packed.decompress(content, total + 1))
            if not packed.eof or packed.unused_data:
                raise ValueError("it is truncated, or continues after its end")
        if len(content) != total:
            raise ValueError("it is truncated")
        views, start = {}, 0
        for name, code, length in header["arrays"]:
            views[name], start = content[start : start + SIZES[code] * length], start + SIZES[code] * length
        return header["document"], views
    except (ValueError, KeyError, TypeError, struct.error, zlib.error) as error:
        raise StorageError(f"Packed data is damaged: {error}.") from error


def repacked(data: bytes, document: Mapping[str, Any]) -> bytes:
    """The same arrays with another document.

    Raises:
        StorageError: as `unpack`.
    """
    unpack(data)
    begin = 8 + _LENGTH.unpack_from(data, 4)[0]
    header = orjson.dumps({"document": document, "arrays": orjson.loads(data[8:begin])["arrays"]})
    return b"".join([data[:4], _LENGTH.pack(len(header)), header, data[begin:]])
