"""The state of automation between two passes: spec files and user data as last seen, and pending requests.

Belongs here: the state, its file, snapshots of user data (names, sizes and times). Does not belong here: reading the
content of user data (``assay.datasets``), deciding what to run (``reconcile``).
"""

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assay.datasets.fingerprints import remembered_digest, watched_paths
from assay.datasets.inspection import absolute_path, walk_files
from assay.datasets.synthetic.backgrounds import photo_digest
from assay.errors import DataError, FileError, StorageError
from assay.pipeline import digest_of
from assay.spec.base import Section
from assay.spec.generated_images import GeneratedImagesSection, NumbersSource, OwnData
from assay.stages.generated_images import DIGEST_CACHE
from assay.storage.files import write_text
from assay.storage.results import ResultStore
from assay.utils.reading import read_text
from assay.utils.text import canonical_json

KEPT_S = 86_400
"""Old states are kept for a day, so that an orchestrator that lost its latest cursor can continue from an older one."""


@dataclass(frozen=True)
class SeenFile:
    """A spec file as last seen.

    Attributes:
        mtime_ns: Modification time in ns since the epoch.
        size: Size in bytes.
        digest: Digest of the last valid resolved spec; empty if it was never valid.
        source: Paths of the user's data that the experiment reads, see ``watched_path``; empty if none.
    """

    mtime_ns: int
    size: int
    digest: str = ""
    source: str = ""

    @property
    def stamp(self) -> tuple[int, int]:
        """Modification time and size; they change when the file is saved."""
        return self.mtime_ns, self.size


@dataclass(frozen=True)
class SourceSnapshot:
    """The files of a data source at one moment.

    Attributes:
        signature: Hash of their names, sizes and modification times; empty if no user data are read.
        at: Time of the snapshot, in seconds since the epoch.
        took_s: Duration of taking it, in seconds.
        changed_at: Latest modification time of a file, or of a folder with such files; None if nobody knows. Not the
            time of a change of its inode, which the hard links of a split change, too.
        changes: Which files changed before it was taken, in words; empty if nobody knows.
    """

    signature: str
    at: float
    took_s: float
    changed_at: float | None = None
    changes: str = ""

    def is_due(self, now: float) -> bool:
        """Return whether it is time for another snapshot; ``now`` is in seconds since the epoch."""
        return now >= self.at + SHARE * self.took_s


@dataclass
class AutomationState:
    """The state of the reconciliation; its field names are those of the stored JSON.

    Attributes:
        files: Every spec file as last seen, by experiment ID.
        dirty: IDs of experiments to compare with the recorded versions.
        asked: Digest of the last request by experiment ID, until it is fulfilled; the same is never requested twice.
        missing: IDs whose file was missing in the last pass.
        invalid: IDs whose file was not valid in the last pass.
        sources: Snapshots of user data, by path.
        code: Hash of the code in the last pass.
    """

    files: dict[str, SeenFile] = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)
    asked: dict[str, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    invalid: set[str] = field(default_factory=set)
    sources: dict[str, SourceSnapshot] = field(default_factory=dict)
    code: str = ""

    def dump(self) -> str:
        """Return the state as canonical JSON."""
        # Not by dataclasses.asdict, which copies every value: half of a tick with 5,000 experiments.
        files = {name: [seen.mtime_ns, seen.size, seen.digest, seen.source] for name, seen in self.files.items()}
        sources = {path: vars(snapshot) for path, snapshot in self.sources.items()}
        sets = {name: sorted(getattr(self, name)) for name in ("dirty", "missing", "invalid")}
        return canonical_json({"files": files, "asked": self.asked, "sources": sources, "code": self.code, **sets})


def load_state(text: str | None) -> AutomationState:
    """Return the state stored as ``text``; an empty state for None or empty text."""
    if not text:
        return AutomationState()
    values = json.loads(text)
    return AutomationState(
        files={name: SeenFile(*seen) for name, seen in values["files"].items()},
        dirty=set(values["dirty"]),
        asked=values["asked"],
        missing=set(values["missing"]),
        invalid=set(values["invalid"]),
        sources={path: SourceSnapshot(**snapshot) for path, snapshot in values["sources"].items()},
        code=values["code"],
    )


class StateFiles:
    """States as files named by the hash of their content; the sensor's cursor is the name of the current one.

    Dagster stores the cursor with every tick for days, where 65 bytes per experiment would add up to gigabytes. A state
    becomes current only when Dagster has stored the cursor, so a pass that dies changes nothing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, name: str | None) -> AutomationState:
        """Return the state with this name; if it is missing or damaged, an empty one: everything is compared again."""
        try:
            return load_state(read_text(self.folder / f"{name}.json") if name else None)
        except (FileNotFoundError, FileError, ValueError, KeyError, TypeError, AttributeError):
            return AutomationState()

    def store(self, state: AutomationState) -> str:
        """Write a state unless it exists, remove outdated ones, and return its name."""
        text = state.dump()
        name = digest_of(text)
        path = self.folder / f"{name}.json"
        if not path.is_file():
            write_text(path, text)
        else:
            path.touch()
        for other in self.folder.glob("*.json"):
            with suppress(FileNotFoundError):  # another process removes old states, too
                if other != path and time.time() - other.stat().st_mtime > KEPT_S:
                    other.unlink()
        return name


SHARE = 20
"""A snapshot is repeated after this many times the duration of the last one: at most 5% of one core."""

SETTLED_S = 2.0
"""Data changed more recently than this, in seconds, may still be being written; no snapshot is taken of them."""


def watched_path(source: Section) -> str:
    """Return the user's files and folders that a source reads, joined by ``os.pathsep``.

    The result is empty for generated data and for sources of installed packages, which are not watched.
    """
    if isinstance(source, NumbersSource):
        return str(absolute_path(source.background_folder)) if source.background_folder else ""
    if isinstance(source, OwnData):
        return os.pathsep.join(map(str, watched_paths(source)))
    return ""


def snapshot_source(paths: str) -> SourceSnapshot | None:
    """Take a snapshot of files and of all files in folders; None while one of them is still being written.

    What can't be read counts as a file with this problem, so that the snapshot changes when the problem does.

    Args:
        paths: Files and folders as returned by ``watched_path``.

    Raises:
        DataError: The time of ``walking_until`` is over.
    """
    started = time.time()
    entries: list[list[Any]] = []
    latest = 0.0
    for path in map(Path, paths.split(os.pathsep)):
        try:
            names = [""] if path.is_file() else walk_files(path) if path.is_dir() else []
            folders: set[str] = set()
            for name in names:
                status = _status(path / name if name else path)
                if started - SETTLED_S < status.st_mtime <= started:
                    return None
                entries.append([os.fsencode(name).hex(), status.st_size, status.st_mtime_ns])
                latest = max(latest, status.st_mtime)
                if name:
                    folders.add(name.rpartition("/")[0])
            latest = max([latest, *((path / folder).stat().st_mtime for folder in folders)])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            entries.append([str(path), type(error).__name__, str(error)])
    return SourceSnapshot(digest_of(entries), started, time.time() - started, latest)


def _status(path: Path) -> os.stat_result:
    """Return the status of a file, or of a link that leads nowhere; a file that vanished is an error."""
    try:
        return path.stat()
    except FileNotFoundError:
        return path.lstat()


def known_digest(section: GeneratedImagesSection, root: Path, recorded: str) -> str | None:
    """Return the content hash of a source if it is known without reading the user's files, else None.

    Args:
        section: Section ``generated_images``.
        root: Storage root.
        recorded: Fingerprint of the latest result, empty if there is none. Sources of installed packages are not
            watched; the digest that this result was made from stands for their data.
    """
    source = section.source
    try:
        if isinstance(source, OwnData):
            return remembered_digest(source, root / DIGEST_CACHE)
        if isinstance(source, NumbersSource):
            return photo_digest(source, root / DIGEST_CACHE)
    except (DataError, OSError, RecursionError):
        return None  # the stage reports the problem in its run, where the user looks for it
    return _digest_of_result(root, recorded) if recorded else None


def _digest_of_result(root: Path, fingerprint: str) -> str | None:
    try:
        digest: str = ResultStore(root).open("generated_images", fingerprint).manifest["inputs"]["source"]
    except StorageError:
        return None
    return digest
