"""Where an experiment's data come from: one entry per kind of source.

Belongs here: choosing the builder and the content digest of a source. Does not belong here: reading or generating.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.numbers.build import build_numbers
from assay.numbers.photos import background_digest
from assay.own_data import build_image_folder, build_table, source_digest
from assay.pipeline import Slice
from assay.progress import Progress, silent

DIGEST_CACHE = "source_digests.json"


@dataclass(frozen=True)
class SourceKind:
    """How one kind of source is built.

    Attributes:
        build: Takes source section, seed, empty folder and progress; fills the folder, returns the report.
        digest: Takes source section and a cache file; returns the content hash of the user's data, empty where there
            are none and the section says everything.
    """

    build: Callable[[Any, int, Path, Progress], dict[str, Any]]
    digest: Callable[[Any, Path], str]


def _background_digest(source: Any, cache: Path) -> str:
    return background_digest(source.background_folder) if source.background_folder else ""


def _image_folder(source: Any, seed: int, folder: Path, progress: Progress) -> dict[str, Any]:
    return build_image_folder(source, folder, progress)


def _table(source: Any, seed: int, folder: Path, progress: Progress) -> dict[str, Any]:
    return build_table(source, folder, progress)


SOURCES: dict[str, SourceKind] = {
    "numbers": SourceKind(build_numbers, _background_digest),
    "image_folder": SourceKind(_image_folder, source_digest),
    "table": SourceKind(_table, source_digest),
}


def build_source(spec: Slice, folder: Path, progress: Progress = silent) -> dict[str, Any]:
    """Fill ``folder`` with the experiment's data and return statistics about them.

    Raises:
        DataError: Files that can't be used, all of them by name and reason.
    """
    source = spec.section.source
    return SOURCES[source.kind].build(source, spec.seed, folder, progress)


def content_digest(spec: Slice, root: Path) -> str:
    """Return the content hash of the user's own data; empty where all data are generated.

    Args:
        spec: The slice of ``generated_images``.
        root: Storage root, where hashes of unchanged files are remembered.
    """
    kind = SOURCES[spec.section.source.kind]
    return kind.digest(spec.section.source, root / DIGEST_CACHE)
