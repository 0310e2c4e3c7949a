"""Documents from strangers, broken at random places: each is read or refused by name, and nothing else happens.

No process is started, no connection made, no file written outside the test's folder, and memory stays within bounds.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import resource
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import Campaign
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from core.data.conforming import conform
from core.data.files import read_table
from core.data.inferring import infer_schema
from core.data.packed import pack, unpack
from core.data.rows import RowReader
from core.errors import ContinualError
from core.http import bodies, json_decoding
from core.services.ingestion import ingest
from core.services.operations import backup
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage import artefacts
from core.storage.workspace import Workspace

MOST_MEMORY = 500_000_000  # bytes that the whole campaign may add to the process
ROUND = 100
FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "socket.connect",
    "ctypes.dlopen",
    "pty.spawn",
)

Reader = Callable[[bytes], Any]
_watched: list[tuple[Path, list[str]]] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """What the interpreter tells of itself while a document is read."""
    if not _watched:
        return
    folder, seen = _watched[-1]
    if event in FORBIDDEN:
        seen.append(event)
    elif event == "open" and isinstance(arguments[0], str) and any(m in str(arguments[1] or "r") for m in "wax+"):
        place = Path(arguments[0]).absolute()
        if folder not in place.parents and Path("/dev") not in place.parents:
            seen.append(f"wrote {place}")


sys.addaudithook(_audit)


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[list[str]]:
    seen: list[str] = []
    _watched.append((folder, seen))
    try:
        yield seen
    finally:
        _watched.pop()


def broken(data: bytes, rng: random.Random) -> bytes:
    """The document with a few bytes changed, a piece gone, doubled or of another kind."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, n = rng.randrange(len(made) + 1), rng.choice((1, 1, 4, 40))
        what = rng.randrange(6)
        if what == 0:
            made[at : at + n] = rng.randbytes(n)
        elif what == 1:
            del made[at : at + n]
        elif what == 2:
            made[at:at] = made[at : at + n] * rng.choice((1, 2, 50))
        elif what == 3:
            made[at : at + n] = rng.choice(
                (b"\xff" * 8, b"\0" * 8, b"9" * 12, b"-1", b'"', b"[" * 30, b"../", b"1e999", b"null")
            )
        elif what == 4 and len(made) > 8:
            del made[rng.randrange(len(made)) :]
        elif made:
            made[at % len(made)] ^= 1 << rng.randrange(8)
    return bytes(made)


def altered(value: Any, rng: random.Random, names: list[str]) -> Any:
    """JSON with one value in ten of another kind, or under the name of something dangerous."""
    if rng.random() < 0.03:
        return rng.choice((None, -1, 2**40, 1e308, "", [], {}, "os", "system", "__builtins__", *names))
    if isinstance(value, dict):
        return {rng.choice(names) if rng.random() < 0.02 else k: altered(v, rng, names) for k, v in value.items()}
    if isinstance(value, list):
        return [altered(v, rng, names) for v in value]
    return value


def altered_zip(data: bytes, member: str, rng: random.Random, names: list[str]) -> bytes:
    """An archive whose member of JSON is altered, and whose others may be broken."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        members = {name: source.read(name) for name in source.namelist()}
    members[member] = json.dumps(altered(json.loads(members[member]), rng, names)).encode()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as target, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that stands twice: that is the point
        for name, content in members.items():
            bad = rng.random() < 0.1
            target.writestr(rng.choice(("../x", "/x", name)) if bad else name, broken(content, rng) if bad else content)
    return made.getvalue()


NODES = [
    "ConstructorFromReduceNode", "FunctionNode", "TypeNode", "MethodNode", "PartialNode", "OperatorFuncNode", "ObjectNode", "Expr",
    "pandas.core.computation.expr", "numpy.lib.npyio", "NpzFile", "posix", "subprocess", "Popen", "builtins", "eval", "exec",
    "sklearn.tree._tree", "Tree", "__reduce__", "__loader__", "__class__", "__module__", "content", "file",
]  # fmt: skip


def documents(
    tmp_path: Path, ws: Workspace, now: datetime
) -> dict[str, tuple[bytes, Reader, Callable[[bytes, random.Random], bytes]]]:
    """Each kind: one that is whole, its reader, and how it is broken."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=40), "c": rng.choice(["x", "y"], 40), "y": ["u", "v"] * 20})
    X, y = rng.normal(size=(30, 2)), np.array([0, 1] * 15)
    schema = infer_schema(frame, target="y")
    plain = infer_schema(frame[["a", "y"]], target="y")
    parquet, npy, arrow = io.BytesIO(), io.BytesIO(), io.BytesIO()
    frame.to_parquet(parquet)
    np.save(npy, X[:, :1])
    with pa.ipc.new_stream(arrow, pa.table({"a": X[:, 0]}).schema) as writer:
        writer.write_table(pa.table({"a": X[:, 0]}))
    made = projects.create_project(ws, "Backed up", Origin(source="file"), by="t", now=now)
    ingest.ingest_frame(ws, made, frame, origin="a", by="t", now=now, target="y")
    archive = tmp_path / "state.zip"
    backup.backup(ws, archive, now=now)
    numbers = iter(range(10**9))

    def table(name: str) -> Reader:
        return lambda data: conform(read_table(data, name=name, max_bytes=10_000_000).frame, schema)

    def restored(data: bytes) -> Any:
        n = next(numbers)
        place = tmp_path / f"in-{n}.zip"
        place.write_bytes(data)
        try:
            return backup.restore(place, tmp_path / f"out-{n}")
        finally:
            place.unlink()

    def model(estimator: Any) -> bytes:
        return artefacts.dumps(estimator)

    rows = json.dumps({"rows": [{"a": 1.5, "c": "x"}] * 3}).encode()
    linear = model(make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y))
    tree = model(DecisionTreeClassifier(max_depth=3).fit(X, y))
    packed = pack({"kind": "x"}, {"w": ("d", X.tobytes())}, squeeze=True)

    def either(member: str) -> Callable[[bytes, random.Random], bytes]:
        return lambda data, r: altered_zip(data, member, r, NODES) if r.random() < 0.7 else broken(data, r)

    def asked(data: bytes) -> Any:
        found = artefacts.loads(data)
        return found.predict_proba(X) if hasattr(found, "predict_proba") else found

    return {
        "csv": (frame.to_csv(index=False).encode(), table("a.csv"), broken),
        "parquet": (parquet.getvalue(), table("a.parquet"), broken),
        "arrow": (arrow.getvalue(), lambda d: bodies.table_of(d, "arrow", plain, 10_000_000), broken),
        "npy": (npy.getvalue(), lambda d: bodies.table_of(d, "npy", plain, 10_000_000), broken),
        "json": (rows, lambda d: RowReader(schema).many(json_decoding.decode(d)["rows"]), broken),
        "packed": (packed, unpack, broken),
        "linear model": (linear, asked, either("schema.json")),
        "tree": (tree, asked, either("schema.json")),
        "backup": (archive.read_bytes(), restored, either("manifest.json")),
    }


def is_read(read: Reader, data: bytes, kind: str) -> bool:
    """Whether the document was taken; False where it was refused, and any other error is a failure."""
    try:
        read(data)
    except ContinualError:
        return False
    except (KeyError, TypeError):
        if kind != "json":  # a body that is no object of rows is refused a layer above the reader that is asked here
            raise
        return False
    return True


@pytest.mark.campaign
@pytest.mark.slow
def test_broken_documents_are_read_or_refused_and_nothing_else_happens(
    tmp_path: Path, ws: Workspace, now: datetime, campaign: Campaign
) -> None:
    kinds = documents(tmp_path, ws, now)
    for whole, read, _ in kinds.values():  # each reader takes its document, and what it imports is loaded
        read(whole)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    for number in campaign.rounds("foreign-documents", campaign.mutated_bodies // ROUND):
        rng = random.Random(number)
        for _ in range(ROUND):
            kind = rng.choice([*kinds])
            whole, read, breaking = kinds[kind]
            data = breaking(whole, rng)
            with watched(tmp_path) as seen:
                refused += not is_read(read, data, kind)
            assert seen == [], (kind, number)
    assert refused > 0 or campaign.progress is not None
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MOST_MEMORY
