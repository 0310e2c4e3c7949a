"""Which rows should be labelled next, and what do the labels say of all? Rows drawn with known chances, answered here."""

from __future__ import annotations

import secrets
from typing import Any

import streamlit as st

from core import ui, words
from core.errors import ContinualError
from core.records import ProjectInfo
from core.services.ingestion import label_queue
from core.services.ingestion.label_queue import DeskResult, DeskRow

SHOWN_FEATURES = 8
LABEL = "Label"


def show_verdict(ctx: ui.Context, project: ProjectInfo, rows: list[DeskRow], found: DeskResult) -> None:
    """What the answers say, and how many more would tell it twice as well."""
    metric = ui.metric_label(found.weighted.metric)
    if found.weighted.value is None:
        state, word = "unknown", "Not told yet"
        text = f"**{found.answered} of {ui.counted(found.asked, 'asked row')} answered.** {ui.plain(ui.sentence(found.weighted.reason))}"
    else:
        state, _ = ui.standing(
            found.weighted, project.policy.threshold, found.weighted.metric, least=min(project.policy.min_rows, 30)
        )
        word = None
        text = (
            f"**{metric} of all {ui.counted(found.pool, 'row')} is about {words.number(found.weighted.value)}** (95 % interval {ui.interval(found.weighted)}), "
            f"told by {ui.counted(found.answered, 'label')}; the threshold is {project.policy.threshold:g}. Unweighted, hard rows would count too much: "
            f"{words.number(found.unweighted.value)}."
        )
        if found.to_halve is not None:
            text += f" **{found.to_halve:,} more labels** make the interval half as wide."
    lines = [desk_line(row, project) for row in rows]
    with ui.verdict(state, text, word=word):
        ui.download_table("The rows that wait for a label as CSV", f"{project.slug}-desk.csv", lines)
    with ui.tiles():
        ui.tile("Waiting", f"{len(rows):,}", note="rows whose label is asked for")
        ui.tile("Answered", f"{found.answered:,}", note=f"of {found.asked:,} asked")
        ui.tile(
            f"{metric} of all", words.number(found.weighted.value), note=ui.interval(found.weighted) or "not told yet"
        )
        ui.tile("To halve the interval", "–" if found.to_halve is None else f"{found.to_halve:,}", note="more labels")


def desk_line(row: DeskRow, project: ProjectInfo) -> dict[str, Any]:
    """A row as a line of the table."""
    names = project.schema.names[:SHOWN_FEATURES] if project.schema else ()
    return {
        "Row": row.row_id,
        "Predicted": row.prediction,
        "Sure": None if row.probability is None else round(100 * row.probability),
        "Chance": round(100 * row.chance, 1),
        LABEL: None,
        **{name: row.features[name] for name in names},
    }


def show_desk(ctx: ui.Context, project: ProjectInfo, rows: list[DeskRow]) -> None:
    """The rows that wait, with a cell for each label."""
    assert project.schema is not None
    regression = project.task == "regression"
    with ui.card(
        f"{ui.counted(len(rows), 'row')} wait for a label",
        "In random order: answer from the top, as many as you like · sure: probability of the predicted class · chance: of being drawn",
    ):
        known = {str(label): label for label in project.schema.classes}
        column = (
            st.column_config.NumberColumn(LABEL, width=100, help="The true value")
            if regression
            else st.column_config.SelectboxColumn(LABEL, options=list(known), width=110, help="The true class")
        )
        closed = not ctx.may("operator")
        edited = st.data_editor(
            [desk_line(row, project) for row in rows],
            hide_index=True,
            row_height=32,
            height=min(420, 70 + 32 * len(rows)),
            placeholder="–",
            disabled=True if closed else [name for name in desk_line(rows[0], project) if name != LABEL],
            key=f"desk-{project.id}-{rows[0].row_id}-{len(rows)}",
            column_config={
                LABEL: column,
                "Row": st.column_config.TextColumn(width=90),
                "Sure": st.column_config.NumberColumn(format="%d %%", width=60),
                "Chance": st.column_config.NumberColumn(format="%.1f %%", width=70),
            },
        )
        given = {
            line["Row"]: line[LABEL] if regression else known[line[LABEL]]
            for line in edited
            if line[LABEL] is not None and line[LABEL] == line[LABEL] and (regression or line[LABEL] in known)
        }
        if not st.button(
            f"Save {ui.counted(len(given), 'label')}" if given else "Save labels",
            type="primary",
            icon=":material/save:",
            key="desk-save",
            disabled=closed or not given,
            help=ctx.why_not("operator"),
        ):
            return
        try:
            results = label_queue.answer(ctx.ws, project, given, by=ctx.actor, now=ctx.now)
        except ContinualError as error:
            ui.error_box(error)
            return
        ui.toast_next(
            f"{ui.counted(len(results), 'label')} stored. The next check learns from them.",
            icon=":material/check_circle:",
        )
        st.rerun()


def show_asking(ctx: ui.Context, project: ProjectInfo, waiting: int) -> None:
    """How many more rows, and how many of them by chance alone."""
    closed = not ctx.may("operator")
    with (
        ui.card(
            "Ask for more labels",
            "Rows on which the champion is least sure are preferred; the random share reaches every row, so that what is measured stands for all",
        ),
        st.container(horizontal=True, vertical_alignment="bottom"),
    ):
        n = st.number_input("Rows", 1, label_queue.MOST_ASKED, 50, step=10, key="desk-n", width=130)
        share = st.slider("Random share", 0.1, 1.0, 0.3, 0.05, key="desk-share", width=260)
        if st.button("Draw", icon=":material/casino:", key="desk-draw", disabled=closed, help=ctx.why_not("operator")):
            try:
                drawn = label_queue.ask(
                    ctx.ws, project, int(n), random_share=share, by=ctx.actor, now=ctx.now, seed=secrets.randbits(31)
                )  # fmt: skip
            except ContinualError as error:
                ui.error_box(error)
                return
            ui.toast_next(f"{ui.counted(drawn, 'row')} drawn.", icon=":material/check_circle:")
            st.rerun()
        if waiting and st.button(
            "Withdraw those that wait", icon=":material/undo:", key="desk-withdraw", disabled=closed,
            help=ctx.why_not("operator") or "Their draws are taken back; labels that were given stay stored.",
        ):  # fmt: skip
            gone = label_queue.withdraw(ctx.ws, project, by=ctx.actor, now=ctx.now)
            ui.toast_next(f"{ui.counted(gone, 'row')} no longer asked for.", icon=":material/check_circle:")
            st.rerun()


def main() -> None:
    """Draw the page."""
    ctx = ui.start_page("Labels", choose_project=True)
    project = ctx.project
    if project is None:
        ui.no_project()
        return
    if project.champion is None:
        with ui.head_row("Labels", "which rows are worth one"):
            pass  # this head has no buttons
        ui.empty(
            "No champion yet.",
            "The desk asks for labels of rows that a model has answered. Store labelled rows and start the first race.",
            page="train",
            action="Go to Train",
        )
        return
    rows, found = label_queue.open_asks(ctx.ws, project), label_queue.measured(ctx.ws, project)
    with ui.head_row("Labels", f"{len(rows):,} waiting" if rows else "nothing asked for"):
        pass  # this head has no buttons
    if found.asked:
        show_verdict(ctx, project, rows, found)
    if rows:
        show_desk(ctx, project, rows)
    elif not found.asked:
        ui.empty(
            "Nothing is asked for.",
            "Where labels cost time, let the desk choose: a few dozen well chosen ones tell how good the champion is now, and teach the next one most.",
        )
    show_asking(ctx, project, len(rows))


main()
