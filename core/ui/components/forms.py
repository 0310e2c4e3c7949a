"""Values to change, one widget each: its limits come from the rule that also checks it, its label and help from here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from core.learning.policy import NumberIn, OneOf, Rule, Whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Label, key and format of the widget of a value."""

    label: str
    key: str  # of its widget, within the form
    help: str | None = None
    step: float = 1.0  # of a number
    format: str | None = None  # of a number
    words: Mapping[str, str] | None = None  # of the choices; None = their keys
    placeholder: str | None = None  # of a text
    max_chars: int = 60  # of a text


def fields(
    asked: Mapping[str, Field], rules: Mapping[str, Rule], values: Mapping[str, Any], *, key: Callable[[str], str]
) -> dict[str, object]:
    """The value of each widget.

    Args:
        values: what the widgets begin with.
        key: makes the key of a widget out of the field's own.
    """
    return {name: _widget(field, rules[name], values[name], key(field.key)) for name, field in asked.items()}


def _widget(field: Field, rule: Rule, value: Any, key: str) -> object:
    if isinstance(rule, NumberIn):
        return st.number_input(
            field.label,
            min_value=_end(rule.low),
            max_value=_end(rule.high),
            value=float(value),
            step=float(field.step),
            format=field.format,
            key=key,
            help=field.help,
        )
    if isinstance(rule, Whole):
        return st.number_input(
            field.label, min_value=rule.low, value=int(value), step=int(field.step), key=key, help=field.help
        )
    if isinstance(rule, OneOf):
        words = field.words or {}
        keys = list(rule.table)
        return st.selectbox(
            field.label,
            keys,
            index=keys.index(value),
            format_func=lambda name: words.get(name, name),
            key=key,
            help=field.help,
        )
    return st.text_input(
        field.label,
        value=value,
        max_chars=field.max_chars,
        key=key,
        placeholder=field.placeholder,
        help=field.help,
    )


def _end(limit: float) -> float | None:
    """An end of a range as `st.number_input` takes it; None = open."""
    return float(limit) if math.isfinite(limit) else None
