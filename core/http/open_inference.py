"""Open Inference Protocol v2: request tensors to columns, predictions to response tensors, as JSON or binary.

Only the format is handled here, and that of a single tensor in `core.http.tensors`. Whether the values suit the model is
checked by the caller.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NotRequired

import orjson
from pydantic import ConfigDict, Field, JsonValue, with_config
from typing_extensions import TypedDict

from core import __version__
from core.data.cells import MAX_PROBLEMS, as_text, listed, nearest, refusal, shown, shown_json
from core.errors import FieldProblem
from core.http import bodies, json_decoding
from core.http.problems import NotJson
from core.http.tensors import ACCEPTED, column_of, invalid, matrix_of, packed, parameters_of, read_tensors
from core.records import FeatureSchema, JsonObject, Label

if TYPE_CHECKING:
    import numpy as np

SERVER = "continual-ml"
MATRIX = "input"  # name of a single tensor for all features
PREDICTION = "prediction"
PROBABILITIES = "probabilities"

_MEMBERS = ("id", "model_name", "model_version", "parameters", "inputs", "outputs")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A requested output."""

    name: str
    binary: bool


@dataclass(frozen=True, slots=True, eq=False)
class InferenceRequest:
    """A parsed and validated request.

    `columns` holds each feature in the schema's order as `rows` plain values: float or int for numeric features, str
    or int for categorical ones (booleans are "true" and "false"), bool for boolean ones, None = missing. A request of
    one `input` tensor has `matrix` instead, float64 of shape (rows, features) with NaN = missing and nothing infinite;
    `columns` is empty then.
    """

    id: str | None
    rows: int
    columns: dict[str, list[Any]]
    outputs: tuple[Wanted, ...]  # empty = all
    binary_default: bool  # whether outputs are binary by default
    matrix: np.ndarray | None = None


# --- documents --------------------------------------------------------------------------------------------------


class ServerMetadata(TypedDict):
    name: str
    version: str
    extensions: list[str]


class TensorMetadata(TypedDict):
    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(TypedDict):
    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


Absent = Field(None)  # default of optional members


@with_config(ConfigDict(extra="ignore"))
class Tensor(TypedDict):
    name: str
    shape: list[int]
    datatype: str
    parameters: NotRequired[Annotated[dict[str, JsonValue] | None, Absent]]
    data: NotRequired[Annotated[list[JsonValue] | None, Absent]]


@with_config(ConfigDict(extra="ignore"))
class WantedTensor(TypedDict):
    name: str
    parameters: NotRequired[Annotated[dict[str, JsonValue] | None, Absent]]


@with_config(ConfigDict(extra="forbid"))
class InferRequest(TypedDict):
    id: NotRequired[Annotated[str | None, Absent]]
    model_name: NotRequired[Annotated[JsonValue, Absent]]
    model_version: NotRequired[Annotated[JsonValue, Absent]]
    parameters: NotRequired[Annotated[dict[str, JsonValue] | None, Absent]]
    inputs: Annotated[list[Tensor], Field(min_length=1)]
    outputs: NotRequired[Annotated[list[WantedTensor] | None, Absent]]


class InferAnswer(TypedDict):
    model_name: str
    model_version: str
    id: NotRequired[Annotated[str | None, Absent]]
    parameters: NotRequired[Annotated[dict[str, JsonValue] | None, Absent]]
    outputs: list[Tensor]


# --- metadata ---------------------------------------------------------------------------------------------------


def server_metadata() -> ServerMetadata:
    """Name, version and extensions of this server."""
    return {"name": SERVER, "version": __version__, "extensions": ["binary_tensor_data"]}


def model_metadata(name: str, version: int, schema: FeatureSchema) -> ModelMetadata:
    """Inputs and outputs of a model; -1 in a shape stands for the number of rows."""
    outputs: list[TensorMetadata] = [{"name": PREDICTION, "datatype": label_datatype(schema.classes), "shape": [-1]}]
    if schema.task != "regression":
        outputs.append({"name": PROBABILITIES, "datatype": "FP64", "shape": [-1, len(schema.classes) or -1]})
    return {
        "name": name,
        "versions": [str(version)],
        "platform": SERVER,
        "inputs": [{"name": f.name, "datatype": ACCEPTED[f.kind][0], "shape": [-1]} for f in schema.features],
        "outputs": outputs,
    }


def label_datatype(classes: Sequence[Label]) -> str:
    """The datatype of predictions: FP64 without classes (regression), BYTES if no other type fits all classes."""
    kinds = set(map(type, classes))
    if kinds == {bool}:
        return "BOOL"
    if kinds == {int}:
        return "INT64" if all(-(2**63) <= int(c) < 2**63 for c in classes) else "BYTES"
    return "FP64" if kinds <= {int, float} else "BYTES"


# --- requests ---------------------------------------------------------------------------------------------------


def read_infer(body: bytes, header_length: int | None, schema: FeatureSchema) -> InferenceRequest:
    """Parse an inference request into columns, or into one matrix.

    Either there is one input per feature, in any order, of shape [n] or [n, 1]; or, where all features are numeric,
    one `input` of shape [n, features]. NaN in a tensor and null in JSON are missing values.

    Args:
        body: JSON, then the binary tensors in the order of the inputs.
        header_length: bytes of the JSON (`Inference-Header-Content-Length`); None where the body is JSON alone.

    Raises:
        NotJson: invalid JSON.
        TooLarge: more than 100,000 rows.
        BadInput: the request violates the protocol or does not match the schema; says where, and what was expected.
    """
    head = len(body) if header_length is None else header_length
    if not 0 <= head <= len(body):
        raise invalid("Inference-Header-Content-Length", f"{head:,}", f"at most {len(body):,}, the size of the body")
    document = bodies.require_object(_decoded(body[:head]), _MEMBERS)
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise invalid("id", shown_json(request_id), "text")
    binary_default = _flag(document, "the request", "binary_data_output", default=False)
    outputs = _wanted(document, schema, binary_default)
    entries = _named_objects(document.get("inputs"), "inputs")
    tail = memoryview(body)[head:]
    if [entry["name"] for entry in entries] == [MATRIX] and MATRIX not in schema.names:
        (tensor,) = read_tensors(entries, {MATRIX: _columns_of_matrix(schema)}, {MATRIX: "numeric"}, tail)
        return InferenceRequest(request_id, tensor.rows, {}, outputs, binary_default, matrix_of(tensor))
    _check_names([entry["name"] for entry in entries], schema)
    kinds = {f.name: f.kind for f in schema.features}
    tensors = {t.features[0]: t for t in read_tensors(entries, {name: (name,) for name in kinds}, kinds, tail)}
    columns = {f.name: column_of(tensors[f.name], f) for f in schema.features}
    return InferenceRequest(request_id, tensors[schema.names[0]].rows, columns, outputs, binary_default)


def _decoded(header: bytes) -> Any:
    try:
        return json_decoding.decode(header)
    except NotJson as error:
        advice = "Binary tensors require Inference-Header-Content-Length; missing values are null in JSON, not NaN."
        raise NotJson(f"{error} {advice}") from None


def _named_objects(entries: Any, field: str) -> list[JsonObject]:
    """The entries of `inputs` or `outputs`, each an object with a name."""
    if not isinstance(entries, list):
        raise invalid(field, "missing" if entries is None else shown_json(entries), "a list of objects")
    for i, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise invalid(f"{field}[{i}]", shown_json(entry), "an object")
        if not isinstance(entry.get("name"), str):
            raise invalid(f"{field}[{i}].name", shown_json(entry.get("name")), "text")
    return entries


def _flag(entry: JsonObject, field: str, key: str, *, default: bool) -> bool:
    value = parameters_of(entry, field).get(key, default)
    if not isinstance(value, bool):
        raise invalid(f"{key} of {field}", shown_json(value), "true or false")
    return value


def _wanted(document: JsonObject, schema: FeatureSchema, binary_default: bool) -> tuple[Wanted, ...]:
    if document.get("outputs") is None:
        return ()
    known = (PREDICTION,) if schema.task == "regression" else (PREDICTION, PROBABILITIES)
    wanted: dict[str, Wanted] = {}
    for entry in _named_objects(document["outputs"], "outputs"):
        name = entry["name"]
        if name not in known:
            raise invalid("outputs", shown(name), listed(known))
        if name in wanted:
            raise invalid("outputs", f"{shown(name)} twice", "each output once")
        wanted[name] = Wanted(name, _flag(entry, f"output {name}", "binary_data", default=binary_default))
    return tuple(wanted.values())


def _check_names(names: list[str], schema: FeatureSchema) -> None:
    """Reject unknown, missing and duplicate inputs."""
    known = {f.name: ACCEPTED[f.kind][0] for f in schema.features}
    counts = Counter(names)
    problems = [
        FieldProblem(
            f"input {shown(name)}", "an unknown feature", f"'{near}'" if near else f"one of {listed(schema.names)}"
        )
        for name in [n for n in counts if n not in known][:MAX_PROBLEMS]
        for near in [nearest(name[:200], schema.names)]
    ]
    problems += [
        FieldProblem(f"input {shown(n)}", f"present {counts[n]:,} times", "once") for n in known if counts[n] > 1
    ]
    problems += [
        FieldProblem(f"input {shown(name)}", "missing", f"{datatype} of shape [n]")
        for name, datatype in known.items()
        if name not in counts
    ]
    if problems:
        numeric = all(f.kind == "numeric" for f in schema.features)
        advice = f"One '{MATRIX}' of shape [n, {len(known)}] is accepted for all features." if numeric else ""
        raise refusal("The inputs do not match the features of the model", problems, advice)


def _columns_of_matrix(schema: FeatureSchema) -> tuple[str, ...]:
    text = [f.name for f in schema.features if f.kind != "numeric"]
    if text:
        expected = f"one input per feature, because these are not numeric: {listed(text)}"
        raise invalid(f"input '{MATRIX}'", "one tensor for all features", expected)
    return schema.names


# --- responses --------------------------------------------------------------------------------------------------


def answer_infer(
    request: InferenceRequest,
    *,
    name: str,
    version: int,
    labels: Sequence[Label | None],
    probabilities: np.ndarray | Sequence[Sequence[float]] | None,
    classes: Sequence[Label],
    parameters: Mapping[str, JsonValue] | None = None,
) -> tuple[bytes, int | None]:
    """The response body, and the length of its JSON part if binary tensors follow it (None: all JSON).

    A withheld prediction (None) is NaN in a binary FP64 tensor and null in JSON. Binary tensors of other datatypes
    cannot represent it: such an output is sent as JSON even if binary was requested.

    Args:
        labels: n values of the types in `classes`; floats for regression.
        probabilities: shape (n, len(classes)), NaN = withheld; None for regression, which omits the output.
        classes: () for regression.
        parameters: scalar values sent besides the outputs.
    """
    wanted = request.outputs or [Wanted(output, request.binary_default) for output in (PREDICTION, PROBABILITIES)]
    outputs: list[Tensor] = []
    tail: list[bytes] = []
    for output in wanted:
        if output.name == PREDICTION:
            datatype, shape, values = label_datatype(classes), [len(labels)], list(labels)
        elif probabilities is not None:
            datatype, shape, values = "FP64", [len(labels), len(classes)], _flat(probabilities)
        else:
            continue
        tensor: Tensor = {"name": output.name, "datatype": datatype, "shape": shape}
        if output.binary and (datatype == "FP64" or None not in values):
            tail.append(packed(values, datatype))
            tensor["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            tensor["data"] = [_plain(value, datatype) for value in values]
        outputs.append(tensor)
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
    """A value for JSON; orjson writes NaN as null."""
    if value is None:
        return None
    if datatype == "BYTES":
        return as_text(value)
    return float(value) if datatype == "FP64" else value
