"""Compressed request bodies (Content-Encoding), decompressed piece by piece, so that limits apply before memory is taken."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from core.errors import UnsupportedFormat

PIECE = 1024 * 1024  # bytes, at most, of one decompressed piece
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


def decompressor_of(coding: str | None) -> Decompressor | None:
    """The decompressor for a Content-Encoding; None where the body is sent as it is.

    Raises:
        UnsupportedFormat: another coding than gzip or deflate, or several.
    """
    name = (coding or "identity").strip().lower()
    if name == "identity":
        return None
    if name not in _WINDOWS:
        raise UnsupportedFormat(f"Content-Encoding is {name[:40]!r}, expected gzip, deflate or none.")
    return Decompressor(name)


class Decompressor:
    """A compressed body. gzip may consist of several members, one after another."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stream = zlib.decompressobj(_WINDOWS[name])

    def pieces(self, compressed: bytes) -> Iterator[bytes]:
        """What the next bytes of the body contain.

        Raises:
            UnsupportedFormat: they are not what Content-Encoding says.
        """
        while compressed:
            if self._stream.eof:
                if self._name == "deflate":
                    raise self._damaged("bytes follow its end")
                self._stream = zlib.decompressobj(_WINDOWS[self._name])
            try:
                piece = self._stream.decompress(compressed, PIECE)
            except zlib.error as error:
                raise self._damaged(str(error).partition(": ")[2] or str(error)) from None
            compressed = self._stream.unconsumed_tail or self._stream.unused_data
            if piece:
                yield piece

    def rest(self) -> bytes:
        """What is left at the end of the body.

        Raises:
            UnsupportedFormat: the body ends early.
        """
        left = self._stream.flush()
        if not self._stream.eof:
            raise self._damaged("it ends early")
        return left

    def _damaged(self, seen: str) -> UnsupportedFormat:
        return UnsupportedFormat(
            f"The body is not {self._name}, as Content-Encoding says: {seen}. Compress it again, or send it as it is."
        )
