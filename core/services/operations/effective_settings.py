"""The effective settings, for display: secrets appear only as set or not set."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr

from core.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting."""

    name: str  # name of the environment variable
    value: str  # "set" or "not set" in place of a secret
    usual: bool  # whether it has its default value


def effective(settings: Settings) -> list[Setting]:
    """Every setting, in the order in which they are declared."""
    fields = []
    for field, info in type(settings).model_fields.items():
        value = getattr(settings, field)
        secret = "SecretStr" in str(info.annotation) or isinstance(value, SecretStr)
        empty = value is None or value == ()
        default = info.get_default(call_default_factory=True)
        fields.append(
            Setting(
                name=str(info.validation_alias or field),
                value=_shown(value, secret=secret, empty=empty),
                usual=value == default,
            )
        )
    return fields


def _shown(value: object, *, secret: bool, empty: bool) -> str:
    if secret:
        return "not set" if value is None else "set"
    return "not set" if empty else str(value)
