"""The HTTP API: `uvicorn api:app`. Routes and middleware; handlers, startup and shutdown are in `core.http`.

Routes at the root address the project `default`, or the only project; `/projects/{slug}/...` addresses any project.
Heavy modules are imported on first use.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from core.errors import ContinualError
from core.http import (
    batches,
    docs_page,
    generate,
    inference_routes,
    jobs,
    labels,
    mlflow_routes,
    parameters,
    predict,
    prediction_log,
    problems,
    status,
)
from core.http.denied_requests import DeniedRequestLog
from core.http.lifespan import lifespan
from core.http.middleware import RequestMiddleware
from core.services.operations.metrics import Requests
from core.settings import get_settings

Handler = Callable[..., Awaitable[Response]]
ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/health", "health", status.health),
    ("GET", "/health/live", "live", status.live),
    ("GET", "/health/ready", "ready", status.ready),
    ("GET", "/model-status", "model_status", status.model_status),
    ("POST", "/predict", "predict", predict.documented),
    ("POST", "/explain", "explain", predict.explain),
    ("POST", "/labels", "labels", labels.labels),
    ("POST", "/generate", "generate", generate.generate),
    ("POST", "/retrain", "retrain", jobs.retrain),
    ("POST", "/batches", "batches", batches.batches),
    ("GET", "/jobs/{job_id}", "job", jobs.job),
    ("GET", "/jobs/{job_id}/result", "job_result", jobs.job_result),
    ("GET", "/predictions", "predictions", prediction_log.predictions),
    ("GET", "/metrics", "metrics", status.metrics),
    ("POST", "/invocations", "invocations", mlflow_routes.invocations),
    ("GET", "/ping", "ping", mlflow_routes.ping),
    ("GET", "/version", "version", mlflow_routes.version),
    ("GET", "/v2", "server_metadata", inference_routes.server_metadata),
    ("GET", "/v2/health/live", "server_live", inference_routes.server_live),
    ("GET", "/v2/health/ready", "server_ready", inference_routes.server_ready),
    ("GET", "/v2/models/{model}", "model_metadata", inference_routes.model_metadata),
    ("GET", "/v2/models/{model}/versions/{version}", "model_version_metadata", inference_routes.model_metadata),
    ("GET", "/v2/models/{model}/ready", "model_ready", inference_routes.model_ready),
    ("GET", "/v2/models/{model}/versions/{version}/ready", "model_version_ready", inference_routes.model_ready),
    ("POST", "/v2/models/{model}/infer", "infer", inference_routes.infer),
    ("POST", "/v2/models/{model}/versions/{version}/infer", "infer_version", inference_routes.infer),
)


def create_app() -> FastAPI:
    """The application; nothing is opened before its startup."""
    app = FastAPI(
        title="Continual ML",
        version="0.1.0",
        description="Predictions from a model that is monitored and retrained continuously.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.requests = Requests()
    for method, path, name, handler in ROUTES:
        for prefix in ("",) if path.startswith("/health/") else ("", "/projects/{slug}"):
            app.add_api_route(prefix + path, handler, methods=[method], response_class=Response, name=name)
    app.add_api_route("/docs", docs_page.docs, include_in_schema=False)
    app.add_api_route("/docs/{asset}", docs_page.docs_asset, include_in_schema=False)
    for kind in (ContinualError, HTTPException):
        app.add_exception_handler(kind, problems.handle)
    app.add_exception_handler(RequestValidationError, parameters.reject)
    app.add_middleware(RequestMiddleware, requests=app.state.requests)
    app.add_middleware(DeniedRequestLog, trusted=get_settings().trusted_proxies)

    def _openapi() -> dict[str, Any]:
        from core.http import openapi  # a tenth of the startup time, needed only here

        if app.openapi_schema is None:
            openapi.describe(app.routes)
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            document["components"] = openapi.components(app.routes)
            app.openapi_schema = openapi.without_repetition(document)
        return app.openapi_schema

    app.openapi = _openapi  # type: ignore[method-assign]
    return app


app = create_app()
