"""What the process holds while it runs, and who may do what with which project: the first step of every route."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from loguru import logger
from starlette.requests import Request

from core.errors import ContinualError, NoChampion, NotAllowed, NotAuthenticated, NotFound, StorageError, TooOften
from core.services.access.tokens import Scope, TokenInfo, Tokens
from core.services.incidents import status
from core.services.incidents.status import Place
from core.services.operations.metrics import Requests
from core.services.serving.champion_cache import Champions, Served
from core.services.serving.prediction_log import PredictionWriter
from core.settings import Settings
from core.storage.workspace import open_workspace

if TYPE_CHECKING:
    from core.records import ProjectInfo

PLACES_S = 0.5  # how old the list of projects may be
INFERENCE_THREADS = 2  # one long call leaves the other for short ones
WARM_AT_MOST = 4  # models loaded before anybody asks
WAIT_WARM_S = 1.0  # how long a probe waits for the warm-up before it is told no
READY_WITHIN_S = 5.0  # how long several projects' models are waited for; the root's is, however long it takes
WARM_LOOK_S = 2.0  # how often a process without any model looks for the first one
WAKE_AGAIN_S = 10.0
# Whoever asks without a token where that is allowed.
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
    """Who asks, and for which project."""

    token: TokenInfo
    place: Place | None

    @property
    def name(self) -> str:
        """For the audit and for `by`."""
        return f"token {self.token.name}" if self.token.id is not None else "API_KEY"


class Api:
    """Everything that outlives one request. Made inside the event loop, by the application's lifespan."""

    def __init__(self, settings: Settings, requests: Requests) -> None:
        self.settings = settings
        self.ws = open_workspace(settings, migrate=True)
        # The log has a connection of its own: after kill -9 NORMAL loses nothing, after a power cut only FULL does not.
        self._log = open_workspace(settings, synchronous="FULL" if settings.durability == "power" else "NORMAL")
        key = settings.api_key
        self.tokens = Tokens(self.ws, key.get_secret_value() if key is not None else None)
        self.requests = requests
        self.started = time.monotonic()
        self.inference = ThreadPoolExecutor(INFERENCE_THREADS, thread_name_prefix="inference")
        self.champions = Champions(self.ws)
        self._places: list[Place] = []
        self._by_slug: dict[str | None, Place] = {}  # None: the root
        self._places_at = -1.0
        self._woken_at = -math.inf
        self._closing = threading.Event()
        self._warm = threading.Event()
        self.writer: PredictionWriter

    def start(self) -> None:
        """What needs the running loop: the writer; and the warm-up, which needs nobody to wait for it."""
        self.writer = PredictionWriter(self._log)
        self.requests.watch_queue(lambda: self.writer.waiting)
        threading.Thread(target=self._warm_up, name="warm-up", daemon=True).start()
        threading.Thread(target=self._watch_scheduler, name="scheduler-watch", daemon=True).start()

    async def close(self) -> None:
        """Answer what waits, then let go of everything."""
        self._closing.set()
        await self.writer.close()
        self.inference.shutdown(wait=False, cancel_futures=True)
        self.ws.database.dispose()
        self._log.database.dispose()

    def damaged(self, project_id: int) -> bool:
        """Whether this process, if it serves the project, has failed to load its newest champion."""
        if self.champions.knows(project_id):
            self.champions.get(project_id)
        return self.champions.problem(project_id) is not None

    def not_ready(self) -> str | None:
        """Why no first prediction can be answered at once, as a sentence; None when it can, or no project has a model."""
        if not self._warm.wait(WAIT_WARM_S):
            return status.MODEL_LOADING
        root = self._by_slug.get(None)
        if root is not None and self.damaged(root.id) and self.champions.get(root.id) is None:
            return status.MODEL_DAMAGED
        return None

    async def champion(self, place: Place) -> Served:
        """The model that answers.

        Raises:
            NoChampion: there is none yet.
            StorageError: there should be one, but it cannot be loaded.
        """
        served = self.champions.fresh(place.id) or await self.infer(self.champions.get, place.id)
        if served is None:
            if self.damaged(place.id):
                raise StorageError("The model that should answer cannot be loaded; the log tells why.")
            raise NoChampion(place.slug)
        return served

    def wake_worker(self, *, again: bool = False) -> None:
        """Start a worker; `again` = for a job that nobody has taken up, and so not too often."""
        from core.services.automation import workers

        if not again or time.monotonic() - self._woken_at > WAKE_AGAIN_S:
            self._woken_at = time.monotonic()
            workers.start_worker(self.ws)

    def _warm_up(self) -> None:
        """Load the first champions, the root's before all, and ask each once, so that no caller waits for it; then end."""
        began = time.monotonic()
        while not self._closing.is_set():
            try:
                root = status.root_of(status.places(self.ws))
                with self.ws.database.read() as session:
                    waiting = sorted(status.champions(session), key=lambda i: (root is None or i != root.id, i))
                several = root is None or root.id not in waiting
                for project_id in waiting[:WARM_AT_MOST]:
                    if self._closing.is_set():
                        return
                    if several and time.monotonic() - began > READY_WITHIN_S:
                        self._warm.set()
                    self.warm(project_id)
                    if not several:
                        self._warm.set()
                self._warm.set()  # no champion is ready too
                if waiting:
                    return
            except ContinualError as error:
                logger.info("a model was not warmed up: {error}", error=error)
                self._warm.set()
                return
            except Exception as error:  # the first caller is told what is wrong; the process goes on
                logger.warning("models were not warmed up: {error}", error=type(error).__name__)
                self._warm.set()
                return
            self._closing.wait(WARM_LOOK_S)

    def _watch_scheduler(self) -> None:
        """Tell people when the scheduler has fallen silent, which it cannot do itself."""
        interval = self.settings.check_interval_s
        if self._closing.wait((status.MISSED_BEATS + 1) * interval):  # the two start together, after whatever pause
            return
        from core.services.incidents.scheduler_watch import SchedulerWatch

        watch = SchedulerWatch(self.ws)
        while not self._closing.is_set():
            try:
                watch.look(datetime.now(UTC))
            except Exception as error:  # a database out of reach: /health tells that; the next look may do better
                logger.warning("the scheduler was not looked for: {error}", error=type(error).__name__)
            self._closing.wait(interval)

    def warm(self, project_id: int) -> None:
        """Load a project's champion, if it has one; its check rows are its first questions."""
        self.champions.get(project_id)

    # --- who and where ------------------------------------------------------------------------------------------

    async def caller(self, request: Request, scope: Scope | None) -> Caller:
        """The token and the project of a request; see `who`."""
        return await self.who(request.headers.get("authorization", ""), request.path_params.get("slug"), scope)

    async def who(self, authorization: str, slug: str | None, scope: Scope | None) -> Caller:
        """Who asks for which project, and that they may.

        Raises:
            NotAuthenticated, NotAllowed: no token in force; not for this scope or project.
            NotFound: no such project; it names those that exist, to tokens that may know.
            TooOften: beyond the token's limit.
        """
        return await self.placed(await self.bearer(authorization, scope), slug)

    async def placed(self, token: TokenInfo, slug: str | None) -> Caller:
        """A token at a project; see `who`."""
        try:
            place = await self.place_of(slug, names=token.project_id is None and token is not ANONYMOUS)
        except NotFound:
            if token.project_id is not None:
                raise NotAllowed("This token is for another project.") from None
            raise
        if token.project_id not in (None, place.id):
            raise NotAllowed("This token is for another project.")
        return Caller(token, place)

    async def token(self, request: Request, scope: Scope | None) -> TokenInfo:
        """The bearer token of a request, if it is in force and holds the scope."""
        return await self.bearer(request.headers.get("authorization", ""), scope)

    async def bearer(self, authorization: str, scope: Scope | None) -> TokenInfo:
        """The token of an Authorization header, if it is in force, holds the scope and is within its limit."""
        kind, _, bearer = authorization.partition(" ")
        bearer = bearer.strip()
        if kind.lower() != "bearer" or not bearer:
            raise NotAuthenticated("This needs a token: send `Authorization: Bearer <token>`.")
        now = datetime.now(UTC)
        token = self.tokens.at_once(bearer, now)
        if token is None:
            token = await asyncio.to_thread(self.tokens.check, bearer, scope, None, now)
        elif scope is not None and not token.allows(scope):
            token = self.tokens.check(bearer, scope, None, now)  # says why not
        self.tokens.admit(token)
        return token

    async def place(self, request: Request) -> Place:
        """The project that the address of a request names, or the root's, on a route that is open to all.

        Raises:
            NotFound: names the projects that exist, to tokens that may know.
        """
        try:
            return await self.place_of(request.path_params.get("slug"))
        except NotFound:
            try:
                token = await self.token(request, None)
            except (NotAuthenticated, TooOften):
                token = ANONYMOUS
            if token is ANONYMOUS or token.project_id is not None:
                raise
        return await self.place_of(request.path_params.get("slug"), names=True)

    async def place_of(self, slug: str | None, *, names: bool = False) -> Place:
        """The project of this address, or the root's.

        Args:
            names: whether whoever asks may know the projects that exist.

        Raises:
            NotFound: no such project, or none that is the root's.
        """
        for fresh in (False, True):  # a project made a moment ago is looked up before anybody is told no
            found = await self.places(fresh=fresh)
            place = self._by_slug.get(slug)
            if place is not None:
                return place
        there = ", ".join(p.slug for p in found[:50])
        if not found:
            raise NotFound(
                "There is no project yet. POST /generate makes one; so do the Data page and `projects create`."
            )
        if slug is None:
            raise NotFound(
                "There are several projects and none is called default. Use /projects/{slug}/..."
                + (f": {there}." if names else "")
            )
        raise NotFound(f"There is no project '{slug[:80]}'." + (f" Projects: {there}." if names else ""))

    async def places(self, *, fresh: bool = False) -> list[Place]:
        """Every project, at most half a second old."""
        if fresh or time.monotonic() - self._places_at > PLACES_S:
            self._places = await asyncio.to_thread(status.places, self.ws)
            root = status.root_of(self._places)
            self._by_slug = {p.slug: p for p in self._places} | ({None: root} if root is not None else {})
            self._places_at = time.monotonic()
        return self._places

    async def project(self, place: Place) -> ProjectInfo:
        """The project's record as stored now."""

        def _read() -> ProjectInfo:
            from core.services.projects.projects import project_by_id

            return project_by_id(self.ws, place.id)

        return await asyncio.to_thread(_read)

    async def infer(self, work: Callable[..., T], *args: Any) -> T:
        """Run model work in one of its own few threads."""
        return await asyncio.get_running_loop().run_in_executor(self.inference, work, *args)


def api_of(request: Request) -> Api:
    """The process's state."""
    api: Api = request.app.state.api
    return api
