"""What the command line says of a token: which projects it opens."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from core import cli
from core.services.projects import projects
from core.services.projects.projects import Origin
from core.storage.workspace import Workspace


def test_keys_say_which_project_they_open(ws: Workspace, now: datetime, capsys: pytest.CaptureFixture[str]) -> None:
    projects.create_project(ws, "Insects", Origin(source="api"), by="test", now=now)
    assert cli.main(["keys", "create", "--scope", "read", "--name", "wide"]) == 0
    assert "it gives access to every project" in capsys.readouterr().out
    assert cli.main(["keys", "create", "--scope", "read", "--name", "narrow", "--project", "insects"]) == 0
    assert "it gives access to project 'insects' only" in capsys.readouterr().out
    assert cli.main(["keys", "list"]) == 0
    head, narrow, wide = capsys.readouterr().out.splitlines()
    at = head.index("project")
    assert (narrow[at:].split()[0], wide[at : at + 13]) == ("insects", "every project")
    assert cli.main(["keys", "list", "--json"]) == 0
    assert [key["project"] for key in json.loads(capsys.readouterr().out)["keys"]] == ["insects", None]
    with pytest.raises(SystemExit):
        cli.main(["keys", "create", "--help"])
    assert "default: every project" in " ".join(capsys.readouterr().out.split())
