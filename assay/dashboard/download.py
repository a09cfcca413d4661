"""An experiment's folder as one ZIP file.

Belongs here: what goes into it, whole even while a run writes. Does not belong here: serving it.
"""

import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from assay.errors import StorageError
from assay.experiments.folders import ExperimentFolders
from assay.files import TEMPORARY_PREFIX
from assay.spec.ids import validate_id

ATTEMPTS = 5
"""How often it is packed again because a run wrote to it meanwhile."""


def zip_experiment(root: Path, experiment_id: str) -> BinaryIO:
    """Return a temporary file, at its beginning, that holds an experiment's folder and vanishes when closed.

    Tables, weights and pictures are compressed already, so that files are stored as they are.

    Raises:
        IdError: The ID is not valid.
        StorageError: It has no folder, or a run kept writing to it.
    """
    folder = ExperimentFolders(root).find(validate_id(experiment_id))
    if folder is None:
        raise StorageError(f"Experiment {experiment_id!r} has no folder. Next: assay run {experiment_id}")
    for _ in range(ATTEMPTS):
        packed = _pack(folder.path)
        if packed is not None:
            return packed
    raise StorageError(f"A run kept writing to experiment {experiment_id!r} while it was packed. Try again.")


def _pack(folder: Path) -> BinaryIO | None:
    """Return the packed folder; None when it changed meanwhile."""
    file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    with suppress(FileNotFoundError):
        files = _files(folder)
        with zipfile.ZipFile(file, "w", strict_timestamps=False) as archive:
            for path in files:
                archive.write(path, f"{folder.name}/{path.relative_to(folder).as_posix()}")
        if _files(folder) == files:
            file.seek(0)
            return file
    file.close()
    return None


def _files(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """Return the files of a folder, and of each what changes when somebody writes it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and not path.name.startswith(TEMPORARY_PREFIX):
            status = path.stat()
            found[path] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found
