"""Typed settings and where they come from: environment > secret files > `.env` > Streamlit's secrets.toml > default.

Entry points call `get_settings()` and pass values on; the pure layers never import this module. No secret
has a default, and the program does not start with one that looks like a sample.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from core.errors import ConfigurationError

ROOT = Path(__file__).resolve().parent.parent
# Placeholders for secrets in examples and tutorials: whole words, or parts that identify them.
SAMPLES = {
    "password",
    "passwort",
    "secret",
    "somekey",
    "example",
    "default",
    "placeholder",
    "admin",
    "apikey",
    "mysecret",
}
SAMPLE_PARTS = ("changeme", "change-me", "change_me", "replaceme", "replace-me", "your-", "your_", "<", "xxxx")
MIN_API_KEY = 16
MIN_COOKIE_KEY = 32
MIN_PASSWORD = 12
MIN_FIRST_PASSWORD = 8  # of the setting: the user has to choose another one after signing in


class SecretFiles(PydanticBaseSettingsSource):
    """Secrets in files: `API_KEY_FILE=/run/secrets/api_key` names the file that holds `API_KEY`."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The content of the file that the environment names for this setting; None where it names none.

        Raises:
            ConfigurationError: the file cannot be read or is empty.
        """
        name = str(field.validation_alias)
        path = os.environ.get(f"{name}_FILE")
        if not path or os.environ.get(name) or SecretStr not in get_args(field.annotation):
            return None, name, False
        try:
            text = Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise ConfigurationError(f"{name}_FILE: {path} cannot be read ({why}).") from None
        if not text:
            raise ConfigurationError(f"{name}_FILE: {path} is empty, expected the secret.")
        return text, name, False

    def __call__(self) -> dict[str, Any]:
        """Those that are set."""
        values = (self.get_field_value(field, name) for name, field in self.settings_cls.model_fields.items())
        return {name: value for value, name, _ in values if value is not None}


class Settings(BaseSettings):
    """Everything that can be configured. docs/settings.md describes each setting."""

    # By alias alone: by field name, `home` would be the shell's HOME.
    model_config = SettingsConfigDict(
        env_file=".env", env_file_encoding="utf-8", extra="ignore", populate_by_name=False
    )

    home: Path = Field(default=Path("var"), validation_alias="CONTINUAL_HOME")
    streamlit_port: int = Field(default=8501, validation_alias="STREAMLIT_SERVER_PORT")
    api_host: str = Field(default="0.0.0.0", validation_alias="FASTAPI_HOST")  # noqa: S104  # the documented default: a container's port is published, or not, from outside
    api_port: int = Field(default=8000, validation_alias="FASTAPI_PORT")
    prefect_port: int = Field(default=4200, validation_alias="PREFECT_PORT")
    api_base_url: str | None = Field(default=None, validation_alias="API_BASE_URL")
    public_url: str | None = Field(default=None, validation_alias="CONTINUAL_PUBLIC_URL")
    api_key: SecretStr | None = Field(default=None, validation_alias="API_KEY")
    streamlit_password: SecretStr | None = Field(default=None, validation_alias="STREAMLIT_PASSWORD")
    cookie_key: SecretStr | None = Field(default=None, validation_alias="CONTINUAL_COOKIE_KEY")
    database_url_setting: SecretStr | None = Field(default=None, validation_alias="DATABASE_URL")
    data_url_setting: str | None = Field(default=None, validation_alias="DATA_URL")
    performance_threshold: float = Field(default=0.8, validation_alias="PERFORMANCE_THRESHOLD")
    check_interval_s: float = Field(default=30.0, gt=0, validation_alias="CHECK_INTERVAL_SECONDS")
    scheduler_in_app: Literal["on", "off"] = Field(default="on", validation_alias="CONTINUAL_SCHEDULER_IN_APP")
    storage: Literal["auto", "durable", "temporary"] = Field(default="auto", validation_alias="CONTINUAL_STORAGE")
    task_retries: int = Field(default=2, ge=0, validation_alias="TASK_RETRIES")
    retry_delay_s: float = Field(default=1.0, ge=0, validation_alias="RETRY_DELAY_SECONDS")
    discord_webhook_url: SecretStr | None = Field(default=None, validation_alias="DISCORD_WEBHOOK_URL")
    kuma_push_url: SecretStr | None = Field(default=None, validation_alias="CONTINUAL_KUMA_PUSH_URL")
    log_format: Literal["text", "json"] = Field(default="text", validation_alias="LOG_FORMAT")
    log_level: str = Field(default="INFO", validation_alias="CONTINUAL_LOG_LEVEL")
    durability: Literal["process", "power"] = Field(default="process", validation_alias="CONTINUAL_DURABILITY")
    idle_minutes: float = Field(default=720.0, gt=0, validation_alias="CONTINUAL_IDLE_MINUTES")
    max_upload_mb: float = Field(default=200.0, gt=0, validation_alias="CONTINUAL_MAX_UPLOAD_MB")
    open_metrics: bool = Field(default=False, validation_alias="CONTINUAL_OPEN_METRICS")
    open_invocations: bool = Field(default=False, validation_alias="CONTINUAL_OPEN_INVOCATIONS")
    open_from: Annotated[tuple[str, ...], NoDecode] = Field(default=(), validation_alias="CONTINUAL_OPEN_FROM")
    require_second_factor: Literal["off", "admins"] = Field(
        default="off", validation_alias="CONTINUAL_REQUIRE_SECOND_FACTOR"
    )
    cycle_timeout_s: float = Field(default=1800.0, gt=0, validation_alias="CONTINUAL_CYCLE_TIMEOUT_SECONDS")
    keep_former: int = Field(default=2, ge=0, validation_alias="CONTINUAL_KEEP_FORMER")
    keep_rejected: int = Field(default=0, ge=0, validation_alias="CONTINUAL_KEEP_REJECTED")
    keep_predictions_days: int | None = Field(default=None, ge=1, validation_alias="CONTINUAL_KEEP_PREDICTIONS_DAYS")
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), validation_alias="CONTINUAL_TRUSTED_PROXIES"
    )

    @field_validator(
        "api_key",
        "streamlit_password",
        "cookie_key",
        "database_url_setting",
        "discord_webhook_url",
        "data_url_setting",
        "api_base_url",
        "public_url",
        "kuma_push_url",
        "keep_predictions_days",
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("trusted_proxies", "open_from", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        parts = tuple(part.strip() for part in value.split(",") if part.strip())
        for part in parts:
            ipaddress.ip_network(part, strict=False)
        return parts

    @field_validator("public_url")
    @classmethod
    def _an_address(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"https?://[^\s/?#]+[^\s?#]*$", value):
            raise ValueError("expected an address such as https://ml.example.org, without a query")
        return value.rstrip("/") if value is not None else None

    @field_validator("kuma_push_url")
    @classmethod
    def _without_query(cls, value: SecretStr | None) -> SecretStr | None:
        """Drop the example query that Kuma shows with its address."""
        if value is None:
            return None
        address = value.get_secret_value().partition("?")[0]
        if not re.match(r"https?://[^\s/]+/\S+$", address):
            raise ValueError("expected the push URL that Uptime Kuma shows, http://host:3001/api/push/...")
        return SecretStr(address)

    @field_validator("api_key")
    @classmethod
    def _real_api_key(cls, value: SecretStr | None) -> SecretStr | None:
        return _refuse_sample(value, "API_KEY", MIN_API_KEY)

    @field_validator("cookie_key")
    @classmethod
    def _real_cookie_key(cls, value: SecretStr | None) -> SecretStr | None:
        return _refuse_sample(value, "CONTINUAL_COOKIE_KEY", MIN_COOKIE_KEY)

    @field_validator("streamlit_password")
    @classmethod
    def _real_password(cls, value: SecretStr | None) -> SecretStr | None:
        return _refuse_sample(value, "STREAMLIT_PASSWORD", MIN_FIRST_PASSWORD)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        secrets = TomlConfigSettingsSource(settings_cls, toml_file=Path(".streamlit/secrets.toml"))
        return init_settings, SecretFiles(settings_cls), env_settings, dotenv_settings, secrets

    @property
    def home_path(self) -> Path:
        """The one state folder, absolute."""
        return self.home.expanduser().resolve()

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL; a SQLite file in the state folder unless DATABASE_URL is set."""
        if self.database_url_setting is not None:
            return self.database_url_setting.get_secret_value()
        return f"sqlite:///{self.home_path / 'continual.db'}"

    @property
    def data_path(self) -> Path:
        """Folder of the batches."""
        if self.data_url_setting:
            return Path(self.data_url_setting.removeprefix("file://")).expanduser().resolve()
        return self.home_path / "batches"

    @property
    def cookie_name(self) -> str:
        """Differs by state folder: browsers share cookies between the ports of one host."""
        return "continual_" + hashlib.sha256(str(self.home_path).encode()).hexdigest()[:12]

    @property
    def max_upload_bytes(self) -> int:
        """Largest file or body that is read."""
        return int(self.max_upload_mb * 1024 * 1024)

    @property
    def api_url(self) -> str:
        """The API's address, as people reach it."""
        return self.api_base_url or f"http://localhost:{self.api_port}"


def _refuse_sample(value: SecretStr | None, name: str, shortest: int) -> SecretStr | None:
    if value is None:
        return None
    text = value.get_secret_value()
    if len(text.encode()) < shortest:
        raise ValueError(
            f"{name} has {len(text)} characters, expected at least {shortest}. Generate one: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    letters = re.sub(r"[^a-z]", "", text.lower())
    if letters in SAMPLES or any(part in text.lower() for part in SAMPLE_PARTS) or len(set(text)) < 5:
        raise ValueError(
            f"{name} looks like a placeholder, expected a secret of your own. Generate one: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return value


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once; `get_settings.cache_clear()` reads them again.

    Raises:
        ConfigurationError: names the setting, what is wrong and how to fix it, never its value.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}"
            for e in error.errors(include_input=False, include_url=False)
        ]
        raise ConfigurationError("Invalid settings: " + "; ".join(lines)) from None
