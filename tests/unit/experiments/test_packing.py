"""An experiment as one file: the same bytes each time, whole elsewhere, and refused with nothing left behind."""

import zipfile

import pytest

from assay.dashboard.server import zip_experiment
from assay.errors import AssayError, FileError, IdError, StorageError
from assay.experiments.copying import pack_experiment
from assay.experiments.folders import ExperimentFolders
from assay.experiments.importing import import_pack
from assay.experiments.specs import SpecFiles
from tests.helpers.stored_experiments import contents


@pytest.fixture
def here(locations, tmp_path):
    """The spec files of the storage with the experiment ab12."""
    folder = tmp_path / "storage" / "experiments" / "REG-1"
    for name in ("experiment_info.yaml", "environment.yaml", "exp_tests.csv", "datasetsstats/splits.yaml"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(path.read_text() if path.exists() else "rows: 1\n")
    (folder / "exp_tests.csv").write_text("name,kind\n")
    return SpecFiles(tmp_path / "specs", locations.root)


@pytest.fixture
def there(tmp_path):
    """The spec files of an empty storage, which does not exist yet."""
    return SpecFiles(tmp_path / "other" / "specs", tmp_path / "other" / "storage")


@pytest.fixture
def pack(here, tmp_path):
    pack_experiment(here, "ab12", tmp_path / "ab12.zip")
    return tmp_path / "ab12.zip"


def rewritten(pack, change):
    """Write a pack anew with other members: ``change`` gets and returns contents by name."""
    with zipfile.ZipFile(pack) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(pack, "w") as archive:
        for name, content in change(members).items():
            archive.writestr(name, content)


def test_an_experiment_is_whole_in_another_storage(pack, here, there, tmp_path):
    imported = import_pack(there, pack)
    assert (imported.experiment_id, imported.folder.name) == ("ab12", "REG-1")
    assert contents(imported.folder) == contents(tmp_path / "storage" / "experiments" / "REG-1")
    assert there.ids() == ["ab12"]
    assert ExperimentFolders(there.root).require("ab12").path == imported.folder
    assert not [path for path in there.root.iterdir() if path.name.startswith(".")]
    assert import_pack(there, pack).written.copied == 0


def test_the_same_experiment_is_packed_into_the_same_bytes(pack, here, tmp_path):
    packed = pack_experiment(here, "ab12", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == pack.read_bytes()
    assert packed.files == 8
    before = pack.read_bytes()
    pack_experiment(here, "ab12", pack)
    assert pack.read_bytes() == before


def test_only_what_assay_wrote_is_packed(here, tmp_path):
    folder = tmp_path / "storage" / "experiments" / "REG-1"
    for name in (".env", "notes.txt", "configs/mine.txt", ".tmp-1-x-model.json", ".sha256.json", "report.html"):
        (folder / name).write_text("secret")
    (folder / "results" / "splits").mkdir(parents=True)
    (folder / "results" / "splits" / "cost.json").write_text("{}")
    pack_experiment(here, "ab12", tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        names = {name.removeprefix("REG-1/") for name in archive.namelist()}
    own = {"manifest.json", "experiment_info.yaml", "environment.yaml", "exp_tests.csv"}
    assert names == own | {
        "configs/experiment.yaml",
        "datasetsstats/splits.yaml",
        "a/text",
        "b/text",
        "results/splits/cost.json",
    }


@pytest.mark.parametrize("text", ["key: planted-in-the-environment\n", "url: https://mia:planted@example.org\n"])
def test_no_secret_is_packed(here, tmp_path, monkeypatch, text):
    monkeypatch.setenv("TEAM_TOKEN", "planted-in-the-environment")
    (tmp_path / "storage" / "experiments" / "REG-1" / "environment.yaml").write_text(text)
    with pytest.raises(StorageError, match=r"environment\.yaml holds a login") as caught:
        pack_experiment(here, "ab12", tmp_path / "x.zip")
    assert "planted" not in str(caught.value)
    assert not (tmp_path / "x.zip").exists()


def test_what_is_not_whole_is_not_packed(here, tmp_path):
    folder = tmp_path / "storage" / "experiments" / "REG-1"
    (folder / "a" / "text").write_text("two")
    with pytest.raises(StorageError, match="a/text is another file than its manifest says"):
        pack_experiment(here, "ab12", tmp_path / "x.zip")
    (folder / "a" / "text").unlink()
    with pytest.raises(StorageError, match=r"has no a/text any more\. Next: assay run ab12"):
        pack_experiment(here, "ab12", tmp_path / "x.zip")
    (folder / "a" / "text").symlink_to(tmp_path / "locations.yaml")
    with pytest.raises(StorageError, match="link"):
        pack_experiment(here, "ab12", tmp_path / "x.zip")
    (folder / "manifest.json").unlink()
    (folder / "a" / "text").unlink()
    with pytest.raises(StorageError, match=r"has no results yet\. Next: assay run ab12"):
        pack_experiment(here, "ab12", tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def test_what_can_not_be_packed_says_why(here, tmp_path):
    (tmp_path / "mine.zip").write_bytes(b"PK mine")
    (tmp_path / "folder.zip").mkdir()
    for name, told in (
        ("mine.zip", "exists and is no pack"),
        ("folder.zip", "is a folder. Name a file"),
        ("pack.tar", r"does not end in \.zip.*--out .*pack\.zip"),
    ):
        with pytest.raises(StorageError, match=told):
            pack_experiment(here, "ab12", tmp_path / name)
    assert (tmp_path / "mine.zip").read_bytes() == b"PK mine"
    with pytest.raises(StorageError, match="'cd34' has no folder"):
        pack_experiment(here, "cd34", tmp_path / "x.zip")
    with pytest.raises(IdError):
        pack_experiment(here, "../ab12", tmp_path / "x.zip")


def without(name):
    return lambda members: {key: value for key, value in members.items() if key != f"REG-1/{name}"}


def with_other(name, content):
    return lambda members: {**members, f"REG-1/{name}": content}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without("manifest.json"), "does not hold the whole experiment"),
        (without("experiment_info.yaml"), "holds no experiment"),
        (without("configs/experiment.yaml"), "is missing"),
        (without("a/text"), "a/text is missing"),
        (with_other("a/text", b"two"), "a/text: the copy has SHA-256"),
        (with_other("manifest.json", b"{"), "manifest"),
        (with_other("manifest.json", b'{"results": {}, "files": {"../x": {}}}'), "manifest"),
        (with_other("experiment_info.yaml", b"experiment_id: ../../etc"), "holds no experiment"),
        (with_other("configs/experiment.yaml", b"task: nothing"), "task"),
        (with_other("configs/experiment.yaml", b"task: regression\nexp_out_location: locks"), "exp_out_location"),
    ],
    ids=range(10),
)
def test_what_is_not_one_whole_experiment_is_refused_and_leaves_nothing(pack, there, change, told):
    rewritten(pack, change)
    with pytest.raises(AssayError, match=told):
        import_pack(there, pack)
    assert not [name for name in contents(there.root) if not name.startswith("locks/")]
    assert not there.folder.exists()
    assert not [path for path in there.root.glob("*") if path.name != "locks"]


def test_a_file_that_is_no_pack_leaves_nothing(there, tmp_path):
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(FileError, match="is cut off or damaged"):
        import_pack(there, tmp_path / "x.zip")
    assert not there.root.exists()


def test_an_id_that_belongs_to_another_experiment_is_refused(pack, here, there):
    there.create({"task": "regression", "seed": 5}, "ab12")
    before = contents(there.folder)
    with pytest.raises(IdError, match="is that of another experiment in this storage"):
        import_pack(there, pack)
    assert contents(there.folder) == before
    assert not list(there.root.glob("experiments*"))


def test_a_download_of_the_dashboard_is_a_pack_too(here, there, tmp_path):
    with zip_experiment(here.root, "ab12") as file:
        (tmp_path / "download.zip").write_bytes(file.read())
    assert import_pack(there, tmp_path / "download.zip").experiment_id == "ab12"


def test_an_import_that_is_interrupted_leaves_no_unpacked_files(pack, there, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        import_pack(there, pack)
    assert not [path for path in there.root.iterdir() if path.name.startswith(".tmp-")]
    assert there.ids() == []
    monkeypatch.undo()
    assert import_pack(there, pack).experiment_id == "ab12"
