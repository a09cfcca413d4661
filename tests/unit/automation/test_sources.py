"""Watched user data: changes request new runs."""

import os
import time
from dataclasses import replace

import pytest

from assay.automation.reconcile import EndedRun
from assay.automation.state import snapshot_source
from assay.experiments.specs import store_run_config
from assay.pipeline import stage_config
from assay.stages.generated_images import content_digest


@pytest.fixture
def rows(project, tmp_path):
    """An experiment on a table of the user's; returns the table."""
    path = tmp_path / "rows.csv"
    path.write_text("a,y\n1,2\n3,4\n")
    project.age(path)
    project.save("own", generated_images={"source": {"kind": "table", "path": str(path), "target_column": "y"}})
    return path


def finish(project, request):
    """Record a run of a request, which reads the data and remembers their hashes, as the stage does."""
    part = stage_config(request.spec, request.experiment_id, "generated_images")
    project.finish(request, content_digest(part, project.specs.root))


def test_data_that_were_never_read_are_requested_once(project, rows):
    (request,) = project.reconcile().requests
    assert "generated_images" in request.assets
    assert project.reconcile().requests == []


def test_changed_data_request_everything_made_from_them(project, rows):
    finish(project, project.reconcile().requests[0])
    assert project.reconcile().requests == []
    rows.write_text("a,y\n1,2\n3,5\n")
    project.age(rows, 30)
    (request,) = project.reconcile().requests
    assert request.assets == ("generated_images", "splits", "tabular", "normalized", *LEARNING)
    finish(project, request)
    assert project.reconcile().requests == []


LEARNING = ("trained_model", "predictions", "analysis")


def test_data_that_failed_are_requested_again_when_they_change(project, rows):
    assert len(project.reconcile().requests) == 1
    assert project.reconcile().requests == []
    rows.write_text("a,y\n1,2\n3,6\n")
    project.age(rows, 30)
    assert len(project.reconcile().requests) == 1


def test_data_that_appear_later_are_noticed(project, rows):
    text = rows.read_text()
    rows.unlink()
    assert len(project.reconcile().requests) == 1
    assert project.reconcile().requests == []
    rows.write_text(text)
    project.age(rows, 30)
    assert len(project.reconcile().requests) == 1


def test_data_that_are_being_written_are_waited_for(tmp_path):
    (tmp_path / "a.png").write_bytes(b"1")
    assert snapshot_source(str(tmp_path)) is None


def test_data_that_were_touched_but_are_equal_are_read_only_once(project, rows):
    finish(project, project.reconcile().requests[0])
    project.reconcile()
    project.age(rows, 20)
    (request,) = project.reconcile().requests
    finish(project, request)
    assert project.reconcile().requests == []


def test_one_snapshot_covers_files_and_folders(project, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(b"1")
        project.age(tmp_path / name / "a.png")
    place = os.pathsep.join([str(tmp_path / "one"), str(tmp_path / "two" / "a.png"), str(tmp_path / "missing")])
    first = snapshot_source(place).signature
    (tmp_path / "two" / "a.png").write_bytes(b"22")
    project.age(tmp_path / "two" / "a.png")
    assert snapshot_source(place).signature != first


def test_data_that_changed_after_a_failed_run_are_tried_again_and_others_are_not(project, rows):
    run = EndedRun("r", time.time() + 60, stage="generated_images")
    store_run_config(project.specs.root, "r", "own", project.specs.load("own"))
    project.records.ended = {"own": run}
    project.reconcile()  # of data that were never listed, nobody knows when they changed
    project.state.asked.clear()
    project.state.dirty.add("own")
    assert project.reconcile().requests == []
    project.records.ended = {"own": replace(run, created=time.time() - 3600)}
    project.state.asked.clear()
    project.state.dirty.add("own")
    assert len(project.reconcile().requests) == 1


def test_a_removed_file_is_a_later_change_than_what_it_leaves(project, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / "images" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "images" / name).write_bytes(b"1")
        project.age(tmp_path / "images" / name, 1000)
    before = snapshot_source(str(tmp_path / "images")).changed_at
    time.sleep(0.05)  # the clock of a file system ticks every few ms
    (tmp_path / "images" / "b.png").unlink()
    assert snapshot_source(str(tmp_path / "images")).changed_at > before
    (tmp_path / "linked.png").hardlink_to(tmp_path / "images" / "a.png")
    later = snapshot_source(str(tmp_path / "images"))
    assert later.changed_at == (tmp_path / "images").stat().st_mtime, "a hard link is no change of the data"
    assert snapshot_source(str(tmp_path / "nowhere")).changed_at == 0
