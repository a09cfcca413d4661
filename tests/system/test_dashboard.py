"""The dashboard as a user goes through it, in a real browser, while a run writes into the same storage."""

import json
import re
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.client import HTTPConnection
from itertools import count

import pytest

from tests.helpers.browser import open_page, shot
from tests.helpers.projects import TINY, Project
from tests.helpers.servers import free_port, wait_until

pytestmark = pytest.mark.system

MEMBERS = ("rates-01", "rates-02")
HEADER_PX, ROW_PX = 35, 35
TABLE = '[data-testid="stDataFrame"]'


def done(finished):
    code, output = finished
    assert code == 0, output
    return output


@pytest.fixture(scope="module")
def project(module_project) -> Project:
    """Give a project with two experiments that ran."""
    done(module_project.assay("sweep", "tiny", "--name", "rates", "--grid", "learning_rate=1e-3,1e-2"))
    for name in MEMBERS:
        done(module_project.assay("run", name))
    return module_project


@pytest.fixture(scope="module")
def url(project):
    """Give the address of a dashboard."""
    port = free_port()
    process = project.start("assay", "dashboard", "--no-browser", "--port", str(port))
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: process.poll() is not None or status(address) == 200, f"{address} answers", every_s=0.1)
        yield address
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=30)
    assert "Traceback" not in output, output


def status(address, path="/_stcore/health", **headers):
    """Return the status with which the server answers; None if it does not."""
    with suppress(OSError), closing(HTTPConnection(address.removeprefix("http://"), timeout=10)) as connection:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status
    return None


@pytest.fixture(scope="module")
def writing(project, url):
    """Run one more experiment, with another seed each time, while the tests look; every run has to end well."""
    codes, stop = [], threading.Event()

    def write():
        for seed in count():
            project.write("tiny", f"{TINY}seed: {seed}\n")
            codes.append(done(project.assay("run", "tiny")))
            if stop.is_set():
                return

    with ThreadPoolExecutor(1) as pool:
        runs = pool.submit(write)
        yield codes
        stop.set()
        runs.result(timeout=300)


@pytest.fixture
def page(url, writing):
    with open_page(1500, 1000) as page:
        problems, asked = [], set()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: asked.add(request.url.split("/")[2] if "://" in request.url else ""))
        page.goto(url)
        yield page
        assert page.get_by_test_id("stException").count() == 0
        assert problems == []
        assert {host for host in asked if host} == {url.removeprefix("http://")}


def cells(page):
    """Return the texts of the table by row: it is drawn on a canvas, and told to screen readers beside it."""
    grid = page.locator(TABLE).first
    grid.locator("canvas").first.wait_for()
    rows = grid.locator("tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return [row for row in rows if row]


def shows(page, *ids):
    """Wait until the table shows exactly these experiments, in whatever order."""
    wait_until(lambda: sorted(row[0] for row in cells(page)) == sorted(ids), f"rows {ids}", 30, 0.2)


def click_cell(page, row, x):
    """Click into the table, so many pixels from its left edge."""
    place = page.locator(f"{TABLE} canvas").first.bounding_box()
    page.mouse.click(place["x"] + x, place["y"] + HEADER_PX + ROW_PX * (row + 0.5))


def test_it_lists_filters_and_keeps_the_filter_in_the_address(page, url):
    page.get_by_role("heading", name="Experiments").wait_for()
    page.get_by_label("Search", exact=True).fill("rates-02")
    page.keyboard.press("Enter")
    shows(page, "rates-02")
    page.wait_for_url(f"{url}/?q=rates-02")
    page.reload()
    shows(page, "rates-02")
    assert page.get_by_text(re.compile(r"1 of \d experiments")).count() == 1


def test_a_key_of_the_spec_becomes_a_column_and_a_filter(page):
    page.goto(page.url + "?key=learning_rate+in+trained_model.learner&q=rates")
    shows(page, *MEMBERS)
    assert {"0.001", "0.01"} <= {text for row in cells(page) for text in row}
    page.get_by_role("combobox", name="learning_rate").click()
    page.get_by_role("option", name="0.01").click()
    shows(page, "rates-02")
    shot(page, "dashboard-overview")


def test_a_click_on_an_id_opens_its_metrics_curves_pictures_checks_and_spec(page, url):
    page.goto(f"{url}/?q=rates-01")
    shows(page, "rates-01")
    click_cell(page, 0, 80)
    page.get_by_role("heading", name="rates-01").wait_for()
    page.wait_for_url(f"{url}/experiment?id=rates-01")
    shot(page, "dashboard-experiment")
    page.get_by_role("tab", name="Learning").click()
    page.get_by_test_id("stVegaLiteChart").first.wait_for()
    page.get_by_role("tab", name="Pictures").click()
    page.get_by_role("heading", name="What the network saw").wait_for()
    page.get_by_role("heading", name="Data").wait_for()
    pictures = page.get_by_test_id("stImage").locator("img")
    wait_until(lambda: pictures.count() > 3, "pictures")
    widths = pictures.evaluate_all("all => Promise.all(all.map(img => img.decode().then(() => img.naturalWidth)))")
    assert min(widths) > 50
    page.get_by_role("tab", name="Checks").click()
    page.get_by_text("All 4 checks passed.").wait_for()
    page.get_by_role("tab", name="Spec").click()
    page.get_by_text("learning_rate: 0.001").wait_for()


def test_two_selected_experiments_are_compared(page, url):
    page.goto(f"{url}/?q=rates")
    shows(page, *MEMBERS)
    for row in (0, 1):
        click_cell(page, row, 16)
    page.get_by_role("button", name="Compare 2 selected").click()
    page.get_by_role("heading", name="Compare").wait_for()
    page.get_by_text("MAE on test, lower is better").wait_for()
    assert sorted(re.findall(r"ids=([a-z0-9-]+)", page.url)) == list(MEMBERS)
    shows(page, *MEMBERS)
    wait_until(lambda: page.get_by_test_id("stVegaLiteChart").count() >= 3, "charts")
    shot(page, "dashboard-compare", whole=True)


def test_a_download_is_the_experiments_folder(page, url, project, tmp_path):
    page.goto(f"{url}/experiment?id=rates-01")
    with page.expect_download() as caught:
        page.get_by_role("link", name="Download").click()
    assert caught.value.suggested_filename == "rates-01.zip"
    caught.value.save_as(tmp_path / "rates-01.zip")
    folder = project.folder / done(project.assay("path", "rates-01")).strip()
    with zipfile.ZipFile(tmp_path / "rates-01.zip") as archive:
        found = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(found["manifest.json"])
    assert set(manifest["files"]) < set(found)
    assert found == {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_addresses_that_are_wrong_are_answered_in_a_sentence(page, url):
    page.goto(f"{url}/experiment?id=..%2F..%2Fetc")
    page.get_by_text("is not valid: expected 1 to 63 characters").wait_for()
    assert status(url, "/download/nobody.zip") == 404
    assert status(url, "/download/..%2Fetc.zip") in (400, 404)


def test_another_host_name_gets_nothing(url):
    assert (status(url, "/"), status(url, "/", Host="evil.example")) == (200, 400)


def test_an_experiment_that_ran_meanwhile_appears(page, url, writing):
    wait_until(lambda: writing, "the end of a run", 300)
    page.goto(url)
    shows(page, *MEMBERS, "tiny")
