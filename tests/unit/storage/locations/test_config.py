"""Locations by name: read from a file without secrets, opened, listed from what experiments say of themselves."""

import pytest

from assay.errors import SpecError, StorageError
from assay.experiments.catalog import experiments_at, find_experiment
from assay.storage.files import write_text
from assay.storage.locations import Locations
from tests.helpers.stored_experiments import describe, fill


def located(tmp_path, text):
    write_text(tmp_path / "locations.yaml", text)
    return Locations(tmp_path / "locations.yaml", tmp_path / "storage")


def test_without_a_file_there_is_the_storage_alone(tmp_path):
    locations = Locations(tmp_path / "locations.yaml", tmp_path / "storage")
    assert locations.names() == ["experiments"]
    assert locations.open("experiments").is_storage


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "team: {url: 's3://b/x', options: {secret: hunter22}}",
            r"team\.options\.secret: holds a secret; write \$\{NAME",
        ),
        ("team: {url: 's3://key:hunter22@b/x'}", r"team\.url: holds a URL with a login"),
        ("team: {urls: 's3://b/x'}", r"team\.url: field required"),
        ("'a b': {url: x}", "a b"),
        ("team", "holds a str"),
    ],
)
def test_a_wrong_file_is_told_by_key_and_without_the_secret(tmp_path, text, problem):
    with pytest.raises(SpecError, match=problem) as caught:
        located(tmp_path, text).names()
    assert "hunter22" not in str(caught.value)


def test_credentials_come_from_the_environment(tmp_path, monkeypatch):
    text = "mem: {url: 'memory://x', options: {token: '${TEAM_TOKEN}'}}"
    with pytest.raises(SpecError, match=r"mem\.options\.token: the environment variable TEAM_TOKEN is not set"):
        located(tmp_path, text).open("mem")
    monkeypatch.setenv("TEAM_TOKEN", "hunter2222")
    location = located(tmp_path, text).open("mem")
    assert location.tree.fs.storage_options["token"] == "hunter2222"  # noqa: S105
    assert "hunter" not in location.tree.shown


def test_an_unknown_name_lists_the_names(places):
    with pytest.raises(StorageError, match=r"'archiv' does not exist\. Did you mean 'archive'\?.*archive, attic, exp"):
        places.open("archiv")


def test_a_folder_that_is_not_mounted_is_not_made(places, tmp_path):
    (tmp_path / "attic").rmdir()
    with pytest.raises(StorageError, match=r"attic does not exist\. Mount it"):
        places.open("attic")
    assert not (tmp_path / "attic").exists()


def test_errors_of_a_file_system_are_one_sentence_without_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("TEAM_SECRET", "hunter2222")
    (tmp_path / "hunter2222").write_text("no folder")
    location = located(tmp_path, f"team: {{url: '{tmp_path}'}}").open("team")
    broken = type(location)("team", location.tree.below("hunter2222/x"), is_storage=False)
    with pytest.raises(StorageError, match=r"Location 'team' can't be used: .*\*\*\*") as caught:
        experiments_at(broken)
    assert "hunter" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.defect("C9")
def test_experiments_are_known_by_their_description(places, tmp_path):
    archive = tmp_path / "archive"
    fill(archive / "valid_model", "good")
    (archive / "id_mode").mkdir()
    (archive / "notes.txt").write_text("x")
    describe(archive / "bad", "../up")
    assert [each.experiment_id for each in experiments_at(places.open("archive"))] == ["good"]


def test_the_oldest_comes_first_and_says_what_it_has(places, tmp_path):
    for name in ("2026-02", "2026-01"):
        fill(tmp_path / "archive" / name, f"of-{name}", a="x")
    found = experiments_at(places.open("archive"))
    assert [each.run_id for each in found] == ["2026-01", "2026-02"]
    assert found[0].results == {"analysis": "0123456789abcdef01234567"}
    assert found[0].finished


def test_one_of_several_of_an_id_can_t_be_meant(places, tmp_path):
    for name in ("one", "two"):
        fill(tmp_path / "archive" / name)
    with pytest.raises(StorageError, match="has 2 experiments 'ab12': one, two"):
        find_experiment(places.open("archive"), "ab12")


def test_unfinished_ones_are_told_apart(places, tmp_path):
    describe(tmp_path / "archive" / "half")
    with pytest.raises(StorageError, match="half is not complete"):
        find_experiment(places.open("archive"), "ab12")
