"""Nothing is seen without signing in, whichever file is asked for; and a sign-in ends when it should."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
import streamlit as st
from patience import limit
from sqlalchemy import update
from streamlit.runtime.context import ContextProxy
from streamlit.testing.v1 import AppTest

from core.errors import NotAllowed, ProofNeeded
from core.services.access import accounts, audit_log, second_factor, sessions, throttle, tokens, verifying
from core.services.access.actors import Actor
from core.services.access.tokens import TokenRights
from core.services.automation import jobs
from core.services.models import importing, lifecycle
from core.services.projects import projects
from core.settings import get_settings
from core.storage.tables import User
from core.storage.workspace import Workspace
from core.ui import recheck_on_download
from core.ui.context import running
from core.ui.session import cookie_key
from tests.pages.grown import PASSWORD, ROOT, click, closed, open_page, settle, sign_in_of, text_of

FILES = [str(ROOT / "Home.py"), *sorted(str(f) for f in (ROOT / "pages").glob("*.py"))]
WATCH = [str(ROOT / "Home.py"), *(str(ROOT / "pages" / f"{name}.py") for name in ("drift", "performance", "live"))]
HOME = str(ROOT / "Home.py")


@pytest.fixture
def grown(settings: object, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    return settle(get_settings().home_path, monkeypatch, grown=True)


@pytest.fixture(autouse=True)
def _address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where visitors come from; the page tests' own session answers with a stand-in that is no text."""
    monkeypatch.setattr(ContextProxy, "ip_address", property(lambda self: "192.0.2.7"))


def in_fresh_processes(home: Path, *arguments: str) -> dict[str, Any]:
    """What `fresh.py` prints."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "pages" / "fresh.py"), *arguments],
        env={**os.environ, "CONTINUAL_HOME": str(home), "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=limit(150),
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def anonymous(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every page as a stranger sees it, over a state folder that holds a project."""
    home = tmp_path_factory.mktemp("anonymous") / "home"
    with pytest.MonkeyPatch.context() as patch:
        settle(home, patch, grown=True).database.dispose()
    return in_fresh_processes(home, *FILES)


@pytest.mark.parametrize("file", FILES, ids=[Path(f).stem for f in FILES])
def test_a_stranger_sees_only_the_sign_in(anonymous: dict[str, Any], file: str) -> None:
    page = anonymous[file]
    assert page["errors"] == []
    assert page["inputs"] == ["Username", "Password"]
    assert page["buttons"] == ["Sign in"]
    assert page["titles"] == ["Continual ML"]
    assert page["sidebar"] == 0
    assert not {"metric", "dataframe", "plotly_chart", "selectbox", "arrow_data_frame"} & set(page["kinds"])
    assert "flies" not in page["text"].lower()


def test_the_first_pages_load_no_learning_library(grown: Workspace) -> None:
    pages = in_fresh_processes(get_settings().home_path, "--as", "ada", *WATCH)
    for file in WATCH:
        assert pages[file]["errors"] == [], file
        assert pages[file]["inputs"] == [], file
    assert {Path(file).stem: pages[file]["heavy"] for file in WATCH} == {Path(file).stem: [] for file in WATCH}


# --- signing in ---------------------------------------------------------------------------------------------------


def sign_in(at: AppTest, name: str, password: str) -> AppTest:
    at.text_input(key="sign-in name").set_value(name)
    at.text_input(key="sign-in password").set_value(password)
    at.button[0].click()
    return at.run()


def visit() -> AppTest:
    return AppTest.from_file(HOME, default_timeout=limit(60)).run()


def is_closed(at: AppTest) -> bool:
    return [i.label for i in at.text_input] == ["Username", "Password"] and not at.metric


def test_the_right_password_opens_the_page_that_was_asked_for(grown: Workspace) -> None:
    at = sign_in(visit(), "ada", PASSWORD)
    assert not at.exception
    assert not is_closed(at)
    assert at.title[0].value == "Flies"
    assert "role admin" in text_of(at)


@pytest.mark.parametrize(
    ("name", "password"), [("ada", "not this one"), ("nobody", PASSWORD), ("", ""), ("ada", "x" * 90)]
)
def test_a_wrong_name_or_password_opens_nothing_and_tells_not_which(grown: Workspace, name: str, password: str) -> None:
    at = sign_in(visit(), name, password)
    assert not at.exception
    assert is_closed(at)
    assert [e.value for e in at.error] == ["The user name or the password is wrong."]


def test_many_wrong_passwords_lock_the_name_even_for_the_right_one(grown: Workspace) -> None:
    at = visit()
    for _ in range(throttle.FREE_FAILURES["user"]):
        sign_in(at, "ada", "not this one")
    sign_in(at, "ada", PASSWORD)
    assert is_closed(at)
    assert at.error[0].value.startswith("Too many failed sign-ins. Try again in")


def test_the_cookie_is_asked_for_until_the_browser_has_set_it(grown: Workspace) -> None:
    at = sign_in(visit(), "ada", PASSWORD)
    ends = at.session_state["write cookie"]
    at.run()
    assert at.session_state["write cookie"] == ends > time.time()  # the same cookie, not another one each run


# --- a sign-in ends -----------------------------------------------------------------------------------------------


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


def visit_as(person: str) -> AppTest:
    at = AppTest.from_file(HOME, default_timeout=limit(60))
    at.session_state["username"] = sign_in_of(person)
    at.run()
    assert not is_closed(at)
    return at


# --- the cookie ---------------------------------------------------------------------------------------------------


def visit_with(monkeypatch: pytest.MonkeyPatch, ws: Workspace, token: str) -> AppTest:
    """A new session of a browser that sends this cookie."""
    cookies = {ws.settings.cookie_name: token}
    monkeypatch.setattr(ContextProxy, "cookies", property(lambda self: cookies))
    return visit()


def token(ws: Workspace, who: str, *, key: str | None = None, hours: float = 1.0) -> str:
    right = cookie_key(str(ws.settings.home_path))
    return jwt.encode({"username": who, "exp_date": time.time() + hours * 3600}, key or right, algorithm="HS256")


def test_a_cookie_of_ours_signs_in(grown: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_closed(visit_with(monkeypatch, grown, token(grown, sign_in_of("ada"))))


@pytest.mark.parametrize(
    "what", ["another key", "expired", "older epoch", "removed user", "no epoch", "unsigned", "no token at all"]
)
def test_no_other_cookie_does(grown: Workspace, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    sessions.sign_out_everywhere(grown, "otto")
    made = {
        "another key": token(grown, sign_in_of("ada"), key="k" * 64),
        "expired": token(grown, sign_in_of("ada"), hours=-1),
        "older epoch": token(grown, sign_in_of("otto", epoch=1)),
        "removed user": token(grown, "gone@1"),
        "no epoch": token(grown, sign_in_of("ada").partition("@")[0]),
        "unsigned": jwt.encode({"username": sign_in_of("ada"), "exp_date": time.time() + 3600}, "", algorithm="none"),
        "no token at all": "<script>",
    }
    at = visit_with(monkeypatch, grown, made[what])
    assert not at.exception
    assert is_closed(at)


def test_the_cookie_key_is_generated_once_and_for_nobody_else_to_read(grown: Workspace) -> None:
    home = get_settings().home_path
    key = cookie_key(str(home))
    place = home / "cookie.key"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert len(key) >= 32
    st.cache_resource.clear()
    assert cookie_key(str(home)) == key


# --- the first start ----------------------------------------------------------------------------------------------


def test_without_any_user_the_one_page_says_what_to_set(settings: object, monkeypatch: pytest.MonkeyPatch) -> None:
    st.cache_resource.clear()
    at = visit()
    assert not at.exception
    assert not at.text_input
    assert "STREAMLIT_PASSWORD" in at.info[0].value


def test_streamlit_password_becomes_the_first_admins(monkeypatch: pytest.MonkeyPatch, settings: object) -> None:
    monkeypatch.setenv("STREAMLIT_PASSWORD", "Zaunkoenig-42")
    monkeypatch.setattr("core.services.access.accounts.BCRYPT_ROUNDS", 4)
    get_settings.cache_clear()
    st.cache_resource.clear()
    at = sign_in(visit(), accounts.FIRST_USER, "Zaunkoenig-42")
    assert not is_closed(at)
    assert at.title[0].value == "Welcome"


def test_a_setting_that_is_unsafe_is_named_instead_of_a_crash(
    monkeypatch: pytest.MonkeyPatch, settings: object
) -> None:
    monkeypatch.setenv("CONTINUAL_COOKIE_KEY", "some_key")
    get_settings.cache_clear()
    st.cache_resource.clear()
    at = visit()
    assert not at.exception
    assert "CONTINUAL_COOKIE_KEY" in at.error[0].value.replace("\\", "")
    assert "some_key" not in at.error[0].value


# --- who left ------------------------------------------------------------------------------------------------------


def test_a_name_that_is_made_again_does_not_revive_the_old_cookie(
    grown: Workspace, monkeypatch: pytest.MonkeyPatch, now: datetime
) -> None:
    old = token(grown, sign_in_of("otto"))
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
    cookies = {grown.settings.cookie_name: token(grown, sign_in_of("ada"))}
    monkeypatch.setattr(ContextProxy, "cookies", property(lambda self: cookies))
    assert not is_closed(at.run())  # its own browser, connected again


def visit_as_on(monkeypatch: pytest.MonkeyPatch, person: str, connection: str) -> AppTest:
    monkeypatch.setattr(ContextProxy, "headers", property(lambda self: {"Sec-Websocket-Key": connection}))
    at = AppTest.from_file(HOME, default_timeout=limit(60))
    at.session_state["username"], at.session_state["connection"] = sign_in_of(person), connection
    return at.run()


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
    at = visit_with(monkeypatch, grown, token(grown, sign_in_of("ada")))
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


# --- the own password ---------------------------------------------------------------------------------------------


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
    assert here.session_state["write cookie"] > time.time()
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


def test_a_person_is_told_that_somebody_else_set_the_password_until_they_say_that_they_know(
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


# --- the second factor --------------------------------------------------------------------------------------------


def test_a_second_factor_is_set_up_at_the_name_and_asked_for_at_the_next_sign_in(grown: Workspace) -> None:
    at = click(visit_as("ada"), "Second factor")
    at.text_input(key="proof-password").set_value(PASSWORD)
    click(at, "Continue")
    click(at, "Second factor")
    secret, address = (code.value for code in at.code)
    assert secret in address
    at.text_input(key="factor-code").set_value("000000")
    click(at, "Turn it on")
    assert "The code does not match the one expected" in at.error[0].value
    at.text_input(key="factor-code").set_value(second_factor.code_of(secret, int(time.time()) // 30))
    click(at, "Turn it on")
    assert not at.exception
    codes = at.code[0].value.split()
    assert len(codes) == 8
    click(at, "I have saved them")
    assert not at.code
    there = sign_in(visit(), "ada", PASSWORD)
    assert [i.label for i in there.text_input] == ["Username", "Password", "Code"] and not there.metric
    there.text_input(key="sign-in code").set_value("000000")
    assert "code is wrong" in sign_in(there, "ada", PASSWORD).error[0].value
    there.text_input(key="sign-in code").set_value(codes[0])
    assert "role admin" in text_of(sign_in(there, "ada", PASSWORD))
    click(click(at, "Second factor"), "Turn it off")
    assert not is_closed(sign_in(visit(), "ada", PASSWORD))


def test_where_admins_need_a_second_factor_the_admin_page_asks_for_it_first(
    grown: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTINUAL_REQUIRE_SECOND_FACTOR", "admins")
    get_settings.cache_clear()
    st.cache_resource.clear()
    at = open_page("admin")
    assert at.error[0].value.startswith("Admins need a second factor here")
    assert not at.dataframe
    assert not open_page("drift").error
