"""Files with people's data are readable by their owner alone: created so, corrected, and checked.

The umask of each process does it for whatever is written later, by libraries too; modes are set where a folder was
made by an older version or by somebody else's hand.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def keep_private() -> None:
    """From now on this process, and those that it starts, make files that only their owner can open."""
    os.umask(OTHERS)


def new_file(path: Path) -> BinaryIO:
    """A new file for its owner alone, whatever the umask.

    Raises:
        OSError: it exists, or cannot be made.
    """
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")


def make_folder(path: Path) -> None:
    """A folder for its owner alone, and the folders above it that are missing; one that is there stays as it is."""
    if not path.exists():
        make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def is_open(path: Path) -> bool:
    """Whether other users of the machine have any right to this file or folder; False where there is none."""
    try:
        return bool(path.stat().st_mode & OTHERS)
    except OSError:
        return False


def close(paths: Iterable[Path]) -> None:
    """Take away what other users may do; left alone is what belongs to another user, or to all (a sticky folder)."""
    for path in paths:
        with contextlib.suppress(OSError):
            found = path.stat()
            if found.st_uid == os.geteuid() and found.st_mode & OTHERS and not found.st_mode & stat.S_ISVTX:
                path.chmod(stat.S_IMODE(found.st_mode) & ~OTHERS)
