"""Crontab lines: validation and the next instant. No scheduler runs here."""

from __future__ import annotations

from datetime import datetime
from typing import Any


def next_scheduled(schedule: str, after: datetime) -> datetime | None:
    """The first instant of a crontab line (UTC) after `after`; None without a line, or when there is none."""
    from apscheduler.triggers.cron import CronTrigger

    if not schedule:
        return None
    trigger = CronTrigger.from_crontab(schedule, timezone="UTC")
    return trigger.get_next_fire_time(after, after)


def crontab(value: Any) -> str:
    """A crontab line with single spaces, or the empty string; ValueError states what was expected."""
    if not isinstance(value, str):
        raise ValueError("a crontab line such as '0 3 * * *', or nothing")
    line = " ".join(value.split())
    if line:
        from apscheduler.triggers.cron import CronTrigger

        try:
            CronTrigger.from_crontab(line, timezone="UTC")
        except ValueError as error:
            raise ValueError(
                "a crontab line such as '0 3 * * *' (minute, hour, day, month, weekday), or nothing"
            ) from error
    return line
