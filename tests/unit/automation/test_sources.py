"""The user's own data under watch."""

import os

import pytest

from assay.automation.state import look_at
from assay.pipeline import stage_config
from assay.stages.generated_images import content_digest


@pytest.fixture
def rows(desk, tmp_path):
    """An experiment on a table of the user's; returns the table."""
    path = tmp_path / "rows.csv"
    path.write_text("a,y\n1,2\n3,4\n")
    desk.age(path)
    desk.save("own", generated_images={"source": {"kind": "table", "path": str(path), "target_column": "y"}})
    return path


def finish(desk, request):
    """Record a run of a request, which reads the data and remembers their hashes, as the stage does."""
    part = stage_config(request.spec, request.experiment_id, "generated_images")
    desk.finish(request, content_digest(part, desk.specs.root))


def test_data_that_nobody_has_read_yet_are_asked_for_once(desk, rows):
    (request,) = desk.look().requests
    assert "generated_images" in request.assets
    assert desk.look().requests == []


def test_changed_data_ask_for_everything_made_from_them(desk, rows):
    finish(desk, desk.look().requests[0])
    assert desk.look().requests == []
    rows.write_text("a,y\n1,2\n3,5\n")
    desk.age(rows, 30)
    (request,) = desk.look().requests
    assert request.assets == ("generated_images", "splits", "tabular", "normalized", *LEARNING)
    finish(desk, request)
    assert desk.look().requests == []


LEARNING = ("trained_model", "predictions", "analysis")


def test_data_that_failed_are_tried_again_when_they_change(desk, rows):
    assert len(desk.look().requests) == 1
    assert desk.look().requests == []
    rows.write_text("a,y\n1,2\n3,6\n")
    desk.age(rows, 30)
    assert len(desk.look().requests) == 1


def test_data_that_appear_later_are_noticed(desk, rows):
    text = rows.read_text()
    rows.unlink()
    assert len(desk.look().requests) == 1
    assert desk.look().requests == []
    rows.write_text(text)
    desk.age(rows, 30)
    assert len(desk.look().requests) == 1


def test_data_that_are_being_written_are_waited_for(tmp_path):
    (tmp_path / "a.png").write_bytes(b"1")
    assert look_at(str(tmp_path)) is None


def test_touched_but_equal_data_ask_for_the_reading_only_once(desk, rows):
    finish(desk, desk.look().requests[0])
    desk.look()
    desk.age(rows, 20)
    (request,) = desk.look().requests
    finish(desk, request)
    assert desk.look().requests == []


def test_files_and_folders_are_looked_at_together(desk, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(b"1")
        desk.age(tmp_path / name / "a.png")
    place = os.pathsep.join([str(tmp_path / "one"), str(tmp_path / "two" / "a.png"), str(tmp_path / "missing")])
    first = look_at(place).signature
    (tmp_path / "two" / "a.png").write_bytes(b"22")
    desk.age(tmp_path / "two" / "a.png")
    assert look_at(place).signature != first
