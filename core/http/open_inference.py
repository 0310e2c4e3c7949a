"""Open Inference Protocol v2 over HTTP: tensors of a request into columns, answers into tensors, JSON or binary.

Only the form is dealt with here, that of a single tensor in `core.http.tensors`. Whether the values suit the model is left to whoever takes the columns; routes and the model are elsewhere.
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
from core.data.cells import MAX_PROBLEMS, as_text, listed, nearest, refusal, shown
from core.errors import FieldProblem
from core.http import bodies
from core.http.problems import NotJson
from core.http.tensors import ACCEPTED, column_of, matrix_of, packed, parameters_of, read_tensors, refused, seen
from core.records import FeatureSchema, JsonObject, Label

if TYPE_CHECKING:
    import numpy as np

SERVER = "continual-ml"
MATRIX = "input"  # the one tensor that may stand for all features
PREDICTION = "prediction"
PROBABILITIES = "probabilities"

_MEMBERS = ("id", "model_name", "model_version", "parameters", "inputs", "outputs")


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output that a request names."""

    name: str
    binary: bool


@dataclass(frozen=True, slots=True, eq=False)
class InferenceRequest:
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


# --- documents -------------------------------------------------------------------------------------------------


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


Absent = Field(None)  # of a member that may be left out


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
    """The datatype of predictions: FP64 without classes (regression), BYTES where no other holds all of them."""
    kinds = set(map(type, classes))
    if kinds == {bool}:
        return "BOOL"
    if kinds == {int}:
        return "INT64" if all(-(2**63) <= int(c) < 2**63 for c in classes) else "BYTES"
    return "FP64" if kinds <= {int, float} else "BYTES"


# --- requests ---------------------------------------------------------------------------------------------------


def read_infer(body: bytes, header_length: int | None, schema: FeatureSchema) -> InferenceRequest:
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
        raise refused("Inference-Header-Content-Length", f"{head:,}", f"at most {len(body):,}, the body's bytes")
    document = bodies.an_object(_decoded(body[:head]), _MEMBERS)
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise refused("id", seen(request_id), "text")
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
        return bodies.decode(header)
    except NotJson as error:
        advice = "Binary tensors need Inference-Header-Content-Length; a missing value is null in JSON, not NaN."
        raise NotJson(f"{error} {advice}") from None


def _named_objects(found: Any, field: str) -> list[JsonObject]:
    """The entries of `inputs` or `outputs`, each an object with a name."""
    if not isinstance(found, list):
        raise refused(field, "missing" if found is None else seen(found), "a list of objects")
    for i, entry in enumerate(found):
        if not isinstance(entry, dict):
            raise refused(f"{field}[{i}]", seen(entry), "an object")
        if not isinstance(entry.get("name"), str):
            raise refused(f"{field}[{i}].name", seen(entry.get("name")), "text")
    return found


def _flag(entry: JsonObject, field: str, key: str, *, default: bool) -> bool:
    value = parameters_of(entry, field).get(key, default)
    if not isinstance(value, bool):
        raise refused(f"{key} of {field}", seen(value), "true or false")
    return value


def _wanted(document: JsonObject, schema: FeatureSchema, binary_default: bool) -> tuple[Wanted, ...]:
    if document.get("outputs") is None:
        return ()
    known = (PREDICTION,) if schema.task == "regression" else (PREDICTION, PROBABILITIES)
    wanted: dict[str, Wanted] = {}
    for entry in _named_objects(document["outputs"], "outputs"):
        name = entry["name"]
        if name not in known:
            raise refused("outputs", shown(name), listed(known))
        if name in wanted:
            raise refused("outputs", f"{shown(name)} twice", "each output once")
        wanted[name] = Wanted(name, _flag(entry, f"output {name}", "binary_data", default=binary_default))
    return tuple(wanted.values())


def _check_names(names: list[str], schema: FeatureSchema) -> None:
    """Refuse inputs that are unknown, missing or there twice."""
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
        raise refused(f"input '{MATRIX}'", "one tensor for all features", expected)
    return schema.names


# --- answers ----------------------------------------------------------------------------------------------------


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
    """A value as JSON holds it; orjson writes NaN as null."""
    if value is None:
        return None
    if datatype == "BYTES":
        return as_text(value)
    return float(value) if datatype == "FP64" else value
