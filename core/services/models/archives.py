"""Checks of a model file before its content is read: a skops zip, within the size limit, and not a pickle."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickletools
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from core.errors import BadInput, TooLarge, UnsupportedFormat

MAX_MEMBERS = 100_000  # of the zip; a forest of 1,000 trees has some 5,000


MAX_UNPACKED = 20  # multiple of the size limit


MAX_RATIO = 200  # unpacked over packed size, checked from 50 MB on


HOW = "Save the fitted pipeline with skops.io.dump(pipeline, 'model.skops')."


PICKLES = {
    ".pkl": "pickle",
    ".pickle": "pickle",
    ".p": "pickle",
    ".joblib": "joblib",
    ".cloudpickle": "cloudpickle",
    ".dill": "dill",
    ".sav": "pickle",
}


def read_skops(path: Path, max_bytes: int) -> bytes:
    """A model file's bytes, after checking that it is a skops file within the size limit.

    Raises:
        TooLarge: beyond the limit, packed or unpacked.
        UnsupportedFormat: pickle, joblib, cloudpickle or anything else; the message says which.
        BadInput: it cannot be read.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise TooLarge(f"{path.name} has {size / 1e6:,.1f} MB, expected at most {max_bytes / 1e6:,.1f} MB.")
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path.name} cannot be read: {error.strerror or error}. Choose a .skops file.") from error
    kind = pickle_kind(data) or PICKLES.get(path.suffix.lower())
    if kind is not None:
        raise UnsupportedFormat(f"{path.name} is a {kind} file; loading it would execute any code in it. {HOW}")
    try:
        members = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:  # what ZipFile raises for damaged headers
        raise UnsupportedFormat(f"{path.name} is not a skops file: it is not a zip archive. {HOW}") from error
    _refuse_archive(path.name, members, len(data), max_bytes)
    return data


def _refuse_archive(name: str, members: Sequence[zipfile.ZipInfo], size: int, max_bytes: int) -> None:
    pickled = next((m.filename for m in members if Path(m.filename).suffix.lower() in PICKLES), None)
    if pickled is not None:
        raise UnsupportedFormat(f"{name} is an archive that contains the pickle {pickled}. {HOW}")
    if "schema.json" not in {m.filename for m in members}:
        raise UnsupportedFormat(f"{name} is a zip archive but not a skops file: it has no schema.json. {HOW}")
    unpacked = sum(m.file_size for m in members)
    bomb = unpacked > 50_000_000 and unpacked > MAX_RATIO * size
    if bomb or unpacked > MAX_UNPACKED * max_bytes or len(members) > MAX_MEMBERS:
        raise TooLarge(
            f"{name} unpacks from {size / 1e6:,.1f} MB to {unpacked / 1e6:,.0f} MB in {len(members):,} parts, "
            f"expected at most {MAX_UNPACKED * max_bytes / 1e6:,.0f} MB, {MAX_RATIO} times its size "
            f"and {MAX_MEMBERS:,} parts. Make the model smaller."
        )


def pickle_kind(data: bytes) -> str | None:
    """pickle, joblib, cloudpickle or dill, recognised by the opcodes (also in compressed files); None for anything else."""
    head = _unpacked_head(data)
    if not _is_pickle(head):
        return None
    for word, kind in ((b"joblib", "joblib"), (b"cloudpickle", "cloudpickle"), (b"dill", "dill")):
        if word in head:
            return kind
    return "pickle" if head is data else "joblib"  # joblib compresses pickles


def _unpacked_head(data: bytes, most: int = 1 << 20) -> bytes:
    """The first bytes of a compressed file's content; the data itself if it is not compressed."""
    packed: tuple[tuple[bytes, Callable[[], Any]], ...] = (
        (b"\x1f\x8b", lambda: gzip.GzipFile(fileobj=io.BytesIO(data)).read1(most)),
        (b"BZh", lambda: bz2.BZ2Decompressor().decompress(data, most)),
        (b"\xfd7zXZ", lambda: lzma.LZMADecompressor().decompress(data, most)),
        (b"]\x00\x00", lambda: lzma.LZMADecompressor(format=lzma.FORMAT_ALONE).decompress(data, most)),
        (b"x", lambda: zlib.decompressobj().decompress(data, most)),
    )
    for magic, unpack in packed:
        if data.startswith(magic):
            try:
                return bytes(unpack())
            except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError):
                return data
    return data


def _is_pickle(data: bytes) -> bool:
    """Whether the first opcodes are those of a pickle; nothing is executed."""
    if len(data) >= 2 and data[0] == 0x80:
        return data[1] <= 5
    if not data or data[:1] not in b"(]}cIFLSVUXKMJGN.)":
        return False
    seen = 0
    try:
        for opcode, _, _ in pickletools.genops(io.BytesIO(data)):
            seen += 1
            if opcode.name == "STOP" or seen >= 50:
                return seen > 1
    except Exception:  # not a pickle
        return False
    return False
