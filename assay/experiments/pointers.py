"""Which result each asset of an experiment is: one small file per experiment and asset.

Belongs here: writing and following these files. Does not belong here: results, tables (which have partitions instead).
"""

import json
from pathlib import Path

from assay.files import write_json
from assay.ids import validate_id
from assay.results import Result, ResultStore


def write_pointer(root: Path, experiment_id: str, asset: str, result: Result) -> None:
    """Point an asset of an experiment to a result."""
    write_json(_path(root, experiment_id, asset), {"stage": result.stage, "fingerprint": result.fingerprint})


def read_pointer(root: Path, experiment_id: str, asset: str) -> Result | None:
    """Return the result that an asset of an experiment is; None when it was never made.

    Raises:
        StorageError: The result is gone.
    """
    path = _path(root, experiment_id, asset)
    if not path.is_file():
        return None
    pointer = json.loads(path.read_bytes())
    return ResultStore(root).open(pointer["stage"], pointer["fingerprint"])


def _path(root: Path, experiment_id: str, asset: str) -> Path:
    return root / "pointers" / validate_id(experiment_id) / f"{asset}.json"
