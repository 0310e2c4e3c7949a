"""Backups: whole or refused, and restored from files that strangers may have made, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import sys
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from core import cli
from core.errors import BadInput, Conflict, NotFound, StorageError
from core.services.ingestion import generated
from core.services.operations import backup
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.settings import Settings
from core.storage import private
from core.storage.workspace import Workspace, open_workspace

DATABASE = b"SQLite format 3\0"
BATCH = "batches/p1/000001.parquet"


def stored(ws: Workspace, now: datetime) -> Path:
    """A project with one batch; the batch's file."""
    project = projects.create_project(ws, "default", Origin(source="generator"), by="test", now=now)
    generated.generate(ws, project, rows=50, features=2, seed=1, by="test", now=now)
    return next(ws.batches.root.rglob("*.parquet"))


def entry(data: bytes) -> dict[str, Any]:
    """What the manifest says of a file."""
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def crafted(folder: Path, members: dict[str, bytes], manifest: Any = None) -> Path:
    """A backup by hand; the manifest is that of the members unless another one is given."""
    place = folder / "crafted.zip"
    document = {"files": {name: entry(data) for name, data in members.items()}} if manifest is None else manifest
    with zipfile.ZipFile(place, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.writestr("manifest.json", document if isinstance(document, bytes) else json.dumps(document))
    return place


def nothing_left(target: Path) -> bool:
    """Whether neither the folder nor a part of it is there."""
    return not target.exists() and not list(target.parent.glob(f".{target.name}*"))


def test_a_restored_folder_holds_what_was_backed_up(ws: Workspace, now: datetime, tmp_path: Path) -> None:
    batch = stored(ws, now)
    made = backup.backup(ws, tmp_path / "monday.zip", now=now)
    target = tmp_path / "restored"
    report = backup.restore(made.path, target)
    assert report.files == made.files
    again = open_workspace(Settings(CONTINUAL_HOME=target))
    assert projects.get_project(again, "default").rows == 50
    assert (target / "batches" / batch.relative_to(ws.batches.root)).read_bytes() == batch.read_bytes()
    again.database.dispose()


def test_backup_and_restored_folder_are_their_owners_alone(ws: Workspace, now: datetime, tmp_path: Path) -> None:
    stored(ws, now)
    made = backup.backup(ws, tmp_path / "monday.zip", now=now)
    backup.restore(made.path, tmp_path / "restored")
    every = [made.path, tmp_path / "restored", *(tmp_path / "restored").rglob("*")]
    assert [p for p in every if private.is_open(p)] == []


def test_an_empty_folder_is_filled(ws: Workspace, now: datetime, tmp_path: Path) -> None:
    stored(ws, now)
    made = backup.backup(ws, tmp_path / "monday.zip", now=now)
    target = tmp_path / "restored"
    (target / ".restoring" / "batches").mkdir(parents=True)  # of an attempt that was killed
    backup.restore(made.path, target)
    assert sorted(p.name for p in target.iterdir()) == ["batches", "continual.db"]
    with pytest.raises(Conflict, match="not empty"):
        backup.restore(made.path, target)


@pytest.mark.parametrize("harm", [lambda p: p.unlink(), lambda p: p.write_bytes(b"x" * p.stat().st_size)])
def test_damage_is_named_and_not_copied_unasked(
    ws: Workspace, now: datetime, tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    batch = stored(ws, now)
    name = f"batches/{batch.relative_to(ws.batches.root).as_posix()}"
    harm(batch)
    with pytest.raises(StorageError, match=name):
        backup.backup(ws, tmp_path / "monday.zip", now=now)
    assert list(tmp_path.glob("*monday*")) == []
    report = backup.backup(ws, tmp_path / "monday.zip", now=now, damaged=True)
    assert report.damaged == (name,)
    assert backup.restore(tmp_path / "monday.zip", tmp_path / "restored").files == report.files


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "/etc/passwd",
        "batches",
        "batches/",
        "batches/../../escaped",
        "batches//twice",
        "../escaped",
        "batches\\..\\escaped",
        "C:/windows/escaped",
        "batches/nul\0",
        "batches/" + "x" * 300,
        "batches/" + "x/" * 3000 + "y",
        ".env",
        "locks/a",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    manifest = {"files": {"continual.db": entry(DATABASE), name: entry(b"x")}}
    source = crafted(tmp_path, {"continual.db": DATABASE}, manifest)
    with pytest.raises(BadInput, match="which `backup` never writes"):
        backup.restore(source, tmp_path / "restored")
    assert nothing_left(tmp_path / "restored")


@pytest.mark.parametrize(
    "manifest",
    [
        [],
        "text",
        None,
        {},
        {"files": None},
        {"files": []},
        {"files": {"continual.db": None}},
        {"files": {"continual.db": "abc"}},
        {"files": {"continual.db": {"sha256": entry(DATABASE)["sha256"]}}},
        {"files": {"continual.db": {**entry(DATABASE), "bytes": -1}}},
        {"files": {"continual.db": {**entry(DATABASE), "bytes": True}}},
        {"files": {"continual.db": {**entry(DATABASE), "bytes": 1e400}}},
        {"files": {"continual.db": {**entry(DATABASE), "sha256": "Z" * 64}}},
        {"files": {"continual.db": {**entry(DATABASE), "bytes": 5}}},
        {"files": {"continual.db": {**entry(DATABASE), "bytes": 50}}},
        {"files": {"continual.db": {**entry(DATABASE), "bytes": 10**15}}},
        {"files": {"continual.db": entry(DATABASE), BATCH: entry(b"x")}},
        b"\xff\xfe not utf-8",
        b"{",
        b"[" * 200_000,
    ],
)
def test_an_odd_manifest_is_refused_in_a_sentence(tmp_path: Path, manifest: Any) -> None:
    document = json.dumps(manifest).encode() if manifest is None else manifest
    with pytest.raises(BadInput) as refused:
        backup.restore(crafted(tmp_path, {"continual.db": DATABASE}, document), tmp_path / "restored")
    assert str(refused.value).startswith("crafted.zip")
    assert nothing_left(tmp_path / "restored")


def test_a_file_and_a_folder_of_one_name_are_refused(tmp_path: Path) -> None:
    source = crafted(tmp_path, {"continual.db": DATABASE, "batches/a": b"x", "batches/a/b": b"y"})
    with pytest.raises(BadInput, match="'batches/a' both as a file and as a folder"):
        backup.restore(source, tmp_path / "restored")


def test_a_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("batches/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    source = crafted(tmp_path, {"continual.db": DATABASE}, b"x")
    files = {"continual.db": entry(DATABASE), "batches/link": entry(b"/etc/passwd")}
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("continual.db", DATABASE)
        archive.writestr(link, b"/etc/passwd")
        archive.writestr("manifest.json", json.dumps({"files": files}))
    with pytest.raises(BadInput, match="'batches/link'"):
        backup.restore(source, tmp_path / "restored")


def test_what_the_manifest_does_not_name_is_refused(tmp_path: Path) -> None:
    source = crafted(tmp_path, {"continual.db": DATABASE, BATCH: b"x"}, {"files": {"continual.db": entry(DATABASE)}})
    with pytest.raises(BadInput, match=BATCH):
        backup.restore(source, tmp_path / "restored")


def test_a_small_file_that_unpacks_to_much_is_refused_before_it_is_written(tmp_path: Path) -> None:
    data = bytes(50_000_000)
    source = tmp_path / "bomb.zip"
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("continual.db", DATABASE)
        archive.writestr(BATCH, data)
        files = {"continual.db": entry(DATABASE), BATCH: entry(data)}
        archive.writestr("manifest.json", json.dumps({"files": files}))
    with pytest.raises(BadInput, match="20 times as much"):
        backup.restore(source, tmp_path / "restored")
    # A manifest that tells less than there is does not help.
    files[BATCH]["bytes"] = 10
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("continual.db", DATABASE)
        archive.writestr(BATCH, data)
        archive.writestr("manifest.json", json.dumps({"files": files}))
    with pytest.raises(BadInput, match="does not match its digest"):
        backup.restore(source, tmp_path / "restored")
    assert nothing_left(tmp_path / "restored")


def test_more_than_the_disk_holds_is_refused(
    ws: Workspace, now: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backup.backup(ws, tmp_path / "monday.zip", now=now)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(StorageError, match="Free disk space"):
        backup.restore(made.path, tmp_path / "restored")
    assert nothing_left(tmp_path / "restored")


def test_a_backup_without_a_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no database"):
        backup.restore(crafted(tmp_path, {BATCH: b"x"}), tmp_path / "restored")
    with pytest.raises(NotFound):
        backup.restore(tmp_path / "absent.zip", tmp_path / "restored")


def test_a_backup_cut_or_changed_anywhere_is_refused_whole(ws: Workspace, now: datetime, tmp_path: Path) -> None:
    stored(ws, now)
    data = backup.backup(ws, tmp_path / "monday.zip", now=now).path.read_bytes()
    harmed = tmp_path / "harmed.zip"
    for at in range(0, len(data) - 100, len(data) // 40):
        for content in (data[:at], data[:at] + bytes(64 - data[at] % 2) + data[at + 64 - data[at] % 2 :]):
            harmed.write_bytes(content)
            try:
                backup.restore(harmed, tmp_path / "restored")
            except BadInput:
                assert nothing_left(tmp_path / "restored")
            else:  # the change met zeros
                shutil.rmtree(tmp_path / "restored")
    harmed.write_bytes(data[: len(data) // 2])
    with pytest.raises(BadInput, match=r"harmed\.zip"):
        backup.restore(harmed, tmp_path / "restored")


def test_a_killed_restore_leaves_no_folder_and_no_hindrance(
    ws: Workspace, now: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(ws, now)
    made = backup.backup(ws, tmp_path / "monday.zip", now=now)
    target = tmp_path / "restored"
    seen: list[set[str]] = []
    unpack = backup._unpack

    def _look(*args: Any) -> None:
        seen.append({p.name for p in tmp_path.iterdir()})
        unpack(*args)
        if args[1] == "continual.db":
            shutil.copytree(tmp_path / ".restored.restoring", tmp_path / "left")  # what a kill would leave

    monkeypatch.setattr(backup, "_unpack", _look)
    backup.restore(made.path, target)
    assert all("restored" not in names for names in seen)
    shutil.rmtree(target)
    (tmp_path / "left").rename(tmp_path / ".restored.restoring")
    monkeypatch.undo()
    backup.restore(made.path, target)
    assert (target / "continual.db").is_file()
    assert not (tmp_path / ".restored.restoring").exists()


def test_the_command_line_shows_what_was_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["continual"])
    source = crafted(tmp_path, {"continual.db": DATABASE}, [])
    assert cli.main(["restore", str(source), "--to", str(tmp_path / "restored")]) == 1
    assert capsys.readouterr().err.startswith("error: crafted.zip: its manifest.json has no list of files")
