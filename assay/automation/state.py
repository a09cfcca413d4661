"""What automation remembers from one look to the next, in one small file.

Belongs here: the state, its form and its place. Does not belong here: deciding anything.
"""

import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from assay.datasets.fingerprints import remembered_digest, watched_paths
from assay.datasets.inspection import walk_files
from assay.errors import DataError, StorageError
from assay.pipeline import digest_of
from assay.spec.base import Section
from assay.spec.generated_images import GeneratedImagesSection, NumbersSource, OwnData
from assay.stages.generated_images import DIGEST_CACHE, numbers_digest
from assay.storage.files import write_text
from assay.storage.results import ResultStore
from assay.utils.text import canonical_json

KEPT_S = 86_400
"""Former states are kept for a day: an orchestrator that lost its last steps goes on from an older one."""


@dataclass(frozen=True)
class SeenFile:
    """A spec file as it was last looked at.

    Attributes:
        mtime_ns: Modification time, in ns.
        size: In bytes.
        digest: Of the resolved spec when it was last valid; empty before.
        source: The user's own file or folder that the experiment reads; empty if none.
    """

    mtime_ns: int
    size: int
    digest: str = ""
    source: str = ""

    @property
    def stamp(self) -> tuple[int, int]:
        """Another stamp, another save."""
        return self.mtime_ns, self.size


@dataclass(frozen=True)
class SourceLook:
    """What a source looked like.

    Attributes:
        signature: Hash of names, sizes and modification times; empty where nothing of the user's is read.
        at: When it was looked at, in seconds since the epoch.
        took_s: How long that took.
    """

    signature: str
    at: float
    took_s: float

    def is_due(self, now: float) -> bool:
        """Return whether it is time to look again."""
        return now >= self.at + SHARE * self.took_s


@dataclass
class Memory:
    """The state of the reconciliation.

    Attributes:
        files: Every spec file, by experiment ID.
        dirty: Experiments to compare with what was recorded.
        asked: What was last asked for, by ID, until it is seen to be there: the same is not asked for twice.
        missing: IDs whose file was gone at the last look.
        invalid: IDs whose file could not be used at the last look.
        sources: The users' data, by path.
        code: Hash of the code that made the last plan.
    """

    files: dict[str, SeenFile] = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)
    asked: dict[str, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    invalid: set[str] = field(default_factory=set)
    sources: dict[str, SourceLook] = field(default_factory=dict)
    code: str = ""

    def dump(self) -> str:
        """Return the state as text."""
        values = asdict(self)
        values["files"] = {name: list(asdict(seen).values()) for name, seen in self.files.items()}
        sets = {name: sorted(getattr(self, name)) for name in ("dirty", "missing", "invalid")}
        return canonical_json(values | sets)


def load_memory(text: str | None) -> Memory:
    """Return the state from its text; a new one from none."""
    if not text:
        return Memory()
    values = json.loads(text)
    return Memory(
        files={name: SeenFile(*seen) for name, seen in values["files"].items()},
        dirty=set(values["dirty"]),
        asked=values["asked"],
        missing=set(values["missing"]),
        invalid=set(values["invalid"]),
        sources={path: SourceLook(**look) for path, look in values["sources"].items()},
        code=values["code"],
    )


class MemoryFiles:
    """States as files named by the hash of their content; the orchestrator keeps the name of the one that counts.

    It stores a sensor's cursor with each look for days: 65 bytes per experiment would be gigabytes there. And a state
    counts only when the orchestrator has taken it: a look that dies on its way changes nothing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, name: str | None) -> Memory:
        """Return the state of a name; a new one, with which everything is compared again, where there is none."""
        path = self.folder / f"{name}.json"
        return load_memory(path.read_text() if name and path.is_file() else None)

    def store(self, memory: Memory) -> str:
        """Write a state, unless it is there already, remove very old ones, and return its name."""
        text = memory.dump()
        name = digest_of(text)
        path = self.folder / f"{name}.json"
        if not path.is_file():
            write_text(path, text)
        else:
            path.touch()
        for other in self.folder.glob("*.json"):
            if other != path and time.time() - other.stat().st_mtime > KEPT_S:
                other.unlink(missing_ok=True)
        return name


SHARE = 20
"""A source is looked at again after this many times the duration of the last look: at most 5% of one core."""

SETTLED_S = 2.0
"""Data that changed more recently are still being written; they are looked at again before anything is started."""


def watched_place(source: Section) -> str:
    """Return the user's files and folders that a source reads, separated as in PATH.

    The result is empty for data made by code, and for added kinds.
    """
    if isinstance(source, NumbersSource):
        return str(Path(source.background_folder).expanduser().absolute()) if source.background_folder else ""
    if isinstance(source, OwnData):
        return os.pathsep.join(map(str, watched_paths(source)))
    return ""


def look_at(place: str) -> SourceLook | None:
    """Look at files and at all files of folders; None while something in them is still being written.

    Args:
        place: As ``watched_place`` gives it.
    """
    started = time.time()
    entries = []
    for path in map(Path, place.split(os.pathsep)):
        names = [""] if path.is_file() else list(walk_files(path)) if path.is_dir() else []
        for name in names:
            try:
                status = (path / name if name else path).stat()
            except FileNotFoundError:
                return None
            if started - SETTLED_S < status.st_mtime <= started:
                return None
            entries.append([os.fsencode(name).hex(), status.st_size, status.st_mtime_ns])
    return SourceLook(digest_of(entries), started, time.time() - started)


def known_digest(section: GeneratedImagesSection, root: Path, recorded: str) -> str | None:
    """Return the content hash of a source if that is known without reading the user's files.

    Args:
        section: Section ``generated_images``.
        root: Storage root.
        recorded: Fingerprint of the latest result: what that was made from stands for the data of added kinds, which
            are not watched; empty if there is none.
    """
    source = section.source
    try:
        if isinstance(source, OwnData):
            return remembered_digest(source, root / DIGEST_CACHE)
        if isinstance(source, NumbersSource):
            return numbers_digest(source, root / DIGEST_CACHE)
    except DataError:
        return None  # the stage says it better, where the user looks for it
    return _digest_of_result(root, recorded) if recorded else None


def _digest_of_result(root: Path, fingerprint: str) -> str | None:
    try:
        digest: str = ResultStore(root).open("generated_images", fingerprint).manifest["inputs"]["source"]
    except StorageError:
        return None
    return digest
