"""Batches as Parquet files: written once, verified by sha256, never edited.

A file is written under a temporary name, fsynced and renamed before its manifest row is committed: a crash
leaves at most an orphan, which `services.tidying` takes away later.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import StorageError
from core.storage import private

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_durably(path: Path, data: bytes | memoryview) -> None:
    """Write a file so that it is either absent or whole after a crash.

    Raises:
        StorageError: disk full or folder not writable.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        private.make_folder(path.parent)
        temporary.unlink(missing_ok=True)  # of a process with the same numbers that was killed
        with private.new_file(temporary) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(
            f"Nothing was stored: {error.strerror or error}. Free disk space or mend the state folder's permissions, then try again."
        ) from error


def _arrow(column: pd.Series) -> pa.Array:
    """A column as Arrow; instants go by way of plain UTC ones, which pyarrow takes without a warning of pandas."""
    import pandas as pd
    import pyarrow as pa

    if isinstance(column.dtype, pd.DatetimeTZDtype):
        instants = column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
        return pa.array(instants.astype("datetime64[us]"), type=pa.timestamp("us", tz="UTC"))
    return pa.array(column, from_pandas=True)


class BatchStore:
    """Frames in a folder, addressed by paths relative to it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write_frame(self, name: str, frame: pd.DataFrame) -> str:
        """Store a frame under `name`; returns the file's sha256."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {str(name): _arrow(frame[name]) for name in frame.columns}
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(columns), sink, compression="zstd")
        buffer = sink.getvalue()
        write_durably(self.root / name, memoryview(buffer))
        return hashlib.sha256(buffer).hexdigest()

    def read_frame(self, name: str, columns: Sequence[str] | None = None, *, last: int | None = None) -> pd.DataFrame:
        """Read a stored frame, or some of its columns, or only its last rows.

        Raises:
            StorageError: the file is missing or damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(
                self.root / name, columns=list(columns) if columns is not None else None, use_threads=False
            )
        except (OSError, pa.ArrowException) as error:
            raise StorageError(
                f"The stored file {name} is missing or damaged ({type(error).__name__}). `doctor --deep` lists what is affected; restore it from a backup."
            ) from error
        return (table if last is None else table.slice(max(len(table) - last, 0))).to_pandas()

    def verify(self, name: str, sha256: str) -> bool:
        """Whether the file is there and unchanged."""
        path = self.root / name
        return path.is_file() and sha256_of(path) == sha256

    def remove(self, names: Iterable[str]) -> None:
        """Delete files; those already gone are no error."""
        for name in names:
            (self.root / name).unlink(missing_ok=True)
