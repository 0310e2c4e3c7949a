"""How failures in a worker are reported: as a sentence and in the log, never in a way that stops the work."""

from __future__ import annotations

from collections.abc import Callable

from loguru import logger

from core.errors import ContinualError
from core.storage.troubles import trouble_of


def brief(error: Exception) -> str:
    """A failure as a sentence."""
    if isinstance(error, ContinualError):
        return str(error)
    trouble = trouble_of(error)
    return trouble.text if trouble else type(error).__name__


def log_failure(what: str, error: Exception) -> None:
    """Log a failure: as a sentence if its cause is outside the program, else with the traceback."""
    trouble = trouble_of(error)
    if trouble is not None:
        logger.error("{what}: {text}", what=what, text=trouble.text)
    else:
        logger.opt(exception=error).error(what)


def quietly(action: Callable[[], None]) -> None:
    """Write to the jobs table; errors are logged, not raised."""
    try:
        action()
    except Exception as error:
        logger.warning("the jobs table could not be written: {error}", error=type(error).__name__)
