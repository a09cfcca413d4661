"""Which experiments a location has: listed from their own descriptions, found by ID."""

import pytest

from assay.errors import StorageError
from assay.experiments.catalog import experiments_at, find_experiment
from tests.helpers.stored_experiments import describe, fill


@pytest.mark.defect("C9")
def test_experiments_are_known_by_their_description(locations, tmp_path):
    archive = tmp_path / "archive"
    fill(archive / "valid_model", "good")
    (archive / "id_mode").mkdir()
    (archive / "notes.txt").write_text("x")
    describe(archive / "bad", "../up")
    assert [each.experiment_id for each in experiments_at(locations.open("archive"))] == ["good"]


def test_experiments_are_listed_oldest_first_with_their_results(locations, tmp_path):
    for name in ("2026-02", "2026-01"):
        fill(tmp_path / "archive" / name, f"of-{name}", a="x")
    found = experiments_at(locations.open("archive"))
    assert [each.run_id for each in found] == ["2026-01", "2026-02"]
    assert found[0].results == {"analysis": "0123456789abcdef01234567"}
    assert found[0].finished


def test_an_id_that_two_folders_have_is_refused(locations, tmp_path):
    for name in ("one", "two"):
        fill(tmp_path / "archive" / name)
    with pytest.raises(StorageError, match="has 2 experiments 'ab12': one, two"):
        find_experiment(locations.open("archive"), "ab12")


def test_an_unfinished_experiment_is_not_opened(locations, tmp_path):
    describe(tmp_path / "archive" / "half")
    with pytest.raises(StorageError, match="half is not complete"):
        find_experiment(locations.open("archive"), "ab12")
