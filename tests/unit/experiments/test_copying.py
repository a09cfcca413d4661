"""Copies of experiments between locations: complete or refused with a reason, and the source is never lost."""

import pytest

from assay.errors import IdError, StorageError
from assay.experiments.copying import CopyRequest, copy_experiment
from assay.experiments.specs import SpecFiles
from assay.storage.locations.filesystem import Tree
from tests.helpers.stored_experiments import contents, fill


@pytest.fixture
def copy(locations, tmp_path):
    """Give ``copy(experiment_id, input_loc_name, output_loc_name, …)``."""

    def run(experiment_id="ab12", source="experiments", target="archive", **options):
        specs = SpecFiles(tmp_path / "specs", locations.root)
        return copy_experiment(specs, locations, CopyRequest(experiment_id, source, target, **options))

    return run


@pytest.mark.defect("B7")
def test_a_copy_leaves_the_source_alone(copy, tmp_path):
    before = contents(tmp_path / "storage" / "experiments")
    report = copy()
    assert contents(tmp_path / "storage" / "experiments") == before == contents(tmp_path / "archive")
    assert report.written.copied == len(before)
    assert copy().written.copied == 0


@pytest.mark.defect("B7")
@pytest.mark.parametrize("source", ["archive", "same"])
def test_source_and_target_must_differ_by_whatever_name(copy, locations, tmp_path, source):
    fill(tmp_path / "archive" / "REG-2", "cd34")
    (tmp_path / "link").symlink_to(tmp_path / "archive")
    text = (tmp_path / "locations.yaml").read_text()
    (tmp_path / "locations.yaml").write_text(f"{text}same: {{url: {tmp_path / 'link'}}}\n")
    before = contents(tmp_path / "archive")
    with pytest.raises(StorageError, match="are the same place"):
        copy("cd34", source, "archive", delete_source=True)
    assert contents(tmp_path / "archive") == before


@pytest.mark.defect("B7")
def test_the_source_goes_only_when_asked_and_after_the_copy_was_compared(copy, tmp_path):
    before = contents(tmp_path / "storage" / "experiments")
    copy()
    (tmp_path / "archive" / "REG-1" / "a" / "text").write_text("damaged by somebody")
    copy(delete_source=True)
    assert contents(tmp_path / "archive") == before
    assert not (tmp_path / "storage" / "experiments" / "REG-1").exists()
    assert not (tmp_path / "storage" / "experiments_index" / "ab12.json").exists()


@pytest.mark.defect("B7")
def test_nothing_is_deleted_when_the_copy_differs(copy, tmp_path):
    (tmp_path / "storage" / "experiments" / "REG-1" / "a" / "text").write_text("changed")
    with pytest.raises(StorageError, match="a/text: the copy has SHA-256"):
        copy(delete_source=True)
    assert (tmp_path / "storage" / "experiments" / "REG-1" / "manifest.json").exists()


@pytest.mark.defect("B7")
def test_a_copy_that_was_damaged_since_is_mended_before_the_source_goes(copy, tmp_path):
    source, damaged = tmp_path / "storage" / "experiments" / "REG-1", tmp_path / "archive" / "REG-1" / "a" / "text"
    text = (source / "a" / "text").read_bytes()
    copy()
    damaged.write_bytes(bytes(len(text)))
    copy(delete_source=True)
    assert damaged.read_bytes() == text
    assert not source.exists()


@pytest.mark.defect("B7")
def test_nothing_is_deleted_when_what_was_written_reads_back_as_something_else(copy, tmp_path, monkeypatch):
    source, copied = (tmp_path / place / "REG-1" / "a" / "text" for place in ("storage/experiments", "archive"))
    copy_from = Tree.copy_from

    def copy_and_forget(tree, *names):
        digest = copy_from(tree, *names)
        if copied.exists():
            copied.write_bytes(bytes(copied.stat().st_size))
        return digest

    monkeypatch.setattr(Tree, "copy_from", copy_and_forget)
    with pytest.raises(StorageError, match="a/text reads back as something else"):
        copy(delete_source=True)
    assert source.exists()


@pytest.mark.defect("B8")
def test_an_unknown_id_fails_with_the_candidates(copy, tmp_path):
    with pytest.raises(StorageError, match=r"no experiment 'ab13'\. Did you mean 'ab12'\? It has ab12\."):
        copy("ab13")
    with pytest.raises(StorageError, match="has no experiments at all"):
        copy("ab12", "archive", "attic")
    assert not any((tmp_path / "archive").iterdir())


@pytest.mark.defect("B8")
def test_an_ambiguous_id_fails_with_the_folders(copy, tmp_path):
    for name in ("REG-2", "REG-3"):
        fill(tmp_path / "archive" / name, "cd34")
    with pytest.raises(StorageError, match="has 2 experiments 'cd34': REG-2, REG-3"):
        copy("cd34", "archive", "attic")


@pytest.mark.defect("B8")
def test_a_stray_file_or_folder_does_not_matter(copy, tmp_path):
    (tmp_path / "storage" / "experiments" / "notes.txt").write_text("mine")
    (tmp_path / "storage" / "experiments" / "drafts").mkdir()
    (tmp_path / "storage" / "experiments" / "drafts" / "notes.txt").write_text("mine")
    copy()
    assert not (tmp_path / "archive" / "notes.txt").exists()


def test_a_second_experiment_of_the_same_id_is_refused(copy, tmp_path):
    fill(tmp_path / "archive" / "REG-9", "ab12", other="x")
    with pytest.raises(StorageError, match="has another experiment 'ab12' already: REG-9"):
        copy()
    assert not (tmp_path / "archive" / "REG-1").exists()


def test_a_folder_that_is_somebody_else_s_is_not_overwritten(copy, tmp_path):
    fill(tmp_path / "archive" / "REG-1", "cd34")
    with pytest.raises(StorageError, match="already: REG-1"):
        copy()


def test_an_id_that_is_none_is_refused(copy):
    with pytest.raises(IdError):
        copy("../ab12")
