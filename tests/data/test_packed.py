"""Packed bytes come back as they went in, and whatever was damaged is refused by name."""

from __future__ import annotations

import array
import struct

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.packed import pack, unpack
from core.errors import StorageError

DOCUMENT = {"kind": "demo", "text": "Grüße", "none": None, "list": [1, 2.5, True]}
ARRAYS = {
    "floats": ("d", array.array("d", [1.5, -0.0, float("inf"), float("nan")]).tobytes()),
    "whole": ("i", array.array("i", [-1, 0, 2**31 - 1]).tobytes()),
    "bytes": ("b", bytes([0, 1, 1])),
    "empty": ("d", b""),
}


@pytest.mark.parametrize("squeeze", [False, True])
def test_a_document_and_its_arrays_come_back(squeeze: bool) -> None:
    document, views = unpack(pack(DOCUMENT, ARRAYS, squeeze=squeeze))
    assert document == DOCUMENT
    assert {name: bytes(view) for name, view in views.items()} == {name: data for name, (_, data) in ARRAYS.items()}


@pytest.mark.parametrize("squeeze", [False, True])
def test_no_arrays_at_all_are_fine(squeeze: bool) -> None:
    assert unpack(pack({}, {}, squeeze=squeeze)) == ({}, {})


@pytest.mark.parametrize("squeeze", [False, True])
def test_every_cut_is_noticed(squeeze: bool) -> None:
    data = pack(DOCUMENT, ARRAYS, squeeze=squeeze)
    for length in range(len(data)):
        with pytest.raises(StorageError, match="damaged"):
            unpack(data[:length])


@pytest.mark.parametrize("squeeze", [False, True])
def test_bytes_behind_the_end_are_noticed(squeeze: bool) -> None:
    with pytest.raises(StorageError, match="damaged"):
        unpack(pack(DOCUMENT, ARRAYS, squeeze=squeeze) + b"more")


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(StorageError):
        unpack(data)


@given(st.integers(0, 400), st.integers(1, 255), st.booleans())
def test_a_flipped_byte_is_refused_or_stays_in_the_numbers(place: int, change: int, squeeze: bool) -> None:
    data = bytearray(pack(DOCUMENT, ARRAYS, squeeze=squeeze))
    data[place % len(data)] ^= change
    refused = False
    try:
        _, views = unpack(bytes(data))
    except StorageError:
        refused = True
    assert refused or all(isinstance(view, memoryview) for view in views.values())


@pytest.mark.parametrize("header", [b"[]", b"3", b'{"document": {}}', b'{"document": {}, "arrays": [["a", "x", 1]]}'])
def test_a_header_of_another_form_is_refused(header: bytes) -> None:
    with pytest.raises(StorageError, match="damaged"):
        unpack(b"CML1" + struct.pack("<I", len(header)) + header)


def test_a_length_that_would_take_all_memory_is_refused() -> None:
    header = orjson.dumps({"document": {}, "arrays": [["a", "d", 10**15]]})
    for magic in (b"CML1", b"CML2"):
        with pytest.raises(StorageError, match="damaged"):
            unpack(magic + struct.pack("<I", len(header)) + header)
    header = orjson.dumps({"document": {}, "arrays": [["a", "d", -1]]})
    with pytest.raises(StorageError, match="damaged"):
        unpack(b"CML1" + struct.pack("<I", len(header)) + header)
