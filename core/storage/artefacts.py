"""Fitted estimators as files in the skops format; `modelfile` defines what such a file may hold.

Nothing here knows projects or the database. Pickle is never read or written.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

from core.errors import BadInput, Damaged, StorageError
from core.storage.batches import MISSING, how_changed, unreadable

REPAIR_HINT = (
    "Restore it from a backup, roll back to another version, or see with `repair --dry-run` how to go on without it."
)


def untrusted_types(data: bytes) -> list[str]:
    """Types in a skops file that skops does not trust by itself, ours included; sorted."""
    from skops.io import get_untrusted_types

    return list(get_untrusted_types(data=data))


def dumps(model: Any) -> bytes:
    """A fitted estimator in the skops format: no pickle, compressed.

    Raises:
        StorageError: the estimator holds something that skops cannot store.
    """
    import skops.io

    try:
        return bytes(skops.io.dumps(model, compression=zipfile.ZIP_DEFLATED, compresslevel=6))
    except (TypeError, ValueError, AttributeError) as error:
        raise StorageError(f"The model cannot be stored in the skops format: {error}") from error


def loads(data: bytes) -> Any:
    """The estimator in a skops file, once everything in it is on the list of `core.storage.modelfile`.

    Raises:
        StorageError: damaged, or of a kind that is not loaded; the message says which.
    """
    import skops.io

    from core.learning.soundness import refuse_unsound
    from core.storage.modelfile import checked_types

    try:
        types = checked_types(data)
        model = skops.io.loads(data, trusted=sorted(types))
        refuse_unsound(model)
        return model
    except BadInput as error:
        raise StorageError(
            f"The model file is not loaded: it is damaged, or of somebody else. {error} {REPAIR_HINT}"
        ) from error
    except Exception as error:  # a damaged file makes skops and zipfile raise nearly anything
        raise StorageError(
            f"The model file is damaged or of another version ({type(error).__name__}). {REPAIR_HINT}"
        ) from error


def loads_file(path: Path) -> Any:
    """The estimator in a file of ours that no row names; StorageError when it is missing or damaged."""
    return loads(read_bytes(path))


def read_bytes(path: Path, sha256: str | None = None, *, what: str = "a model file") -> bytes:
    """The file's content.

    Raises:
        Damaged: it is missing, or not the file with this digest.
        StorageError: it cannot be read now.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise Damaged(what, path.name, MISSING) from None
    except OSError as error:
        raise unreadable(what, path.name, error) from error
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise Damaged(what, path.name, how_changed(path))
    return data
