"""What is stored is verified when it is read: a missing, shortened or changed file is reported by its name, never learnt from."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import Damaged, StorageError
from core.storage import artefacts, batches
from core.storage.workspace import Workspace


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Change one bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


HARMS: dict[str, Callable[[Path], None]] = {"missing": Path.unlink, "truncated": truncate, "flipped": flip}


@pytest.fixture
def stored(ws: Workspace) -> tuple[str, str]:
    """Name and digest of a stored frame."""
    frame = pd.DataFrame({"a": np.arange(5000.0), "b": [f"r{i}" for i in range(5000)]})
    return "p1/rows.parquet", ws.batches.write_frame("p1/rows.parquet", frame)


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_frame_is_refused_by_name_also_when_it_was_read_before(
    ws: Workspace, stored: tuple[str, str], harm: str
) -> None:
    name, sha256 = stored
    assert len(ws.batches.read_frame(name, ["a"], sha256=sha256)) == 5000
    HARMS[harm](ws.batches.root / name)
    with pytest.raises(
        Damaged, match=r"Batch 3 cannot be read: the file p1/rows.parquet .*repair --dry-run"
    ) as reported:
        ws.batches.read_frame(name, ["a"], sha256=sha256, what="batch 3")
    assert (reported.value.what, reported.value.file) == ("batch 3", name)


def test_pages_carry_checksums_which_find_what_changed_under_the_same_look(
    ws: Workspace, stored: tuple[str, str]
) -> None:
    name, sha256 = stored
    path = ws.batches.root / name
    flip(path)
    batches._note_verified(path, sha256, batches._look(path))  # as if it had been verified, and a bit fell over since
    with pytest.raises(Damaged):
        ws.batches.read_frame(name, sha256=sha256)


def test_a_file_is_hashed_once_a_process_as_long_as_it_looks_the_same(
    ws: Workspace, stored: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, sha256 = stored
    batches._verified.clear()
    hashed: list[Path] = []
    whole = batches.sha256_of
    monkeypatch.setattr(batches, "sha256_of", lambda path: hashed.append(path) or whole(path))
    for _ in range(3):
        ws.batches.read_frame(name, sha256=sha256)
    assert hashed == [ws.batches.root / name]


def test_a_file_of_an_earlier_version_without_page_checksums_is_read(ws: Workspace) -> None:
    path = ws.batches.root / "p1" / "old.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"a": [1.0, 2.0]}), path)
    assert ws.batches.read_frame("p1/old.parquet", sha256=batches.sha256_of(path))["a"].tolist() == [1.0, 2.0]


def test_what_cannot_be_read_now_is_not_called_damaged(
    ws: Workspace, stored: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, sha256 = stored
    batches._verified.clear()

    def refuse(path: Path) -> str:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    monkeypatch.setattr(batches, "sha256_of", refuse)
    with pytest.raises(StorageError, match="too many files open") as reported:
        ws.batches.read_frame(name, sha256=sha256)
    assert not isinstance(reported.value, Damaged)


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_model_file_is_reported_by_name(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "model.skops"
    path.write_bytes(b"0123456789" * 10)
    sha256 = batches.sha256_of(path)
    assert artefacts.read_bytes(path, sha256) == b"0123456789" * 10
    HARMS[harm](path)
    with pytest.raises(Damaged, match=r"The artefact of v2 cannot be read: the file model.skops is"):
        artefacts.read_bytes(path, sha256, what="the artefact of v2")
