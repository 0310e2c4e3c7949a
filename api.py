"""The HTTP API: `uvicorn api:app`. Routes, start and end; what they do is in `core.http`.

The root stands for the project `default`, or the only one; `/projects/{slug}/...` is the same for any. Nothing heavy is
imported before somebody asks for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, Response
from loguru import logger
from starlette.exceptions import HTTPException
from starlette.requests import Request

from core.errors import ContinualError
from core.http import bodies, documents, predicting, problems, storing, telling
from core.http.access import Api
from core.http.middleware import Around
from core.logs import set_up_logs
from core.services.metrics import Requests
from core.settings import get_settings

Handler = Callable[[Request], Awaitable[Response]]
STATIC = Path(__file__).parent / "core" / "http" / "static"
PART_AGE_S = 3600.0
ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/health", "health", telling.health),
    ("GET", "/health/live", "live", telling.live),
    ("GET", "/health/ready", "ready", telling.ready),
    ("GET", "/model-status", "model_status", telling.model_status),
    ("POST", "/predict", "predict", predicting.predict),
    ("POST", "/labels", "labels", storing.labels),
    ("POST", "/generate", "generate", storing.generate),
    ("POST", "/retrain", "retrain", storing.retrain),
    ("POST", "/batches", "batches", storing.batches),
    ("GET", "/jobs/{job_id}", "job", storing.job),
    ("GET", "/jobs/{job_id}/result", "job_result", storing.job_result),
    ("GET", "/predictions", "predictions", telling.predictions),
    ("GET", "/metrics", "metrics", telling.metrics),
)
ASSETS = {"docs.js": "text/javascript", "docs.css": "text/css"}
# The documentation page may load and ask nothing but this server.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'"
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the state folder, its schema brought up to date first; answer what waits before the end."""
    settings = get_settings()
    set_up_logs(settings, "api")
    try:
        api = await asyncio.to_thread(Api, settings, app.state.requests)
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


async def docs() -> Response:
    """The documentation page; script and style come from here too."""
    return FileResponse(STATIC / "docs.html", media_type="text/html", headers={"Content-Security-Policy": POLICY})


async def docs_asset(asset: str) -> Response:
    """Script and style of the page."""
    if asset not in ASSETS:
        raise HTTPException(404)
    return FileResponse(STATIC / asset, media_type=ASSETS[asset])


def create_app() -> FastAPI:
    """The application; nothing is opened before it starts."""
    app = FastAPI(
        title="Continual ML",
        version="0.1.0",
        description="Rows and labels in, predictions out; the model looks after itself.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.requests = Requests()
    for method, path, name, handler in ROUTES:
        for prefix in ("",) if path.startswith("/health/") else ("", "/projects/{slug}"):
            said = documents.told(name, by_project=bool(prefix))
            app.add_api_route(prefix + path, handler, methods=[method], response_class=Response, **said)
    app.add_api_route("/docs", docs, include_in_schema=False)
    app.add_api_route("/docs/{asset}", docs_asset, include_in_schema=False)
    for kind in (ContinualError, HTTPException):
        app.add_exception_handler(kind, problems.handle)
    app.add_middleware(Around, requests=app.state.requests)

    def _openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            document["components"] = documents.components()
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = _openapi  # type: ignore[method-assign]
    return app


app = create_app()
