"""Nothing is seen without signing in, whichever file is asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from patience import limit

from core.services.access import accounts, throttle
from core.settings import get_settings
from core.storage.workspace import Workspace
from tests.pages.grown import PASSWORD, ROOT, settle, text_of
from tests.pages.signing_in import is_closed, sign_in, visit

pytestmark = pytest.mark.usefixtures("address")


FILES = [str(ROOT / "Home.py"), *sorted(str(f) for f in (ROOT / "pages").glob("*.py"))]
WATCH = [str(ROOT / "Home.py"), *(str(ROOT / "pages" / f"{name}.py") for name in ("drift", "performance", "live"))]


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


def test_the_right_password_opens_the_page_that_was_asked_for(grown: Workspace) -> None:
    at = sign_in(visit(), "ada", PASSWORD)
    assert not at.exception
    assert not is_closed(at)
    assert at.title[0].value == "Flies"
    assert "role admin" in text_of(at)


@pytest.mark.parametrize(
    ("name", "password"), [("ada", "not this one"), ("nobody", PASSWORD), ("", ""), ("ada", "x" * 90)]
)
def test_a_wrong_name_or_password_opens_nothing_and_does_not_say_which(
    grown: Workspace, name: str, password: str
) -> None:
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
