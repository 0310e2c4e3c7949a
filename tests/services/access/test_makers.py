"""Who made a token, and what becomes of it when that person is removed."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from core import cli
from core.errors import Conflict
from core.services.access import accounts, audit_log, tokens, verifying
from core.services.access.actors import Actor
from core.services.access.tokens import TokenRights
from core.settings import ROOT
from core.storage.engine import Database
from core.storage.workspace import Workspace

GOOD = "tall-trees-in-wind"


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "BCRYPT_ROUNDS", 4)


@pytest.fixture
def eve(ws: Workspace, now: datetime) -> Actor:
    """An admin beside ada, with a token in force, one that expired and one that is revoked."""
    for name in ("ada", "eve"):
        accounts.create_user(ws, name, GOOD, "admin", by="test", now=now)
    found = verifying.verify_password(ws, "eve", GOOD, "192.0.2.7", now)
    actor = Actor(found.name, found.uid, found.epoch)
    tokens.create_token(ws, "gateway", TokenRights(scopes=["predict"]), by=actor, now=now)
    tokens.create_token(
        ws, "short", TokenRights(scopes=["read"], expires_at=now + timedelta(minutes=1)), by=actor, now=now
    )
    ended, _ = tokens.create_token(ws, "ended", TokenRights(scopes=["read"]), by=actor, now=now)
    assert ended.id is not None
    tokens.revoke_token(ws, ended.id, by=actor, now=now)
    tokens.create_token(ws, "cli's", TokenRights(scopes=["read"]), by="cli", now=now)
    return actor


def _in_force(ws: Workspace) -> set[str]:
    return {t.name for t in tokens.list_tokens(ws) if t.revoked_at is None}


@pytest.mark.parametrize("keep", [False, True])
def test_removing_a_person_revokes_the_tokens_in_force_that_they_made_unless_kept(
    ws: Workspace, now: datetime, eve: Actor, keep: bool
) -> None:
    later = now + timedelta(minutes=2)
    made = accounts.remove_user(ws, "eve", keep_tokens=keep, by="ada", now=later)
    assert [t.name for t in made] == ["gateway"]
    assert _in_force(ws) == {"cli's", "short"} | ({"gateway"} if keep else set())
    entries, _ = audit_log.audit_entries(ws, limit=2)
    assert ("token revoked" in {e.what for e in entries}) is not keep
    assert [t.name for t in tokens.tokens_made_by(ws, eve.uid, later)] == (["gateway"] if keep else [])


def test_a_person_who_cannot_be_removed_keeps_the_tokens(ws: Workspace, now: datetime, eve: Actor) -> None:
    accounts.set_role(ws, "ada", "viewer", by="test", now=now)
    with pytest.raises(Conflict, match="only admin"):
        accounts.remove_user(ws, "eve", by="test", now=now)
    assert _in_force(ws) == {"gateway", "short", "cli's"}


def test_a_name_made_again_has_not_made_the_tokens_of_its_predecessor(ws: Workspace, now: datetime, eve: Actor) -> None:
    accounts.remove_user(ws, "eve", keep_tokens=True, by="test", now=now)
    again = accounts.create_user(ws, "eve", GOOD, "viewer", by="test", now=now)
    assert tokens.tokens_made_by(ws, again.uid, now) == []
    assert accounts.remove_user(ws, "eve", by="test", now=now) == []
    assert "gateway" in _in_force(ws)


def test_the_command_line_shows_who_made_a_token_and_whether_they_are_still_there(
    ws: Workspace, now: datetime, eve: Actor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["keys", "list"]) == 0
    assert "eve" in capsys.readouterr().out
    assert cli.main(["users", "remove", "eve", "--keep-tokens"]) == 0
    assert "stay valid" in (said := capsys.readouterr().out) and "gateway" in said
    assert cli.main(["keys", "list"]) == 0
    assert "eve (removed)" in capsys.readouterr().out
    assert cli.main(["keys", "list", "--json"]) == 0
    gone = {k["name"]: k["maker_removed"] for k in json.loads(capsys.readouterr().out)["keys"]}
    assert gone == {"gateway": True, "short": True, "ended": True, "cli's": False}


def test_the_command_line_revokes_them_by_default(
    ws: Workspace, now: datetime, eve: Actor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["users", "remove", "eve"]) == 0
    assert "Their tokens are revoked" in (said := capsys.readouterr().out) and "gateway" in said
    assert _in_force(ws) <= {"cli's", "short"}


def test_tokens_from_before_are_given_to_who_had_the_name_then(ws: Workspace, now: datetime, eve: Actor) -> None:
    from alembic.config import Config

    from alembic import command

    url = ws.settings.database_url
    ws.database.dispose()
    config = Config()
    config.set_main_option("script_location", str(ROOT / "alembic"))
    config.attributes["url"] = url
    command.downgrade(config, "0009")
    command.upgrade(config, "head")
    database = Database(url)
    with database.read() as session:
        makers = {r.name: r.created_uid for r in session.execute(text("SELECT name, created_uid FROM api_tokens"))}
    database.dispose()
    assert makers == {"gateway": eve.uid, "short": eve.uid, "ended": eve.uid, "cli's": None}
