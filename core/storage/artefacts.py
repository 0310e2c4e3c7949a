"""Fitted estimators as files: the skops format, and which types in such a file may be loaded.

Nothing here knows projects or the database. Pickle is never read or written.
"""

from __future__ import annotations

import importlib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import StorageError

MEND = "Restore it from a backup, or roll back to another version."
TRUSTED_ROOTS = ("sklearn", "numpy", "scipy", "pandas")
OWN_TYPES = "core.learning.models."
# Parts of those packages whose classes have no business in a fitted pipeline.
UNTRUSTED_PARTS = {"io", "datasets", "testing", "_testing", "tests", "externals", "f2py", "distutils", "ctypeslib"}


def is_known_type(name: str) -> bool:
    """Whether a type that skops does not trust by itself may be loaded unasked.

    True for our own estimators and for classes of scikit-learn, numpy, scipy and pandas. Functions are not: a
    pipeline can call them, and among them are some that run text or read files.
    """
    if name.startswith(OWN_TYPES):
        return True
    module, _, attribute = name.rpartition(".")
    parts = module.split(".")
    if parts[0] not in TRUSTED_ROOTS or UNTRUSTED_PARTS.intersection(parts):
        return False
    try:
        return isinstance(getattr(importlib.import_module(module), attribute), type)
    except (ImportError, AttributeError):
        return False


def untrusted_types(data: bytes) -> list[str]:
    """Types in a skops file that skops does not trust by itself, ours included; sorted."""
    from skops.io import get_untrusted_types

    return list(get_untrusted_types(data=data))


def dumps(model: Any) -> bytes:
    """A fitted estimator in the skops format: no pickle, lightly compressed.

    Raises:
        StorageError: the estimator holds something that skops cannot store.
    """
    import skops.io

    try:
        return bytes(skops.io.dumps(model, compression=zipfile.ZIP_DEFLATED, compresslevel=1))
    except (TypeError, ValueError, AttributeError) as error:
        raise StorageError(f"The model cannot be stored in the skops format: {error}") from error


def loads(data: bytes, *, approved: Sequence[str] = ()) -> Any:
    """The estimator in a skops file, of known and approved types only.

    Raises:
        StorageError: damaged, or a type that is neither known nor approved.
    """
    import skops.io

    try:
        found = untrusted_types(data)
        refused = [name for name in found if name not in approved and not is_known_type(name)]
        if refused:
            raise StorageError(
                f"The model holds types that nobody approved: {', '.join(refused)}. Import it anew and approve them."
            )
        return skops.io.loads(data, trusted=found)
    except StorageError:
        raise
    except Exception as error:  # a damaged file makes skops and zipfile raise nearly anything
        raise StorageError(
            f"The model file is damaged or of another version ({type(error).__name__}). {MEND}"
        ) from error


def loads_file(path: Path) -> Any:
    """The estimator in a file of ours that no row names; StorageError when it is missing or damaged."""
    return loads(read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """The file's content; StorageError when it is missing or unreadable."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"The model file {path.name} cannot be read ({error.strerror or error}). {MEND}") from error
