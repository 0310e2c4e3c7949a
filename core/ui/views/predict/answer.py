"""The answer to one row: class or number, every class's probability, what guards said; kept for the session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from core import plots, ui
from core.services.serving.asking import RowAnswer
from core.ui.views.predict import why

SLOT = "answer"
SHOWN_HITS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """An answer, and the label of the stored row that filled the form."""

    told: RowAnswer
    known: Any  # None: the form was filled by hand


def keep(given: Given) -> None:
    """Show it until another one is given."""
    st.session_state[SLOT] = given


def kept() -> Given | None:
    """The newest answer of the session."""
    given: Given | None = st.session_state.get(SLOT)
    return given


def show_nothing_yet() -> None:
    """What will stand here."""
    with ui.card("The answer", "Class, probability of every class, and the version that said it"):
        st.markdown("Fill the form and press **Predict**.")


def show(ctx: ui.Context, given: Given) -> None:
    """The answer with the version that gave it; then the reasons."""
    told, target = given.told, ui.plain(given.told.target)
    found = _finding(told, target)
    with ui.card(
        f"The model says: {found}" if told.withheld else found,
        f"Answered by v{told.version} · logged as {told.prediction_id}",
    ):
        if told.spoken is not None:
            _show_guards(target, told.spoken)
        if told.chances:
            _show_chances(ctx, told)
        if given.known is not None:
            st.caption(
                f"The recent row that filled the form has {target} = {ui.plain(str(given.known))}; the model may have learnt from it."
            )
        st.caption("Send the true value later under this row id: Data, Add labels.")
    why.show(ctx, told.why, target)


def _finding(told: RowAnswer, target: str) -> str:
    """The answer in words."""
    if not told.chances:
        return f"{target} is {told.label:,.4g}"
    return f"{target} is {ui.plain(str(told.label))}" + (
        f", probability {told.chance:.0%}" if told.chance is not None else ""
    )


def _show_chances(ctx: ui.Context, told: RowAnswer) -> None:
    ui.chart(
        plots.probabilities(told.classes, told.chances, colors=ctx.colors),
        key="chances",
        alt=", ".join(f"{c}: {p:.0%}" for c, p in zip(told.classes, told.chances, strict=True)),
    )


def _show_guards(target: str, spoken: Mapping[str, Any]) -> None:
    """What the guards said, and what a program is given instead."""
    instead = {
        "warn": "A program is given this answer together with the warning.",
        "abstain": "**The answer is withheld:** a program is given none.",
        "override": f"**Replaced:** a program is told that {target} is {ui.plain(str(spoken['answer']))}.",
    }
    said = [f"{ui.plain(plots.GUARD_NAMES[h['guard']])}: {_hit_words(h)}" for h in spoken["hits"][:SHOWN_HITS]]
    if len(spoken["hits"]) > SHOWN_HITS:
        said.append(f"{len(spoken['hits']) - SHOWN_HITS} more of this kind")
    box = st.warning if spoken["action"] == "warn" else st.error
    box(f"{instead[spoken['action']]}\n" + "\n".join(f"- {line}" for line in said), icon=":material/shield:")


def _hit_words(hit: Mapping[str, Any]) -> str:
    """What one guard saw and expected."""
    seen = f"{hit['seen']:.4g}" if isinstance(hit["seen"], float) else str(hit["seen"])
    feature = f"{hit['feature']} is " if hit["feature"] else ""
    return ui.plain(f"{feature}{seen}, expected {hit['expected']}")
