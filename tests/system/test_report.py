"""The report in a real browser: experiments of every task, made by a former version of Assay."""

import tarfile

import pytest

from assay.dashboard.report import write_report
from assay.dashboard.report_sections import SECTIONS
from tests.helpers.browser import open_browser, shot
from tests.helpers.projects import ROOT

pytestmark = pytest.mark.system

EXPERIMENTS = ("reg", "houses", "softmax", "softmax-again", "masks", "boxes")
"""Of whole images, of a table, of crops, an evaluation of another model, masks, boxes."""

PHONE_PX = 390


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("former")
    with tarfile.open(ROOT / "tests" / "data" / "storage-0.1.0.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "storage"


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_page_is_whole_fetches_nothing_and_fits_on_a_phone(storage, browser, name, tmp_path):
    path = write_report(storage, name, tmp_path / "page.html")
    assert path.stat().st_size < 5_000_000
    context = browser.new_context(viewport={"width": PHONE_PX, "height": 844}, color_scheme="dark")
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    assert page.locator("h1").inner_text() == name
    assert page.locator("section h2").all_inner_texts() == [title for title, _ in SECTIONS]
    widths = page.locator("img").evaluate_all("all => all.map(image => image.naturalWidth)")
    assert len(widths) >= 4
    assert min(widths) > 100
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE_PX
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    shot(page, f"report-{name}", whole=True)
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert said == []
    context.close()
