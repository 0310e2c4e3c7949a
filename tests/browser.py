"""The browser that the tests drive: found, or fetched. `python tests/browser.py` makes sure that there is one.

What is there is used: the system's browser, or Playwright's own, without a word to any network. Nothing is fetched
unless neither starts.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

from patience import limit

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DOWNLOAD_S = 300


ASK = "from playwright.sync_api import sync_playwright as start\nwith start() as it: print(it.chromium.executable_path)"


def _playwrights_own() -> str | None:
    """Asked in a process of its own: Playwright's driver cannot be started twice in one."""
    asked = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, timeout=limit(60), check=False)
    path = asked.stdout.strip()
    return path if path and Path(path).exists() else None


def _starts(path: str) -> bool:
    """Whether the browser runs at all: a download may lack system libraries."""
    try:
        return subprocess.run([path, "--version"], capture_output=True, timeout=limit(60), check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@functools.lru_cache(maxsize=1)
def find_chromium() -> str | None:
    """Path of a browser that starts: the system's, else Playwright's own; None when there is none.

    The system's is asked first: it costs a look at the search path, Playwright's a process of a second.
    """
    for look in (*(functools.partial(shutil.which, name) for name in NAMES), _playwrights_own):
        path = look()
        if path is not None and _starts(path):
            return path
    return None


def _found() -> bool:
    find_chromium.cache_clear()
    return find_chromium() is not None


def _run(command: list[str], **environment: str) -> bool:
    sys.stdout.write(f"$ {' '.join(command)}\n")
    sys.stdout.flush()
    try:
        done = subprocess.run(
            command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, timeout=limit(DOWNLOAD_S), check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def main() -> int:
    """0 when a browser is there in the end, else 1 and what to do."""
    if _found():
        return 0
    may_install = os.geteuid() == 0
    playwright = [sys.executable, "-m", "playwright", "install", *(["--with-deps"] if may_install else []), "chromium"]
    if _run(playwright, PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT="30000") and _found():
        return 0
    if may_install and shutil.which("apt-get"):
        _run(["apt-get", "update", "-qq"])
        _run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], DEBIAN_FRONTEND="noninteractive"
        )
        if _found():
            return 0
    sys.stderr.write(
        "The browser tests need Chromium, and Playwright's could not be downloaded or does not start. "
        "Install the system's (Debian: sudo apt-get install chromium), then run `make test` again.\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
