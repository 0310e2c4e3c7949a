"""Which version serves, since when and why; and which one served then."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import streamlit as st

from core import plots, ui
from core.records import SERVING, ModelVersion, Outcome, ProjectInfo
from core.services.models import versions
from core.services.models.versions import Registered, Span
from core.text import vocabulary
from core.ui.views.models import shelf

SPANS = 400  # newest, that are drawn
NAMED = 6  # versions of one day that are named


def show_nothing_yet() -> None:
    """The empty state: where the first version comes from."""
    ui.empty(
        "No model yet.",
        "The first race registers the first version; from then on every change of champion is listed here.",
        page="train",
        action="Go to Train",
    )


def show(ctx: ui.Context, project: ProjectInfo, held: Registered) -> None:
    """The page's summary, with the versions as a download."""
    if held.champion is None or not held.spans:
        text = f"**No version is serving yet.** {ui.counted(len(held.versions), 'version')} registered."
        state, word = "unknown", None
    else:
        span = held.spans[-1]
        text = _serving(ctx, held.champion, span)
        outcome = vocabulary.outcome(span.event)
        state, word = outcome.state, outcome.word if span.event == Outcome.ROLLED_BACK else "Serves"
    rows = [shelf.line(ctx, project, version) for version in held.versions]
    with ui.summary(state, text, word=word):
        ui.download_table("The versions as CSV", f"{project.slug}-versions.csv", rows)


def _serving(ctx: ui.Context, champion: ModelVersion, span: Span) -> str:
    """Which version serves, since when and why, and how many rows it was trained on."""
    text = f"**v{champion.version} serves**, {vocabulary.outcome(span.event).origin} {ui.when(span.since, ctx)}"
    text += f": {ui.plain(ui.sentence(span.reason).rstrip('.'))}." if span.reason else "."
    return text + (f" It was trained on {ui.counted(champion.n_rows, 'row')}." if champion.n_rows else "")


def show_timeline(ctx: ui.Context, held: Registered) -> None:
    """A bar per serving span, and the answer for one day; nothing before the first one."""
    spans = held.spans
    if not spans:
        return
    changes = held.changes()
    counts = [ui.counted(changes[event], *vocabulary.OUTCOMES[event].changes) for event in SERVING if event in changes]
    with ui.card(
        ", ".join(counts) + " since the first model" if counts else "The first model has always served",
        "Which version served when · hatched: restored by a rollback",
    ):
        figure = plots.versions(
            [_drawn(span) for span in spans[-SPANS:]], now=ctx.now, colors=ctx.colors, zone=ctx.timezone
        )
        alt = f"{len(spans)} serving spans from v{spans[0].version} to v{spans[-1].version}"
        ui.chart(figure, key="versions-chart", alt=alt)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            _show_day(ctx, spans)


def _show_day(ctx: ui.Context, spans: list[Span]) -> None:
    """The choice of a day, and who served on it."""
    zone = ZoneInfo(ctx.timezone or "UTC")
    today = ctx.now.astimezone(zone).date()
    day = st.date_input(
        "Who served on",
        value=today,
        min_value=min(versions.first_day(spans, zone), today),
        max_value=today,
        key="day",
        bind="query-params",
        format="YYYY-MM-DD",
        width=170,
    )
    st.markdown(_who_served(ctx, spans, day, zone), width="stretch")


def _who_served(ctx: ui.Context, spans: list[Span], day: date, zone: ZoneInfo) -> str:
    """Every version that served on a day, in order, with the moments of change."""
    served = versions.served_on(spans, day, zone, now=ctx.now)
    if not served:
        return "No version served on that day."
    parts = [
        f"**v{version}**" + (f" from {since.astimezone(zone):%H:%M}" if since is not None else "")
        for version, since in served[-NAMED:]
    ]
    earlier = f"{ui.counted(len(served) - NAMED, 'earlier version')}, then " if len(served) > NAMED else ""
    return f"On {day:%-d %b %Y}: {earlier}{', '.join(parts)}."


def _drawn(span: Span) -> tuple[int, datetime, datetime | None, str, str | None]:
    """A span as its chart takes it."""
    return span.version, span.since, span.until, span.event, ui.sentence(span.reason) if span.reason else None
