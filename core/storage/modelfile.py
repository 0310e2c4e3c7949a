"""What a skops file may hold, checked before anything in it is constructed.

A skops file is a zip of `schema.json`, a tree of nodes, and of arrays. skops trusts *names of types*, but a node also defines
what is done with a type: some kinds of node call it with arguments from the file, and others look up functions. Here both
are lists of exact names: the kinds of node that fitted scikit-learn pipelines need, each in exactly its form, and the types
that may stand in them. Everything else is refused. Arrays are never pickled, and those of a tree, which compiled code
follows without looking, are checked node by node.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from core.errors import BadInput
from core.learning.soundness import refuse_bad_tree
from core.records import JsonObject
from core.storage.modelfile_allowed import ALLOWED, KEYS

PROTOCOLS = (1, 2)


MAX_SCHEMA_BYTES = 128 * 1024**2


MAX_NODES = 2_000_000


MAX_DEPTH = 120  # nested nodes; a committee of pipelines needs about 30


MAX_MEMBERS = 100_000  # of the zip; a forest of 1,000 trees has some 5,000


MAX_UNPACKED_BYTES = 4 * 1024**3


MAX_HEADER_BYTES = 4096  # of an array


MAX_WORD = 200  # characters of a name


_HEAD = frozenset({"__class__", "__module__", "__loader__", "__id__"})


HOW = "Build the pipeline from the estimators that SECURITY.md lists, and save it with skops.io.dump."


def checked_types(data: bytes) -> frozenset[str]:
    """All types in a skops file, once everything in it has passed: allowed kinds, types, forms and sizes.

    Raises:
        BadInput: it holds anything else; the message says what and where.
    """
    try:
        return _File(data).types()
    # What zipfile raises over a broken member: a bad checksum, an end too early, or (NotImplementedError) a compression
    # or cipher that it does not know.
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError, OSError, RuntimeError) as error:
        raise BadInput(f"The file cannot be read as skops: {type(error).__name__} in the archive. {HOW}") from error


class _File:
    """One check of a file: its members, and its schema's nodes from the root down."""

    def __init__(self, data: bytes) -> None:
        self._zip = zipfile.ZipFile(io.BytesIO(data))
        members = self._zip.infolist()
        self._members = {m.filename: m for m in members}
        if len(self._members) != len(members):
            raise BadInput(f"The file holds a part twice, expected each once. {HOW}")
        if len(members) > MAX_MEMBERS or sum(m.file_size for m in members) > MAX_UNPACKED_BYTES:
            most = f"{MAX_MEMBERS:,} parts and {MAX_UNPACKED_BYTES / 1e9:.1f} GB"
            raise BadInput(f"The file unpacks to more than {most}. Make the model smaller.")
        schema = self._members.get("schema.json")
        if schema is None or schema.file_size > MAX_SCHEMA_BYTES:
            raise BadInput(f"The file has no schema.json of at most {MAX_SCHEMA_BYTES / 1e6:,.0f} MB. {HOW}")
        try:
            self._root = json.loads(self._zip.read(schema))
        except (ValueError, RecursionError) as error:
            raise BadInput(f"The file cannot be read as skops: its schema.json is no JSON. {HOW}") from error
        self._found: set[str] = set()
        self._count = 0
        self._files: dict[str, int] = {}  # a digest of each array's bytes
        self._digests: dict[int, int] = {}  # by __id__: skops takes the first node of an id for all others

    def types(self) -> frozenset[str]:
        root = self._root
        if not isinstance(root, dict) or root.get("protocol") not in PROTOCOLS or isinstance(root["protocol"], bool):
            versions = ", ".join(map(str, PROTOCOLS))
            raise BadInput(f"The file cannot be read as skops: its schema has not the protocol {versions}. {HOW}")
        if not isinstance(root.get("_skops_version"), str):
            raise BadInput(f"The file cannot be read as skops: its schema names no version of skops. {HOW}")
        self._node({k: v for k, v in root.items() if k not in ("protocol", "_skops_version")}, 0)
        unused = sorted(self._members.keys() - self._files.keys() - {"schema.json"})
        if unused:
            raise BadInput(f"The file holds a part that its schema does not name: {unused[0][:MAX_WORD]!r}. {HOW}")
        return frozenset(self._found)

    def _node(self, node: Any, depth: int) -> int:
        """Check a node and all below it; a digest of both."""
        self._count += 1
        if depth > MAX_DEPTH or self._count > MAX_NODES:
            raise BadInput(f"The file's schema is nested deeper than {MAX_DEPTH} or longer than {MAX_NODES:,} nodes.")
        if not isinstance(node, dict):
            raise BadInput(f"The file's schema holds a {type(node).__name__} in the place of a node. {HOW}")
        loader, name = node.get("__loader__"), f"{node.get('__module__')}.{node.get('__class__')}"
        allowed = ALLOWED.get(loader) if isinstance(loader, str) else None
        if not isinstance(loader, str) or allowed is None:
            raise BadInput(f"The file holds a {_short(loader)} ({_short(name)}); such parts are not loaded. {HOW}")
        if name not in allowed or not isinstance(node["__module__"], str) or not isinstance(node["__class__"], str):
            raise BadInput(f"The file holds the type {_short(name)}, which is not on the list. {_instead(name)}")
        number = node.get("__id__")
        if type(number) is not int:
            raise BadInput(f"The file's schema has a {loader} without its number. {HOW}")
        self._found.add(name)
        below = _FORMS[loader](self, node, depth + 1)
        digest = hash((loader, name, below))
        if self._digests.setdefault(number, digest) != digest:
            raise BadInput(f"The file's schema uses one number for two different parts ({_short(name)}). {HOW}")
        return digest

    # --- the forms ------------------------------------------------------------------------------------------------

    def _keys(self, node: JsonObject, *names: str) -> None:
        if node.keys() - _HEAD != set(names):
            extra = sorted(node.keys() - _HEAD - set(names))
            said = f"the unknown entry {_short(extra[0])!r}" if extra else "an entry too few"
            raise BadInput(f"The file's schema has a {node['__loader__']} with {said}. {HOW}")

    def _expect(self, node: Any, loader: str) -> JsonObject:
        if not isinstance(node, dict) or node.get("__loader__") != loader:
            raise BadInput(f"The file's schema has another part where a {loader} belongs. {HOW}")
        return node

    def _listed(self, content: Any, depth: int) -> int:
        if not isinstance(content, list):
            raise BadInput(f"The file's schema has a {type(content).__name__} where a list belongs. {HOW}")
        return hash(tuple([self._node(child, depth) for child in content]))

    def _sequence(self, node: JsonObject, depth: int) -> int:
        self._keys(node, "content")
        return self._listed(node["content"], depth)

    def _json(self, node: JsonObject, depth: int) -> int:
        self._keys(node, "content", "is_json")
        self._literal(node)
        return hash(node["content"])

    def _literal(self, node: Any) -> Any:
        """The value of a JsonNode."""
        content = self._expect(node, "JsonNode").get("content")
        try:
            if isinstance(content, str):
                return json.loads(content)
        except (ValueError, RecursionError):
            pass  # refused below, as content that is no text is
        raise BadInput(f"The file's schema has a value that is no JSON. {HOW}")

    def _dict(self, node: JsonObject, depth: int) -> int:
        self._keys(node, "content", "key_types")
        content, types = node["content"], self._expect(node["key_types"], "ListNode")
        if not isinstance(content, dict) or not isinstance(types.get("content"), list):
            raise BadInput(f"The file's schema has a dictionary of another form. {HOW}")
        for kind in types["content"]:
            named = self._expect(kind, "TypeNode")
            if f"{named.get('__module__')}.{named.get('__class__')}" not in KEYS:
                raise BadInput(f"The file's schema has a dictionary whose keys are no text or numbers. {HOW}")
        first = self._node(types, depth)
        return hash((first, tuple((key, self._node(value, depth)) for key, value in content.items())))

    def _bare(self, node: JsonObject, depth: int) -> int:
        self._keys(node)
        return 0

    def _slice(self, node: JsonObject, depth: int) -> int:
        self._keys(node, "content")
        ends = node["content"]
        if not isinstance(ends, dict) or ends.keys() != {"start", "stop", "step"}:
            raise BadInput(f"The file's schema has a slice of another form. {HOW}")
        if any(end is not None and type(end) not in (int, str) for end in ends.values()):
            raise BadInput(f"The file's schema has a slice whose ends are no numbers. {HOW}")
        return hash((ends["start"], ends["stop"], ends["step"]))

    def _object(self, node: JsonObject, depth: int) -> int:
        if node.keys() == _HEAD:
            return 0
        self._keys(node, "content")
        state = node["content"]
        if _is(state, "JsonNode") and self._literal(state) is None:  # an object without attributes
            return self._node(state, depth)
        return self._node(self._expect(state, "DictNode"), depth)

    def _dtype(self, node: JsonObject, depth: int) -> int:
        self._keys(node, "content")
        return self._node(self._expect(node["content"], "NdArrayNode"), depth)

    def _array(self, node: JsonObject, depth: int) -> int:
        if node.get("type") == "json" and node["__class__"] == "ndarray":
            self._keys(node, "type", "content", "shape")
            shape = self._node(self._expect(node["shape"], "TupleNode"), depth)
            return hash((shape, self._listed(node["content"], depth)))
        self._keys(node, "type", "file")
        if node["type"] != "numpy":
            raise BadInput(f"The file's schema has an array of an unknown form. {HOW}")
        return self._array_file(node["file"])

    def _state(self, node: JsonObject, depth: int) -> int:
        self._keys(node, "content")
        outer = self._expect(node["content"], "DictNode")
        digest = self._node(outer, depth)
        inner = self._expect(outer["content"].get("state"), "DictNode")
        if self._whole(inner["content"].get("pos")) > 624:  # of Mersenne twister's words; it reads on without looking
            raise BadInput(f"The file's schema has a random state of another form. {HOW}")
        return digest

    def _generator(self, node: JsonObject, depth: int) -> int:
        self._keys(node, "content")
        content = node["content"]
        if not isinstance(content, dict) or content.keys() != {"bit_generator", "seed_seq"}:
            raise BadInput(f"The file's schema has a random generator of another form. {HOW}")
        bits, seeds = (self._expect(content[part], "DictNode") for part in ("bit_generator", "seed_seq"))
        digest = hash((self._node(bits, depth), self._node(seeds, depth)))
        name = self._literal(bits["content"].get("bit_generator"))
        size = self._literal(seeds["content"].get("pool_size"))
        if name != "PCG64" or type(size) is not int or not 4 <= size <= 64:
            raise BadInput(f"The file's schema has a random generator of another kind. {HOW}")
        return digest

    def _reduced(self, node: JsonObject, depth: int) -> tuple[int, JsonObject, JsonObject]:
        """A node that calls its type: its arguments and its state, checked."""
        self._keys(node, "__reduce__", "content")
        reduced = node["__reduce__"]
        if not isinstance(reduced, dict) or reduced.keys() != {"args"}:
            raise BadInput(f"The file's schema has a {node['__loader__']} of another form. {HOW}")
        args = self._expect(reduced["args"], "TupleNode")
        return hash((self._node(args, depth), self._node(node["content"], depth))), args, node["content"]

    def _loss(self, node: JsonObject, depth: int) -> int:
        digest, args, _ = self._reduced(node, depth)
        for argument in args["content"]:
            if type(self._literal(argument)) not in (int, float):
                raise BadInput(f"The file's schema has a loss whose argument is no number. {HOW}")
        return digest

    def _tree(self, node: JsonObject, depth: int) -> int:
        digest, args, content = self._reduced(node, depth)
        state = self._expect(content, "DictNode")["content"]
        if len(args["content"]) != 3 or not {"max_depth", "node_count", "nodes", "values"} <= state.keys():
            raise BadInput(f"The file's schema has a tree of another form. {HOW}")
        features, outputs = self._whole(args["content"][0]), self._whole(args["content"][2])
        classes = self._values(args["content"][1])
        nodes, values = self._values(state["nodes"]), self._values(state["values"])
        depth_, count = self._whole(state["max_depth"]), self._whole(state["node_count"])
        if classes.dtype != np.dtype(np.intp) or classes.shape != (outputs,) or outputs < 1 or (classes < 1).any():
            raise BadInput(f"A tree in the file counts its classes for another number of outputs than {outputs}.")
        if nodes.shape != (count,) or values.shape != (count, outputs, int(classes.max())) or depth_ > count:
            raise BadInput(f"A tree in the file says it has {count:,} nodes, but its arrays have another shape.")
        names = ("left_child", "right_child", "feature", "threshold")
        if values.dtype != np.float64 or not set(names) <= set(nodes.dtype.names or ()):
            raise BadInput(f"A tree in the file has arrays of another type than numbers of double precision. {HOW}")
        left, right, feature, threshold = (nodes[name] for name in names)
        refuse_bad_tree(left, right, feature, threshold, features=features, leaf=left == -1)
        return digest

    # --- values ---------------------------------------------------------------------------------------------------

    def _whole(self, node: Any) -> int:
        """A whole number >= 0, stored as JSON or as a numpy number."""
        value = self._values(node).item() if _is(node, "NdArrayNode") else self._literal(node)
        if type(value) is not int or value < 0:
            raise BadInput(f"The file counts {_short(value)} somewhere, expected a whole number. {HOW}")
        return value

    def _values(self, node: Any) -> np.ndarray:
        """The array of a node that was checked."""
        file = self._expect(node, "NdArrayNode").get("file")
        if file not in self._members:
            raise BadInput(f"The file's schema has another part where an array of numbers belongs. {HOW}")
        found: np.ndarray = np.load(io.BytesIO(self._zip.read(file)), allow_pickle=False)
        return found

    def _array_file(self, name: Any) -> int:
        """A digest of an array's bytes; refused when missing, pickled, of another kind, or of another size than it says."""
        member = self._members.get(name) if isinstance(name, str) and name != "schema.json" else None
        if member is None:
            raise BadInput(f"The file has no array {_short(name)}, which its schema names. {HOW}")
        if name in self._files:
            return self._files[name]
        stored = self._zip.read(member)
        self._files[name] = hash(stored)
        head = io.BytesIO(stored)
        try:
            version = np.lib.format.read_magic(head)
            readers: dict[tuple[int, int], Callable[..., Any]] = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }
            shape, _, dtype = readers[version](head, max_header_size=MAX_HEADER_BYTES)
        except (ValueError, KeyError, TypeError, SyntaxError) as error:
            raise BadInput(f"The array {_short(name)} of the file cannot be read. {HOW}") from error
        if dtype.hasobject or dtype.kind not in "biufUV" or (dtype.kind == "V" and not dtype.names):
            raise BadInput(f"The array {_short(name)} of the file is of the type {dtype}, expected numbers or text.")
        length = math.prod(shape)
        if length * dtype.itemsize != member.file_size - head.tell() or any(n < 0 or n > 1 << 40 for n in shape):
            raise BadInput(f"The array {_short(name)} of the file has another size than it says: {shape}. {HOW}")
        return self._files[name]


_FORMS: dict[str, Callable[[_File, JsonObject, int], int]] = {
    "DTypeNode": _File._dtype,
    "DictNode": _File._dict,
    "FunctionNode": _File._bare,
    "JsonNode": _File._json,
    "ListNode": _File._sequence,
    "LossNode": _File._loss,
    "NdArrayNode": _File._array,
    "ObjectNode": _File._object,
    "RandomGeneratorNode": _File._generator,
    "RandomStateNode": _File._state,
    "SetNode": _File._sequence,
    "SliceNode": _File._slice,
    "TreeNode": _File._tree,
    "TupleNode": _File._sequence,
    "TypeNode": _File._bare,
}


def _is(node: Any, loader: str) -> bool:
    return isinstance(node, dict) and node.get("__loader__") == loader


def _short(value: Any) -> str:
    return str(value)[:MAX_WORD]


def _instead(name: str) -> str:
    if name.endswith(("KDTree", "BallTree", "KDTree64", "BallTree64")) or "_dist_metrics" in name:
        return "Fit the neighbours with algorithm='brute', or leave their tree out."
    return HOW
