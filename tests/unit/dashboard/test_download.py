"""Downloads: the whole folder, nothing unfinished, and whole even while a run publishes."""

import os
import zipfile

import pytest

from assay.dashboard.server import zip_experiment
from assay.errors import IdError, StorageError
from assay.storage.files import write_json


@pytest.fixture
def folder(tmp_path):
    """Give the folder of the experiment ``ran``."""
    write_json(tmp_path / "experiments_index" / "ran.json", {"run_id": "r", "folder": "experiments/REG-ran"})
    for name in ("manifest.json", "configs/experiment.yaml", "predictions/predictions.parquet"):
        write_json(tmp_path / "experiments" / "REG-ran" / name, {"name": name})
    return tmp_path / "experiments" / "REG-ran"


def test_a_download_holds_every_file_of_the_folder_unchanged(folder, tmp_path):
    (folder / "models").mkdir()
    (folder / "models" / "model.safetensors").write_bytes(bytes(range(256)) * 9)
    os.utime(folder / "manifest.json", (0, 0))  # ZIP knows no time before 1980
    with zip_experiment(tmp_path, "ran") as file, zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        contents = {name: archive.read(name) for name in archive.namelist()}
    on_disk = {path.relative_to(folder.parent).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert contents == {name: path.read_bytes() for name, path in on_disk.items()}


def test_what_is_unfinished_or_points_elsewhere_is_left_out(folder, tmp_path):
    (folder / ".tmp-1-x-model.json").write_text("half")
    (tmp_path / "secret").write_text("elsewhere")
    (folder / "link").symlink_to(tmp_path / "secret")
    with zip_experiment(tmp_path, "ran") as file:
        names = [name.rpartition("/")[2] for name in zipfile.ZipFile(file).namelist()]
    assert "manifest.json" in names
    assert not {".tmp-1-x-model.json", "link"} & set(names)


@pytest.mark.parametrize(("name", "error"), [("../x", IdError), ("nobody", StorageError)])
def test_what_can_not_be_downloaded_says_why(tmp_path, name, error):
    with pytest.raises(error):
        zip_experiment(tmp_path, name)


@pytest.fixture
def meanwhile(monkeypatch):
    """Give ``meanwhile(change, times)``: a run changes something whenever a file has been packed, so many times."""

    def begin(change, times):
        write, left = zipfile.ZipFile.write, iter(range(times))

        def write_then_change(archive, *arguments):
            write(archive, *arguments)
            if next(left, None) is not None:
                change()

        monkeypatch.setattr(zipfile.ZipFile, "write", write_then_change)

    return begin


def publish(folder):
    """Do what a run does: replace a file, add one, remove one."""
    write_json(folder / "configs" / "experiment.yaml", {"name": "new"})
    write_json(folder / "models" / "model.json", {"name": "new"})
    (folder / "predictions" / "predictions.parquet").unlink(missing_ok=True)


def test_a_run_that_publishes_meanwhile_is_in_the_download_completely_or_not_at_all(folder, tmp_path, meanwhile):
    meanwhile(lambda: publish(folder), times=1)
    with zip_experiment(tmp_path, "ran") as file, zipfile.ZipFile(file) as archive:
        contents = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    assert set(contents) == {"manifest.json", "configs/experiment.yaml", "models/model.json"}
    assert contents["configs/experiment.yaml"] == contents["models/model.json"]


def test_a_run_that_never_stops_writing_is_an_error(folder, tmp_path, meanwhile):
    meanwhile(lambda: publish(folder), times=1000)
    with pytest.raises(StorageError, match="Try again"):
        zip_experiment(tmp_path, "ran")
