import pytest
from pydantic import ValidationError

from assay.checks import ExperimentFiles, run_test
from assay.spec.exptests import FilesExistTest
from assay.storage.files import write_json


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "configs" / "splits").mkdir(parents=True)
    (tmp_path / "configs" / "splits" / "config.yaml").write_text("a: 1")
    (tmp_path / "experiment_info.yaml").write_text("task: regression")
    return tmp_path


def run_on(folder, **keys):
    return run_test(FilesExistTest(**keys), ExperimentFiles(experiment_folder=folder))


def test_a_whole_folder_passes(folder):
    assert run_on(folder).passed


def test_a_missing_file_fails_and_is_named(folder):
    assert "no file train_logs.csv" in run_on(folder, files=["train_logs.csv"]).description


def test_an_empty_file_fails(folder):
    (folder / "experiment_info.yaml").write_text("")
    assert "experiment_info.yaml is empty" in run_on(folder).description


def test_a_pattern_finds_files_at_any_depth(folder):
    assert run_on(folder, files=["**/config.yaml"]).passed
    assert not run_on(folder, files=["**/*.safetensors"]).passed


def test_a_folder_with_only_empty_folders_in_it_fails(folder):
    (folder / "models" / "deep").mkdir(parents=True)
    assert "folder models holds no file" in run_on(folder, folders=["models"]).description
    assert "no folder pictures" in run_on(folder, folders=["pictures"]).description


def test_an_empty_file_deep_in_a_folder_fails(folder):
    (folder / "configs" / "splits" / "more.yaml").touch()
    assert "configs/splits/more.yaml is empty" in run_on(folder).description


def test_a_file_of_the_manifest_that_is_missing_or_cut_fails(folder):
    (folder / "model.safetensors").write_bytes(b"123")
    entries = {"model.safetensors": {"size_bytes": 9}, "gone.csv": {"size_bytes": 1}}
    write_json(folder / "manifest.json", {"files": entries})
    description = run_on(folder).description
    assert "model.safetensors has 3 bytes, the manifest says 9" in description
    assert "gone.csv is in the manifest but missing" in description


def test_without_a_folder_it_says_what_to_materialize(tmp_path):
    assert "Materialize experiment first" in run_on(None).description
    assert "Materialize experiment first" in run_on(tmp_path / "none").description


@pytest.mark.parametrize("name", ["../secrets", "/etc/passwd", "a\\b", ""])
def test_a_path_outside_the_folder_is_refused(name):
    with pytest.raises(ValidationError, match="must be a path inside"):
        FilesExistTest(files=[name])
