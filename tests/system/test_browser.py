"""The Dagster UI in a real browser: the graph, a materialized partition with pictures, the checks."""

import os
import shutil
import socket
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

ARTIFACTS = Path(os.environ.get("ASSAY_ARTIFACTS") or Path(__file__).parents[2] / "test-artifacts")
CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
]


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def server(project):
    code, output = project.assay("run", "tiny")
    assert code == 0, output
    port = free_port()
    process = project.start("dagster-webserver", "-h", "127.0.0.1", "-p", str(port), "-m", "definitions")
    address = f"http://127.0.0.1:{port}"
    wait_for(f"{address}/server_info")
    yield address
    process.terminate()
    process.communicate(timeout=30)


def wait_for(address: str, timeout_s: float = 90) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()  # noqa: S310 - loopback
            return
        except OSError:
            assert time.monotonic() < deadline, f"{address} does not answer"
            time.sleep(0.5)


@pytest.fixture
def page():
    assert CHROMIUM, "chromium is not installed: make browser"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def shot(page, name: str) -> None:
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(1500)  # let the graph's animation come to rest
    page.screenshot(path=str(ARTIFACTS / f"{name}.png"))


def test_a_user_sees_graph_pictures_and_checks(server, page):
    groups = ",".join(f"global%40global%3A{name}" for name in ("data", "learning"))
    page.goto(f"{server}/asset-groups?expanded={groups}")
    page.get_by_text("generated_images").first.wait_for()
    shot(page, "graph")

    page.goto(f"{server}/assets/analysis?view=partitions&partition=tiny")
    page.get_by_text("tiny").first.wait_for()
    page.get_by_text("summary").first.wait_for()
    shot(page, "partition")
    page.get_by_text("[Show Markdown]").first.click()
    picture = page.locator("img[alt]").first
    picture.wait_for()
    assert picture.evaluate("image => image.naturalWidth") > 300
    shot(page, "picture")

    page.goto(f"{server}/assets/splits?view=checks")
    page.get_by_text("split_leakage").first.wait_for()
    shot(page, "checks")
