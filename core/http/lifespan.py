"""Startup and shutdown of the API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from loguru import logger

from core.errors import ContinualError
from core.http import bodies
from core.http.access import ApiState
from core.jobs import frugal
from core.logs import set_up_logs
from core.settings import get_settings

PART_AGE_S = 3600.0  # incomplete uploads older than this are removed


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the workspace, migrating its database first; on shutdown answer pending requests."""
    settings = get_settings()
    set_up_logs(settings, "api")
    _allow_many_connections()
    frugal.share_heap()
    try:
        api = await asyncio.to_thread(ApiState, settings, app.state.requests)
    except ContinualError as error:
        logger.error("the API does not start: {error}", error=error)
        raise
    bodies.remove_parts(api.ws.spool_path, time.time() - PART_AGE_S)
    api.start()
    app.state.api = api
    logger.info("the API answers{how}", how="" if settings.api_key else ", to tokens only: API_KEY is not set")
    try:
        yield
    finally:
        await api.close()


def _allow_many_connections() -> None:
    """Raise the limit of open files to the maximum: each connection takes one, and the usual limit is 1,024."""
    with suppress(ImportError, OSError, ValueError):  # not on Windows
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
