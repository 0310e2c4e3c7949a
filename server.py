"""The app as `make run` and the container serve it: Home.py behind a gate for the framework's own routes, and compression.

    python server.py --server.port 8501

starts it; so does `streamlit run server.py`, but then responses carry a `Server` header. The scheduler is a separate
process here, so the app starts none.
"""

import os
import sys
from typing import Any

import uvicorn
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from streamlit import App

from core.http.app_gate import AppGate
from core.ui import workspace

os.environ.setdefault("CONTINUAL_SCHEDULER_IN_APP", "off")
app = App(
    "Home.py",
    middleware=[
        Middleware(AppGate, workspace=workspace),
        Middleware(GZipMiddleware, minimum_size=1000, compresslevel=4),
    ],
)


def main() -> None:
    """Start it with what Streamlit has no setting for: no `Server` header, and no client address from proxy headers."""
    from streamlit.web import cli

    configure = uvicorn.Config.__init__

    def configured(self: uvicorn.Config, *args: Any, **options: Any) -> None:
        configure(self, *args, **{**options, "server_header": False, "proxy_headers": False})

    uvicorn.Config.__init__ = configured  # type: ignore[method-assign]
    sys.argv = ["streamlit", "run", __file__, *sys.argv[1:]]
    cli.main()


if __name__ == "__main__":
    main()
