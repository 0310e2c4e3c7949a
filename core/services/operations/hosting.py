"""What is known about the hosting machine: whether its disk is persistent, and what a restart would lose."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import make_url

from core.settings import ROOT, Settings

CLOUD_FOLDER = Path("/mount/src")
ALL_LOST = (
    "**Demo storage.** This machine's disk is not persistent: a restart, a redeployment or a long sleep deletes everything, "
    "users, projects, rows and models. Take a backup of what you want to keep, or run it on a machine with a persistent disk."
)
FILES_LOST = (
    "**Demo storage for rows and models.** Your database keeps users, settings and history. Stored rows and models are "
    "on this machine's disk, and a restart, a redeployment or a long sleep deletes them."
)


def on_community_cloud(program: Path = ROOT) -> bool:
    """Whether the program runs on Streamlit Community Cloud.

    It has no documented marker. It clones a repository to `/mount/src/<repository>`, as its users' tracebacks show and
    other programs rely on. A folder of that name elsewhere is not enough: the program itself has to be in it.
    """
    return program.is_relative_to(CLOUD_FOLDER)


def storage_warning(settings: Settings, program: Path = ROOT) -> str | None:
    """What a restart of this machine would lose, as a sentence for people; None if its disk is persistent.

    `DATA_URL` is a folder and models are in the state folder, so both are lost with the disk wherever the database is.
    """
    if settings.storage == "durable" or (settings.storage == "auto" and not on_community_cloud(program)):
        return None
    return ALL_LOST if make_url(settings.database_url).get_backend_name() == "sqlite" else FILES_LOST
