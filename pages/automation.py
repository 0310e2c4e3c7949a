"""What will it do next, why did it do that? The policy in sentences, every cycle with its evidence, and the replay of a decision."""

from __future__ import annotations

from core import ui
from core.records import ProjectInfo
from core.services.monitoring import monitoring
from core.ui.views.automation import backtest, cycle, cycles, guards, head, messages, next_check, policy


def show(ctx: ui.Context, project: ProjectInfo) -> None:
    """The parts of the page: what happens next, what another policy would have done, what happened."""
    project = head.show(ctx, project)
    newest, total = monitoring.cycles(ctx.ws, project.id, limit=1)
    next_check.show(ctx, project, newest[0] if newest else None)
    policy.show(ctx, project)
    messages.show(ctx, project)
    if project.schema is not None:
        guards.show(ctx, project)
    if total > 1:
        backtest.show(ctx, project)
    if not total:
        cycles.show_nothing_yet()
        return
    chosen = cycles.show(ctx, project, total)
    if chosen is not None:
        cycle.show(ctx, chosen)


context = ui.start_page("Automation", choose_project=True)
if context.project is None:
    ui.no_project()
else:
    show(context, context.project)
