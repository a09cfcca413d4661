"""A headless Chromium, driven by Playwright.

Belongs here: opening pages, taking screenshots. Does not belong here: what a test checks.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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


def shot(page: Any, name: str, whole: bool = False) -> None:
    """Save a screenshot of the visible part of the page, or of the whole page."""
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(ARTIFACTS / f"{name}.png"), full_page=whole)
