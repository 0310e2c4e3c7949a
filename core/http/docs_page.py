"""The documentation page at /docs, with its own script and style sheet."""

from __future__ import annotations

from pathlib import Path

from fastapi.responses import FileResponse, Response
from starlette.exceptions import HTTPException

STATIC = Path(__file__).parent / "static"
ASSETS = {"docs.js": "text/javascript", "docs.css": "text/css"}
# The page may load from and connect to this server only.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'"
)


async def docs() -> Response:
    """The page itself."""
    return FileResponse(STATIC / "docs.html", media_type="text/html", headers={"Content-Security-Policy": POLICY})


async def docs_asset(asset: str) -> Response:
    """Script and style sheet of the page."""
    if asset not in ASSETS:
        raise HTTPException(404)
    return FileResponse(STATIC / asset, media_type=ASSETS[asset])
