"""The HTTP API: `uvicorn api:app`. Routes, start and end; what they do is in `core.http`.

The root stands for the project `default`, or the only one; `/projects/{slug}/...` is the same for any. Nothing heavy is
imported before somebody asks for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, Response
from loguru import logger
from starlette.exceptions import HTTPException
from starlette.requests import Request

from core.errors import ContinualError
from core.http import bodies, predicting, problems, protocols, storing, telling, waiting
from core.http.access import Api
from core.http.middleware import Around
from core.http.refusals import Refusals
from core.logs import set_up_logs
from core.services.operations.metrics import Requests
from core.settings import get_settings

Handler = Callable[[Request], Awaitable[Response]]
STATIC = Path(__file__).parent / "core" / "http" / "static"
PART_AGE_S = 3600.0
ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/health", "health", telling.health),
    ("GET", "/health/live", "live", telling.live),
    ("GET", "/health/ready", "ready", telling.ready),
    ("GET", "/model-status", "model_status", telling.model_status),
    ("POST", "/predict", "predict", predicting.answered_around),
    ("POST", "/explain", "explain", predicting.explain),
    ("POST", "/labels", "labels", storing.labels),
    ("POST", "/generate", "generate", storing.generate),
    ("POST", "/retrain", "retrain", waiting.retrain),
    ("POST", "/batches", "batches", storing.batches),
    ("GET", "/jobs/{job_id}", "job", waiting.job),
    ("GET", "/jobs/{job_id}/result", "job_result", waiting.job_result),
    ("GET", "/predictions", "predictions", telling.predictions),
    ("GET", "/metrics", "metrics", telling.metrics),
    ("POST", "/invocations", "invocations", protocols.invocations),
    ("GET", "/ping", "ping", protocols.ping),
    ("GET", "/version", "version", protocols.version),
    ("GET", "/v2", "server_metadata", protocols.server_metadata),
    ("GET", "/v2/health/live", "server_live", protocols.server_live),
    ("GET", "/v2/health/ready", "server_ready", protocols.server_ready),
    ("GET", "/v2/models/{model}", "model_metadata", protocols.model_metadata),
    ("GET", "/v2/models/{model}/versions/{version}", "model_version_metadata", protocols.model_metadata),
    ("GET", "/v2/models/{model}/ready", "model_ready", protocols.model_ready),
    ("GET", "/v2/models/{model}/versions/{version}/ready", "model_version_ready", protocols.model_ready),
    ("POST", "/v2/models/{model}/infer", "infer", protocols.infer),
    ("POST", "/v2/models/{model}/versions/{version}/infer", "infer_version", protocols.infer),
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
    _allow_many_connections()
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


def _allow_many_connections() -> None:
    """As many open files as this process may have: each connection is one, and the usual limit is 1,024."""
    with suppress(ImportError, OSError, ValueError):  # not on Windows
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


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
            app.add_api_route(prefix + path, handler, methods=[method], response_class=Response, name=name)
    app.add_api_route("/docs", docs, include_in_schema=False)
    app.add_api_route("/docs/{asset}", docs_asset, include_in_schema=False)
    for kind in (ContinualError, HTTPException):
        app.add_exception_handler(kind, problems.handle)
    app.add_middleware(Around, requests=app.state.requests)
    app.add_middleware(Refusals, trusted=get_settings().trusted_proxies)

    def _openapi() -> dict[str, Any]:
        from core.http import documents  # a tenth of the time to start, for those who ask

        if app.openapi_schema is None:
            documents.describe(app.routes)
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            document["components"] = documents.components()
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = _openapi  # type: ignore[method-assign]
    return app


app = create_app()
