"""Is another version better? Two on the same newest labelled rows, clause by clause."""

from __future__ import annotations

import streamlit as st

from core import plots, ui
from core.records import Comparison, ProjectInfo
from core.services.models import comparing, versions
from core.services.models.versions import Registered
from core.text.reasons import sentence


def show(ctx: ui.Context, project: ProjectInfo, held: Registered) -> None:
    """The choice of two versions, and what their comparison found."""
    rivals = held.rivals()
    if rivals is None:
        with ui.card("One version only", "Two are needed to compare."):
            st.markdown("Nothing to compare until the next race.")
        return
    champion, other = rivals
    a, b = st.session_state.get("a", champion), st.session_state.get("b", other)
    kept = st.session_state.get("comparison")
    found = kept[1] if kept is not None and kept[0] == _question(project, a, b) else None
    with ui.card(
        _finding(found, a, b) if found else "Is another version better?",
        _caption(found) if found else "Both predict the same newest labelled rows that neither has learnt from",
    ):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            numbers = [v.version for v in held.versions]
            a = _choose("Version", numbers, champion, key="a")
            b = _choose("against", numbers, other, key="b")
            asked = st.button("Compare", icon=":material/compare_arrows:", key="compare", disabled=a == b)
        if a == b:
            st.caption("Choose two different versions.")
        elif asked:
            _compare(ctx, project, a, b)
        elif found:
            _show_clauses(ctx, project, found)


def _question(project: ProjectInfo, a: int, b: int) -> tuple[int, int, int, int]:
    """What a comparison answers: it is kept until other versions are chosen or the labelled rows change."""
    return project.id, a, b, project.labelled


def _choose(label: str, numbers: list[int], usual: int, *, key: str) -> int:
    return st.selectbox(
        label,
        numbers,
        index=numbers.index(usual),
        format_func=lambda n: f"v{n}",
        key=key,
        bind="query-params",
        width=120,
    )


def _compare(ctx: ui.Context, project: ProjectInfo, a: int, b: int) -> None:
    """Load both artefacts and score them."""
    found = ui.attempt(
        lambda: comparing.compare(ctx.ws, project, a, b),
        doing=f"v{a} and v{b} predict the same rows",
        done=lambda comparison: f"Compared on {ui.counted(comparison.n, 'row')}",
    )
    if found is not None:
        st.session_state["comparison"] = (_question(project, a, b), found)
        st.rerun()


def _finding(found: Comparison, a: int, b: int) -> str:
    """Which one is better, if that can be told."""
    told = versions.told_apart(found.difference)
    if told == "unknown":
        return f"v{b} and v{a} cannot be told apart: no row to judge by"
    if told == "unclear" or found.difference is None:
        return f"No clear difference between v{b} and v{a}"
    return f"v{b} is {told} than v{a}: {ui.points(found.difference.value, found.difference.metric)}"


def _caption(found: Comparison) -> str:
    """The rows it rests on."""
    rows = f"{ui.metric_label(found.metric)} on {ui.counted(found.n, 'row')}"
    return f"{rows}: {found.rows_from}" if found.rows_from else rows


def _show_clauses(ctx: ui.Context, project: ProjectInfo, found: Comparison) -> None:
    """The difference with its interval, and what each clause of the policy says to it."""
    if not found.n:
        st.markdown(
            "There is no labelled row that neither has learnt from. Wait for new labels, or compare older versions."
        )
        return
    figure = plots.comparison(found, colors=ctx.colors)
    ui.chart(figure, key="comparison-chart", alt=ui.interval_text(found.difference))
    said = versions.judge(project, found)
    ui.clauses([clause for clause in said.clauses if clause.decides])
    if not said.clauses:
        st.caption(ui.plain(sentence(said.reason)))
