"""Facts in lines: names with their values, and a verdict clause by clause."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.records import Clause
from core.text.reasons import sentence
from core.words import plain


def pairs(lines: Sequence[tuple[str, str]]) -> None:
    """Names and values in two columns."""
    st.markdown("\n".join(["| | |", "| --- | --- |", *(f"| {name} | **{value}** |" for name, value in lines)]))


def clauses(verdict: Sequence[Clause]) -> None:
    """A verdict clause by clause: those that decide, then those that are not enforced, in grey."""
    for clause in sorted(verdict, key=lambda c: not c.decides):
        icon = "check_circle" if clause.passed else "cancel"
        if clause.decides:
            st.markdown(f":material/{icon}: {'Pass' if clause.passed else 'Fail'} · {plain(sentence(clause.reason))}")
        else:
            note = "would pass" if clause.passed else "would fail"
            st.markdown(f":gray[:material/{icon}: Not enforced, {note} · {plain(sentence(clause.reason))}]")
