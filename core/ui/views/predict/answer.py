"""The prediction for one row: class or number, class probabilities, triggered guards; kept for the session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from core import plots, ui
from core.services.serving.page_predictions import RowAnswer
from core.ui.views.predict import why

SLOT = "answer"
SHOWN_HITS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A prediction, and the label of the stored row that filled the form."""

    answer: RowAnswer
    known: Any  # None: the form was filled in manually


def keep(given: Given) -> None:
    """Show it until the next one."""
    st.session_state[SLOT] = given


def newest() -> Given | None:
    """The newest prediction of the session."""
    given: Given | None = st.session_state.get(SLOT)
    return given


def show_nothing_yet() -> None:
    """The empty state."""
    with ui.card("Prediction", "Class, probability of every class, and the model version"):
        st.markdown("Fill in the form and press **Predict**.")


def show(ctx: ui.Context, given: Given) -> None:
    """The prediction with its version; then the contributions of the features."""
    answer, target = given.answer, ui.plain(given.answer.target)
    finding = _finding(answer, target)
    with ui.card(
        f"Model output: {finding}" if answer.withheld else finding,
        f"Predicted by v{answer.version} · logged as {answer.prediction_id}",
    ):
        if answer.guarded is not None:
            _show_guards(target, answer.guarded)
        if answer.chances:
            _show_chances(ctx, answer)
        if given.known is not None:
            st.caption(
                f"The recent row that filled the form has {target} = {ui.plain(str(given.known))}; the model may have been trained on it."
            )
        st.caption("Add the true value later under this row id: Data, Add labels.")
    why.show(ctx, answer.why, target)


def _finding(answer: RowAnswer, target: str) -> str:
    """The prediction in words."""
    if not answer.chances:
        return f"{target} is {answer.label:,.4g}"
    return f"{target} is {ui.plain(str(answer.label))}" + (
        f", probability {answer.chance:.0%}" if answer.chance is not None else ""
    )


def _show_chances(ctx: ui.Context, answer: RowAnswer) -> None:
    ui.chart(
        plots.probabilities(answer.classes, answer.chances, colors=ctx.colors),
        key="chances",
        alt=", ".join(f"{c}: {p:.0%}" for c, p in zip(answer.classes, answer.chances, strict=True)),
    )


def _show_guards(target: str, guarded: Mapping[str, Any]) -> None:
    """The triggered guards, and what API callers get."""
    instead = {
        "warn": "API callers get this prediction with the warning.",
        "abstain": "**The prediction is withheld:** API callers get none.",
        "override": f"**Replaced:** API callers get {target} = {ui.plain(str(guarded['answer']))}.",
    }
    hits = [f"{ui.plain(plots.GUARD_NAMES[h['guard']])}: {_hit_words(h)}" for h in guarded["hits"][:SHOWN_HITS]]
    if len(guarded["hits"]) > SHOWN_HITS:
        hits.append(f"{len(guarded['hits']) - SHOWN_HITS} more")
    box = st.warning if guarded["action"] == "warn" else st.error
    box(f"{instead[guarded['action']]}\n" + "\n".join(f"- {line}" for line in hits), icon=":material/shield:")


def _hit_words(hit: Mapping[str, Any]) -> str:
    """What one guard saw and expected."""
    seen = f"{hit['seen']:.4g}" if isinstance(hit["seen"], float) else str(hit["seen"])
    feature = f"{hit['feature']} is " if hit["feature"] else ""
    return ui.plain(f"{feature}{seen}, expected {hit['expected']}")
