"""How what went wrong in a worker is told: in a sentence, in the log, and never so that it stops the work."""

from __future__ import annotations

from collections.abc import Callable

from loguru import logger

from core.errors import ContinualError
from core.storage.troubles import trouble_of


def brief(error: Exception) -> str:
    """A failure in a sentence."""
    if isinstance(error, ContinualError):
        return str(error)
    trouble = trouble_of(error)
    return trouble.text if trouble else type(error).__name__


def tell_failed(what: str, error: Exception) -> None:
    """Log a failure: in a sentence where it is one of the surroundings, else with where it happened."""
    trouble = trouble_of(error)
    if trouble is not None:
        logger.error("{what}: {text}", what=what, text=trouble.text)
    else:
        logger.opt(exception=error).error(what)


def quietly(action: Callable[[], None]) -> None:
    """Write to the jobs table; what stands in the way is logged."""
    try:
        action()
    except Exception as error:
        logger.warning("the jobs table could not be written: {error}", error=type(error).__name__)
