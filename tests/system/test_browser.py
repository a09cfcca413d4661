"""What users do in the Dagster UI, in a real browser with the real daemon; pictures are kept.

One story, in the order of the file: materialize a new partition, see what came out, pause, backfill, resume; a board;
new data.
"""

import re

import dagster as dg
import pytest

from assay.experiments.contents import stage_results
from tests.helpers.browser import enter_config, open_dialog, photographed_page, shot
from tests.helpers.projects import TINY
from tests.helpers.servers import wait_until
from tests.helpers.story import automated_project

pytestmark = pytest.mark.system

SENSORS = 5
OVERRIDES = """\
ops:
  experiment:
    config:
      spec:
        name: from the browser
        generated_images:
          source: {kind: numbers, sample_count: 24, img_size: {width: 96, height: 96}, max_amount: 3}
        trained_model: {train_params: {epochs: 3}}
"""


@pytest.fixture(scope="module")
def story(tmp_path_factory, request):
    with automated_project(tmp_path_factory.mktemp("browser"), request) as story:
        yield story


@pytest.fixture
def page(story, request):
    with photographed_page(request) as page:
        yield page


def test_a_newcomer_materializes_a_new_partition_with_overrides_and_without_a_file(story, page):
    open_dialog(story.servers.url, page)
    page.get_by_text("Add a partition").first.click()
    page.get_by_placeholder("name").fill("mine")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Launch 1 run").wait_for()
    enter_config(page, OVERRIDES)
    shot(page, "overrides")
    page.get_by_role("button", name="Save config").click()
    page.get_by_role("button", name="Launch 1 run").click()
    assert story.wait_for_runs("mine", 1) == "SUCCESS"
    assert "name: from the browser" in (story.project.folder / "experiments" / "mine.yaml").read_text()


def test_what_came_out_is_seen_graph_spec_pictures_and_checks(story, page):
    groups = ",".join(f"global%40global%3A{name}" for name in ("data", "learning"))
    page.goto(f"{story.servers.url}/asset-groups?expanded={groups}")
    page.get_by_text("generated_images").first.wait_for()
    page.wait_for_timeout(1500)  # the graph's animation
    shot(page, "graph")

    page.goto(f"{story.servers.url}/assets/experiment?view=partitions&partition=mine")
    page.get_by_text("[Show Markdown]").first.click()
    page.get_by_text("from the browser").first.wait_for()
    shot(page, "spec")

    page.goto(f"{story.servers.url}/assets/analysis?view=partitions&partition=mine")
    page.get_by_text("summary").first.wait_for()
    picture = page.locator("img[alt]").first  # without a click
    picture.wait_for()
    assert picture.evaluate("image => image.naturalWidth") > 300
    shot(page, "partition")
    picture.click()
    page.wait_for_url("**/assay/pictures/analysis/**")
    assert page.locator("img").evaluate("image => image.naturalWidth") > 560

    page.goto(f"{story.servers.url}/assets/splits?view=checks")
    page.get_by_text("split_leakage").first.wait_for()
    shot(page, "checks")


def test_paused_automation_starts_nothing_and_a_backfill_of_five_does(story, page):
    names = ["mine", *(f"other{number}" for number in range(1, 5))]
    for name in names[1:]:
        story.project.write(name, TINY)
    for name in names[1:]:
        assert story.wait_for_runs(name, 1) == "SUCCESS"

    switch(story, page, "follow_files", off=True)
    for name in names[1:]:
        story.project.write(name, TINY.replace("epochs: 2", "epochs: 3"))
    open_dialog(story.servers.url, page)
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_text("5 partitions").first.wait_for()
    shot(page, "backfill")
    page.get_by_role("button", name="Launch backfill").click()
    for name in names:
        assert story.wait_for_runs(name, 2) == "SUCCESS"
    page.goto(f"{story.servers.url}/runs?view=backfills")
    page.get_by_text("Success").first.wait_for()
    shot(page, "backfilled")


def test_resumed_automation_explains_itself_and_finds_nothing_left_to_do(story, page):
    switch(story, page, "follow_files", off=False)
    story.tick()
    page.goto(f"{story.servers.url}/locations/__repository__@definitions/sensors/follow_files")
    page.get_by_text("0 runs requested").first.wait_for()
    shot(page, "ticks")
    page.locator("tr", has_text="4 runs requested").get_by_text("View logs").first.click()
    page.get_by_text("asks for").first.wait_for()
    shot(page, "tick-log")
    page.goto(f"{story.servers.url}/assets/trained_model?view=automation")
    page.locator("tr", has_text="Not requested").first.locator("button").first.click()
    page.get_by_text("an input has another version").first.wait_for()
    shot(page, "condition")
    assert [len(story.runs(name)) for name in ("mine", "other1", "other4")] == [2, 2, 2]


def test_a_report_is_made_by_a_job_and_opened_from_its_page(story, page):
    page.goto(f"{story.servers.url}/locations/__repository__@definitions/jobs/job_report")
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_text("Partition selection").wait_for()
    page.wait_for_timeout(2000)  # it asks for the partitions; what is typed before the answer is lost
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_role("button", name=re.compile("^Launch")).last.click()
    pattern = "experiments/*-id_mine/report.html"
    wait_until(lambda: list((story.project.folder / "storage").glob(pattern)), "a report", timeout_s=150)
    page.goto(f"{story.servers.url}/assets/report?view=partitions&partition=mine")
    link = page.get_by_role("link", name="Open the report")
    link.first.wait_for()
    page.goto(story.servers.url + link.first.get_attribute("href"))
    page.get_by_role("heading", name="Data and splits").wait_for()
    shot(page, "report")


def switch(story, page, sensor, off):
    """Turn a sensor off or on, on the page of all automations; a click that comes too early has no effect."""

    def turned():
        page.goto(f"{story.servers.url}/automation")
        lever = "label[class*=formatSwitch]"
        page.locator(lever).nth(SENSORS - 1).wait_for()  # the rows get their switches one after the other
        page.wait_for_timeout(2000)
        row = page.locator("div", has=page.get_by_text(sensor, exact=True)).filter(has=page.locator(lever)).last
        shot(page, "automation")
        if story.is_running(sensor) is off:
            row.locator(lever).click()
            page.wait_for_timeout(2000)
        return story.is_running(sensor) is not off

    wait_until(turned, f"{sensor} is {'off' if off else 'on'}")


def test_a_finished_experiment_whose_spec_names_a_board_is_seen_as_its_champion(story, page):
    story.project.write("pet", f"{TINY}board: pets\n")
    assert story.wait_for_runs("pet", 1) == "SUCCESS"
    key = dg.AssetKey("champion")
    wait_until(lambda: story.instance.get_latest_materialization_event(key), "a champion", timeout_s=150)
    page.goto(f"{story.servers.url}/assets/champion")
    page.get_by_text("pet is the champion of board pets").first.wait_for()
    page.get_by_text("the first one on this board").first.wait_for()
    shot(page, "champion")
    page.goto(f"{story.servers.url}/assets/champion?view=lineage")
    page.get_by_text("analysis", exact=True).first.wait_for()
    shot(page, "champion-lineage")


SCORING = """\
ops:
  score:
    config:
      experiment: mine
      paths: ["{photos}"]
      name: first-photos
"""


def launch(story, page, job, config=""):
    """Launch a job of ops from its Launchpad, and return its run when it has ended."""
    page.goto(f"{story.servers.url}/locations/__repository__@definitions/jobs/{job}/playground")
    editor = page.locator(".cm-s-config-editor").first
    editor.wait_for()
    page.wait_for_timeout(2000)  # it asks for what the job needs; what is typed before the answer is lost
    editor.evaluate("(element, text) => element.CodeMirror.setValue(text)", config)
    page.get_by_text("No errors").first.wait_for()
    page.get_by_role("button", name="Launch run").click()

    def ended():
        runs = story.instance.get_runs(dg.RunsFilter(job_name=job))
        return runs[0] if runs and runs[0].is_finished else None

    return wait_until(ended, f"a run of {job}", timeout_s=150)


def test_new_pictures_are_predicted_from_the_launchpad_and_shown_as_an_asset(story, page):
    crops = stage_results(story.project.storage, "mine")["crops"].folder
    photos = story.project.folder / "photos"
    photos.mkdir()
    for path in sorted(crops.rglob("*.png"))[:5]:
        (photos / path.name).write_bytes(path.read_bytes())
    run = launch(story, page, "job_scoring", SCORING.format(photos=photos))
    assert run.is_success, run.tags
    page.goto(f"{story.servers.url}/assets/scored?view=partitions&partition=first-photos")
    page.get_by_text("5 pictures predicted by").first.wait_for()
    shot(page, "scored")
