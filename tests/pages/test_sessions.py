"""A sign-in ends when it should, for open tabs and dialogs too."""

from __future__ import annotations

import importlib
import inspect
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update
from streamlit.runtime.context import ContextProxy

from core.errors import NotAllowed
from core.services.access import accounts, sessions, verifying
from core.services.access.actors import Actor
from core.services.automation import jobs
from core.services.models import lifecycle
from core.services.projects import projects
from core.storage.tables import User
from core.storage.workspace import Workspace
from core.ui import recheck_on_download
from core.ui.context import running
from tests.pages.grown import closed, open_page, sign_in_of
from tests.pages.signing_in import cookie_token, is_closed, visit_as, visit_as_on, visit_with

pytestmark = pytest.mark.usefixtures("address")


def test_signing_out_ends_every_session_of_that_person(grown: Workspace) -> None:
    here, there = visit_as("ada"), visit_as("ada")
    next(b for b in here.button if b.label == "Sign out").click()
    assert is_closed(here.run())
    assert is_closed(there.run())


def test_a_new_password_ends_open_sessions(grown: Workspace) -> None:
    at = visit_as("otto")
    accounts.set_password(grown, "otto", "quite another one", by="ada", now=datetime.now(UTC))
    assert is_closed(at.run())


def test_a_person_who_was_removed_is_out_at_the_next_click(grown: Workspace) -> None:
    at = visit_as("vera")
    accounts.remove_user(grown, "vera", by="ada", now=datetime.now(UTC))
    assert is_closed(at.run())
    assert not at.exception


def test_a_role_counts_from_the_next_click_on(grown: Workspace) -> None:
    at = visit_as("otto")
    assert not closed(at, "Check now")
    accounts.set_role(grown, "otto", "viewer", by="ada", now=datetime.now(UTC))
    assert closed(at.run(), "Check now")


@pytest.mark.parametrize("person", ["otto", "vera"])
def test_a_page_above_the_role_is_refused_with_nothing_on_it(grown: Workspace, person: str) -> None:
    at = open_page("admin", person)
    assert [e.value for e in at.error] == [
        f"Admin is for the role admin; yours is {accounts.get_user(grown, person).role}. An admin can change it."  # type: ignore[union-attr]
    ]
    assert not at.dataframe
    assert [b.label for b in at.button] == ["Change password", "Second factor", "Sign out"]


def test_a_name_that_is_made_again_does_not_revive_the_old_cookie(
    grown: Workspace, monkeypatch: pytest.MonkeyPatch, now: datetime
) -> None:
    old = cookie_token(grown, sign_in_of("otto"))
    assert not is_closed(visit_with(monkeypatch, grown, old))
    accounts.remove_user(grown, "otto", by="test", now=now)
    accounts.create_user(grown, "otto", "Another-one-77", "admin", by="test", now=now)
    assert is_closed(visit_with(monkeypatch, grown, old))


def test_a_sessions_id_alone_is_no_sign_in(grown: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another connection to the same session has to bring the cookie itself."""
    at = visit_as("ada")
    monkeypatch.setattr(ContextProxy, "headers", property(lambda self: {"Sec-Websocket-Key": "another"}))
    assert is_closed(at.run())
    at = visit_as_on(monkeypatch, "ada", "mine")
    assert not is_closed(at)
    monkeypatch.setattr(ContextProxy, "headers", property(lambda self: {"Sec-Websocket-Key": "foreign"}))
    cookies = {grown.settings.cookie_name: cookie_token(grown, sign_in_of("ada"))}
    monkeypatch.setattr(ContextProxy, "cookies", property(lambda self: cookies))
    assert not is_closed(at.run())  # its own browser, connected again


def test_an_open_tab_ends_with_its_sign_in(grown: Workspace) -> None:
    at = visit_as("ada")
    at.session_state["sign-in ends"] = time.time() - 1
    assert is_closed(at.run())


def test_a_sign_in_without_a_click_for_long_ends(grown: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit_as("ada")
    with grown.database.write() as session:
        session.execute(
            update(User).where(User.name == "ada").values(last_seen_at=datetime.now(UTC) - timedelta(hours=13))
        )
    assert is_closed(at.run())
    at = visit_with(monkeypatch, grown, cookie_token(grown, sign_in_of("ada")))
    assert is_closed(at)


@pytest.mark.parametrize("what", ["removed", "demoted", "password", "signed out"])
def test_a_dialog_that_is_still_open_does_nothing_for_who_left(
    grown: Workspace, monkeypatch: pytest.MonkeyPatch, now: datetime, what: str
) -> None:
    monkeypatch.setattr("core.services.access.accounts.BCRYPT_ROUNDS", 4)
    accounts.create_user(grown, "eve", "Reed-warbler-at-5", "admin", by="test", now=now)
    eve = verifying.verify_password(grown, "eve", "Reed-warbler-at-5", "192.0.2.7", now)
    actor = Actor(eve.name, eve.uid, eve.epoch)
    accounts.set_password(grown, "vera", "Fine-while-here-1", by=actor, now=now)
    {
        "removed": lambda: accounts.remove_user(grown, "eve", by="test", now=now),
        "demoted": lambda: accounts.set_role(grown, "eve", "viewer", by="test", now=now),
        "password": lambda: accounts.set_password(grown, "eve", "Changed-by-another", by="test", now=now),
        "signed out": lambda: sessions.sign_out_everywhere(grown, "eve"),
    }[what]()
    before = accounts.get_user(grown, "ada")
    with pytest.raises(NotAllowed):
        accounts.set_password(grown, "ada", "Stolen-password-9", by=actor, now=now)
    assert accounts.get_user(grown, "ada") == before
    project = projects.list_projects(grown)[0]
    for act in (
        lambda: projects.set_paused(grown, project, True, by=actor, now=now),
        lambda: lifecycle.rollback(grown, project, reason="x", by=actor, now=now),
        lambda: jobs.request_cycle(grown, project.id, cause="button", force=True, by=actor, now=now),
    ):
        with pytest.raises(NotAllowed):
            act()


def test_a_download_is_refused_to_who_left(grown: Workspace, now: datetime) -> None:
    otto = accounts.get_user(grown, "otto")
    assert otto is not None
    running.actor = Actor(otto.name, otto.uid, otto.epoch)
    make = recheck_on_download(lambda: b"rows")
    assert make() == b"rows"
    accounts.remove_user(grown, "otto", by="test", now=now)
    with pytest.raises(NotAllowed):
        make()


def test_every_service_that_changes_something_asks_who_acts(grown: Workspace, now: datetime) -> None:
    """A function that takes `by` and `now`, and a workspace, refuses an actor who is gone before it does anything."""
    gone = Actor("gone", "no-such-id", 1)
    left_out = {"store_batch", "seal_log"}  # called by those that ask
    asked = []
    for name in (
        "access.accounts", "access.sessions", "access.verifying", "ingestion.label_queue", "serving.guarding", "ingestion.ingest", "ingestion.generated", "ingestion.stored_batches",
        "ingestion.storing", "automation.jobs",
        "ingestion.label_changes", "ingestion.label_intake", "automation.live", "projects.projects", "access.second_factor",
        "projects.streams", "access.tokens", "models.lifecycle", "models.importing", "models.shadowing",
    ):  # fmt: skip
        module = importlib.import_module(f"core.services.{name}")
        for function in vars(module).values():
            if not inspect.isfunction(function) or function.__module__ != module.__name__:
                continue
            parameters = inspect.signature(function).parameters
            if (
                not {"ws", "by", "now"} <= parameters.keys()
                or function.__name__[0] == "_"
                or function.__name__ in left_out
            ):
                continue
            given = {n: None for n, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD} | {
                "ws": grown,
                "by": gone,
                "now": now,
            }
            if function.__name__ == "ingest_file":
                continue  # reads the file, then calls `ingest_frame`
            if function.__name__ == "create_sample_project":
                given |= {"name": "x"}
            with pytest.raises(NotAllowed):
                function(**given)
            asked.append(function.__name__)
    assert len(asked) > 25
