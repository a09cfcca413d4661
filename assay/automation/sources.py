"""The user's own data under watch: has anything changed, and is it known what the files hold?

Belongs here: looking at names, sizes and times. Does not belong here: reading files (``assay.own_data.digests``).
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from assay.errors import DataError, StorageError
from assay.own_data import remembered_digest, watched_paths
from assay.own_data.places import walk_files
from assay.pipeline import digest_of
from assay.results import ResultStore
from assay.sources import DIGEST_CACHE, numbers_digest
from assay.spec.base import Section
from assay.spec.generated_images import GeneratedImagesSection, OwnData
from assay.spec.numbers import NumbersSource

SHARE = 20
"""A source is looked at again after this many times the duration of the last look: at most 5% of one core."""

SETTLED_S = 2.0
"""Data that changed more recently are still being written; they are looked at again before anything is started."""


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
