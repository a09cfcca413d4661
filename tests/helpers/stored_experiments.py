"""Folders of experiments as a storage leaves them, made of a few small files."""

import hashlib
import json

from assay.spec.yaml_text import to_yaml
from assay.storage.files import write_json, write_text
from assay.storage.locations.config import Locations

FINGERPRINT = "0123456789abcdef01234567"


def describe(folder, experiment_id="ab12", **info):
    """Write what an experiment's folder says of itself."""
    values = {"experiment_id": experiment_id, "run_id": folder.name, "task": "regression", "prefix": "REG", **info}
    write_text(folder / "experiment_info.yaml", to_yaml(values))
    write_text(folder / "configs" / "experiment.yaml", to_yaml({"task": "regression"}))


def fill(folder, experiment_id="ab12", **files):
    """Make a finished folder with ``files`` of the stage analysis, named with ``__`` for ``/``."""
    names = {name.replace("__", "/"): content for name, content in files.items()}
    describe(folder, experiment_id)
    for name, content in names.items():
        write_text(folder / name, content)
    entries = {
        name: {
            "size_bytes": len(content.encode()),
            "sha256": hashlib.sha256(content.encode()).hexdigest(),
            "stage": "analysis",
        }
        for name, content in names.items()
    }
    write_json(folder / "manifest.json", {"results": {"analysis": FINGERPRINT}, "files": entries})
    return folder


def contents(folder):
    """Return every file below a folder, hidden ones included, but for the sums that a copy keeps of itself."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".sha256.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def make_locations(folder):
    """Make a storage with the experiment ab12 below ``folder``, and the locations ``archive`` and ``attic``."""
    fill(folder / "storage" / "experiments" / "REG-1", a__text="one", b__text="two")
    for name in ("archive", "attic"):
        (folder / name).mkdir()
    settings = {name: {"url": str(folder / name)} for name in ("archive", "attic")}
    write_text(folder / "locations.yaml", to_yaml(settings))
    index = folder / "storage" / "experiments_index" / "ab12.json"
    write_text(index, json.dumps({"run_id": "REG-1", "folder": "experiments/REG-1"}))
    return Locations(folder / "locations.yaml", folder / "storage")
