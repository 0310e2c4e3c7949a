"""The demonstration, walked in a real browser against the real processes: from nothing to a promotion and its reason."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from patience import limit, until
from playwright.sync_api import Page, expect, sync_playwright

from core.learning.policy import POLICIES
from core.services.monitoring import monitoring
from core.services.projects import projects
from core.storage.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "walk-the-demonstration-7"
SHOWN_MS = 1_000 * limit(60)
PROMOTED_S = 150.0
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def address(ws: Workspace, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """App and scheduler as processes of their own, on this test's state folder."""
    monkeypatch.setenv("STREAMLIT_PASSWORD", PASSWORD)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CHECK_INTERVAL_SECONDS", "2")
    port = free_port()
    app = [str(ROOT / "server.py"), "--server.port", str(port), "--server.headless", "true"]
    started = [
        subprocess.Popen([sys.executable, *command], cwd=ROOT, env=os.environ.copy(), stdin=subprocess.DEVNULL)
        for command in (app, [str(ROOT / "scheduler.py")])
    ]
    try:
        url = f"http://localhost:{port}"
        until("the app to start", lambda: _is_up(url), seconds=60, every=0.1)
        yield url
    finally:
        children = [child for p in started for child in psutil.Process(p.pid).children(recursive=True)]
        for process in started:
            process.terminate()
        for process in started:
            process.wait(timeout=limit(15))
        _, left = psutil.wait_procs(children, timeout=limit(15))
        for child in left:
            child.kill()


def _is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/_stcore/health", timeout=limit(2)) as answer:
            return bool(answer.read() == b"ok")
    except OSError:
        return False


@pytest.fixture
def page(chromium: str) -> Iterator[Page]:
    """A new browser context."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(SHOWN_MS)  # a busy machine is slow at every step, not only at the first
        yield context.new_page()
        browser.close()


def settled(page: Page) -> None:
    """The page's run has ended, and without an exception."""
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=SHOWN_MS)
    expect(page.get_by_test_id("stException")).to_have_count(0)


def runs_requested(page: Page) -> list[str | bytes]:
    """What the page sends to the server, each a request to run the script; grows as it does so."""
    sent: list[str | bytes] = []
    page.on("websocket", lambda connection: connection.on("framesent", lambda frame: sent.append(frame)))
    return sent


def picture(page: Page, name: str) -> None:
    folder = ROOT / "test-results"
    folder.mkdir(exist_ok=True)
    page.screenshot(path=folder / f"{name}.png")


@pytest.mark.browser
@pytest.mark.timeout(420)
def test_a_stranger_sees_a_champion_decay_and_a_challenger_win(ws: Workspace, address: str, page: Page) -> None:
    requests = runs_requested(page)
    page.goto(f"{address}/drift")  # a deep link shows the sign-in and nothing else
    page.get_by_label("Username").fill("admin")
    expect(page.get_by_test_id("stSidebar")).to_have_count(0)
    page.get_by_label("Password", exact=True).fill("not-the-password")
    page.get_by_test_id("stFormSubmitButton").get_by_role("button").click()
    expect(page.get_by_text("The user name or the password is wrong.")).to_be_visible(timeout=SHOWN_MS)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_test_id("stFormSubmitButton").get_by_role("button").click()
    expect(page.get_by_role("heading", name="Drift")).to_be_visible(timeout=SHOWN_MS)

    page.get_by_role("link", name="Home", exact=True).click()
    expect(page.get_by_role("heading", name="Welcome")).to_be_visible(timeout=SHOWN_MS)
    assert (
        len(requests) == 4
    )  # opened, two sign-ins, Home: one more, by whatever it was sent, can cost the page its content
    page.get_by_role("button", name="Create the sample project").click(timeout=SHOWN_MS)
    expect(page.get_by_role("heading", name="Live")).to_be_visible(timeout=SHOWN_MS)
    page.get_by_text("Fast", exact=True).click(timeout=SHOWN_MS)
    project = projects.get_project(ws, "insects")
    # The first model aside.
    until("a promotion", lambda: monitoring.promotions(ws, project.id), seconds=PROMOTED_S, every=0.2)
    version = projects.get_project(ws, "insects").champion

    def is_measured() -> bool:
        return version in {point.model_version for point in monitoring.performance_history(ws, project.id)}

    until("a measurement of what was promoted", is_measured, seconds=PROMOTED_S, every=0.2)
    expect(page.get_by_text(f"v{version}").first).to_be_visible(timeout=SHOWN_MS)
    expect(page.get_by_test_id("stPlotlyChart").locator(".main-svg").first).to_be_visible(timeout=SHOWN_MS)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Play")).to_be_visible(timeout=SHOWN_MS)
    picture(page, "live")

    page.reload()  # the sign-in is kept by its cookie, the run by its row
    expect(page.get_by_role("button", name="Play")).to_be_visible(timeout=SHOWN_MS)
    for name in ("Home", "Drift", "Performance", "Train", "Models", "Automation", "Data", "Labels", "Predict", "Admin"):
        page.get_by_role("link", name=name, exact=True).click()
        heading = "Insects" if name == "Home" else name
        expect(page.get_by_role("heading", name=heading, exact=True).first).to_be_visible(timeout=SHOWN_MS)
        settled(page)
        picture(page, name.lower())

    points = monitoring.performance_history(ws, project.id)
    scores = [p.scores["accuracy"].value or 0.0 for p in points]
    assert min(scores) < POLICIES["balanced"].threshold - 0.1  # it fell below the sample's .70 ...
    assert scores[-1] > min(scores) + 0.1  # ... and came back
    never = monitoring.performance_history(ws, project.id, role="never")[-1].scores["accuracy"].value or 0.0
    assert scores[-1] > never + 0.2

    page.get_by_role("button", name="admin").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Password", exact=True)).to_be_visible(timeout=SHOWN_MS)
    page.reload()
    expect(page.get_by_label("Password", exact=True)).to_be_visible(timeout=SHOWN_MS)
