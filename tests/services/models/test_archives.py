"""Files that are no model are refused by their name and content, before anything is read from them."""

from __future__ import annotations

import pickle
import zlib
from pathlib import Path
from typing import Any

import joblib
import pytest
from model_files import archive, fitted

from core.errors import BadInput, TooLarge, UnsupportedFormat
from core.services.models import importing

pytestmark = pytest.mark.usefixtures("mlflow_calls")


@pytest.mark.parametrize("name", ["model.pkl", "model.skops", "model"])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_is_refused_whatever_it_is_called(tmp_path: Path, name: str, protocol: int) -> None:
    path = tmp_path / name
    path.write_bytes(pickle.dumps({"a": [1, 2.5, "x"]}, protocol=protocol))
    with pytest.raises(UnsupportedFormat, match=r"is a pickle file.*skops\.io\.dump"):
        importing.inspect_import(path)


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3)])
def test_joblib_is_refused_compressed_or_not(tmp_path: Path, compress: Any) -> None:
    path = tmp_path / "model.skops"
    joblib.dump(fitted(), path, compress=compress)
    with pytest.raises(UnsupportedFormat, match="is a joblib file"):
        importing.inspect_import(path)


def test_cloudpickle_is_refused_by_content_and_by_name(tmp_path: Path) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    path = tmp_path / "model.skops"
    path.write_bytes(cloudpickle.dumps(lambda x: x + 1))
    with pytest.raises(UnsupportedFormat, match="is a cloudpickle file"):
        importing.inspect_import(path)
    path = tmp_path / "model.cloudpickle"
    path.write_bytes(b"whatever")
    with pytest.raises(UnsupportedFormat, match="is a cloudpickle file"):
        importing.inspect_import(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not a zip"),
        (b"<html></html>", "not a zip"),
        (b"PK\x03\x04broken", "not a zip"),
        (zlib.compress(b"text"), "not a zip"),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "model.skops"
    path.write_bytes(content)
    with pytest.raises(UnsupportedFormat, match=expected):
        importing.inspect_import(path)


def test_archives_that_are_no_skops_or_hold_a_pickle_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormat, match=r"no schema\.json"):
        importing.inspect_import(archive(tmp_path / "a.skops", rows_csv=b"1,2"))
    with pytest.raises(UnsupportedFormat, match=r"contains the pickle data\.pkl"):
        importing.inspect_import(archive(tmp_path / "b.skops", data_pkl=b"", schema_json=b"{}"))
    with pytest.raises(BadInput, match="cannot be read"):
        importing.inspect_import(tmp_path / "absent.skops")


def test_a_zip_bomb_and_a_file_beyond_the_limit_are_refused(tmp_path: Path, file: Path) -> None:
    bomb = archive(tmp_path / "bomb.skops", schema_json=b"{}", x_npy=bytes(60_000_000))
    with pytest.raises(TooLarge, match=r"unpacks from 0\.1 MB to 60 MB"):
        importing.inspect_import(bomb)
    with pytest.raises(TooLarge, match=r"expected at most 0\.0 MB"):
        importing.inspect_import(file, max_bytes=100)
