"""What a newcomer does first in Dagster's UI, in a real browser beside the real daemon; pictures are kept.

One story, in the order of the file: the example, six experiments of which three are broken, a change by hand and what
follows, a file that breaks and goes, Ctrl-C, the end. ``test_browser`` goes on where automation is concerned.
"""

import re
import signal

import pytest

from assay.experiments.specs import SpecFiles
from definitions import SENSORS
from resources.instance.home import EXAMPLE, offer_example
from tests.helpers.browser import enter_config, open_dialog, photographed_page, shot
from tests.helpers.projects import TINY
from tests.helpers.servers import wait_until
from tests.helpers.story import automated_project

pytestmark = pytest.mark.system

OVERRIDES = """\
ops:
  experiment:
    config:
      spec:
        name: my first one
        generated_images:
          source: {kind: numbers, sample_count: 24, img_size: {width: 96, height: 96}, max_amount: 3}
        trained_model: {train_params: {epochs: 3}}
"""

TABLE = "task: regression\ngenerated_images: {{source: {{kind: table, path: {path}, target_column: price}}}}\n"

GOOD = {f"good-{seed}": f"{TINY}seed: {seed}\n" for seed in (1, 2, 3)}
BAD_KEY = TINY.replace("epochs: 2", "epoch: 2")
REASONS = {
    "bad-key": "Did you mean 'epochs'?",
    "bad-file": "nowhere.csv",
    "bad-column": "Did you mean 'prices'?",
}
"""What must be read about each without opening a log."""


FOLLOWS_FILES, FOLLOWS_INPUTS = (sensor.name for sensor in SENSORS[:2])


@pytest.fixture(scope="module")
def story(tmp_path_factory, request):
    with automated_project(tmp_path_factory.mktemp("newcomer"), request) as story:
        yield story


@pytest.fixture
def page(story, request):
    with photographed_page(request) as page:
        yield page


def look(page, address, text, name):
    """Open a page, wait for a text, and keep a picture."""
    page.goto(address)
    page.get_by_text(text).first.wait_for()
    page.wait_for_timeout(1500)  # the rest of the page
    shot(page, name)


def test_an_empty_ui_offers_an_example_that_is_materialized_with_overrides(story, page):
    specs = SpecFiles(story.project.folder / "experiments", story.project.storage)
    assert offer_example(story.instance, specs)
    look(page, f"{story.servers.url}/assets/experiment", "To add one, save a file", "newcomer-start")
    open_dialog(story.servers.url, page)
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_role("button", name="Launch 1 run").wait_for()
    enter_config(page, OVERRIDES)
    shot(page, "newcomer-overrides")
    page.get_by_role("button", name="Save config").click()
    page.get_by_role("button", name="Launch 1 run").click()
    assert story.wait_for_runs(EXAMPLE, 1) == "SUCCESS"
    assert "name: my first one" in (specs.folder / f"{EXAMPLE}.yaml").read_text()
    look(page, f"{story.servers.url}/assets/analysis?view=partitions&partition={EXAMPLE}", "summary", "newcomer-result")
    numbers = re.findall(r"\b\d+\.\d+\b", page.locator("table").first.inner_text())
    assert numbers
    assert all(len(number.replace(".", "").lstrip("0")) <= 4 for number in numbers), numbers
    assert page.locator("img[alt]").first.evaluate("image => image.naturalWidth") > 300


def test_of_a_backfill_of_six_three_are_green_and_three_red_for_a_reason_that_is_read_at_once(story, page):
    story.servers.pause_automation()  # which would run them before the newcomer does
    rows = story.project.folder / "rows.csv"
    rows.write_text("rooms,prices\n" + "3,100\n" * 40)
    nowhere, no_column = (TABLE.format(path=path) for path in (rows.with_name("nowhere.csv"), rows))
    six = {**GOOD, "bad-key": BAD_KEY, "bad-file": nowhere, "bad-column": no_column}
    for name, text in six.items():
        story.project.write(name, text)
    story.instance.add_dynamic_partitions("experiments", list(six))
    open_dialog(story.servers.url, page)
    page.get_by_role("button", name="Missing", exact=True).click()
    page.get_by_text("6 partitions").first.wait_for()
    shot(page, "newcomer-six")
    page.get_by_role("button", name="Launch backfill").click()
    assert {story.wait_for_runs(name, 1) for name in GOOD} == {"SUCCESS"}
    assert {story.wait_for_runs(name, 1) for name in REASONS} == {"FAILURE"}

    (backfill,) = story.instance.get_backfills()
    look(page, f"{story.servers.url}/runs/b/{backfill.backfill_id}", "Failed", "newcomer-backfill")
    page.get_by_role("tab", name="Runs", exact=True).click()
    page.get_by_text("partition: bad-key").wait_for()
    shot(page, "newcomer-runs")
    for name, reason in REASONS.items():
        run = story.runs(name)[-1].dagster_run
        look(page, f"{story.servers.url}/runs/{run.run_id}", reason, f"newcomer-{name}")
    look(page, f"{story.servers.url}/assets/analysis?view=partitions", "Materialized (4)", "newcomer-partitions")


def test_what_depends_on_an_asset_that_was_made_by_hand_follows_in_one_run(story, page):
    before = story.made("good-1")
    story.project.write("good-1", f"{GOOD['good-1']}splits: {{seed: 7}}\n")
    page.goto(f"{story.servers.url}/assets/splits?view=partitions&partition=good-1")
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_role("button", name="Launch 1 run").click()
    assert story.wait_for_runs("good-1", 2) == "SUCCESS"
    assert story.made("good-1") - before == {"splits": 1}
    look(page, f"{story.servers.url}/assets/tabular?view=partitions&partition=good-1", "Unsynced", "newcomer-stale")

    story.switch_on(FOLLOWS_INPUTS)
    assert story.wait_for_runs("good-1", 3) == "SUCCESS"
    followed = ("crops", "tabular", "normalized", "trained_model", "predictions", "analysis")
    assert story.made("good-1") - before == dict.fromkeys(("splits", *followed), 1)
    look(page, f"{story.servers.url}/assets/tabular?view=automation", "requested", "newcomer-follows")


def test_a_file_that_breaks_or_goes_is_red_in_the_catalog_and_a_forgotten_one_is_gone(story, page):
    for name in ("good-2", "good-3"):
        story.project.write(name, GOOD[name])  # as it is already, unless this test runs alone
    story.switch_on(FOLLOWS_FILES)
    story.tick(FOLLOWS_FILES)  # a file that it never saw can't be missed
    for name in ("good-2", "good-3"):
        assert story.wait_for_runs(name, 1) == "SUCCESS"
    check = f"{story.servers.url}/assets/experiment?view=checks&checkDetail=spec_is_valid"
    story.project.write("good-2", BAD_KEY)
    wait_until(lambda: story.file_check("good-2")[0] is False, "the check of the broken file is red")
    look(page, check, "Did you mean 'epochs'?", "newcomer-broken")
    (story.project.folder / "experiments" / "good-3.yaml").unlink()
    wait_until(lambda: story.file_check("good-3")[0] is False, "the check of the removed file is red")
    look(page, check, "was removed", "newcomer-removed")
    code, output = story.project.assay("forget", "good-3", "--yes")
    assert code == 0, output
    page.goto(f"{story.servers.url}/assets/analysis?view=partitions")
    page.get_by_text("good-2").first.wait_for()
    assert "good-3" not in page.locator("body").inner_text()
    shot(page, "newcomer-forgotten")


def test_ctrl_c_beside_the_daemon_ends_in_a_cancelled_run_that_nobody_repeats(story, page):
    if story.is_running(FOLLOWS_FILES):
        story.switch_off(FOLLOWS_FILES)  # else it may be first, and the terminal would only wait for its run
    story.project.write("slow", TINY.replace("epochs: 2", "epochs: 4000"))
    process = story.project.start(
        "assay", "run", "slow", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    )
    wait_until(lambda: story.made("slow")["splits"], "the run is at work")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert output.splitlines()[-1] == "Stopped. What was finished stays; goes on with: assay run slow"
    assert process.returncode == 130
    story.switch_on(FOLLOWS_FILES)
    story.tick(FOLLOWS_FILES)
    story.tick(FOLLOWS_FILES)
    assert [run.dagster_run.status.value for run in story.runs("slow")] == ["CANCELED"]
    look(page, f"{story.servers.url}/runs", "Canceled", "newcomer-cancelled")
