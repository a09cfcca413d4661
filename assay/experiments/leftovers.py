"""What killed processes leave behind: temporary files and folders, drafts, versions of tables that nobody points to.

Each is removed by the next writer of the same thing; those whose next writer never comes are found here, at an age at
which no process can be at work on them.

Belongs here: where they arise, and their names. Does not belong here: deleting them (``garbage``).
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from assay.errors import SpecError
from assay.experiments.usage import folders_of_experiments
from assay.pipeline import STORED
from assay.spec.base import RESERVED_FOLDERS
from assay.storage.files import TEMPORARY_PREFIX, entries_below
from assay.storage.locations.config import Locations, LocationSettings
from assay.storage.partitions import CURRENT

LEFTOVER_S = 24 * 3600.0
"""Age in seconds after which a temporary file belongs to nobody."""

UNFINISHED = ".importing-"
"""Prefix of the folder in which an import collects its files, beside the experiments; the next import continues it."""

TEMPORARY = re.compile(rf"{re.escape(TEMPORARY_PREFIX)}\d+-[0-9a-f]{{12}}-(?P<name>.+)", flags=re.DOTALL)
DRAFT = re.compile(r"\.[a-z0-9][a-z0-9_-]*\.\d+\.draft")


@dataclass(frozen=True)
class Leftover:
    """A file or folder that a killed process left.

    Attributes:
        path: The file or folder.
        lock: Name of the lock under which it was written; empty if it had none.
        is_version: Whether it is a version of a table's partition.
    """

    path: Path
    lock: str = ""
    is_version: bool = False


def find_leftovers(root: Path, specs: Path, locations: Locations, age_s: float = LEFTOVER_S) -> Iterator[Leftover]:
    """Yield what killed processes left, unchanged for ``age_s`` seconds.

    Args:
        root: Storage root.
        specs: Folder of the spec files.
        locations: Of those that are folders of this machine, the folders of experiments are searched.
        age_s: Least age in seconds.
    """
    oldest = time.time() - age_s
    for each in (*_in_storage(root), *_in_specs(specs), *_in_locations(locations), *_versions(root)):
        if newest_change(each.path) < oldest:
            yield each


def newest_change(path: Path) -> float:
    """Return when a file, or anything in a folder, was changed last; in the future if it is gone."""
    try:
        is_folder = path.is_dir() and not path.is_symlink()
        inside = [status.st_mtime for _, status in entries_below(path)] if is_folder else []
        return max([path.lstat().st_mtime, *inside])
    except OSError:
        return float("inf")


def _in_storage(root: Path) -> Iterator[Leftover]:
    for place in _folders_in(root):
        if place.name.lower() in RESERVED_FOLDERS:
            yield from map(Leftover, _temporary_below(place))
            continue
        for folder in _folders_in(place):
            if folder.name in STORED:
                yield from _of_results(folder)
            elif folder.name.startswith(UNFINISHED):
                yield Leftover(folder, f"experiments/{folder.name.removeprefix(UNFINISHED)}")
            elif not _is_temporary(folder.name):
                yield from map(Leftover, _temporary_below(folder))
        yield from map(Leftover, _temporary_in(place))
    yield from map(Leftover, _temporary_in(root))
    for path in _folders_in(root / "adopted" / ".fetched"):
        yield Leftover(path, f"adopted/{path.name}")


def _of_results(folder: Path) -> Iterator[Leftover]:
    for path in _temporary_in(folder):
        match = TEMPORARY.fullmatch(path.name)
        yield Leftover(path, f"{folder.name}/{match['name']}" if match and match["name"].isalnum() else "")


def _in_specs(folder: Path) -> Iterator[Leftover]:
    for path in _paths_in(folder):
        if TEMPORARY.fullmatch(path.name) or DRAFT.fullmatch(path.name):
            yield Leftover(path)


def _in_locations(locations: Locations) -> Iterator[Leftover]:
    """Yield temporary files of copies; only in folders of experiments, because the location is the user's."""
    known: list[LocationSettings] = []
    with suppress(SpecError):  # whoever uses a location is told
        known = list(locations.settings.values())
    for settings in known:
        for folder in folders_of_experiments(settings.folder) if settings.folder else ():
            yield from (Leftover(path) for path in _temporary_below(folder) if TEMPORARY.fullmatch(path.name))


def _versions(root: Path) -> Iterator[Leftover]:
    for pattern in ("tables/*/*/*=*/version-*", "tables/*/*/version-*"):
        for path in sorted(root.glob(pattern)):
            link = path.parent / CURRENT
            if not link.is_symlink() or os.readlink(link) != path.name:  # noqa: PTH115
                yield Leftover(path, is_version=True)


def _temporary_below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        yield from (Path(parent, name) for name in sorted((*folders, *names)) if _is_temporary(name))
        folders[:] = [name for name in folders if not _is_temporary(name)]


def _temporary_in(folder: Path) -> list[Path]:
    return [path for path in _paths_in(folder) if _is_temporary(path.name)]


def _is_temporary(name: str) -> bool:
    return name.startswith(TEMPORARY_PREFIX)


def _folders_in(folder: Path) -> list[Path]:
    return [path for path in _paths_in(folder) if path.is_dir() and not path.is_symlink()]


def _paths_in(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
