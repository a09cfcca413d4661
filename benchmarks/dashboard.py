"""The dashboard with 2,000 experiments in a real browser: from an address to the table, beside a page with one word.

The floor is what Streamlit, its server and the browser need for a page with one word, served in the same way.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.many_experiments import make_experiments
from benchmarks.rows import Row, at_most
from tests.helpers.browser import open_browser
from tests.helpers.servers import free_port

DASHBOARD = (str(Path(sys.executable).with_name("assay")), "dashboard", "--no-browser", "--port")
TABLE = '[data-testid="stDataFrame"] canvas'
EMPTY, WORD = "import streamlit\nstreamlit.title('empty')\n", "h1"
EMPTY_SERVER = """
import sys
from streamlit.starlette import App
from assay.dashboard.server import OPTIONS
App(sys.argv[1]).run(config={**OPTIONS, "server.port": int(sys.argv[2])})
"""


def run(quick: bool = False) -> list[Row]:
    """Measure; ``quick`` takes few experiments, to see that it runs."""
    count, repeats = (60, 2) if quick else (2_000, 7)
    with tempfile.TemporaryDirectory() as name, open_browser() as browser:
        folder, root = Path(name), Path(name) / "storage"
        make_experiments(root, range(count))
        os.sync()  # what the preparation left for later is not the dashboard's time
        with serving(root, *empty_page(folder)) as (empty_start, url):
            empty = looks(browser, url, WORD, repeats)
        with serving(root, *DASHBOARD) as (first_start, url):
            pass
        with serving(root, *DASHBOARD) as (start, url):
            page = looks(browser, url, TABLE, repeats)
            writing = looks_while_writing(browser, url, root, range(count, count + repeats))
    what = f"{count:,} experiments; median of {repeats} new, empty browser profiles; floor: a page with one word"
    known, changed = (
        "the browser has the program, not the data",
        "dashboard: first page, an experiment has just changed",
    )
    unread, first = "makes warehouse.duckdb first", at_most(2.35, of="floor")
    return [
        Row("dashboard: first page", page[0], target=first, floor=empty[0], note=what),
        Row("dashboard: the same page again", page[1], target=at_most(6.5, of="floor"), floor=empty[1], note=known),
        Row(changed, writing, target=first, floor=empty[0], note="with the refresh"),
        _start("dashboard: start of the server", start, 7.6, empty_start, "reads and judges all experiments"),
        _start("dashboard: the same without an index", first_start, 10.5, empty_start, unread),
    ]


def _start(name: str, seconds: float, most_s: float, floor: float, note: str) -> Row:
    return Row(name, seconds, target=at_most(most_s, of="machine"), floor=floor, note=note)


def empty_page(folder: Path) -> list[str]:
    """Return the command that serves a page with one word, with the dashboard's own options."""
    script = folder / "empty.py"
    script.write_text(EMPTY)
    return [sys.executable, "-c", EMPTY_SERVER, str(script)]


@contextmanager
def serving(root: Path, *command: str) -> Iterator[tuple[float, str]]:
    """Give how long a server took to answer, and its address; the command's last argument becomes the port."""
    port = free_port()
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, str(port)],
        env={**os.environ, "ASSAY_STORAGE": str(root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # a server that is told to end shows where it was
    )
    try:
        url = f"http://127.0.0.1:{port}"
        while not answers(url):
            assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
            time.sleep(0.02)
        yield time.perf_counter() - started, url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def answers(url: str) -> bool:
    with suppress(OSError):
        urllib.request.urlopen(f"{url}/_stcore/health", timeout=5).close()  # noqa: S310 - loopback
        return True
    return False


def looks(browser: Any, url: str, wanted: str, repeats: int) -> tuple[float, float]:
    """Return the median times until something is visible: in a new profile, and once more in the same."""
    first, again = [], []
    for _ in range(repeats):
        context = browser.new_context(viewport={"width": 1600, "height": 1000})
        page = context.new_page()
        first.append(look(page, url, wanted))
        again.append(look(page, url, wanted))
        context.close()
    return statistics.median(first), statistics.median(again)


def look(page: Any, url: str, wanted: str) -> float:
    started = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.locator(wanted).first.wait_for()
    return time.perf_counter() - started


def looks_while_writing(browser: Any, url: str, root: Path, numbers: Sequence[int]) -> float:
    """Return the median time of a first page right after one more experiment was stored."""
    times = []
    for number in numbers:
        make_experiments(root, range(number, number + 1))
        context = browser.new_context(viewport={"width": 1600, "height": 1000})
        times.append(look(context.new_page(), url, TABLE))
        context.close()
    return statistics.median(times)
