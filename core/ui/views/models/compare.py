"""Is another version better? Two on the same newest labelled rows, clause by clause."""

from __future__ import annotations

import streamlit as st

from core import plots, ui
from core.records import Comparison, ProjectInfo
from core.services.models import comparing, versions
from core.services.models.versions import Registered
from core.text.reasons import sentence


def show(ctx: ui.Context, project: ProjectInfo, held: Registered) -> None:
    """The choice of two versions, and the result of their comparison."""
    rivals = held.rivals()
    if rivals is None:
        with ui.card("One version only", "Two are needed to compare."):
            st.markdown("Nothing to compare until the next race.")
        return
    champion, other = rivals
    a, b = st.session_state.get("a", champion), st.session_state.get("b", other)
    stored = st.session_state.get("comparison")
    comparison = stored[1] if stored is not None and stored[0] == _key(project, a, b) else None
    with ui.card(
        _finding(comparison, a, b) if comparison else "Is another version better?",
        _caption(comparison)
        if comparison
        else "Both predict the same recent labelled rows that neither was trained on",
    ):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            numbers = [v.version for v in held.versions]
            a = _choose("Version", numbers, champion, key="a")
            b = _choose("against", numbers, other, key="b")
            pressed = ui.pressed("Compare", icon=":material/compare_arrows:", key="compare", disabled=a == b)
        if a == b:
            st.caption("Choose two different versions.")
        elif pressed:
            _compare(ctx, project, a, b)
        elif comparison:
            _show_clauses(ctx, project, comparison)


def _key(project: ProjectInfo, a: int, b: int) -> tuple[int, int, int, int]:
    """Key of a stored comparison: it is kept until other versions are chosen or the labelled rows change."""
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
    comparison = ui.attempt(
        lambda: comparing.compare(ctx.ws, project, a, b),
        doing=f"v{a} and v{b} predict the same rows",
        done=lambda result: f"Compared on {ui.counted(result.n, 'row')}",
    )
    if comparison is not None:
        st.session_state["comparison"] = (_key(project, a, b), comparison)
        st.rerun()


def _finding(comparison: Comparison, a: int, b: int) -> str:
    """Which one is better, if that can be determined."""
    result = versions.significant_direction(comparison.difference)
    if result == "unknown":
        return f"v{b} and v{a} cannot be compared: no rows to compare on"
    if result == "unclear" or comparison.difference is None:
        return f"No clear difference between v{b} and v{a}"
    return f"v{b} is {result} than v{a}: {ui.points(comparison.difference.value, comparison.difference.metric)}"


def _caption(comparison: Comparison) -> str:
    """The rows it is based on."""
    rows = f"{ui.metric_label(comparison.metric)} on {ui.counted(comparison.n, 'row')}"
    return f"{rows}: {comparison.rows_from}" if comparison.rows_from else rows


def _show_clauses(ctx: ui.Context, project: ProjectInfo, comparison: Comparison) -> None:
    """The difference with its interval, and the policy's clauses."""
    if not comparison.n:
        st.markdown(
            "There are no labelled rows that neither was trained on. Wait for new labels, or compare older versions."
        )
        return
    figure = plots.comparison(comparison, colors=ctx.colors)
    ui.chart(figure, key="comparison-chart", alt=ui.interval_text(comparison.difference))
    verdict = versions.judge(project, comparison)
    ui.clauses([clause for clause in verdict.clauses if clause.decides])
    if not verdict.clauses:
        st.caption(ui.plain(sentence(verdict.reason)))
