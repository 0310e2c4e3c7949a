"""The settings as they are in force, for people: secrets are told only as set or not."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr

from core.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting."""

    name: str  # as the environment names it
    value: str  # "set" or "not set" in place of a secret
    usual: bool  # as it is by default


def effective(settings: Settings) -> list[Setting]:
    """Every setting, in the order in which they are declared."""
    found = []
    for field, info in type(settings).model_fields.items():
        value = getattr(settings, field)
        secret = "SecretStr" in str(info.annotation) or isinstance(value, SecretStr)
        empty = value is None or value == ()
        default = info.get_default(call_default_factory=True)
        found.append(
            Setting(
                name=str(info.validation_alias or field),
                value=_shown(value, secret=secret, empty=empty),
                usual=value == default,
            )
        )
    return found


def _shown(value: object, *, secret: bool, empty: bool) -> str:
    if secret:
        return "not set" if value is None else "set"
    return "not set" if empty else str(value)
