"""Which experiments live, where their folders are, and which results they use; for whoever is about to delete.

Records may be damaged. A damaged record of a living experiment makes a look unsure: some result may be in use that
nobody can name. A folder that no index names counts as well, because the index may be what was lost.

Belongs here: reading what is used. Does not belong here: deleting (``garbage``).
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from assay.errors import AssayError, StorageError
from assay.experiments.boards import Boards
from assay.experiments.catalog import mapping_from
from assay.experiments.evaluation import source_record, source_record_path
from assay.experiments.folders import INFO, STATISTICS
from assay.experiments.specs import SpecFiles
from assay.pipeline import FINGERPRINT_LENGTH, STORED
from assay.spec.base import RESERVED_FOLDERS
from assay.spec.ids import is_id
from assay.storage.files import MANIFEST
from assay.storage.records import (
    MOST_MANIFEST_BYTES,
    FolderManifest,
    IndexEntry,
    Pointer,
    ResultManifest,
    TrainingReport,
    read_stored,
)
from assay.storage.results import REPORT
from assay.utils.reading import read_bytes

_RESULT = re.compile(rf"[0-9a-f]{{{FINGERPRINT_LENGTH}}}")

_FIRST_FILES = frozenset({"configs", "git_versions.yaml", "environment.yaml"})
"""What a folder holds before it has its description."""


@dataclass
class Usage:
    """One look at a storage.

    Attributes:
        living: IDs of the experiments with a spec file, or with something that may be one.
        folders: Folder of each experiment of the index whose entry can be read.
        used: Fingerprints of the results that living experiments, or folders of nobody known, use.
        problems: Damaged records, one sentence each.
        is_unsure: Whether ``used`` may lack results.
    """

    living: set[str] = field(default_factory=set)
    folders: dict[str, Path] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    is_unsure: bool = False

    def doubt_about(self, experiment_id: str) -> str:
        """Return why the folder of an experiment is surely not deleted; empty if nothing speaks against it."""
        path = self.folders[experiment_id]
        others = [name for name, folder in self.folders.items() if folder == path and name != experiment_id]
        if others:
            return f"{path} is kept: it is also that of experiment {others[0]!r}"
        if path.is_symlink() or path.parent.is_symlink():
            return f"{path} is kept: it is reached by a link, and nothing is deleted through links"
        if not path.exists():
            return ""
        if not path.is_dir():
            return f"{path} is kept: it is no folder"
        if (path / INFO).exists():
            owner = _owner_of(path)
            return "" if owner == experiment_id else f"{path} is kept: its {INFO} names {owner or 'no experiment'}"
        is_new = {each.name for each in path.iterdir() if not each.name.startswith(".tmp-")} <= _FIRST_FILES
        return "" if is_new else f"{path} is kept: it has no {INFO} that says whose it is"

    def add_doubt(self, problem: object) -> None:
        """Note a damaged record that may be the only one to name a result."""
        self.problems.append(str(problem))
        self.is_unsure = True


class UsageReader:
    """Looks at a storage as often as asked; files that did not change since the last look are not read again."""

    def __init__(self, root: Path, specs: SpecFiles) -> None:
        self.root = root
        self.specs = specs
        self._known: dict[Path, tuple[tuple[int, int, int], tuple[str, ...]]] = {}

    def look(self) -> Usage:
        """Return what is used now.

        Raises:
            StorageError: The folder of spec files can't be read, so that every experiment would look removed.
        """
        is_empty = not any((self.root / "experiments_index").glob("*.json")) and not any(result_folders(self.root))
        names = _names_in(self.specs.folder) if self.specs.folder.exists() or not is_empty else []
        usage = Usage({name.removesuffix(".yaml") for name in names if name.endswith(".yaml")})
        self._read_index(usage, names)
        self._add_folders(usage)
        for name in sorted(filter(is_id, usage.living)):
            self._add_own_records(usage, name)
        self._add_champions(usage)
        self._add_ancestors(usage)
        return usage

    def _read_index(self, usage: Usage, names: list[str]) -> None:
        for entry in sorted((self.root / "experiments_index").glob("*.json")):
            name = entry.stem
            if not is_id(name) or name.startswith("."):
                continue
            near = _near(name, names)
            if name not in usage.living and near:
                usage.problems.append(f"experiment {name!r} is kept: {self.specs.folder / near} may be its spec file")
                usage.living.add(name)
            try:
                usage.folders[name] = self.root / str(read_stored(entry, IndexEntry)["folder"])
            except FileNotFoundError:
                continue
            except StorageError as error:
                usage.problems.append(f"experiment {name!r} is kept: {error}")
                usage.is_unsure |= name in usage.living

    def _add_folders(self, usage: Usage) -> None:
        owners: dict[Path, list[str]] = {}
        for name, path in usage.folders.items():
            owners.setdefault(path, []).append(name)
        found = {path.parent for path in self.root.glob(f"*/*/{MANIFEST}") if not _is_reserved(path.parent.parent)}
        for folder in sorted(found | owners.keys()):
            names = owners.get(folder) or [_owner_of(folder)]
            if any(name in usage.living or not name for name in names):
                self._add_folder(usage, folder)

    def _add_folder(self, usage: Usage, folder: Path) -> None:
        """Add the results that the folder of a living experiment names; it has none yet before its first stage."""
        if not folder.is_dir():
            usage.add_doubt(f"{folder} is missing, but the index names it as that of a living experiment")
        elif (folder / MANIFEST).exists() or (folder / MANIFEST).is_symlink():
            self._add(usage, folder / MANIFEST, FolderManifest, lambda content: content["results"].values())
        elif (folder / STATISTICS).exists():
            usage.add_doubt(f"{folder} has results, but no {MANIFEST} that names them")

    def _add_own_records(self, usage: Usage, name: str) -> None:
        for path in sorted((self.root / "pointers" / name).glob("*.json")):
            if not path.name.startswith("."):
                self._add(usage, path, Pointer, lambda content: (content["fingerprint"],))
        try:
            found = source_record(source_record_path(self.root, name)).get("found", {})
            usage.used |= {str(found[key]) for key in ("model", "scaling") if found.get(key)}
        except StorageError as error:
            usage.add_doubt(error)

    def _add_champions(self, usage: Usage) -> None:
        """Add what champions, and those before them, are made of, whether or not their experiments live."""
        boards = Boards(self.root)
        for name in boards.names():
            try:
                state = boards.state(name)
            except StorageError as error:
                usage.add_doubt(error)
                continue
            for promotion in state.standing[-2:] if state else []:
                usage.used |= {promotion.model, promotion.analysis}

    def _add_ancestors(self, usage: Usage) -> None:
        for path in [path for path in result_folders(self.root)[0] if path.name in usage.used]:
            if (path / MANIFEST).exists():
                self._add(usage, path / MANIFEST, ResultManifest, lambda content: content["ancestors"].values())
            if path.parent.name == "trained_model" and (path / REPORT).exists():
                self._add(usage, path / REPORT, TrainingReport, lambda content: filter(None, [content.get("features")]))

    def _add(self, usage: Usage, path: Path, shape: type[BaseModel], pick: Callable[[Mapping[str, Any]], Any]) -> None:
        try:
            status = path.stat()
            signature = (status.st_mtime_ns, status.st_ino, status.st_size)
            known = self._known.get(path)
            if known is None or known[0] != signature:
                known = self._known[path] = (signature, tuple(pick(read_stored(path, shape, MOST_MANIFEST_BYTES))))
            usage.used |= set(known[1])
        except FileNotFoundError:
            pass  # it was replaced or removed just now, together with what it named
        except (OSError, StorageError) as error:
            usage.add_doubt(error)


def result_folders(root: Path) -> tuple[list[Path], list[str]]:
    """Return the folders of all results below a storage root, and which of them are left out because of links."""
    found, linked = [], set()
    for stage in STORED:
        for path in sorted(root.glob(f"*/{stage}/*")):
            place = path.parent.parent
            if not is_result_name(path.name) or _is_reserved(place):
                continue
            links = [each for each in (place, path.parent, path) if each.is_symlink()]
            if links:
                linked.add(f"{links[0]} is a link: nothing is deleted through links")
            elif path.is_dir():
                found.append(path)
    return found, sorted(linked)


def is_result_name(name: str) -> bool:
    """Return whether a name is that of a result's folder: a fingerprint."""
    return _RESULT.fullmatch(name) is not None


def _is_reserved(place: Path) -> bool:
    return place.name.lower() in RESERVED_FOLDERS or place.name.startswith(".")


def _names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - unlike glob, it tells a folder that can't be read from an empty one
    except OSError as error:
        raise StorageError(
            f"{folder} with the spec files can't be read ({error.strerror}), so that every experiment would look "
            "removed. Nothing was deleted. Run this in the project's folder, or set ASSAY_EXPERIMENTS."
        ) from error


def _near(experiment_id: str, names: list[str]) -> str:
    """Return a file that an editor, a backup or a slip of the pen may have made of an experiment's spec file."""
    for name in names:
        plain = name.lower().lstrip(".#~")
        if plain.startswith(f"{experiment_id}.") and not name.endswith(".draft") and name != f"{experiment_id}.yaml":
            return name
    return ""


def _owner_of(folder: Path) -> str:
    """Return the experiment that a folder says it is of; empty if it does not say, or can't be read."""
    try:
        return str(mapping_from(read_bytes(folder / INFO), str(folder / INFO)).get("experiment_id", ""))
    except (FileNotFoundError, AssayError):
        return ""


def folders_of_experiments(place: Path) -> Iterator[Path]:
    """Yield the folders in a local location that describe themselves as those of experiments."""
    for path in sorted(place.glob(f"*/{INFO}")):
        if not path.parent.is_symlink():
            yield path.parent
