"""A headless Chromium, driven by Playwright.

Belongs here: opening pages, Dagster's dialog, taking screenshots. Does not belong here: what a test checks.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.helpers.servers import ARTIFACTS

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
]


@contextmanager
def open_browser() -> Iterator[Any]:
    """Yield a browser without pages."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    assert chromium, "chromium is not installed: make browser"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def open_page(width: int = 1600, height: int = 1000) -> Iterator[Any]:
    """Yield an empty page."""
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(60_000)
        yield page


@contextmanager
def photographed_page(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Yield an empty page, of which a picture is kept if the test fails."""
    failed_before = request.session.testsfailed
    with open_page() as page:
        try:
            yield page
        finally:
            if request.session.testsfailed > failed_before:
                shot(page, f"failed-{request.node.name}")


def open_dialog(url: str, page: Any) -> None:
    """Open Dagster's dialog that materializes all assets of an experiment."""
    page.goto(f"{url}/locations/__repository__@definitions/jobs/job_experiment")
    page.get_by_role("button", name="Materialize all").click()
    page.get_by_text("Partition selection").wait_for()
    page.wait_for_timeout(2000)  # it asks for the partitions; what is typed before the answer is lost


def enter_config(page: Any, text: str) -> None:
    """Enter a configuration in the open dialog, as the Launchpad's editor takes it, without an error."""
    page.get_by_text("Config", exact=True).click()
    page.get_by_role("button", name="Add config").click()
    editor = page.locator(".cm-s-config-editor")
    editor.wait_for()
    editor.evaluate("(element, text) => element.CodeMirror.setValue(text)", text)
    page.get_by_text("No errors").wait_for()


def shot(page: Any, name: str, whole: bool = False) -> None:
    """Save a screenshot of the visible part of the page, or of the whole page."""
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(ARTIFACTS / f"{name}.png"), full_page=whole)
