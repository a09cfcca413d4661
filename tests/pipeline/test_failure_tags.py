"""A failed run says why: as tags of the run, which lists of runs show, and in `assay show`, without opening a log."""

import os
import shutil
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.instance.runs import run_domain

from assay.cli.main import main
from assay.experiments.last_run import FAILURE_TAG, STAGE_TAG, last_run
from definitions import build_defs
from resources.defaults import resources_for
from resources.instance.event_log import OTHERS_TAG
from resources.instance.run_process import RunFiles
from tests.pipeline.conftest import Lab
from tests.pipeline.test_runs import make_leaking_folder

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(ROOT / "dagster.yaml", folder)
    return folder


@pytest.fixture
def told(tmp_path, home, monkeypatch):
    """A lab whose records are in files, as those of `make dev`."""
    monkeypatch.setenv("ASSAY_STORAGE", str(tmp_path / "storage"))
    monkeypatch.setenv("ASSAY_EXPERIMENTS", str(tmp_path / "experiments"))
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield Lab(tmp_path, instance)


def show(monkeypatch, capsys, experiment_id):
    monkeypatch.setattr("sys.argv", ["assay", "show", experiment_id])
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code
    return capsys.readouterr().out


def tags(lab, experiment_id):
    (record, *_) = lab.instance.get_run_records(dg.RunsFilter(tags={"dagster/partition": experiment_id}))
    return record.dagster_run.tags


def table(lab, target="y", rows="1,2\n3,4\n5,6\n7,8\n9,10\n2,3\n4,5\n6,7\n8,9\n1,1\n"):
    (lab.folder / "rows.csv").write_text("a,y\n" + rows)
    return {"source": {"kind": "table", "path": str(lab.folder / "rows.csv"), "target_column": target}}


def test_a_failure_is_told_until_the_asset_is_made(told, home, monkeypatch, capsys):
    told.write("one", generated_images=table(told, target="z"))
    assert not told.run("one").success
    assert tags(told, "one")[STAGE_TAG] == "generated_images"
    assert tags(told, "one")[FAILURE_TAG].startswith("Experiment one, generated_images: ")
    assert "Column 'z' does not exist" in tags(told, "one")[FAILURE_TAG]
    shown = show(monkeypatch, capsys, "one")
    assert "generated_images failed" in " ".join(shown.split())
    assert "Its last run failed in generated_images (20" in shown
    assert "Column 'z' does not exist" in shown
    assert "By hand: assay run one" in shown
    told.write("one", generated_images=table(told))
    assert told.run("one", job="job_data_generation").success
    assert last_run(home, "one").status == "done"
    assert "failed" not in show(monkeypatch, capsys, "one")


def test_a_run_of_another_asset_hides_no_failure(told, home):
    told.write("one", generated_images=table(told, target="z"))
    assert not told.run("one").success
    assert not told.run("one", job="job_verify").success
    told.instance.report_runless_asset_event(dg.AssetMaterialization("splits", partition="one"))
    assert last_run(home, "one").stage == "generated_images"
    told.instance.report_runless_asset_event(dg.AssetMaterialization("generated_images", partition="one"))
    assert last_run(home, "one").status == "done"


def test_a_blocking_check_is_the_reason_and_stays_it_when_the_training_is_tried(told):
    make_leaking_folder(told.folder / "images")
    source = {"source": {"kind": "image_folder", "path": str(told.folder / "images")}}
    told.write("one", task="classification", generated_images=source)
    assert not told.run("one").success
    assert tags(told, "one")[FAILURE_TAG].startswith("check split_leakage: ")
    assert "\\" not in tags(told, "one")[FAILURE_TAG]
    assert tags(told, "one")[STAGE_TAG] == "splits"
    assert not told.run("one", job="job_train").success
    assert "was never materialized. Materialize crops first." in tags(told, "one")[FAILURE_TAG]


def test_a_failed_run_of_a_backfill_names_the_command_that_lists_them_all(told):
    told.instance.add_dynamic_partitions("experiments", ["one"])
    told.write("one", generated_images=table(told, target="z"))
    job = build_defs(resources_for(told.store)).resolve_job_def("job_data_generation")
    run_tags = {"dagster/backfill": "abcd"}
    job.execute_in_process(instance=told.instance, partition_key="one", tags=run_tags, raise_on_error=False)
    assert tags(told, "one")[OTHERS_TAG] == "assay backfills abcd"


def test_a_run_that_repeats_a_failed_one_does_not_begin_with_its_failure():
    """Dagster copies the tags of a run to those that repeat it, but for these; nothing public says which."""
    assert {FAILURE_TAG, STAGE_TAG, OTHERS_TAG} <= run_domain.TAGS_TO_MAYBE_OMIT_ON_RETRY


def test_nothing_is_known_of_an_experiment_that_never_ran_nor_of_a_home_that_is_not_there(told, home, tmp_path):
    assert last_run(home, "one") is None
    assert last_run(tmp_path / "nowhere", "one") is None


def test_show_marks_a_broken_and_a_removed_file(told, monkeypatch, capsys):
    told.write("one")
    assert told.run("one", job="job_data_generation").success
    shown = show(monkeypatch, capsys, "one")
    assert "crops" in shown
    told.write("one", sede=1)
    shown = show(monkeypatch, capsys, "one")
    assert "sede: unknown key. Did you mean 'seed'?" in shown
    assert "Its results so far:" in shown
    (told.folder / "experiments" / "one.yaml").unlink()
    assert "The file of experiment 'one' was removed." in show(monkeypatch, capsys, "one")


def test_a_killed_run_is_told_without_a_daemon(told, home, monkeypatch, capsys):
    told.write("one", generated_images=table(told))
    run = told.instance.create_run_for_job(
        dg.Definitions(jobs=[dg.GraphDefinition("empty").to_job()]).resolve_job_def("empty"),
        tags={"dagster/partition": "one"},
        status=dg.DagsterRunStatus.STARTED,
    )
    files = RunFiles.of(told.instance, run.run_id)
    with files.held():
        assert last_run(home, "one").status == "running"
        assert "A run is at work on it" in show(monkeypatch, capsys, "one")
    os.close(files.claim())  # the lock ends with its process, and the file stays
    assert last_run(home, "one").status == "killed"
    assert "was killed. What was finished stays. Next, to go on: assay run one" in show(monkeypatch, capsys, "one")
