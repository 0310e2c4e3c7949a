"""The effective settings of this process; secrets only as set or not."""

from __future__ import annotations

from core import ui
from core.services.operations import effective_settings


def show(ctx: ui.Context) -> None:
    """Every setting with its value and where it comes from."""
    settings = effective_settings.effective(ctx.ws.settings)
    rows = [
        {
            "Setting": setting.name,
            "Value": setting.value,
            "From": "default" if setting.usual else "environment, .env or secrets.toml",
        }
        for setting in settings
    ]
    changed = sum(not setting.usual for setting in settings)
    with ui.card(
        f"{ui.count(changed)} of {len(rows)} settings differ from their default",
        "Read at the start from environment, .env, then secrets.toml; change them there and restart. Secrets are never shown.",
    ):
        ui.table(rows, alt="Effective settings, secrets masked")
        ui.download_table("The settings as CSV", "settings.csv", rows)
