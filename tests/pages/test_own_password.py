"""People change their own password, and prove who they are again before what matters."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from core.errors import ProofNeeded
from core.services.access import accounts, audit_log, sessions, throttle, tokens, verifying
from core.services.access.actors import Actor
from core.services.access.tokens import TokenRights
from core.services.models import importing
from core.services.projects import projects
from core.storage.tables import User
from core.storage.workspace import Workspace
from tests.pages.grown import PASSWORD, click, open_page, sign_in_of, text_of
from tests.pages.signing_in import is_closed, sign_in, visit, visit_as

pytestmark = pytest.mark.usefixtures("address")


NEW = "wet gravel, copper lid"


def change_password(at: AppTest, old: str, new: str, again: str | None = None) -> AppTest:
    if not [b for b in at.button if b.label == "Change it"]:
        click(at, "Change password")
    at.text_input(key="own-old").set_value(old)
    at.text_input(key="own-new").set_value(new)
    at.text_input(key="own-again").set_value(new if again is None else again)
    return click(at, "Change it")


@pytest.mark.parametrize("person", ["ada", "vera"])
def test_people_change_their_own_password_and_stay_signed_in_here_alone(
    grown: Workspace, monkeypatch: pytest.MonkeyPatch, person: str
) -> None:
    monkeypatch.setattr("core.services.access.accounts.BCRYPT_ROUNDS", 4)
    here, there = visit_as(person), visit_as(person)
    change_password(here, PASSWORD, NEW)
    assert not here.exception
    assert not is_closed(here) and not [b for b in here.button if b.label == "Change it"]
    assert here.session_state["write cookie"][1] > time.time()
    assert here.session_state["username"] == sign_in_of(person)
    assert is_closed(there.run())
    assert not is_closed(sign_in(visit(), person, NEW))
    assert is_closed(sign_in(visit(), person, PASSWORD))
    entry = audit_log.audit_entries(grown, limit=1)[0][0]
    assert (entry.who, entry.what) == (person, "own password changed")


@pytest.mark.parametrize(
    ("old", "new", "again", "said"),
    [
        ("not this one", NEW, None, "Your password is wrong"),
        (PASSWORD, NEW, "another", "differ"),
        (PASSWORD, "short", None, "expected at least 12"),
        (PASSWORD, "Administrator-1", None, "too easy to guess"),
        (PASSWORD, PASSWORD, None, "is the same as the old one"),
    ],
)
def test_an_own_password_is_not_changed_by_a_wrong_old_or_weak_new_one(
    grown: Workspace, old: str, new: str, again: str | None, said: str
) -> None:
    at = change_password(visit_as("vera"), old, new, again)
    assert said in at.error[0].value
    assert not is_closed(sign_in(visit(), "vera", PASSWORD))


def test_guesses_of_the_old_password_are_throttled_as_sign_ins_are(grown: Workspace) -> None:
    at = visit_as("vera")
    for _ in range(throttle.FREE_FAILURES["pair"]):
        change_password(at, "not this one", NEW)
    assert "Too many failed" in change_password(at, PASSWORD, NEW).error[0].value


def test_a_person_is_informed_that_somebody_else_set_the_password_until_they_say_that_they_know(
    grown: Workspace, monkeypatch: pytest.MonkeyPatch, now: datetime
) -> None:
    monkeypatch.setattr("core.services.access.accounts.BCRYPT_ROUNDS", 4)
    accounts.set_password(grown, "vera", NEW, by="ada", now=now)
    at = sign_in(visit(), "vera", NEW)
    assert "Your password was changed on 2026-03-02 at" in at.warning[0].value and "by ada" in at.warning[0].value
    assert "changed on" in visit_as("vera").warning[0].value
    click(at, "Dismiss")
    assert not at.warning
    assert not visit_as("vera").warning
    accounts.set_password(grown, "vera", PASSWORD, by="ada", now=now)
    at = change_password(sign_in(visit(), "vera", PASSWORD), PASSWORD, NEW)
    assert not at.warning


def test_a_password_from_before_the_rules_still_signs_in_and_asks_to_be_changed(
    grown: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.services.access.accounts.BCRYPT_ROUNDS", 4)
    with grown.database.write() as session:
        session.execute(update(User).where(User.name == "vera").values(password_hash=accounts.hashed("short-12")))
    at = sign_in(visit(), "vera", "short-12")
    assert not is_closed(at)
    assert "too short or too common" in at.warning[0].value
    assert "too short or too common" in visit_as("vera").warning[0].value
    assert not change_password(at, "short-12", NEW).warning


# --- the password once more ---------------------------------------------------------------------------------------


def test_without_a_fresh_proof_a_page_asks_for_the_password_and_the_click_is_repeated(
    grown: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.services.access.accounts.BCRYPT_ROUNDS", 4)
    at = open_page("admin", proved=False)
    at.text_input(key="add-name").set_value("bea")
    at.text_input(key="add-password").set_value(NEW)
    click(at, "Add")
    assert accounts.get_user(grown, "bea") is None
    assert "require your password" in text_of(at)
    at.text_input(key="proof-password").set_value("not this one")
    click(at, "Continue")
    assert at.error[0].value == "Your password is wrong, so nothing was done."
    at.text_input(key="proof-password").set_value(PASSWORD)
    click(at, "Continue")
    assert accounts.get_user(grown, "bea") is None
    assert not [i for i in at.text_input if i.key == "proof-password"]
    click(at, "Add")
    assert accounts.get_user(grown, "bea") is not None


def test_what_needs_a_proof_is_open_for_ten_minutes_after_a_sign_in_and_to_that_epoch(
    grown: Workspace, now: datetime
) -> None:
    ada = verifying.verify_password(grown, "ada", PASSWORD, "192.0.2.7", now)
    actor = Actor(ada.name, ada.uid, ada.epoch)
    project = projects.list_projects(grown)[0]
    acts: list[Any] = [
        lambda at: accounts.create_user(grown, "bea", NEW, "viewer", by=actor, now=at),
        lambda at: accounts.set_password(grown, "vera", NEW, by=actor, now=at),
        lambda at: accounts.set_role(grown, "vera", "operator", by=actor, now=at),
        lambda at: accounts.remove_user(grown, "vera", by=actor, now=at),
        lambda at: tokens.create_token(grown, "x", TokenRights(scopes=["read"]), by=actor, now=at),
        lambda at: tokens.revoke_token(grown, 1, by=actor, now=at),
        lambda at: importing.import_challenger(grown, project, Path("none.skops"), by=actor, now=at),
    ]
    for act in acts:
        for late in (timedelta(minutes=10, seconds=1), -timedelta(minutes=11)):
            with pytest.raises(ProofNeeded):
                act(now + late)
    projects.set_paused(grown, project, True, by=actor, now=now + timedelta(hours=1))  # the rest needs none
    made, _ = tokens.create_token(grown, "x", TokenRights(scopes=["read"]), by=actor, now=now + timedelta(minutes=9))
    assert made.created_uid == ada.uid
    sessions.sign_out_everywhere(grown, "ada")
    later = accounts.get_user(grown, "ada")
    assert later is not None
    with pytest.raises(ProofNeeded):
        accounts.set_role(grown, "vera", "operator", by=Actor(later.name, later.uid, later.epoch), now=now)
