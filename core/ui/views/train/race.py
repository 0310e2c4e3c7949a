"""Chart and table of one race."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core import plots, ui
from core.records import Candidate, CycleReport
from core.services.automation import race_results
from core.services.automation.race_results import RaceResult
from core.ui.views.train import finding

SHOWN_WHOLE = 12  # so many candidates stand below one another in full


def show(ctx: ui.Context, cycle: CycleReport) -> None:
    """The summary; the candidates on the same rows, and their training rows; why the race started."""
    race = race_results.result_of(cycle)
    lines = [_line(candidate) for candidate in race.ranked]
    summary = finding.of(race)
    with ui.summary(summary.state, summary.text, word=summary.word):
        ui.download_table("The candidates as CSV", f"race-{cycle.id}.csv", lines)
    left, right = st.columns([1, 1.05])
    with left:
        _show_chart(ctx, race)
    with right:
        _show_table(race, lines)
    for candidate in race.dropped_out:
        st.warning(
            f"{ui.plain(candidate.name)} dropped out: {ui.plain(candidate.error or '')}", icon=":material/warning:"
        )
    for candidate in race.kept_unfitted:
        st.warning(
            f"{ui.plain(candidate.name)} keeps its earlier fit, because its refit failed: {ui.plain(candidate.error or '')}",
            icon=":material/warning:",
        )
    st.caption(_origin(ctx, cycle))


def _show_chart(ctx: ui.Context, race: RaceResult) -> None:
    metric, n = ui.metric_label(race.metric), len(race.ranked)
    with ui.card(
        f"{ui.counted(len(race.members), 'member')} of {n} vote",
        f"{metric} of each on the same newest rows · line: 95 % interval",
    ):
        figure = plots.race(race.ranked, colors=ctx.colors)
        ui.chart(figure, key="race-chart", alt=f"{metric} of {n} candidates with intervals")


def _show_table(race: RaceResult, lines: Sequence[dict[str, object]]) -> None:
    with ui.card(
        f"{ui.counted(len(race.fitted), 'candidate')} fitted in {ui.seconds(race.fit_seconds)}",
        "Training rows and share of the vote",
    ):
        ui.table(
            lines,
            {
                "Candidate": st.column_config.TextColumn(width=175),
                "Score": st.column_config.NumberColumn(format="%.3f", width=55),
                "Vote": st.column_config.ProgressColumn(
                    format="%d %%",
                    min_value=0,
                    max_value=100,
                    color="blue",
                    width=85,
                    help="Share of the committee's vote",
                ),
                "Rows": ui.whole(width=60, help="Rows of its training window"),
                "Seconds": st.column_config.NumberColumn(
                    format="%.1f", width=62, help="Fit time; a dash: earlier fit kept"
                ),
            },
            alt="Candidates with score, interval, rows, seconds and weight",
            order=["Candidate", "Score", "Vote", "Rows", "Seconds"],
            height="content" if len(lines) <= SHOWN_WHOLE else 430,
        )


def _line(candidate: Candidate) -> dict[str, object]:
    """One candidate as a line of the table."""
    score = candidate.score
    return {
        "Candidate": candidate.name,
        "Score": score.value,
        "95 % interval": ui.interval(score),
        "n": score.n or None,
        "Loss": candidate.loss,
        "Vote": None if candidate.weight is None else round(100 * candidate.weight),
        "Rows": candidate.n_rows,
        "Seconds": candidate.seconds,
        "State": _state(candidate),
    }


def _state(candidate: Candidate) -> str:
    if candidate.error is not None:
        return f"✓ Kept, its refit failed: {candidate.error}" if candidate.weight else f"✕ {candidate.error}"
    return "↻ Fitted now" if candidate.fitted else "✓ Earlier fit kept"


def _origin(ctx: ui.Context, cycle: CycleReport) -> str:
    """Which cycle it was, who requested it, and why the race started."""
    why = " ".join(ui.sentence(firing.reason) for firing in cycle.firings) or ui.sentence(cycle.reason)
    by = f" by {ui.plain(cycle.by)}" if cycle.by else ""
    return f"Cycle {cycle.id}, {ui.when(cycle.started_at, ctx)}, {cycle.cause}{by}. Reason: {ui.plain(why)}"
