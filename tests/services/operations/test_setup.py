"""The first start."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from core.services.operations.setup import GENERATED, ensure_secrets, initialise
from core.settings import MIN_COOKIE_KEY, get_settings


def _lines(env_file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in env_file.read_text().splitlines() if "=" in line)


def test_missing_secrets_are_appended_and_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("# ours\nFASTAPI_PORT=9000")  # no newline at the end
    env_file.chmod(0o644)
    assert ensure_secrets(env_file, {}) == GENERATED
    assert env_file.read_text().startswith("# ours\nFASTAPI_PORT=9000\nAPI_KEY=")
    assert env_file.stat().st_mode & 0o777 == 0o600
    values = _lines(env_file)
    assert len(values["CONTINUAL_COOKIE_KEY"]) >= MIN_COOKIE_KEY
    assert values["API_KEY"] != values["CONTINUAL_COOKIE_KEY"]
    before = env_file.read_bytes()
    assert ensure_secrets(env_file, {}) == ()
    assert env_file.read_bytes() == before


def test_what_the_environment_or_the_file_holds_is_left_alone(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text('API_KEY="kept as it is"\n')
    assert ensure_secrets(env_file, {"CONTINUAL_COOKIE_KEY": "k" * 40}) == ()
    assert env_file.read_text() == 'API_KEY="kept as it is"\n'


def test_an_empty_value_counts_as_missing_and_the_new_one_wins(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("API_KEY=\n")
    assert ensure_secrets(tmp_path / ".env", {"CONTINUAL_COOKIE_KEY": ""}) == GENERATED
    settings = get_settings()  # reads .env in the working folder, which is this one
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == (tmp_path / ".env").read_text().splitlines()[1].partition("=")[2]


def test_first_user_is_reported_once_and_a_given_password_never(monkeypatch: pytest.MonkeyPatch, now: datetime) -> None:
    monkeypatch.setenv("STREAMLIT_PASSWORD", "quite-a-long-one-9")
    get_settings.cache_clear()
    assert initialise(get_settings(), now=now) == ("User: admin", "Password: the value of STREAMLIT_PASSWORD")
    assert initialise(get_settings(), now=now) == ()


def test_a_generated_password_is_reported_and_not_stored(now: datetime) -> None:
    settings = get_settings()
    user, password = initialise(settings, now=now)
    assert user == "User: admin"
    reported = password.removeprefix("Password: ").encode()
    assert len(reported) >= 12
    for path in settings.home_path.rglob("*"):
        assert path.is_dir() or reported not in path.read_bytes()
