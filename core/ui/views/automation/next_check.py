"""The page's summary: when the next check is, by which rule a race starts, and the last decision."""

from __future__ import annotations

from core import ui, words
from core.learning.policy import describe, policy_to_document
from core.records import CycleReport, ProjectInfo
from core.services.incidents import status


def show(ctx: ui.Context, project: ProjectInfo, last: CycleReport | None) -> None:
    """The sentence, with the policy as a download."""
    state, word, next_check = _next_check(ctx, project)
    if last is not None and last.status == "failed":
        state, word = "failed", "Failed"
    by_trigger = dict(zip(project.policy.triggers, describe(project.policy), strict=False))
    rule = by_trigger.get("below_threshold", "No score threshold starts a race.")
    text = f"{next_check} Policy {ui.plain(project.policy.name)}: {ui.plain(rule)} {_last_decision(ctx, last)}"
    with ui.summary(state, text, word=word):
        ui.download_json("This policy as JSON", f"{project.slug}-policy.json", policy_to_document(project.policy))


def _next_check(ctx: ui.Context, project: ProjectInfo) -> tuple[str, str, str]:
    """State, word and sentence of the scheduler, as far as it concerns this project."""
    if project.paused:
        return "watch", "Paused", "**Checks are paused: no automatic checks.**"
    beat = status.beat(ctx.ws, ctx.now)
    if beat.state == "never":
        return "unknown", "Manual", "**No scheduler has run here yet: checks run only on request.**"
    if beat.state == "ahead":
        text = (
            f"**The scheduler's last heartbeat is {ui.seconds(beat.age_s)} in the future.** Check this machine's clock."
        )
        return "bad", "Clock", text
    if beat.state == "late":
        return (
            "bad",
            "Silent",
            f"**The scheduler has been silent for {ui.seconds(beat.age_s)}.** Start it: `make run`.",
        )
    every = ui.seconds(ctx.ws.settings.check_interval_s)
    return "well", "Runs", f"**Next check in {ui.seconds(beat.next_s)}**, then every {every}."


def _last_decision(ctx: ui.Context, last: CycleReport | None) -> str:
    """The last decision in a sentence."""
    if last is None:
        return "No check has found new data yet."
    if last.status == "failed":
        return (
            f"The last check failed {ui.when(last.started_at, ctx)}: {ui.plain(last.error or 'no reason was stored')}"
        )
    aside = "".join(f" {ui.plain(text)}" for text in words.set_aside(last.evidence))
    decided = f"**{last.decision or 'none yet'}**. {ui.plain(ui.sentence(last.reason))}"
    return f"Last decision, {ui.when(last.started_at, ctx)}: {decided}{aside}"
