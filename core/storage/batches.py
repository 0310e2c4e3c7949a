"""Batches as Parquet files: written once, verified by sha256, never edited.

A file is written under a temporary name, fsynced and renamed before its manifest row is committed: a crash
leaves at most an orphan, which `services.operations.tidying` takes away later.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import Damaged, StorageError
from core.storage import private
from core.storage.troubles import trouble_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


MISSING = "is missing"
CUT = "is cut short"
CHANGED = "is not as it was written (its sha256 differs)"
_Look = tuple[
    int, int, int, int
]  # device, inode, bytes, nanoseconds: another file, or one that was written to, looks otherwise
_verified: OrderedDict[tuple[Path, str], _Look] = (
    OrderedDict()
)  # files that this process has read whole, as they were then
_verified_lock = threading.Lock()
KEPT_VERIFIED = 50_000


def _look(path: Path) -> _Look:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _note_verified(path: Path, sha256: str, look: _Look) -> None:
    with _verified_lock:
        _verified[path, sha256] = look
        while len(_verified) > KEPT_VERIFIED:
            _verified.popitem(last=False)


def verify(path: Path, sha256: str, *, what: str, name: str = "", reread: bool = False) -> None:
    """See that a file is there and as it was written; read whole once a process, as long as it looks the same.

    Args:
        what: what it holds, for the message: "batch 3".
        name: the file below its folder, for the message.
        reread: read it whole even if this process did before.

    Raises:
        Damaged: it is not.
        StorageError: it may be, but cannot be read now.
    """
    name = name or path.name
    try:
        look = _look(path)
        if not reread and _verified.get((path, sha256)) == look:
            return
        if sha256_of(path) != sha256:
            raise Damaged(what, name, how_changed(path))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise Damaged(what, name, MISSING) from None
    except OSError as error:
        raise unreadable(what, name, error) from error
    _note_verified(path, sha256, look)


def how_changed(path: Path) -> str:
    """In which way a file that is there is not the one that was written, as far as its end shows."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 64, 0))
        end = file.read()
    whole = {".parquet": end.endswith(b"PAR1"), ".skops": b"PK\x05\x06" in end}.get(path.suffix, size > 0)
    return CHANGED if whole else CUT


def unreadable(what: str, name: str, error: OSError) -> StorageError:
    """A file that may be whole, but cannot be read now."""
    trouble = trouble_of(error)
    reason = trouble.text if trouble else f"{error.strerror or type(error).__name__}."
    return StorageError(f"{what[:1].upper()}{what[1:]} cannot be read (the file {name}). {reason}")


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
            f"Nothing was stored: {error.strerror or error}. Free disk space or fix the state folder's permissions, then try again."
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
        pq.write_table(pa.table(columns), sink, compression="zstd", write_page_checksum=True)
        buffer = sink.getvalue()
        write_durably(self.root / name, memoryview(buffer))
        sha256 = hashlib.sha256(buffer).hexdigest()
        _note_verified(self.root / name, sha256, _look(self.root / name))
        return sha256

    def read_frame(
        self,
        name: str,
        columns: Sequence[str] | None = None,
        *,
        sha256: str,
        what: str = "a stored frame",
        last: int | None = None,
    ) -> pd.DataFrame:
        """Read a stored frame, or some of its columns, or only its last rows; verified first.

        Args:
            sha256: of the file, as the manifest has it.
            what: what it holds, for the message: "batch 3".

        Raises:
            Damaged: the file is missing, or not as it was written.
            StorageError: it cannot be read now.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        verify(self.root / name, sha256, what=what, name=name)
        try:
            table = pq.read_table(
                self.root / name,
                columns=list(columns) if columns is not None else None,
                use_threads=False,
                page_checksum_verification=True,
            )
        except pa.ArrowException as error:
            raise Damaged(what, name, f"cannot be read ({type(error).__name__})") from error
        except FileNotFoundError:
            raise Damaged(what, name, MISSING) from None
        except OSError as error:
            if error.errno is None:  # raised by Arrow itself about the content
                raise Damaged(what, name, "does not hold what was written to it") from error
            raise unreadable(what, name, error) from error
        return (table if last is None else table.slice(max(len(table) - last, 0))).to_pandas()

    def remove(self, names: Iterable[str]) -> None:
        """Delete files; those already gone are no error."""
        for name in names:
            (self.root / name).unlink(missing_ok=True)
