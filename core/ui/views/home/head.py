"""The head of the overview: when the project was checked, and the button that requests a check."""

from __future__ import annotations

from core import ui, words
from core.records import ProjectInfo
from core.services.incidents import status
from core.services.monitoring import overview
from core.services.monitoring.overview import Overview


def show(ctx: ui.Context, project: ProjectInfo) -> tuple[ProjectInfo, Overview]:
    """The project as it stands, after the check where one was requested."""
    seen = overview.overview(ctx.ws, project, ctx.now)
    with ui.head_row(project.name, _checked(ctx, seen)):
        asked = ui.button(ctx, "Check now", type="primary", icon=":material/autorenew:")
    if not asked:
        return project, seen
    ui.follow_job(ctx, ui.request_cycle(ctx, force=False))
    project = ctx.refreshed()
    return project, overview.overview(ctx.ws, project, ctx.now)


def _checked(ctx: ui.Context, seen: Overview) -> str:
    """When it was last checked, and when it is checked next."""
    age, interval = seen.scheduler_age_s, ctx.ws.settings.check_interval_s
    if age is None:
        return "no scheduler has run here yet"
    if age < 0:
        return f"the scheduler's last heartbeat is {words.seconds(-age)} in the future: check the clock"
    if status.is_late(age, interval):
        return f"the scheduler has been silent for {words.seconds(age)}"
    return f"checked {words.seconds(age)} ago · next check in {words.seconds(max(interval - age, 0.0))}"
