"""Takes the pictures of README and docs again, in some minutes: ``make pictures``, or some: ``… NAME NAME``.

Dagster's UI is photographed by ``tests/system/test_browser.py``; the comparison and the dashboard show two sweeps that
are run for it, one of them over real handwritten digits.
"""

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from PIL import Image

from assay.datasets.synthetic.build import write_handwritten_digits
from tests.helpers.browser import open_page
from tests.helpers.projects import ROOT, Project, make_project
from tests.helpers.servers import free_port

FOLDER = Path(__file__).parent

FROM_TESTS = ("graph", "spec", "overrides", "backfill", "automation", "tick-log")
"""Pictures that the tests of the browser keep under the same names."""

DIGITS = """\
task: classification
name: real handwritten digits
generated_images:
  source: {{kind: image_folder, path: {}}}
"""

NUMBERS = """\
task: regression
name: digits as numbers
generated_images:
  source: {kind: numbers, sample_count: 150, img_size: {width: 128, height: 128}, max_amount: 4}
trained_model: {train_params: {epochs: 20}}
"""

SWEEPS = {
    "lr-grid": ("digits", "learning_rate=1e-4,3e-4,1e-3,3e-3", "epochs=5,20"),
    "rates": ("numbers", "learning_rate=1e-4,1e-3,1e-2"),
}


def take(names: set[str]) -> None:
    """Take pictures anew, by name; the others stay."""
    with tempfile.TemporaryDirectory() as folder:
        if names & set(FROM_TESTS):
            _from_tests(Path(folder) / "shots", names)
        wanted = {name: show for name, show in SHOTS.items() if name in names}
        if wanted:
            project = _swept(Path(folder))
            with _dashboard(project) as url:
                for name, show in wanted.items():
                    show(project, url, FOLDER / f"{name}.png")
    for name in names:
        _shrink(FOLDER / f"{name}.png")


def _from_tests(shots: Path, names: set[str]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "tests/system/test_browser.py"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "ASSAY_ARTIFACTS": str(shots)}, check=True)  # noqa: S603
    for name in sorted(names & set(FROM_TESTS)):
        (FOLDER / f"{name}.png").write_bytes((shots / f"{name}.png").read_bytes())


def _swept(folder: Path) -> Project:
    """Return a project in which the sweeps ran."""
    project = make_project(folder)
    (project.folder / "experiments" / "tiny.yaml").unlink()
    write_handwritten_digits(folder / "digits")
    project.write("digits", DIGITS.format(folder / "digits"))
    project.write("numbers", NUMBERS)
    for name, (base, *grid) in SWEEPS.items():
        _assay(project, "sweep", base, "--name", name, *(part for each in grid for part in ("--grid", each)))
    for path in sorted((project.folder / "experiments").glob("*-[0-9][0-9].yaml")):
        print(path.stem, flush=True)
        _assay(project, "run", path.stem)
    return project


def _assay(project: Project, *arguments: str) -> None:
    code, output = project.assay(*arguments, timeout=900)
    if code:
        sys.exit(output)


@contextmanager
def _dashboard(project: Project) -> Iterator[str]:
    port = free_port()
    process = project.start("assay", "dashboard", "--no-browser", "--port", str(port))
    url = f"http://127.0.0.1:{port}"
    try:
        while process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"{url}/_stcore/health", timeout=5):  # noqa: S310 - loopback
                break
            time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.communicate()


def _comparison(project: Project, _: str, path: Path) -> None:
    page_file = project.folder / "lr-grid.html"
    _assay(project, "compare", "--sweep", "lr-grid", "--html", str(page_file))
    with open_page(1300, 1350) as page:
        page.goto(page_file.as_uri())
        page.locator("tbody tr").first.hover()
        page.screenshot(path=str(path))


def _of_dashboard(address: str, text: str, height: int, act: str = "") -> Callable[[Project, str, Path], None]:
    """Return what photographs a page of the dashboard, after a click on the tab ``act``."""

    def show(_: Project, url: str, path: Path) -> None:
        with open_page(1440, height) as page:
            page.goto(url + address)
            page.get_by_text(text).first.wait_for()
            if act:
                page.get_by_role("tab", name=act).click()
            _settle(page)
            page.screenshot(path=str(path))

    return show


def _settle(page: Any) -> None:
    page.wait_for_timeout(8000)  # charts and pictures come one after the other


COMPARED = "&".join(f"ids=lr-grid-{number:02}" for number in range(3, 9))

SHOTS: dict[str, Callable[[Project, str, Path], None]] = {
    "compare": _comparison,
    "dashboard-overview": _of_dashboard("/?key=learning_rate+in+trained_model.learner", "Experiments", 960),
    "dashboard-experiment": _of_dashboard("/experiment?id=lr-grid-08", "lr-grid-08", 1560, "Pictures"),
    "dashboard-compare": _of_dashboard(f"/compare?{COMPARED}", "What was varied", 1900),
}


def _shrink(path: Path) -> None:
    """Store a picture with a palette: a third of the bytes, and no difference that one sees."""
    with Image.open(path) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    take(set(sys.argv[1:]) or {*FROM_TESTS, *SHOTS})
