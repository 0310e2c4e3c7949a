"""Where settings come from, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.errors import ConfigurationError
from core.settings import Settings, get_settings


def test_the_state_folder_is_var_and_never_the_shells_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CONTINUAL_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "somebody"))
    get_settings.cache_clear()
    assert get_settings().home_path == tmp_path / "var"


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FASTAPI_PORT=8100\nCHECK_INTERVAL_SECONDS=7\n")
    monkeypatch.setenv("FASTAPI_PORT", "8200")
    get_settings.cache_clear()
    settings = get_settings()
    assert (settings.api_port, settings.check_interval_s) == (8200, 7)


def test_streamlits_secrets_are_read_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "secrets.toml").write_text(
        'STREAMLIT_PASSWORD = "from-the-toml-9"\nFASTAPI_PORT = 8300\n'
    )
    (tmp_path / ".env").write_text("FASTAPI_PORT=8100\n")
    get_settings.cache_clear()
    settings = get_settings()
    assert settings.api_port == 8100
    assert settings.streamlit_password is not None
    assert settings.streamlit_password.get_secret_value() == "from-the-toml-9"


def test_a_secret_may_lie_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "api_key"
    secret.write_text("0123456789abcdef-of-a-file\n")
    (tmp_path / ".env").write_text("API_KEY=0123456789abcdef-of-dotenv\n")
    monkeypatch.setenv("API_KEY", "")  # as the compose file hands it down where it is not set
    monkeypatch.setenv("API_KEY_FILE", str(secret))
    monkeypatch.setenv("CONTINUAL_COOKIE_KEY_FILE", "")
    monkeypatch.setenv("LOG_FORMAT_FILE", str(tmp_path / "no-secret"))
    get_settings.cache_clear()
    settings = get_settings()
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "0123456789abcdef-of-a-file"
    assert (settings.cookie_key, settings.log_format) == (None, "text")
    monkeypatch.setenv("API_KEY", "0123456789abcdef-of-environment")
    get_settings.cache_clear()
    environment = get_settings().api_key
    assert environment is not None
    assert environment.get_secret_value() == "0123456789abcdef-of-environment"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, r"API_KEY_FILE: \S+/api_key cannot be read \(No such file or directory\)"),
        (b" \n", "API_KEY_FILE: .* is empty, expected the secret"),
        (b"\xff\xfe0123456789abcdef", "cannot be read \\(not UTF-8\\)"),
        (b"change-me-please-now-1", "API_KEY looks like a placeholder"),
    ],
)
def test_a_secret_file_of_no_use_stops_the_start(
    content: bytes | None, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "api_key").write_bytes(content)
    monkeypatch.setenv("API_KEY_FILE", str(tmp_path / "api_key"))
    get_settings.cache_clear()
    with pytest.raises(ConfigurationError, match=expected) as caught:
        get_settings()
    assert "0123456789abcdef" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_KEY", "short"),
        ("API_KEY", "change-me-please-now-1"),
        ("CONTINUAL_COOKIE_KEY", "some_key"),
        ("CONTINUAL_COOKIE_KEY", "a" * 40),
        ("STREAMLIT_PASSWORD", "password"),
        ("STREAMLIT_PASSWORD", "Zaunk-4"),
        ("CHECK_INTERVAL_SECONDS", "0"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_weak_or_wrong_setting_stops_the_start_and_is_not_repeated(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    with pytest.raises(ConfigurationError, match=name) as caught:
        get_settings()
    if name.endswith(("KEY", "PASSWORD")):
        assert value not in str(caught.value).replace(name, "")


def test_an_empty_secret_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "")
    get_settings.cache_clear()
    assert get_settings().api_key is None


def test_two_state_folders_have_two_cookies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = set()
    for folder in ("a", "b"):
        monkeypatch.setenv("CONTINUAL_HOME", str(tmp_path / folder))
        get_settings.cache_clear()
        names.add(get_settings().cookie_name)
    assert len(names) == 2


def test_every_setting_has_a_reader() -> None:
    """What is documented and checked, but read nowhere, promises what is not so."""
    root = Path(__file__).resolve().parents[1]
    own = (root / "core" / "settings.py").read_text().partition("def home_path")[2]  # what its properties read
    files = [*root.glob("*.py"), *(root / "core").rglob("*.py"), *(root / "pages").glob("*.py")]
    code = own + "".join(f.read_text() for f in files if f.name != "settings.py")
    unread = [name for name in Settings.model_fields if not re.search(rf"\b(?:settings|self|s)\.{name}\b", code)]
    assert unread == []
