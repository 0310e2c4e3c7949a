"""Fitted estimators as files in the skops format; `modelfile` says what such a file may hold.

Nothing here knows projects or the database. Pickle is never read or written.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from core.errors import BadInput, StorageError

MEND = "Restore it from a backup, or roll back to another version."


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


def loads(data: bytes) -> Any:
    """The estimator in a skops file, once everything in it was found to be on the list of `core.storage.modelfile`.

    Raises:
        StorageError: damaged, or something that is not loaded; it says which.
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
            f"The model file is not loaded: it is damaged, or of somebody else. {error} {MEND}"
        ) from error
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
