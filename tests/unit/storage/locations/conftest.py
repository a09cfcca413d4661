"""A storage with one experiment, and two further locations."""

import json

import pytest

from assay.spec.yaml_text import to_yaml
from assay.storage.files import write_text
from assay.storage.locations import Locations
from tests.helpers.stored_experiments import fill


@pytest.fixture
def places(tmp_path):
    """A storage with the experiment ab12, and the locations ``archive`` and ``attic``."""
    fill(tmp_path / "storage" / "experiments" / "REG-1", a__text="one", b__text="two")
    for name in ("archive", "attic"):
        (tmp_path / name).mkdir()
    settings = {name: {"url": str(tmp_path / name)} for name in ("archive", "attic")}
    write_text(tmp_path / "locations.yaml", to_yaml(settings))
    index = tmp_path / "storage" / "experiments_index" / "ab12.json"
    write_text(index, json.dumps({"run_id": "REG-1", "folder": "experiments/REG-1"}))
    return Locations(tmp_path / "locations.yaml", tmp_path / "storage")
