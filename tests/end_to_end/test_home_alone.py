"""`streamlit run Home.py` and nothing else, as Streamlit Community Cloud starts it: its secrets are one file, its scheduler is within."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from patience import limit, until
from playwright.sync_api import Page, expect, sync_playwright
from sqlalchemy import select

from core.services.incidents import status
from core.services.monitoring import monitoring
from core.services.projects import projects
from core.settings import Settings
from core.storage.tables import Heartbeat
from core.storage.workspace import Workspace, open_workspace

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (".streamlit", "Home.py", "alembic", "core", "data", "pages")
PASSWORD = "alone-in-the-cloud-7"
SHOWN_MS = 1_000 * limit(60)
PROMOTED_S = 150.0
MOST_MB = 600  # of the app, once the demonstration is over
CONTAINER_MB = 690  # what one on Community Cloud has for everything
NOTE_PAGES = """
window.listed = false;
new MutationObserver(() => { window.listed ||= document.querySelector("[data-testid=stSidebarNav]") !== null; })
    .observe(document, {subtree: true, childList: true});
"""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
]


class Alone:
    """The app, and the memory of it and of all that it started."""

    def __init__(self, folder: Path, port: int) -> None:
        ours = {str(field.validation_alias) for field in Settings.model_fields.values()} | {"PYTHONPATH"}
        environment = {name: value for name, value in os.environ.items() if name not in ours}
        command = [sys.executable, "-m", "streamlit", "run", "Home.py", "--server.port", str(port)]
        with (folder / "output").open("w") as output:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self.output = folder / "output"
        self.url = f"http://localhost:{port}"
        self.settings = Settings(CONTINUAL_HOME=folder / "var")
        self.peak_mb = 0.0  # of all of them at one moment
        self.peak_parts: list[int] = []  # then, the app first
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._measure, daemon=True)
        self._watch.start()

    def family(self) -> list[psutil.Process]:
        """The app and every process that it started."""
        app = psutil.Process(self.process.pid)
        return [app, *app.children(recursive=True)]

    def _measure(self) -> None:
        while not self._ended.wait(0.5):
            try:
                parts = [pss_mb(p) for p in self.family()]
            except psutil.Error:  # one of them has just ended
                continue
            if sum(parts) > self.peak_mb:
                self.peak_mb, self.peak_parts = sum(parts), [round(part) for part in parts]

    def is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=limit(2)) as answer:
                return bool(answer.read() == b"ok")
        except OSError:
            return False

    def stop(self) -> list[psutil.Process]:
        """End it by SIGTERM; what it left behind."""
        children = self.family()[1:]
        self._ended.set()
        self._watch.join()
        self.process.terminate()
        self.process.wait(timeout=limit(20))
        return [p for p in children if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def pss_mb(process: psutil.Process) -> float:
    """Memory of a process, what it shares with others counted in part."""
    return float(process.memory_full_info().pss) / 1e6


@pytest.fixture
def alone(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Alone]:
    """The program's own files in a folder of their own, with secrets.toml and no setting in the environment."""
    folder = tmp_path / "app"
    folder.mkdir()
    for name in PROGRAM:
        leave = shutil.ignore_patterns("__pycache__", "secrets.toml")
        source = ROOT / name
        shutil.copytree(source, folder / name, ignore=leave) if source.is_dir() else shutil.copy(source, folder / name)
    secrets = f'STREAMLIT_PASSWORD = "{PASSWORD}"\nCONTINUAL_STORAGE = "temporary"\n'
    (folder / ".streamlit" / "secrets.toml").write_text(secrets)
    started = Alone(folder, free_port())
    try:
        until("the app to start", started.is_up, seconds=60, every=0.1)
        yield started
    finally:
        for process in started.family() if started.process.poll() is None else []:
            process.kill()
        started.process.wait()


@pytest.fixture
def page(chromium: str) -> Iterator[Page]:
    """A new browser context."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(SHOWN_MS)
        yield context.new_page()
        browser.close()


def _leader(ws: Workspace) -> str:
    with ws.database.read() as session:
        return str(session.scalar(select(Heartbeat.owner).where(Heartbeat.name == status.SCHEDULER)))


@pytest.mark.browser
@pytest.mark.timeout(420)
def test_home_alone_retrains_by_itself_within_a_small_container_and_ends_without_a_trace(
    alone: Alone, page: Page
) -> None:
    page.add_init_script(NOTE_PAGES)
    page.goto(f"{alone.url}/drift")  # whatever page, signed in or not: a visit wakes the scheduler
    expect(page.get_by_label("Password", exact=True)).to_be_visible(timeout=SHOWN_MS)
    assert page.evaluate("window.listed") is False  # not for a moment: Streamlit would list the pages
    ws = open_workspace(alone.settings)
    until("the scheduler within", lambda: _leader(ws).endswith(f":{alone.process.pid}"))

    page.goto(alone.url)
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_test_id("stFormSubmitButton").get_by_role("button").click()
    expect(page.get_by_role("heading", name="Welcome")).to_be_visible(timeout=SHOWN_MS)
    expect(page.get_by_text("Demo storage.").first).to_be_visible(timeout=SHOWN_MS)
    page.get_by_role("button", name="Create the sample project").click(timeout=SHOWN_MS)
    expect(page.get_by_role("heading", name="Live")).to_be_visible(timeout=SHOWN_MS)
    page.get_by_text("Fast", exact=True).click(timeout=SHOWN_MS)
    project = projects.get_project(ws, "insects")
    until("a promotion", lambda: monitoring.promotions(ws, project.id), seconds=PROMOTED_S, every=0.2)

    def shows_the_champion() -> bool:  # the live run goes on, and so does the champion
        return page.get_by_text(f"v{projects.get_project(ws, 'insects').champion}").first.is_visible()

    until("the champion on the page", shows_the_champion, seconds=SHOWN_MS / 1000, every=0.2)

    workers = [p for p in alone.family()[1:] if "core.jobs.worker" in p.cmdline()]
    assert [p.cmdline()[-1] for p in workers] == ["--follow"]  # the scheduler's, not one that a button started
    app_mb = pss_mb(alone.family()[0])
    sys.stdout.write(
        f"memory: app {app_mb:.0f} MB, with its worker at most {alone.peak_mb:.0f} MB {alone.peak_parts}\n"
    )
    assert app_mb < MOST_MB
    assert alone.peak_mb < CONTAINER_MB
    assert alone.stop() == []
    ws.database.dispose()
    assert "Traceback" not in alone.output.read_text()
