"""Model files are opened in a child process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from model_files import archive, save
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from core.errors import BadInput
from core.services.models import importing, sandbox
from core.settings import ROOT

pytestmark = pytest.mark.usefixtures("mlflow_calls")


@pytest.mark.usefixtures("here")
def test_inspecting_lists_the_types_and_names_those_from_outside(tmp_path: Path, file: Path) -> None:
    report = importing.inspect_import(file)
    assert report.problems == ()
    assert "sklearn.linear_model._logistic.LogisticRegression" in report.types
    own = save(tmp_path / "own.skops", make_pipeline(FunctionTransformer(json.dumps), StandardScaler()))
    with pytest.raises(BadInput, match=r"json\.dumps, which is not on the list"):
        importing.inspect_import(own)


@pytest.mark.usefixtures("here")
def test_files_that_provoke_the_reader_get_one_clear_answer(tmp_path: Path) -> None:
    for schema in (b"{}", b"[]", b"not json", b'{"protocol": 99, "__class__": "x", "__module__": "y"}'):
        with pytest.raises(BadInput, match="cannot be read as skops"):
            importing.inspect_import(archive(tmp_path / "odd.skops", schema_json=schema))
    listed = importing.inspect_import(save(tmp_path / "list.skops", [1, 2]))
    assert listed.problems == (
        "The file contains a builtins.list, expected a fitted scikit-learn pipeline or estimator.",
    )


@pytest.mark.usefixtures("here")
def test_a_type_of_another_package_is_named(tmp_path: Path, file: Path) -> None:
    path = tmp_path / "foreign.skops"
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(path, "w") as made:
        for member in source.namelist():
            made.writestr(member, source.read(member).replace(b"sklearn.linear_model._logistic", b"no_such_package.x"))
    with pytest.raises(BadInput, match=r"no_such_package\.x\.LogisticRegression, which is not on the list"):
        importing.inspect_import(path)


def test_the_child_has_no_secrets_and_its_end_is_reported(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "not for the child")
    given: list[dict[str, str]] = []
    real = sandbox.subprocess.Popen

    def popen(command: list[str], **options: Any) -> Any:
        given.append(options["env"])
        return real([sys.executable, "-c", "raise SystemExit(7)"], **options)

    monkeypatch.setattr(sandbox.subprocess, "Popen", popen)
    with pytest.raises(BadInput, match=r"without an answer \(exit code 7\)"):
        importing.inspect_import(file)
    assert given and "API_KEY" not in given[0] and "CONTINUAL_HOME" not in given[0]


def test_a_child_that_never_ends_is_stopped(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "TIMEOUT_S", 0.01)
    with pytest.raises(BadInput, match="stopped after"):
        importing.inspect_import(file)


APART = """
import encodings.idna, json, os, resource, socket, sys
from pathlib import Path
from core.services.models import sandbox
place, secret = Path(sys.argv[1]), Path(sys.argv[2])
sandbox._leave_privileges(place)
sandbox._limit()
def tried(act):
    try:
        act()
    except OSError:
        return False
    return True
found = {
    "uid": os.getuid(), "back": tried(lambda: os.setuid(0)), "secret": tried(secret.read_bytes),
    "network": tried(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[3])), 5)),
    "large": resource.getrlimit(resource.RLIMIT_FSIZE)[0], "processes": resource.getrlimit(resource.RLIMIT_NPROC)[0],
}
(place / "answer.json").write_text(json.dumps(found))
"""


def test_the_child_of_root_is_nobody_without_a_network(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("API_KEY=x")
    secret.chmod(0o600)
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", APART, folder, str(secret), str(server.getsockname()[1])]
        subprocess.run(command, check=True, cwd=folder, env={"PYTHONPATH": str(ROOT)}, timeout=120)
        found = json.loads((Path(folder) / "answer.json").read_text())
    assert found["large"] == 64 * 1024**2
    if sys.platform == "linux" and os.getuid() == 0:  # only root can give its rights away
        assert found["uid"] == sandbox.NOBODY and found["processes"] == 64
        assert not (found["back"] or found["secret"] or found["network"])


def test_only_a_plain_small_file_is_read_as_the_childs_answer(tmp_path: Path) -> None:
    plain, link, pipe, large = (tmp_path / name for name in ("plain", "link", "pipe", "large"))
    plain.write_bytes(b"{}")
    link.symlink_to(plain)
    os.mkfifo(pipe)
    with large.open("wb") as opened:
        opened.truncate(sandbox.MAX_ANSWER_BYTES + 1)
    assert sandbox._read_plain(plain) == b"{}"
    for odd in (link, pipe, large):
        with pytest.raises(OSError):
            sandbox._read_plain(odd)
