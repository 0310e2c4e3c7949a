"""Open Inference Protocol v2 over HTTP: tensors of a request into columns, answers into tensors, JSON or binary.

Only the form is dealt with here: what a body claims is checked against the bytes that are there before anything is
allocated. Whether the values suit the model is left to whoever takes the columns; routes and the model are elsewhere.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import orjson

from core import __version__
from core.data.cells import MAX_PROBLEMS, as_text, listed, nearest, plural, refusal, shown
from core.errors import BadInput, FieldProblem
from core.http import bodies
from core.http.problems import NotJson
from core.records import Feature, FeatureKind, FeatureSchema, Label

if TYPE_CHECKING:
    import numpy as np

SERVER = "continual-ml"
MATRIX = "input"  # the one tensor that may stand for all features
PREDICTION = "prediction"
PROBABILITIES = "probabilities"

_MEMBERS = ("id", "model_name", "model_version", "parameters", "inputs", "outputs")
_FLOATS = ("FP64", "FP32", "FP16")
_INTEGERS = ("INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8")
_ACCEPTED: dict[FeatureKind, tuple[str, ...]] = {  # first what the metadata declares
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
class Wanted:
    """An output that a request names."""

    name: str
    binary: bool


@dataclass(frozen=True, slots=True, eq=False)
class InferRequest:
    """A request whose form is in order.

    `columns` holds each feature in the schema's order as `rows` plain values: float or int for numeric features, str
    or int for categorical ones (booleans are "true" and "false"), bool for boolean ones, None = missing. A request of
    one `input` tensor has `matrix` instead, float64 of shape (rows, features) with NaN = missing and nothing infinite;
    `columns` is empty then.
    """

    id: str | None
    rows: int
    columns: dict[str, list[Any]]
    outputs: tuple[Wanted, ...]  # empty: all
    binary_default: bool  # the form of the outputs when none is named
    matrix: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class _Tensor:
    """An input whose shape, datatype and size suit the features it holds; its values are not looked at yet."""

    features: tuple[str, ...]  # one a column
    rows: int
    nested: bool  # of two dimensions
    datatype: str
    data: list[Any] | None  # JSON, or
    raw: memoryview  # binary

    def cell(self, index: int) -> str:
        """The place of a value, as error texts name it."""
        row, column = divmod(index, len(self.features))
        return f"rows[{row}].{self.features[column]}"


# --- metadata ---------------------------------------------------------------------------------------------------


def server_metadata() -> dict[str, Any]:
    """Name, version and extensions of this server."""
    return {"name": SERVER, "version": __version__, "extensions": ["binary_tensor_data"]}


def model_metadata(name: str, version: int, schema: FeatureSchema) -> dict[str, Any]:
    """Inputs and outputs of a model; -1 in a shape stands for the number of rows."""
    outputs = [{"name": PREDICTION, "datatype": label_datatype(schema.classes), "shape": [-1]}]
    if schema.task != "regression":
        outputs.append({"name": PROBABILITIES, "datatype": "FP64", "shape": [-1, len(schema.classes) or -1]})
    return {
        "name": name,
        "versions": [str(version)],
        "platform": SERVER,
        "inputs": [{"name": f.name, "datatype": _ACCEPTED[f.kind][0], "shape": [-1]} for f in schema.features],
        "outputs": outputs,
    }


def label_datatype(classes: Sequence[Label]) -> str:
    """The datatype of predictions: FP64 without classes (regression), BYTES where no other holds all of them."""
    kinds = set(map(type, classes))
    if kinds == {bool}:
        return "BOOL"
    if kinds == {int}:
        return "INT64" if all(-(2**63) <= int(c) < 2**63 for c in classes) else "BYTES"
    return "FP64" if kinds <= {int, float} else "BYTES"


# --- requests ---------------------------------------------------------------------------------------------------


def read_infer(body: bytes, header_length: int | None, schema: FeatureSchema) -> InferRequest:
    """The tensors of an inference request as columns, or as one matrix.

    Either there is one input per feature, in any order, of shape [n] or [n, 1]; or, where all features are numeric,
    one `input` of shape [n, features]. NaN in a tensor and null in JSON are missing values.

    Args:
        body: JSON, then the binary tensors in the order of the inputs.
        header_length: bytes of the JSON (`Inference-Header-Content-Length`); None where the body is JSON alone.

    Raises:
        NotJson: the JSON cannot be decoded.
        TooLarge: more than 100,000 rows.
        BadInput: the request contradicts the protocol, itself or the schema; says where, and what was expected.
    """
    head = len(body) if header_length is None else header_length
    if not 0 <= head <= len(body):
        raise _refused("Inference-Header-Content-Length", f"{head:,}", f"at most {len(body):,}, the body's bytes")
    document = bodies.an_object(_decoded(body[:head]), _MEMBERS)
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise _refused("id", _seen(request_id), "text")
    binary_default = _flag(document, "the request", "binary_data_output", default=False)
    outputs = _wanted(document, schema, binary_default)
    entries = _named_objects(document.get("inputs"), "inputs")
    tail = memoryview(body)[head:]
    if [entry["name"] for entry in entries] == [MATRIX] and MATRIX not in schema.names:
        (tensor,) = _tensors(entries, {MATRIX: _columns_of_matrix(schema)}, {MATRIX: "numeric"}, tail)
        return InferRequest(request_id, tensor.rows, {}, outputs, binary_default, _matrix(tensor))
    _check_names([entry["name"] for entry in entries], schema)
    kinds = {f.name: f.kind for f in schema.features}
    tensors = {t.features[0]: t for t in _tensors(entries, {name: (name,) for name in kinds}, kinds, tail)}
    columns = {f.name: _column(tensors[f.name], f) for f in schema.features}
    return InferRequest(request_id, tensors[schema.names[0]].rows, columns, outputs, binary_default)


def _decoded(header: bytes) -> Any:
    try:
        return bodies.decode(header)
    except NotJson as error:
        advice = "Binary tensors need Inference-Header-Content-Length; a missing value is null in JSON, not NaN."
        raise NotJson(f"{error} {advice}") from None


def _refused(field: str, seen: str, expected: str) -> BadInput:
    return refusal("The inference request cannot be taken", [FieldProblem(field, seen, expected)])


def _seen(value: Any) -> str:
    if isinstance(value, list):
        return f"a list of {len(value):,}"
    if isinstance(value, dict):
        return "an object"
    return shown(value) if isinstance(value, str) else str(orjson.dumps(value), "utf-8")


def _named_objects(found: Any, field: str) -> list[dict[str, Any]]:
    """The entries of `inputs` or `outputs`, each an object with a name."""
    if not isinstance(found, list):
        raise _refused(field, "missing" if found is None else _seen(found), "a list of objects")
    for i, entry in enumerate(found):
        if not isinstance(entry, dict):
            raise _refused(f"{field}[{i}]", _seen(entry), "an object")
        if not isinstance(entry.get("name"), str):
            raise _refused(f"{field}[{i}].name", _seen(entry.get("name")), "text")
    return found


def _parameters(entry: dict[str, Any], field: str) -> dict[str, Any]:
    parameters = entry.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise _refused(f"parameters of {field}", _seen(parameters), "an object")
    shared = next((key for key in parameters if key.startswith("shared_memory")), None)
    if shared is not None:
        raise _refused(f"{shown(shared)[1:-1]} of {field}", "shared memory", "tensors in the body, JSON or binary")
    return parameters


def _flag(entry: dict[str, Any], field: str, key: str, *, default: bool) -> bool:
    value = _parameters(entry, field).get(key, default)
    if not isinstance(value, bool):
        raise _refused(f"{key} of {field}", _seen(value), "true or false")
    return value


def _wanted(document: dict[str, Any], schema: FeatureSchema, binary_default: bool) -> tuple[Wanted, ...]:
    if document.get("outputs") is None:
        return ()
    known = (PREDICTION,) if schema.task == "regression" else (PREDICTION, PROBABILITIES)
    wanted: dict[str, Wanted] = {}
    for entry in _named_objects(document["outputs"], "outputs"):
        name = entry["name"]
        if name not in known:
            raise _refused("outputs", shown(name), listed(known))
        if name in wanted:
            raise _refused("outputs", f"{shown(name)} twice", "each output once")
        wanted[name] = Wanted(name, _flag(entry, f"output {name}", "binary_data", default=binary_default))
    return tuple(wanted.values())


def _check_names(names: list[str], schema: FeatureSchema) -> None:
    """Refuse inputs that are unknown, missing or there twice."""
    known = {f.name: _ACCEPTED[f.kind][0] for f in schema.features}
    counts = Counter(names)
    problems = [
        FieldProblem(
            f"input {shown(name)}", "an unknown feature", f"'{near}'" if near else f"one of {listed(schema.names)}"
        )
        for name in [n for n in counts if n not in known][:MAX_PROBLEMS]
        for near in [nearest(name[:200], schema.names)]
    ]
    problems += [
        FieldProblem(f"input {shown(n)}", f"there {counts[n]:,} times", "once") for n in known if counts[n] > 1
    ]
    problems += [
        FieldProblem(f"input {shown(name)}", "missing", f"{datatype} of shape [n]")
        for name, datatype in known.items()
        if name not in counts
    ]
    if problems:
        numeric = all(f.kind == "numeric" for f in schema.features)
        advice = f"One '{MATRIX}' of shape [n, {len(known)}] may stand for all features." if numeric else ""
        raise refusal("The inputs are not the features of the model", problems, advice)


def _columns_of_matrix(schema: FeatureSchema) -> tuple[str, ...]:
    text = [f.name for f in schema.features if f.kind != "numeric"]
    if text:
        expected = f"one input per feature, as these are not numeric: {listed(text)}"
        raise _refused(f"input '{MATRIX}'", "one tensor for all features", expected)
    return schema.names


# --- tensors ----------------------------------------------------------------------------------------------------


def _tensors(
    entries: list[dict[str, Any]],
    columns: dict[str, tuple[str, ...]],
    kinds: dict[str, FeatureKind],
    tail: memoryview,
) -> list[_Tensor]:
    """The inputs with their share of the binary tail, once every claim about it has been found true."""
    tensors: list[_Tensor] = []
    for entry in entries:
        name = entry["name"]
        field = f"input {shown(name)}"
        rows, nested = _shape(entry.get("shape"), field, len(columns[name]), matrix=name not in columns[name])
        if tensors and rows != tensors[0].rows:
            raise _refused(f"shape of {field}", plural(rows, "row"), f"{tensors[0].rows:,}, as in the first input")
        datatype = entry.get("datatype")
        if datatype not in _ACCEPTED[kinds[name]]:
            expected = f"{' or '.join(_ACCEPTED[kinds[name]])}: the feature is {kinds[name]}"
            raise _refused(f"datatype of {field}", _seen(datatype), expected)
        data, raw = _content(entry, field, tail)
        tail = tail[len(raw) :]
        tensor = _Tensor(columns[name], rows, nested, datatype, data, raw)
        _check_size(tensor, field)
        tensors.append(tensor)
    if len(tail):
        raise _refused("body", f"{plural(len(tail), 'byte')} after the last tensor", "no more than the inputs tell")
    return tensors


def _shape(shape: Any, field: str, width: int, *, matrix: bool) -> tuple[int, bool]:
    """Rows, and whether there are two dimensions."""
    expected = f"[n, {width}]" if matrix else "[n] or [n, 1]"
    if not isinstance(shape, list) or len(shape) not in (1, 2) or any(type(n) is not int for n in shape):
        raise _refused(f"shape of {field}", _seen(shape), f"{expected}, whole numbers")
    if shape[0] < 1 or (shape[1:] != [width] and (matrix or len(shape) == 2)):
        raise _refused(f"shape of {field}", shown(shape), f"{expected} with n of 1 or more")
    bodies.check_rows(shape[0])
    return shape[0], len(shape) == 2


def _content(entry: dict[str, Any], field: str, tail: memoryview) -> tuple[list[Any] | None, memoryview]:
    """The JSON data, or the part of the tail that the input claims."""
    size = _parameters(entry, field).get("binary_data_size")
    data = entry.get("data")
    if size is None:
        if not isinstance(data, list):
            raise _refused(
                f"data of {field}", "missing" if data is None else _seen(data), "a list, or binary_data_size"
            )
        return data, tail[:0]
    if data is not None:
        raise _refused(field, "data and binary_data_size", "one of them")
    if type(size) is not int or not 0 <= size <= len(tail):
        raise _refused(f"binary_data_size of {field}", _seen(size), f"at most {len(tail):,}, the bytes that are left")
    return None, tail[:size]


def _check_size(tensor: _Tensor, field: str) -> None:
    """Refuse data whose length is not what the shape says."""
    count = tensor.rows * len(tensor.features)
    if tensor.data is None:
        if tensor.datatype == "BYTES":
            if len(tensor.raw) < 4 * count:
                expected = f"{4 * count:,} or more: each of {plural(count, 'text')} begins with its length"
                raise _refused(f"binary_data_size of {field}", f"{len(tensor.raw):,}", expected)
            return
        needed = count * int(_DTYPES[tensor.datatype][-1])
        if len(tensor.raw) != needed:
            expected = f"{needed:,}, which {plural(count, 'value')} of {tensor.datatype} take"
            raise _refused(f"binary_data_size of {field}", f"{len(tensor.raw):,}", expected)
        return
    if tensor.nested and tensor.data and isinstance(tensor.data[0], list):
        width = len(tensor.features)
        for i, row in enumerate(tensor.data):
            if not isinstance(row, list) or len(row) != width:
                raise _refused(f"data of {field}, row {i}", _seen(row), f"a list of {width:,}")
        count = tensor.rows
    if len(tensor.data) != count:
        raise _refused(f"data of {field}", f"a list of {len(tensor.data):,}", f"{count:,}, as the shape says")


def _items(tensor: _Tensor) -> list[Any]:
    """The values of JSON data, row by row, each of the datatype or None."""
    items = tensor.data or []
    if tensor.nested and items and isinstance(items[0], list):
        items = list(chain.from_iterable(items))
    types, expected = _JSON_TYPES[tensor.datatype]
    if not set(map(type, items)) <= types:
        i = next(i for i, value in enumerate(items) if type(value) not in types)
        raise _refused(tensor.cell(i), _seen(items[i]), f"{expected}: the datatype is {tensor.datatype}")
    if tensor.datatype in _INTEGERS:
        low, high = _range(tensor.datatype)
        for i, value in enumerate(items):
            if value is not None and not low <= value <= high:
                raise _refused(tensor.cell(i), _seen(value), f"{low} to {high}: the datatype is {tensor.datatype}")
    elif tensor.datatype in _FLOATS:
        items = [None if value is None else float(value) for value in items]
    return items


def _range(datatype: str) -> tuple[int, int]:
    bits = int(datatype.lstrip("UINT"))
    return (0, 2**bits - 1) if datatype.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _array(tensor: _Tensor) -> np.ndarray:
    """The values of a binary tensor, flat; floating-point ones as float64, none infinite."""
    import numpy as np

    values = np.frombuffer(tensor.raw, _DTYPES[tensor.datatype])
    if tensor.datatype not in _FLOATS:
        return values
    with np.errstate(invalid="ignore"):  # a signalling NaN warns when it is widened
        values = values.astype(np.float64)
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        i = int(infinite[0])
        raise _refused(tensor.cell(i), "infinity" if values[i] > 0 else "-infinity", "a finite number or NaN")
    return values


def _matrix(tensor: _Tensor) -> np.ndarray:
    import numpy as np

    values = _array(tensor) if tensor.data is None else np.array(_items(tensor), dtype=np.float64)
    return np.asarray(values, dtype=np.float64).reshape(tensor.rows, len(tensor.features))


def _column(tensor: _Tensor, feature: Feature) -> list[Any]:
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
        raise _refused(field, f"the byte {byte}", "0 or 1: the datatype is BOOL")
    return byte == 1


def _texts(tensor: _Tensor) -> list[str]:
    """The texts of a binary tensor: each is its length in four bytes, then UTF-8."""
    raw, texts, at = tensor.raw, [], 0
    for i in range(tensor.rows):
        left = len(raw) - at - 4
        length = struct.unpack_from("<I", raw, at)[0] if left >= 0 else 4 - left
        if length > left:
            raise _refused(
                tensor.cell(i), f"a text of {length:,} bytes", f"at most {max(left, 0):,}: no more are there"
            )
        try:
            texts.append(str(raw[at + 4 : at + 4 + length], "utf-8"))
        except UnicodeDecodeError:
            raise _refused(tensor.cell(i), "bytes that are not UTF-8", "text in UTF-8") from None
        at += 4 + length
    if at != len(raw):
        field = f"binary_data_size of input {shown(tensor.features[0])}"
        raise _refused(field, f"{len(raw):,}", f"{at:,}, where the last text ends")
    return texts


# --- answers ----------------------------------------------------------------------------------------------------


def answer_infer(
    request: InferRequest,
    *,
    name: str,
    version: int,
    labels: Sequence[Label | None],
    probabilities: np.ndarray | Sequence[Sequence[float]] | None,
    classes: Sequence[Label],
    parameters: dict[str, Any] | None = None,
) -> tuple[bytes, int | None]:
    """The answer's body, and the bytes of its JSON where binary tensors follow it (None: all is JSON).

    A label that is None, an answer withheld, is NaN in a binary FP64 tensor and null in JSON. Binary tensors of other
    datatypes have no missing value: such an output is sent as JSON whatever was asked for.

    Args:
        labels: n plain values, of the types of `classes`; floats for regression.
        probabilities: shape (n, len(classes)), NaN = withheld; None for regression, the output is left out then.
        classes: () for regression.
        parameters: plain values that the answer carries beside its outputs.
    """
    wanted = request.outputs or [Wanted(output, request.binary_default) for output in (PREDICTION, PROBABILITIES)]
    outputs: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for output in wanted:
        if output.name == PREDICTION:
            datatype, shape, values = label_datatype(classes), [len(labels)], list(labels)
        elif probabilities is not None:
            datatype, shape, values = "FP64", [len(labels), len(classes)], _flat(probabilities)
        else:
            continue
        told: dict[str, Any] = {"name": output.name, "datatype": datatype, "shape": shape}
        if output.binary and (datatype == "FP64" or None not in values):
            tail.append(_packed(values, datatype))
            outputs.append({**told, "parameters": {"binary_data_size": len(tail[-1])}})
        else:
            outputs.append({**told, "data": [_plain(value, datatype) for value in values]})
    header = orjson.dumps(
        {
            "model_name": name,
            "model_version": str(version),
            **({} if request.id is None else {"id": request.id}),
            **({"parameters": parameters} if parameters else {}),
            "outputs": outputs,
        }
    )
    return b"".join([header, *tail]), len(header) if tail else None


def _flat(probabilities: np.ndarray | Sequence[Sequence[float]]) -> list[Any]:
    import numpy as np

    values: list[Any] = np.asarray(probabilities, dtype=np.float64).ravel().tolist()
    return values


def _plain(value: Any, datatype: str) -> Any:
    """A value as JSON holds it; orjson writes NaN as null."""
    if value is None:
        return None
    if datatype == "BYTES":
        return as_text(value)
    return float(value) if datatype == "FP64" else value


def _packed(values: list[Any], datatype: str) -> bytes:
    import numpy as np

    if datatype == "BYTES":
        texts = [(as_text(value) or "").encode() for value in values]
        return b"".join(chain.from_iterable((struct.pack("<I", len(text)), text) for text in texts))
    return np.array(values, dtype=_DTYPES[datatype]).tobytes()
