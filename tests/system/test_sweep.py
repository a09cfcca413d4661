"""A sweep from its command to its page, as a user goes: sweep, run, compare, open the page in a browser."""

import re

import pytest

from tests.helpers.browser import open_page, shot

pytestmark = pytest.mark.system

MEMBERS = ("rates-01", "rates-02", "rates-03")


@pytest.fixture(scope="module")
def compared(module_project):
    """Sweep three learning rates, run two of them, compare; give the output of the comparison."""
    project = module_project
    done(project.assay("sweep", "tiny", "--name", "rates", "--grid", "learning_rate=1e-4,1e-3,1e-2"))
    second = project.folder / "experiments" / "rates-02.yaml"
    second.write_text(second.read_text().replace("name: tiny", "name: <b>bold</b>"))
    runs = [done(project.assay("run", name)) for name in MEMBERS[:2]]
    assert re.search(r"generated_images .* found, nothing to do", runs[1]), "the data were made again"
    return done(project.assay("compare", "--sweep", "rates"))


def done(finished):
    code, output = finished
    assert code == 0, output
    return output


@pytest.fixture
def page(compared, module_project):
    with open_page(1300, 1000) as page:
        address = (module_project.storage / "compare" / "rates.html").as_uri()
        problems = []
        page.on("console", lambda message: problems.append((page.url, message.text)))
        page.on("pageerror", lambda error: problems.append((page.url, str(error))))
        page.goto(address)
        yield page
        assert [problem for problem in problems if problem[0] == address] == []


def test_the_terminal_shows_what_differs_best_first_and_what_is_missing(compared):
    assert "regression: MAE on test, lower is better" in compared
    assert re.search(r"experiment +mae +learning_rate", compared)
    assert "rates-03: no results yet: assay run rates-03" in compared
    values = [float(value) for value in re.findall(r"^\d  rates-0\d +(\S+)", compared, re.MULTILINE)]
    assert len(values) == 2
    assert values == sorted(values)


def test_the_sweep_tells_its_price_once_for_what_its_experiments_share(compared, module_project):
    spent = r"[\d.]+ (?:s|min), CPU [\d.]+ (?:s|min), memory [\d.]+ [MG]B, [\d.]+ [kM]B, on .+ cores, \d+ GB"
    assert re.search(
        rf"^Cost of the 2 experiments that ran, shared results counted once: {spent}$", compared, re.MULTILINE
    )
    both, planned = (
        done(module_project.assay(*arguments))
        for arguments in (
            ("compare", "--sweep", "rates", "--costs"),
            ("sweep", "tiny", "--name", "rates", "--grid", "learning_rate=1e-4,1e-3,1e-2,1e-1", "--dry-run"),
        )
    )
    assert re.search(r"experiment +mae +wall_s +cpu_s +peak_memory_mb +size_mb +learning_rate", both)
    assert re.search(rf"^Cost so far, shared results counted once: {spent}$", planned, re.MULTILINE)
    assert re.search(
        r"^Cost of the new ones, as far as that of rates-01 tells: about [\d.]+ s, CPU", planned, re.MULTILINE
    )
    rows = done(module_project.assay("sql", "select stage from costs where experiment_id = 'rates-02' and reused"))
    assert {"splits", "crops", "tabular", "normalized"} <= set(re.findall(r"\w+", rows))


def test_the_page_sorts_lights_up_and_links_to_the_folders(page):
    rows = page.locator("tbody tr")
    assert rows.count() == 2
    ids = page.locator("td.text a")
    best = ids.first.inner_text()
    page.get_by_role("button", name="learning_rate").click()
    assert ids.first.inner_text() == "rates-01"
    page.get_by_role("button", name="learning_rate").click()
    assert ids.first.inner_text() == "rates-02"

    rows.first.hover()
    place = rows.first.get_attribute("data-row")
    assert page.locator("g.lit").count() == page.locator(f'g[data-row="{place}"]').count() > 0
    shot(page, "compare", whole=True)

    page.get_by_role("button", name="#").click()
    assert ids.first.inner_text() == best
    ids.first.click()
    assert page.title().startswith("Index of ")


def test_what_the_user_wrote_is_text_and_never_markup(page):
    assert page.get_by_text("rates-03: no results yet: assay run rates-03").count() == 1
    assert page.get_by_text("<b>bold</b>").count() == 1
    assert page.locator("script").count() == 1


def test_two_experiments_differ_by_a_key_on_the_same_items(compared, module_project):
    output = done(module_project.assay("diff", "rates-01", "rates-02"))
    assert re.search(r"^Too few items of test to tell which is better \(\d+ of 40\): MAE \S+ and \S+", output)
    assert re.search(r"^mae +\S+ +\S+ +[+-]\S+$", output, re.MULTILINE)
    assert re.search(r"^trained_model\.learner\.learning_rate +0\.0001 +0\.001$", output, re.MULTILINE)
    assert "trained_model (its own keys); predictions (what it is made from)" in output
    assert re.search(r"^Better in rates-0[12] \(\d+ items?\):$", output, re.MULTILINE)
    assert done(module_project.assay("diff", "rates-01", "rates-01")).startswith("rates-01 and rates-01 are the same")


def test_what_has_no_results_has_no_difference(compared, module_project):
    code, output = module_project.assay("diff", "rates-01", "rates-03")
    assert code == 1
    assert "rates-03: no results yet: assay run rates-03" in output
    code, output = module_project.assay("diff", "rates-01", "rates-1")
    assert code == 1
    assert "Did you mean" in output or "rates-01" in output
