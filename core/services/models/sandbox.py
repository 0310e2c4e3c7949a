"""Untrusted model files: recognised by their bytes here, inspected and tested in a child process first.

`inspect` says what is inside without loading it; `score` loads it, by the list of `core.storage.modelfile`, and lets it
predict rows. The parent reads one JSON answer. The child has a small environment without secrets, a separate folder,
little memory, time and disk. Started as root on Linux it is another user without privileges and without a network;
started as anybody else it keeps that user's rights to files and network: the list is the protection, the child the second.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.data.contract import schema_from_document, schema_to_document
from core.errors import BadInput, StorageError
from core.records import Feature, FeatureSchema, JsonObject
from core.settings import ROOT
from core.storage.artefacts import loads
from core.storage.modelfile import checked_types

if TYPE_CHECKING:
    import pandas as pd
from core.services.models.archives import HOW

MEMORY_BYTES = 3 * 1024**3


CPU_S = 60


TIMEOUT_S = 120.0


MAX_ANSWER_BYTES = 4 * 1024**2


MAX_SCORER_BYTES = 64 * 1024**2


SCORER = "scorer.cml"


MAX_ANSWER = 2_000  # maximum characters of a reason


NOBODY = 65534


CLONE_NEWNET, CLONE_NEWIPC, PR_SET_NO_NEW_PRIVS = 0x40000000, 0x08000000, 38  # of Linux


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What is inside a model file; nothing of it was loaded."""

    types: tuple[str, ...]  # all of them
    problems: tuple[str, ...]  # why it cannot be imported, as sentences
    root: str  # type of the object itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A model that has given valid predictions for rows of the project."""

    metrics: dict[str, float | None]
    n: int  # rows
    kind: str  # short name of the estimator
    packed: bytes | None  # its scorer, if it can be exported


def inspect(data: bytes) -> ImportReport:
    """The content of a skops file, read in a child process.

    Raises:
        BadInput: the child could not read it, or ran out of memory or time.
    """
    answer = _ask("inspect", data, {})
    content = {key: tuple(answer[key]) for key in ("types", "problems")}
    return ImportReport(**content, root=answer["root"])


def check_score(data: bytes, X: pd.DataFrame, y: Sequence[Any], *, schema: FeatureSchema) -> Checked:
    """Load a skops file in a child process, let it predict labelled rows, and export its scorer if possible.

    Raises:
        BadInput: it contains parts that are not allowed, cannot be loaded, cannot predict these rows, or gives invalid
            predictions; the reason says which.
    """
    request = {"task": schema.task, "classes": list(schema.classes), "y": list(y), "schema": schema_to_document(schema)}
    packed: list[bytes] = []
    answer = _ask("score", data, request, X, packed)
    kind = str(answer["kind"])[:60]
    return Checked(
        metrics=answer["metrics"],
        n=answer["n"],
        kind=kind if kind.isidentifier() else "estimator",
        packed=packed[0] if packed else None,
    )


def _ask(
    what: str, data: bytes, request: JsonObject, X: pd.DataFrame | None = None, packed: list[bytes] | None = None
) -> JsonObject:
    """Run this module as a child on a separate folder; its answer, and the scorer that it exported."""
    with tempfile.TemporaryDirectory(prefix="continual-import-") as folder:
        place = Path(folder)
        (place / "model.skops").write_bytes(data)
        (place / "request.json").write_text(json.dumps(request))
        if X is not None:
            X.to_parquet(place / "rows.parquet", index=False)
        code = _run(what, place)
        try:
            answer = json.loads(_read_plain(place / "answer.json"))
            if packed is not None and (place / SCORER).exists():
                packed.append(_read_plain(place / SCORER, MAX_SCORER_BYTES))
        except (OSError, ValueError, RecursionError):
            raise BadInput(_why_ended(code)) from None
    if not isinstance(answer, dict):
        raise BadInput(_why_ended(code))
    if "error" in answer:
        raise BadInput(str(answer["error"])[:MAX_ANSWER])
    return answer


def _read_plain(path: Path, most: int = MAX_ANSWER_BYTES) -> bytes:
    """The child's output; OSError if it is not a regular file within the size limit (a link, an endless pipe)."""
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(number, "rb") as opened:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            raise OSError(f"{path.name} is not a regular file of at most {most} bytes")
        return opened.read(most)


def _run(what: str, folder: Path) -> int:
    """The child's exit code; BadInput if it had to be stopped."""
    inherited = {name: os.environ[name] for name in ("LANG", "LD_LIBRARY_PATH") if name in os.environ}
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "LOKY")}
    os.chmod(folder, 0o700)
    child = subprocess.Popen(  # noqa: S603  # a fixed command of ours
        [sys.executable, "-P", "-m", "core.services.models.sandbox", what, str(folder)],
        env={
            **inherited,
            **threads,
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(folder),
            "TMPDIR": str(folder),
        },
        cwd=folder,
        start_new_session=True,
        close_fds=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        return child.wait(TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise BadInput(
            f"The model was stopped after {TIMEOUT_S:g} s in its separate process. Make it smaller."
        ) from None
    finally:
        with contextlib.suppress(ProcessLookupError):  # also stops the processes that it started
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _why_ended(code: int) -> str:
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"The model used more than {CPU_S} s of computing time in its separate process. Make it smaller."
    return f"The model's separate process ended without an answer (exit code {code}). It was not imported."


def _limit() -> None:
    import resource

    limits = [
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, 64 * 1024**2),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 256),
    ]
    if os.getuid() == NOBODY:  # only for a user who runs nothing else: others may already have more processes
        limits.append((resource.RLIMIT_NPROC, 64))
    for what, most in limits:
        _, hard = resource.getrlimit(what)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(
            ValueError, OSError
        ):  # macOS has no limit of address space; the time limit still applies
            resource.setrlimit(what, (allowed, allowed))


def _leave_privileges(folder: Path) -> None:
    """As root on Linux: no network, another user who owns this one folder. Otherwise none of this is possible.

    What the trial needs was loaded by `_rehearse`: the other user need not be able to read the program. A container may
    lack the capability for a network of its own, then that one stays; where another step is refused, the trial ends.
    """
    if not sys.platform.startswith("linux") or os.getuid() != 0:
        return
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.unshare(CLONE_NEWNET | CLONE_NEWIPC)  # a network of its own, with nothing in it
    for path in (folder, *folder.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _rehearse() -> None:
    """Try two small models of the program, so that all libraries are loaded while their files can still be read."""
    import encodings.cp437
    import encodings.idna  # noqa: F401
    import importlib

    import numpy as np
    import pandas as pd
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from core.storage.artefacts import dumps
    from core.storage.modelfile_allowed import OBJECTS

    for module in sorted({name.rpartition(".")[0] for name in OBJECTS}):
        importlib.import_module(module)
    X = pd.DataFrame({"a": np.arange(8.0), "b": np.arange(8.0) % 3, "c": pd.Series(["x", "y"] * 4, dtype="str")})
    y = np.arange(8) % 2
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        X.to_parquet(place / "rows.parquet", index=False)
        pd.read_parquet(place / "rows.parquet")
        X[["a", "b"]].to_parquet(place / "rows.parquet", index=False)
        for task, last in (
            ("binary", RandomForestClassifier(2, n_jobs=2)),
            ("regression", KNeighborsRegressor(2, algorithm="brute")),
        ):
            model = make_pipeline(StandardScaler(), last).fit(X[["a", "b"]], y)
            (place / "model.skops").write_bytes(dumps(model))
            schema = FeatureSchema(
                task=task,  # type: ignore[arg-type]
                target="y",
                features=(Feature(name="a", kind="numeric"), Feature(name="b", kind="numeric")),
                classes=(0, 1) if task == "binary" else (),
            )
            request = {"task": task, "classes": [0, 1], "y": y.tolist(), "schema": schema_to_document(schema)}
            (place / "request.json").write_text(json.dumps(request))
            _answer("score", place)


def _answer(what: str, folder: Path) -> JsonObject:
    data = (folder / "model.skops").read_bytes()
    request = json.loads((folder / "request.json").read_text())
    try:
        return _inspect(data) if what == "inspect" else _score(data, request, folder / "rows.parquet")
    except (BadInput, StorageError) as error:
        return {"error": str(error)}
    except (MemoryError, RecursionError) as error:
        limit = f"{MEMORY_BYTES // 1024**3} GB"
        return {
            "error": f"The model needs more memory than the {limit} of its separate process ({type(error).__name__})."
        }
    except Exception as error:  # any exception is a finding about the file
        return {"error": f"The file cannot be read as skops ({type(error).__name__}: {str(error)[:300]}). {HOW}"}


def _inspect(data: bytes) -> JsonObject:
    types = checked_types(data)
    schema = json.loads(zipfile.ZipFile(io.BytesIO(data)).read("schema.json"))
    root = f"{schema['__module__']}.{schema['__class__']}"
    return {"types": sorted(types), "problems": _no_estimator(root), "root": root}


def _no_estimator(root: str) -> list[str]:
    """Refuse plain Python or numpy objects, which cannot predict."""
    if root.split(".")[0] in ("builtins", "numpy", "pandas", "scipy"):
        return [f"The file contains a {root}, expected a fitted scikit-learn pipeline or estimator."]
    return []


def _score(data: bytes, request: JsonObject, rows: Path) -> JsonObject:
    import numpy as np
    import pandas as pd

    from core.learning.models import predict_quietly
    from core.performance.realised import measure

    held = _inspect(data)
    if held["problems"]:
        raise BadInput(f"The file cannot be imported. {' '.join(held['problems'])}")
    model = loads(data)
    X, regression = pd.read_parquet(rows), request["task"] == "regression"
    for method in ("predict",) if regression else ("predict", "predict_proba"):
        if not hasattr(model, method):
            raise BadInput(
                f"A {type(model).__name__} has no {method}; a model for {request['task']} needs one. Choose another model."
            )
    try:
        if regression:
            values, classes = np.asarray(predict_quietly(model, X, proba=False)), ()
        else:
            values, classes = np.asarray(predict_quietly(model, X, proba=True)), _classes(model, request["classes"])
    except BadInput:
        raise
    except Exception as error:
        message = f"{type(error).__name__}: {str(error)[:300]}"
        raise BadInput(f"The model cannot predict this project's rows: {message}") from error
    refuse_answers(values, len(X), len(classes), regression)
    y = np.empty(len(X), dtype=float if regression else object)
    y[:] = request["y"]
    if regression:
        report = measure("regression", y, values)
    else:
        chosen = np.empty(len(X), dtype=object)
        chosen[:] = [classes[k] for k in values.argmax(axis=1)]
        report = measure(request["task"], y, chosen, values, classes)
    metrics = {name: score.value for name, score in report.scores.items()}
    _write_scorer(model, X, schema_from_document(request["schema"]), rows.with_name(SCORER))
    last = model.steps[-1][1] if getattr(model, "steps", None) else model
    return {"metrics": metrics, "n": report.n, "kind": type(last).__name__}


def _write_scorer(model: Any, X: pd.DataFrame, schema: FeatureSchema, place: Path) -> None:
    """Write the scorer of a model whose parts are all exportable; nothing for others."""
    from core.data.packed import unpack
    from core.learning.export import export

    packed = export(model, schema, X)
    if unpack(packed)[0]["part"] is not None:
        place.write_bytes(packed)


def _classes(model: Any, known: Sequence[Any]) -> tuple[Any, ...]:
    """The model's classes as python values, all of them classes of the project."""
    model_classes = tuple(c.item() if hasattr(c, "item") else c for c in getattr(model, "classes_", ()))
    unknown = [
        c
        for c in model_classes
        if not isinstance(c, (str, int, float, bool)) or json.dumps(c) not in map(json.dumps, known)
    ]
    if unknown or len(model_classes) < 2:
        seen = ", ".join(map(repr, (unknown or model_classes)[:5])) or "none"
        expected = ", ".join(map(repr, known[:20]))
        raise BadInput(f"The model's classes are {seen}; this project's are {expected}. Train it on the same labels.")
    return model_classes


def refuse_answers(values: Any, n: int, k: int, regression: bool) -> None:
    """Refuse invalid predictions: another shape, not finite, probabilities that do not sum to one."""
    import numpy as np

    expected = (n,) if regression else (n, k)
    if values.shape != expected:
        raise BadInput(f"The model's predictions for {n} rows have the shape {values.shape}, expected {expected}.")
    if not np.isfinite(values).all():
        raise BadInput(
            "The model's predictions for this project's rows contain NaN or infinity, expected finite values."
        )
    if not regression and (values.min() < 0 or not np.allclose(values.sum(axis=1), 1.0, atol=1e-6)):
        raise BadInput("The model's probabilities are invalid, expected values from 0 to 1 that sum to 1 in each row.")


if __name__ == "__main__":
    place = Path(sys.argv[2])
    _rehearse()
    _leave_privileges(place)
    _limit()
    (place / "answer.json").write_text(json.dumps(_answer(sys.argv[1], place)))
