"""What is known of the machine that the program runs on: whether its disk lasts, and what a restart would lose."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import make_url

from core.settings import ROOT, Settings

CLOUD_FOLDER = Path("/mount/src")
ALL_LOST = (
    "**Demo storage.** This machine's disk does not last: a restart, a redeployment or a long sleep loses everything, "
    "people, projects, rows and models. Take a backup of what you want to keep, or run it where a disk lasts."
)
FILES_LOST = (
    "**Demo storage for rows and models.** Your database keeps people, settings and history. Stored rows and models lie "
    "on this machine's disk, and a restart, a redeployment or a long sleep loses them."
)


def on_community_cloud(program: Path = ROOT) -> bool:
    """Whether Streamlit Community Cloud runs the program.

    It documents no sign of itself. What shows is where it clones a repository: `/mount/src/<repository>`, in every
    traceback that its users report, and what other programs go by. A folder of that name elsewhere is not enough: the
    program itself has to lie in it.
    """
    return program.is_relative_to(CLOUD_FOLDER)


def lost(settings: Settings, program: Path = ROOT) -> str | None:
    """What a restart of this machine would lose, in a sentence for people; None where its disk lasts.

    `DATA_URL` names a folder and models lie in the state folder, so both go with the disk wherever the database is.
    """
    if settings.storage == "durable" or (settings.storage == "auto" and not on_community_cloud(program)):
        return None
    return ALL_LOST if make_url(settings.database_url).get_backend_name() == "sqlite" else FILES_LOST
