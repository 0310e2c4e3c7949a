"""Where the files of a project lie: below the batches, and below the models."""

from __future__ import annotations


def folder_of(project_id: int) -> str:
    """Folder of a project's files below the batches and the models; never reused, unlike a slug."""
    return f"p{project_id}"
