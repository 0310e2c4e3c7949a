"""The state of the API process, and access control: who may do what in which project. Every route begins here."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from loguru import logger
from starlette.requests import Request

from core.errors import ContinualError, NoChampion, NotAllowed, NotAuthenticated, NotFound, StorageError, TooOften
from core.jobs import frugal
from core.services.access.tokens import Scope, TokenInfo, Tokens
from core.services.incidents import status
from core.services.incidents.status import ProjectRef
from core.services.operations.metrics import Requests
from core.services.serving.champion_cache import Champions, Served
from core.services.serving.prediction_log import PredictionWriter
from core.settings import Settings
from core.storage.workspace import open_workspace

RELEASE_EVERY_S = 20.0  # free memory is returned to the system
PROJECTS_S = 0.5  # maximum age of the cached list of projects
INFERENCE_THREADS = 2  # a long request leaves the other one to short requests
MAX_WARM_MODELS = 4  # models loaded ahead of the first request
PROBE_WAIT_S = 1.0  # how long a readiness probe waits for the warm-up
READY_WITHIN_S = 5.0  # limit for the models of several projects; for the root project's model there is none
WARM_UP_INTERVAL_S = 2.0  # how often a process without any model checks for the first one
RESTART_WORKER_AFTER_S = 10.0
# Callers without a token, where that is allowed.
ANONYMOUS = TokenInfo(
    id=None,
    name="anonymous",
    prefix="",
    scopes=("predict",),
    project_id=None,
    created_at=datetime.fromtimestamp(0, UTC),
    created_by=None,
    expires_at=None,
    revoked_at=None,
    last_used_at=None,
)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Caller:
    """The token that authorizes a request, and the project it addresses."""

    token: TokenInfo
    project: ProjectRef | None

    @property
    def name(self) -> str:
        """As recorded in the audit log and in `by`."""
        return f"token {self.token.name}" if self.token.id is not None else "API_KEY"


class ApiState:
    """Everything that outlives a request. Created by the application's lifespan, inside the event loop."""

    def __init__(self, settings: Settings, requests: Requests) -> None:
        self.settings = settings
        self.ws = open_workspace(settings, migrate=True)
        # The prediction log has its own connection: NORMAL survives kill -9, only FULL survives a power cut.
        self._log = open_workspace(settings, synchronous="FULL" if settings.durability == "power" else "NORMAL")
        key = settings.api_key
        self.tokens = Tokens(self.ws, key.get_secret_value() if key is not None else None)
        self.requests = requests
        self.started = time.monotonic()
        self.inference = ThreadPoolExecutor(INFERENCE_THREADS, thread_name_prefix="inference")
        self.champions = Champions(self.ws)
        self._projects: list[ProjectRef] = []
        self._by_slug: dict[str | None, ProjectRef] = {}  # None: the root project
        self._projects_at = -1.0
        self._woken_at = -math.inf
        self._closing = threading.Event()
        self._warm = threading.Event()
        self.writer: PredictionWriter

    def start(self) -> None:
        """Start the log writer, which needs the running event loop, and the background threads."""
        self.writer = PredictionWriter(self._log)
        self.requests.watch_queue(lambda: self.writer.waiting)
        threading.Thread(target=self._warm_up, name="warm-up", daemon=True).start()
        threading.Thread(target=self._watch_scheduler, name="scheduler-watch", daemon=True).start()
        threading.Thread(target=self._release_memory, name="memory", daemon=True).start()

    async def close(self) -> None:
        """Answer pending requests, then release everything."""
        self._closing.set()
        await self.writer.close()
        self.inference.shutdown(wait=False, cancel_futures=True)
        self.ws.database.dispose()
        self._log.database.dispose()

    def damaged(self, project_id: int) -> bool:
        """Whether this process serves the project but could not load its current champion."""
        if self.champions.knows(project_id):
            self.champions.get(project_id)
        return self.champions.problem(project_id) is not None

    def reason_not_ready(self) -> str | None:
        """Why predictions cannot be served yet, as a sentence; None when they can, or when no project has a model."""
        if not self._warm.wait(PROBE_WAIT_S):
            return status.MODEL_LOADING
        root = self._by_slug.get(None)
        if root is not None and self.damaged(root.id) and self.champions.get(root.id) is None:
            return status.MODEL_DAMAGED
        return None

    async def champion(self, project: ProjectRef) -> Served:
        """The project's champion.

        Raises:
            NoChampion: no model has been promoted yet.
            StorageError: there is a champion, but it cannot be loaded.
        """
        served = self.champions.fresh(project.id) or await self.infer(self.champions.get, project.id)
        if served is None:
            if self.damaged(project.id):
                raise StorageError("The champion cannot be loaded. See the server log for the reason.")
            raise NoChampion(project.slug)
        return served

    def wake_worker(self, *, again: bool = False) -> None:
        """Start a worker process; `again` = for a job that no worker has claimed yet, at most every few seconds."""
        from core.services.automation import workers

        if not again or time.monotonic() - self._woken_at > RESTART_WORKER_AFTER_S:
            self._woken_at = time.monotonic()
            workers.start_worker(self.ws)

    def _warm_up(self) -> None:
        """Load the first champions, starting with the root project's, so that no request waits for loading; then end."""
        began = time.monotonic()
        while not self._closing.is_set():
            try:
                root = status.root_project(status.project_refs(self.ws))
                with self.ws.database.read() as session:
                    waiting = sorted(status.champions(session), key=lambda i: (root is None or i != root.id, i))
                several = root is None or root.id not in waiting
                for project_id in waiting[:MAX_WARM_MODELS]:
                    if self._closing.is_set():
                        return
                    if several and time.monotonic() - began > READY_WITHIN_S:
                        self._warm.set()
                    self.warm(project_id)
                    if not several:
                        self._warm.set()
                self._warm.set()  # without any champion the process is ready too
                if waiting:
                    return
            except ContinualError as error:
                logger.info("a model was not warmed up: {error}", error=error)
                self._warm.set()
                return
            except Exception as error:  # the first request reports the problem; the process goes on
                logger.warning("models were not warmed up: {error}", error=type(error).__name__)
                self._warm.set()
                return
            self._closing.wait(WARM_UP_INTERVAL_S)

    def _watch_scheduler(self) -> None:
        """Send a notification when the scheduler stops, which it cannot do itself."""
        interval = self.settings.check_interval_s
        if self._closing.wait((status.MISSED_BEATS + 1) * interval):  # API and scheduler often start together
            return
        from core.services.incidents.scheduler_watch import SchedulerWatch

        watch = SchedulerWatch(self.ws)
        while not self._closing.is_set():
            try:
                watch.check(datetime.now(UTC))
            except Exception as error:  # the database is unavailable: /health reports that, the next check may succeed
                logger.warning("the scheduler could not be checked: {error}", error=type(error).__name__)
            self._closing.wait(interval)

    def _release_memory(self) -> None:
        """Return what tables took to the system; a process that has only answered rows has nothing to return."""
        while not self._closing.wait(RELEASE_EVERY_S):
            if "pyarrow" in sys.modules:
                frugal.release()

    def warm(self, project_id: int) -> None:
        """Load a project's champion, if it has one; loading runs its check rows."""
        self.champions.get(project_id)

    # --- access control ------------------------------------------------------------------------------------------

    async def caller(self, request: Request, scope: Scope | None) -> Caller:
        """The caller of a request; see `authorize`."""
        return await self.authorize(request.headers.get("authorization", ""), request.path_params.get("slug"), scope)

    async def authorize(self, authorization: str, slug: str | None, scope: Scope | None) -> Caller:
        """The caller with this Authorization header, if it may use the scope in this project.

        Raises:
            NotAuthenticated: no valid token.
            NotAllowed: the token lacks the scope, or is for another project.
            NotFound: no such project; lists the existing ones to tokens for all projects.
            TooOften: the token's rate limit is exceeded.
        """
        return await self.caller_for(await self.authenticate(authorization, scope), slug)

    async def caller_for(self, token: TokenInfo, slug: str | None) -> Caller:
        """The caller with this token in a project; see `authorize`."""
        try:
            project = await self.find_project(slug, names=token.project_id is None and token is not ANONYMOUS)
        except NotFound:
            if token.project_id is not None:
                raise NotAllowed("This token is for another project.") from None
            raise
        if token.project_id not in (None, project.id):
            raise NotAllowed("This token is for another project.")
        return Caller(token, project)

    async def token(self, request: Request, scope: Scope | None) -> TokenInfo:
        """The bearer token of a request, if it is valid and has the scope."""
        return await self.authenticate(request.headers.get("authorization", ""), scope)

    async def authenticate(self, authorization: str, scope: Scope | None) -> TokenInfo:
        """The token of an Authorization header, if it is valid, has the scope and is within its rate limit."""
        kind, _, bearer = authorization.partition(" ")
        bearer = bearer.strip()
        if kind.lower() != "bearer" or not bearer:
            raise NotAuthenticated("A token is required: send `Authorization: Bearer <token>`.")
        now = datetime.now(UTC)
        token = self.tokens.cached(bearer, now)
        if token is None:
            token = await asyncio.to_thread(self.tokens.check, bearer, scope, None, now)
        elif scope is not None and not token.allows(scope):
            token = self.tokens.check(bearer, scope, None, now)  # raises the reason
        self.tokens.admit(token)
        return token

    async def project_of(self, request: Request) -> ProjectRef:
        """The project in the path of a request, or the root project, on a route that needs no token.

        Raises:
            NotFound: lists the existing projects to tokens for all projects.
        """
        try:
            return await self.find_project(request.path_params.get("slug"))
        except NotFound:
            try:
                token = await self.token(request, None)
            except (NotAuthenticated, TooOften):
                token = ANONYMOUS
            if token is ANONYMOUS or token.project_id is not None:
                raise
        return await self.find_project(request.path_params.get("slug"), names=True)

    async def find_project(self, slug: str | None, *, names: bool = False) -> ProjectRef:
        """The project with this slug, or the root project.

        Args:
            names: whether the caller may see which projects exist.

        Raises:
            NotFound: no such project, or no root project.
        """
        for fresh in (False, True):  # a project may have been created since the list was cached
            projects = await self.projects(fresh=fresh)
            project = self._by_slug.get(slug)
            if project is not None:
                return project
        existing = ", ".join(p.slug for p in projects[:50])
        if not projects:
            raise NotFound(
                "There is no project yet. Create one with POST /generate, on the Data page or with `projects create`."
            )
        if slug is None:
            raise NotFound(
                "There are several projects and none is named default. Use /projects/{slug}/..."
                + (f": {existing}." if names else "")
            )
        raise NotFound(f"There is no project '{slug[:80]}'." + (f" Projects: {existing}." if names else ""))

    async def projects(self, *, fresh: bool = False) -> list[ProjectRef]:
        """All projects; the list is at most half a second old."""
        if fresh or time.monotonic() - self._projects_at > PROJECTS_S:
            self._projects = await asyncio.to_thread(status.project_refs, self.ws)
            root = status.root_project(self._projects)
            self._by_slug = {p.slug: p for p in self._projects} | ({None: root} if root is not None else {})
            self._projects_at = time.monotonic()
        return self._projects

    async def infer(self, work: Callable[..., T], *args: Any) -> T:
        """Run model inference in the thread pool reserved for it."""
        return await asyncio.get_running_loop().run_in_executor(self.inference, work, *args)


def api_of(request: Request) -> ApiState:
    """The state of the process that serves this request."""
    api: ApiState = request.app.state.api
    return api
