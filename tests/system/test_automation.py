"""Automation with the real daemon: files are saved, and what must follow does, once, and nothing else.

One story in one daemon, because looks at the files are 15 s apart: one test after the other, in the order of the file.
"""

import os

import dagster as dg
import pytest

from assay.pipeline import STAGES
from resources.instance.run_records import latest_versions
from tests.helpers.projects import TINY
from tests.helpers.servers import wait_until
from tests.helpers.story import FINISHED, automated_project
from tests.system.test_backfill import builds

pytestmark = pytest.mark.system

ROWS = "a,b,y\n" + "".join(f"{i % 17},{i % 5},{i % 17 + 2 * (i % 5)}\n" for i in range(120))
TABLE = """\
task: regression
generated_images: {{source: {{kind: table, path: {path}, target_column: y}}}}
trained_model: {{train_params: {{epochs: {epochs}}}}}
"""
LEARNING = ("trained_model", "predictions", "analysis")


@pytest.fixture(scope="module")
def story(tmp_path_factory, request):
    with automated_project(tmp_path_factory.mktemp("automation"), request) as story:
        story.tick()
        yield story


def table(story, epochs, name="rows.csv"):
    return TABLE.format(path=story.project.folder / name, epochs=epochs)


def test_a_saved_file_becomes_a_partition_a_run_and_results(story):
    (story.project.folder / "rows.csv").write_text(ROWS)
    story.project.write("tab", table(story, epochs=2))
    story.project.write("tiny", TINY)
    story.project.write("broken", "task: regression\ntrained_model: {train_params: {epoch: 3}}\n")
    story.project.write("failing", table(story, epochs=2, name="missing.csv"))
    story.project.write("deep", "task: regression\ntags: " + "[" * 100_000)
    os.mkfifo(story.project.folder / "experiments" / "pipe.yaml")
    assert story.wait_for_runs("tab", 1) == "SUCCESS"
    assert story.wait_for_runs("tiny", 1) == "SUCCESS"
    assert story.wait_for_runs("failing", 1) == "FAILURE"
    assert story.made("tiny") == dict.fromkeys(("experiment", *STAGES), 1) | {"crops": 1}
    assert story.made("tab") == dict.fromkeys(("experiment", *STAGES), 1)  # crops: not needed
    assert latest_versions(story.instance, "crops", ["tab"]) == {"tab": "not needed"}


def test_a_file_that_can_not_be_used_is_reported_on_the_experiment(story):
    assert "Did you mean 'epochs'?" in story.observed("broken")
    assert not story.runs("broken")
    wait_until(lambda: story.file_check("broken")[0] is False, "its check is red")
    assert "Did you mean 'epochs'?" in story.file_check("broken")[1].replace("\\", "")
    assert "broken" in story.instance.get_dynamic_partitions("experiments")


def test_files_that_would_end_or_block_the_process_are_reported_too(story):
    assert "inside each other" in story.observed("deep")
    assert "is a pipe" in story.observed("pipe")
    assert not story.runs("deep")
    assert not story.runs("pipe")


def test_changes_are_followed_by_exactly_what_depends_on_them(story):
    before = {name: story.made(name) for name in ("tab", "tiny")}
    story.project.write("tab", "# a comment\n" + table(story, epochs=2))
    story.project.write("tiny", TINY.replace("epochs: 2", "epochs: 3"))
    story.project.write("broken", table(story, epochs=2))
    assert story.wait_for_runs("tiny", 2) == "SUCCESS"
    assert story.wait_for_runs("broken", 1) == "SUCCESS"
    assert story.observed("broken") == "The file can be used again."
    assert story.file_check("broken") == (True, "broken: the file is valid.")
    added = story.made("tiny") - before["tiny"]
    assert added == dict.fromkeys(("experiment", *LEARNING), 1)
    assert story.made("tab") == before["tab"]
    assert "trained_model.train_params.epochs: 2 → 3" in story.runs("tiny")[-1].dagster_run.tags["assay/reason"]


def test_the_reason_of_a_run_names_what_changed(story):
    """Looks at the runs of the tests before this one."""
    assert story.reasons("tiny") == ["new experiment", "spec: trained_model.train_params.epochs: 2 → 3"]
    assert story.reasons("failing") == ["new experiment"]
    tags = story.runs("failing")[-1].dagster_run.tags
    assert tags["assay/failed_stage"] == "generated_images"
    assert "missing.csv" in tags["assay/failure"]
    code, shown = story.project.assay("show", "failing")
    assert code == 0
    assert "Its last run failed in generated_images" in shown
    assert "missing.csv" in shown


def test_an_edit_during_a_run_is_not_lost(story):
    story.project.write("tiny", TINY.replace("epochs: 2", "epochs: 4"))
    frozen = story.project.storage / "runs"
    wait_until(
        lambda: [run for run in story.runs("tiny")[2:] if any(frozen.glob(f"{run.dagster_run.run_id}/*"))], "it starts"
    )
    story.project.write("tiny", TINY.replace("epochs: 2", "epochs: 5"))
    assert story.wait_for_runs("tiny", 4) == "SUCCESS"
    latest = story.instance.get_latest_materialization_event(dg.AssetKey("experiment")).asset_materialization
    assert "epochs: 5" in latest.metadata["spec"].value


def test_a_failure_is_tried_again_only_when_something_changed(story):
    story.tick()
    assert len(story.runs("failing")) == 1
    (story.project.folder / "missing.csv").write_text(ROWS.replace("16,", "15,"))
    assert story.wait_for_runs("failing", 2) == "SUCCESS"


def test_changed_data_are_followed(story):
    before = story.made("tab")
    (story.project.folder / "rows.csv").write_text(ROWS + "3,4,11\n")
    assert story.wait_for_runs("tab", 2) == "SUCCESS"
    assert story.wait_for_runs("broken", 2) == "SUCCESS"
    added = story.made("tab") - before
    assert added == {name: 1 for name in ("experiment", *STAGES) if name != "crops"}
    assert story.reasons("tab")[-1] == story.reasons("broken")[-1] == "changed: rows.csv"


def test_one_change_never_makes_two_runs(story):
    """The condition that follows inputs was running all the time: it had nothing to add."""
    story.tick("follow_upstream")
    story.tick("follow_upstream")
    counts = {name: len(story.runs(name)) for name in ("tab", "tiny", "broken", "failing")}
    assert counts == {"tab": 2, "tiny": 4, "broken": 2, "failing": 2}


def test_a_training_that_fails_on_new_data_is_tried_once(story):
    """The data were made anew, and the model could not: following its inputs would only fail once more."""
    story.project.write("unfit", table(story, epochs=2))
    assert story.wait_for_runs("unfit", 1) == "SUCCESS"
    impossible = "train_params: {device: cuda, processes: 16, "
    text = table(story, epochs=2).replace("train_params: {", impossible) + "splits: {seed: 3}\n"
    story.project.write("unfit", text)
    assert story.wait_for_runs("unfit", 2) == "FAILURE"
    assert story.runs("unfit")[-1].dagster_run.tags["assay/failed_stage"] == "trained_model"
    for _ in range(2):
        story.tick()
        story.tick("follow_upstream")
    assert len(story.runs("unfit")) == 2
    story.project.write("unfit", table(story, epochs=2))
    assert story.wait_for_runs("unfit", 3) == "SUCCESS"


def test_what_fails_in_a_terminal_fails_once(story):
    """The terminal tells the failure, and automation doesn't repeat it; it may have failed before on a slow machine."""
    story.project.write("hasty", table(story, epochs=2, name="nowhere.csv"))
    code, output = story.project.assay("run", "hasty")
    assert code == 1
    assert "nowhere.csv" in output
    story.tick()
    story.tick()
    runs = [run.dagster_run for run in story.runs("hasty") if "assay/superseded_by" not in run.dagster_run.tags]
    assert {run.status.value for run in runs} == {"FAILURE"}, [run.tags for run in runs]
    assert ["assay/reason" in run.tags for run in runs] in ([False], [True], [True, False])
    (story.project.folder / "nowhere.csv").write_text(ROWS.replace("16,", "14,"))
    wait_until(lambda: story.runs("hasty")[-1].dagster_run.status.value == "SUCCESS", "it is tried with the data")


def test_what_a_terminal_runs_is_made_once(story):
    for seed in (11, 12, 13):
        story.project.write("both", table(story, epochs=2) + f"splits: {{seed: {seed}}}\n")
        assert story.project.assay("run", "both")[0] == 0
    story.tick()
    story.tick()
    assert all(run.dagster_run.status.value in FINISHED for run in story.runs("both"))
    built = builds(story.instance)
    assert {count for (stage, _), count in built.items() if stage == "trained_model"} == {1}


def test_a_removed_file_leaves_its_results_and_its_id_is_not_used_again(story):
    path = story.project.folder / "experiments" / "tab.yaml"
    text = path.read_text()
    path.unlink()
    wait_until(lambda: "was removed" in story.observed("tab"), "the removal is reported")
    wait_until(lambda: "was removed" in story.file_check("tab")[1], "its check is red")
    assert story.project.assay("path", "tab")[0] == 0
    story.project.write("tab", table(story, epochs=7))
    story.tick()
    story.tick()
    assert "its ID is not used again. Save the spec under another name" in story.observed("tab")
    assert len(story.runs("tab")) == 2
    path.write_text(text)
    wait_until(lambda: story.observed("tab") == "The file can be used again.", "the former file is welcome")
    wait_until(lambda: story.file_check("tab")[0], "its check is green")
    assert len(story.runs("tab")) == 2
