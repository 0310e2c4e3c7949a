"""Uploaded files: within this installation's limit, and results of reading them kept between runs."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import streamlit as st

from core.ui.context import Context

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

Result = TypeVar("Result")
ROWS_FILE = ["csv", "gz", "parquet", "arrow", "feather"]  # endings of files of rows


def upload(ctx: Context, label: str, kinds: Sequence[str] | None, *, key: str) -> UploadedFile | None:
    """A file uploader with this installation's limit; disabled for viewers."""
    return st.file_uploader(
        label,
        type=kinds,
        key=key,
        max_upload_size=max(math.ceil(ctx.ws.settings.max_upload_mb), 1),
        disabled=not ctx.may("operator"),
        help=ctx.why_not("operator"),
    )


@contextmanager
def on_disk(file: UploadedFile, name: str) -> Iterator[Path]:
    """The upload as a file of that name in a folder of its own, while it is read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(file.getbuffer())
        yield path


def computed_once(slot: str, key: object, compute: Callable[[], Result | None]) -> Result | None:
    """A result, kept in the session until the key changes. None is not kept."""
    before = st.session_state.get(slot)
    if before is not None and before[0] == key:
        known: Result = before[1]
        return known
    result = compute()
    if result is not None:
        st.session_state[slot] = (key, result)
    return result
