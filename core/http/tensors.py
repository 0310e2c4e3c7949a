"""Tensors of the Open Inference Protocol: validated, read from JSON or binary data, and written.

Declared shapes and sizes are checked against the data before anything is allocated.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from core.data.cells import as_text, refusal, shown, shown_json
from core.errors import BadInput, FieldProblem
from core.http import bodies
from core.records import Feature, FeatureKind, JsonObject
from core.words import counted

if TYPE_CHECKING:
    import numpy as np

_FLOATS = ("FP64", "FP32", "FP16")
_INTEGERS = ("INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8")
ACCEPTED: dict[FeatureKind, tuple[str, ...]] = {  # the first is declared in the metadata
    "numeric": (*_FLOATS, *_INTEGERS),
    "categorical": ("BYTES", "BOOL", *_INTEGERS),
    "boolean": ("BOOL",),
}
_DTYPES = {"FP64": "<f8", "FP32": "<f4", "FP16": "<f2", "BOOL": "<u1"} | {
    name: f"<{'u' if name.startswith('U') else 'i'}{int(name.lstrip('UINT')) // 8}" for name in _INTEGERS
}
_JSON_TYPES: dict[str, tuple[set[type], str]] = {
    "BYTES": ({str, type(None)}, "text or null"),
    "BOOL": ({bool, type(None)}, "true, false or null"),
    **dict.fromkeys(_FLOATS, ({float, int, type(None)}, "a number or null")),
    **dict.fromkeys(_INTEGERS, ({int, type(None)}, "a whole number or null")),
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input with valid shape, datatype and size; its values are not validated yet."""

    features: tuple[str, ...]  # one per column
    rows: int
    nested: bool  # two-dimensional
    datatype: str
    data: list[Any] | None  # JSON, or
    raw: memoryview  # binary

    def cell(self, index: int) -> str:
        """The position of a value, as error messages name it."""
        row, column = divmod(index, len(self.features))
        return f"rows[{row}].{self.features[column]}"


def invalid(field: str, seen: str, expected: str) -> BadInput:
    """The error for one invalid field of a request."""
    return refusal("Invalid inference request", [FieldProblem(field, seen, expected)])


def parameters_of(entry: JsonObject, field: str) -> JsonObject:
    """The `parameters` of an entry or of the request; shared memory is rejected."""
    parameters = entry.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise invalid(f"parameters of {field}", shown_json(parameters), "an object")
    shared = next((key for key in parameters if key.startswith("shared_memory")), None)
    if shared is not None:
        raise invalid(f"{shown(shared)[1:-1]} of {field}", "shared memory", "tensors in the body, JSON or binary")
    return parameters


def read_tensors(
    entries: list[JsonObject],
    columns: dict[str, tuple[str, ...]],
    kinds: dict[str, FeatureKind],
    tail: memoryview,
) -> list[Tensor]:
    """The inputs with their parts of the binary data, after validating declared shapes and sizes."""
    tensors: list[Tensor] = []
    for entry in entries:
        name = entry["name"]
        field = f"input {shown(name)}"
        rows, nested = _shape(entry.get("shape"), field, len(columns[name]), matrix=name not in columns[name])
        if tensors and rows != tensors[0].rows:
            raise invalid(f"shape of {field}", counted(rows, "row"), f"{tensors[0].rows:,}, as in the first input")
        datatype = entry.get("datatype")
        if datatype not in ACCEPTED[kinds[name]]:
            expected = f"{' or '.join(ACCEPTED[kinds[name]])}: the feature is {kinds[name]}"
            raise invalid(f"datatype of {field}", shown_json(datatype), expected)
        data, raw = _content(entry, field, tail)
        tail = tail[len(raw) :]
        tensor = Tensor(columns[name], rows, nested, datatype, data, raw)
        _check_size(tensor, field)
        tensors.append(tensor)
    if len(tail):
        raise invalid("body", f"{counted(len(tail), 'byte')} after the last tensor", "only the data of the inputs")
    return tensors


def _shape(shape: Any, field: str, width: int, *, matrix: bool) -> tuple[int, bool]:
    """Number of rows, and whether there are two dimensions."""
    expected = f"[n, {width}]" if matrix else "[n] or [n, 1]"
    if not isinstance(shape, list) or len(shape) not in (1, 2) or any(type(n) is not int for n in shape):
        raise invalid(f"shape of {field}", shown_json(shape), f"{expected}, whole numbers")
    if shape[0] < 1 or (shape[1:] != [width] and (matrix or len(shape) == 2)):
        raise invalid(f"shape of {field}", shown(shape), f"{expected} with n of 1 or more")
    bodies.check_rows(shape[0])
    return shape[0], len(shape) == 2


def _content(entry: JsonObject, field: str, tail: memoryview) -> tuple[list[Any] | None, memoryview]:
    """The JSON data, or the input's part of the binary data."""
    size = parameters_of(entry, field).get("binary_data_size")
    data = entry.get("data")
    if size is None:
        if not isinstance(data, list):
            raise invalid(
                f"data of {field}", "missing" if data is None else shown_json(data), "a list, or binary_data_size"
            )
        return data, tail[:0]
    if data is not None:
        raise invalid(field, "data and binary_data_size", "only one of them")
    if type(size) is not int or not 0 <= size <= len(tail):
        raise invalid(f"binary_data_size of {field}", shown_json(size), f"at most {len(tail):,}, the remaining bytes")
    return None, tail[:size]


def _check_size(tensor: Tensor, field: str) -> None:
    """Reject data whose length does not match the shape."""
    count = tensor.rows * len(tensor.features)
    if tensor.data is None:
        if tensor.datatype == "BYTES":
            if len(tensor.raw) < 4 * count:
                expected = f"at least {4 * count:,}: each of {counted(count, 'text')} begins with a 4-byte length"
                raise invalid(f"binary_data_size of {field}", f"{len(tensor.raw):,}", expected)
            return
        needed = count * int(_DTYPES[tensor.datatype][-1])
        if len(tensor.raw) != needed:
            expected = f"{needed:,} for {counted(count, 'value')} of {tensor.datatype}"
            raise invalid(f"binary_data_size of {field}", f"{len(tensor.raw):,}", expected)
        return
    if tensor.nested and tensor.data and isinstance(tensor.data[0], list):
        width = len(tensor.features)
        for i, row in enumerate(tensor.data):
            if not isinstance(row, list) or len(row) != width:
                raise invalid(f"data of {field}, row {i}", shown_json(row), f"a list of {width:,}")
        count = tensor.rows
    if len(tensor.data) != count:
        raise invalid(f"data of {field}", f"a list of {len(tensor.data):,}", f"{count:,}, according to the shape")


def _items(tensor: Tensor) -> list[Any]:
    """The values of JSON data, row by row, each of the datatype or None."""
    items = tensor.data or []
    if tensor.nested and items and isinstance(items[0], list):
        items = list(chain.from_iterable(items))
    types, expected = _JSON_TYPES[tensor.datatype]
    if not set(map(type, items)) <= types:
        i = next(i for i, value in enumerate(items) if type(value) not in types)
        raise invalid(tensor.cell(i), shown_json(items[i]), f"{expected}: the datatype is {tensor.datatype}")
    if tensor.datatype in _INTEGERS:
        low, high = _range(tensor.datatype)
        for i, value in enumerate(items):
            if value is not None and not low <= value <= high:
                raise invalid(tensor.cell(i), shown_json(value), f"{low} to {high}: the datatype is {tensor.datatype}")
    elif tensor.datatype in _FLOATS:
        items = [None if value is None else float(value) for value in items]
    return items


def _range(datatype: str) -> tuple[int, int]:
    bits = int(datatype.lstrip("UINT"))
    return (0, 2**bits - 1) if datatype.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _array(tensor: Tensor) -> np.ndarray:
    """The values of a binary tensor, flattened; floats as float64, none infinite."""
    import numpy as np

    values = np.frombuffer(tensor.raw, _DTYPES[tensor.datatype])
    if tensor.datatype not in _FLOATS:
        return values
    with np.errstate(invalid="ignore"):  # widening a signalling NaN warns
        values = values.astype(np.float64)
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        i = int(infinite[0])
        raise invalid(tensor.cell(i), "infinity" if values[i] > 0 else "-infinity", "a finite number or NaN")
    return values


def matrix_of(tensor: Tensor) -> np.ndarray:
    """All values as float64 of shape (rows, features); NaN = missing, none infinite."""
    import numpy as np

    values = _array(tensor) if tensor.data is None else np.array(_items(tensor), dtype=np.float64)
    return np.asarray(values, dtype=np.float64).reshape(tensor.rows, len(tensor.features))


def column_of(tensor: Tensor, feature: Feature) -> list[Any]:
    """The values of one feature; None = missing."""
    if tensor.data is not None:
        values = _items(tensor)
    elif tensor.datatype == "BYTES":
        values = _texts(tensor)
    else:
        values = _array(tensor).tolist()
        if tensor.datatype in _FLOATS:
            return [None if value != value else value for value in values]
        if tensor.datatype == "BOOL":
            values = [_boolean(value, tensor.cell(i)) for i, value in enumerate(values)]
    if tensor.datatype == "BOOL" and feature.kind == "categorical":
        return [as_text(value) for value in values]
    return values


def _boolean(byte: int, field: str) -> bool:
    if byte > 1:
        raise invalid(field, f"the byte {byte}", "0 or 1: the datatype is BOOL")
    return byte == 1


def _texts(tensor: Tensor) -> list[str]:
    """The strings of a binary tensor: each a 4-byte length, then UTF-8."""
    raw, texts, at = tensor.raw, [], 0
    for i in range(tensor.rows):
        left = len(raw) - at - 4
        length = struct.unpack_from("<I", raw, at)[0] if left >= 0 else 4 - left
        if length > left:
            raise invalid(
                tensor.cell(i), f"a text of {length:,} bytes", f"at most {max(left, 0):,}, the remaining bytes"
            )
        try:
            texts.append(str(raw[at + 4 : at + 4 + length], "utf-8"))
        except UnicodeDecodeError:
            raise invalid(tensor.cell(i), "invalid UTF-8", "text in UTF-8") from None
        at += 4 + length
    if at != len(raw):
        field = f"binary_data_size of input {shown(tensor.features[0])}"
        raise invalid(field, f"{len(raw):,}", f"{at:,}, where the last text ends")
    return texts


def packed(values: list[Any], datatype: str) -> bytes:
    """The values as a binary tensor; for BYTES each string after its 4-byte length."""
    import numpy as np

    if datatype == "BYTES":
        texts = [(as_text(value) or "").encode() for value in values]
        return b"".join(chain.from_iterable((struct.pack("<I", len(text)), text) for text in texts))
    return np.array(values, dtype=_DTYPES[datatype]).tobytes()
