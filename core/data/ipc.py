"""The unpacked size of an Arrow stream, read from its messages before anything is unpacked.

The library allocates what a compressed buffer's first eight bytes claim; a small body can claim terabytes. The
message headers are flatbuffers with a fixed layout (format/Message.fbs of Apache Arrow), so a few lines of code read them.
"""

from __future__ import annotations

import struct

_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3
_INT64 = struct.Struct("<q")


def unpacked_bytes(stream: bytes) -> int:
    """Bytes of all buffers of the stream once decompressed.

    Raises:
        ValueError: a message that cannot be parsed.
        pyarrow.ArrowException: a truncated or damaged stream.
    """
    import pyarrow as pa

    total = 0
    try:
        for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(stream)):
            if message.type in ("record batch", "dictionary batch") or message.body is not None:
                total += _message_bytes(bytes(message.metadata), message.body)
    except (struct.error, IndexError) as error:
        raise ValueError(f"not an Arrow message: {error}") from None
    return total


def _message_bytes(meta: bytes, body: memoryview | None) -> int:
    message = struct.unpack_from("<I", meta, 0)[0]
    kind_at, header_at = _field(meta, message, 1), _field(meta, message, 2)
    kind = meta[kind_at] if kind_at else 0
    if kind not in (_DICTIONARY_BATCH, _RECORD_BATCH) or not header_at or body is None:
        return 0
    batch = _follow(meta, header_at)
    if kind == _DICTIONARY_BATCH:
        data_at = _field(meta, batch, 1)
        if not data_at:
            return 0
        batch = _follow(meta, data_at)
    buffers_at = _field(meta, batch, 2)
    if not buffers_at:
        return 0
    vector = _follow(meta, buffers_at)
    compressed = _field(meta, batch, 3) != 0
    content = memoryview(body)
    total = 0
    for i in range(struct.unpack_from("<I", meta, vector)[0]):
        offset, length = struct.unpack_from("<qq", meta, vector + 4 + 16 * i)
        if not compressed or length < _INT64.size:
            total += max(length, 0)
            continue
        claimed = _INT64.unpack_from(content, offset)[0]
        total += length if claimed == -1 else max(claimed, 0)  # -1: this buffer is not compressed
    return total


def _field(meta: bytes, table: int, number: int) -> int:
    """Position of a table's field, 0 when it is absent."""
    vtable = table - struct.unpack_from("<i", meta, table)[0]
    if 4 + 2 * number >= struct.unpack_from("<H", meta, vtable)[0]:
        return 0
    offset = struct.unpack_from("<H", meta, vtable + 4 + 2 * number)[0]
    return table + offset if offset else 0


def _follow(meta: bytes, at: int) -> int:
    return at + struct.unpack_from("<I", meta, at)[0]
