"""Creates or updates the monitors of docs/uptime-kuma.md in Uptime Kuma 1.23, and prints the push URL.

`monitors()` is the only list of them; a test compares the page with it. The script runs apart from the program, with
requirements-kuma.txt. Kuma's only interface for this is the websocket of its pages, which that library uses.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

PUSH = "Continual ML scheduler"
SHORTEST_INTERVAL_S = 20  # of Kuma's own
PASSWORD = "UPTIME_KUMA_PASSWORD"  # noqa: S105  the name of the variable
CODE = "UPTIME_KUMA_2FA"
EARLY = "2.0.0-dev.0"  # of npm, for the test: its monitors are still those of 1.23


class Refused(Exception):
    """Something that a person has to resolve first; its text says what."""


class Kuma(Protocol):
    """What is used of uptime_kuma_api.UptimeKumaApi."""

    @property
    def version(self) -> str: ...
    def need_setup(self) -> bool: ...
    def setup(self, username: str, password: str) -> Any: ...
    def login(self, username: str, password: str, token: str) -> Any: ...
    def get_monitors(self) -> list[dict[str, Any]]: ...
    def get_monitor(self, id_: int) -> dict[str, Any]: ...
    def add_monitor(self, **settings: Any) -> dict[str, Any]: ...
    def edit_monitor(self, id_: int, **settings: Any) -> Any: ...


def monitors(api_url: str = "http://api:8000", check_interval_s: int = 30) -> list[dict[str, Any]]:
    """Every monitor by the names that Kuma gives its settings.

    Args:
        api_url: where Kuma reaches the API.
        check_interval_s: the scheduler's CHECK_INTERVAL_SECONDS.
    """
    asks = {
        "url": f"{api_url.rstrip('/')}/health",
        "interval": 60,
        "retryInterval": 60,
        "maxretries": 2,
        "accepted_statuscodes": ["200-299"],
    }
    late = (
        'scheduler_age_seconds = null ? "never ran" : scheduler_age_seconds < 0 ? "ahead" : '
        f'scheduler_age_seconds > {3 * check_interval_s} ? "late" : "beats"'
    )
    queries = {
        "Continual ML status": ("status", "ok"),
        "Continual ML reason": ('status = "ok" ? "ok" : reason', "ok"),
        "Continual ML database": ("database", "ok"),
        "Continual ML scheduler's age": (late, "beats"),
        "Continual ML model": ('model_version = null ? "no model" : "serves"', "serves"),
    }
    push_s = max(2 * check_interval_s, SHORTEST_INTERVAL_S)
    return [
        {"name": "Continual ML", "type": "keyword", "keyword": '"status":"ok"', **asks},
        *(
            {"name": name, "type": "json-query", "jsonPath": query, "expectedValue": expected, **asks}
            for name, (query, expected) in queries.items()
        ),
        {"name": PUSH, "type": "push", "interval": push_s, "retryInterval": push_s, "maxretries": 1},
    ]


def sign_in(kuma: Kuma, username: str, password: str, *, create_admin: bool, code: str = "") -> None:
    """Sign in; in a fresh Kuma create the first account, if requested."""
    if kuma.need_setup():
        if not create_admin:
            raise Refused("This Uptime Kuma has no account yet. Open its page and create one, or add --create-admin.")
        kuma.setup(username, password)
    answer = kuma.login(username, password, code)
    if isinstance(answer, Mapping) and answer.get("tokenRequired"):
        raise Refused(f"This account requires a second factor: set {CODE} to its current code.")
    release = tuple(int(part) for part in kuma.version.partition("-")[0].split(".")[:2])
    if release < (1, 23) or (release >= (2, 0) and kuma.version != EARLY):
        raise Refused(
            f"This is Uptime Kuma {kuma.version}; the script supports 1.23. Enter the monitors manually: "
            "docs/uptime-kuma.md."
        )


def ensure(kuma: Kuma, wanted: list[dict[str, Any]], say: Callable[[str], None]) -> str:
    """Create missing monitors and update those that differ; returns the push monitor's token.

    A monitor is recognised by its name. Other settings (notifications, tags, the paused state) stay unchanged.
    """
    there: dict[str, list[dict[str, Any]]] = {}
    for monitor in kuma.get_monitors():
        there.setdefault(monitor["name"], []).append(monitor)
    for settings in wanted:  # all are checked before the first is changed
        name, found = settings["name"], there.get(settings["name"], [])
        if len(found) > 1:
            raise Refused(f"{len(found)} monitors have the name {name!r}. Rename or delete all but one.")
        if found and found[0]["type"] != settings["type"]:
            raise Refused(f"The monitor {name!r} has another type. Rename or delete it.")
    token = ""
    for settings in wanted:
        name = settings["name"]
        if name not in there:
            made = kuma.add_monitor(**settings)
            if settings["type"] == "push":  # the library's own token is short, and not drawn by a source for secrets
                token = secrets.token_hex(16)
                kuma.edit_monitor(made["monitorID"], pushToken=token)
            say(f"created: {name}")
            continue
        found = there[name][0]
        changed = {key: value for key, value in settings.items() if found.get(key) != value}
        if changed:
            kuma.edit_monitor(found["id"], **changed)
        if settings["type"] == "push":
            token = found["pushToken"]
        differences = ", ".join(f"{key} was {found.get(key)!r}" for key in changed)
        paused = "" if found.get("active", True) else " (paused)"
        say(f"updated: {name}{paused}: {differences}" if changed else f"unchanged: {name}{paused}")
    return token


def _password(environment: Mapping[str, str]) -> str:
    file = environment.get(f"{PASSWORD}_FILE")
    try:
        found = Path(file).read_text("utf-8").strip() if file else environment.get(PASSWORD, "")
    except OSError as error:
        raise Refused(f"{PASSWORD}_FILE cannot be read: {error.strerror}.") from error
    if not found:
        raise Refused(f"Set {PASSWORD}, or {PASSWORD}_FILE to a file that holds it.")
    return found


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Create the monitors of docs/uptime-kuma.md.",
        epilog=f"The password comes from {PASSWORD} or {PASSWORD}_FILE, never from the command line.",
    )
    parser.add_argument("--kuma-url", default="http://127.0.0.1:3001", help="where this script reaches Uptime Kuma")
    parser.add_argument("--api-url", default="http://api:8000", help="where Uptime Kuma reaches the API")
    parser.add_argument("--push-url", default="http://uptime-kuma:3001", help="where the scheduler reaches Uptime Kuma")
    parser.add_argument("--username", default="admin")
    parser.add_argument("--create-admin", action="store_true", help="create the first account of a fresh Uptime Kuma")
    parser.add_argument("--check-interval", type=int, default=30, metavar="S", help="the CHECK_INTERVAL_SECONDS in use")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = _arguments(arguments)
    try:
        password = _password(os.environ)
    except Refused as error:
        print(error, file=sys.stderr)
        return 1
    try:
        from uptime_kuma_api import UptimeKumaApi, UptimeKumaException  # type: ignore[import-not-found]
    except ImportError:
        print("uptime-kuma-api is not installed: docs/uptime-kuma.md says how.", file=sys.stderr)
        return 1
    try:
        with UptimeKumaApi(options.kuma_url, timeout=30) as kuma:
            sign_in(kuma, options.username, password, create_admin=options.create_admin, code=os.environ.get(CODE, ""))
            token = ensure(kuma, monitors(options.api_url, options.check_interval), print)
    except (Refused, UptimeKumaException) as error:
        print(f"{options.kuma_url}: {error}" if str(error) == "unable to connect" else error, file=sys.stderr)
        return 1
    print(f"CONTINUAL_KUMA_PUSH_URL={options.push_url.rstrip('/')}/api/push/{token}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
