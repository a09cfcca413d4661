"""Stage ``generated_images``: generates or indexes an experiment's raw data.

Reads the data source that the spec names. Writes items.parquet, and depending on the source objects.parquet,
rows.parquet, masks and generated images. Belongs here: choosing the builder and the content digest of a kind of source,
built in or from an installed package. Does not belong here: reading or generating data (``assay.datasets``).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from assay.pipeline import StageConfig
from assay.spec.generated_images import (
    BUILT_IN_SOURCES,
    CocoSource,
    GeneratedImagesSection,
    ImageFolderSource,
    MaskFolderSource,
    NumbersSource,
    Source,
    SourceKind,
    TableSource,
    YoloSource,
)
from assay.spec.plugins import SOURCES as SOURCE_GROUP
from assay.spec.plugins import import_function, load_plugin
from assay.utils.concurrency import Progress, silent

DIGEST_CACHE = "source_digests.json"
"""File in the storage root that remembers the content hashes of users' data."""

_SOURCE_DIGEST = "assay.datasets.fingerprints:source_digest"

SOURCES: dict[str, SourceKind] = {
    "numbers": SourceKind(
        NumbersSource,
        "assay.datasets.synthetic.build:build_numbers",
        "assay.datasets.synthetic.backgrounds:photo_digest",
    ),
    "image_folder": SourceKind(ImageFolderSource, "assay.datasets.image_folder:build_image_folder", _SOURCE_DIGEST),
    "coco": SourceKind(CocoSource, "assay.datasets.index:build_coco", _SOURCE_DIGEST),
    "yolo": SourceKind(YoloSource, "assay.datasets.index:build_yolo", _SOURCE_DIGEST),
    "masks": SourceKind(MaskFolderSource, "assay.datasets.index:build_masks", _SOURCE_DIGEST),
    "table": SourceKind(TableSource, "assay.datasets.table:build_table", _SOURCE_DIGEST),
}
"""The built-in kinds. Functions are named by ``module:function``, so that a kind's libraries are imported on use."""


_CHECKS = {
    "image_folder": "assay.datasets.image_folder:check_folder_source",
    **dict.fromkeys(("coco", "yolo", "masks"), "assay.datasets.index:check_annotated_source"),
    "table": "assay.datasets.table:check_table_source",
}


def check_source(source: Source) -> list[str]:
    """Return warnings about the user's data, found without opening an image; none of generated data and plug-ins.

    Raises:
        DataError: What the stage would refuse, as far as that shows without opening an image.
    """
    warnings: list[str] = _code(_CHECKS[source.kind])(source) if source.kind in _CHECKS else []
    return warnings


def build_source(
    spec: StageConfig[GeneratedImagesSection], folder: Path, progress: Progress = silent
) -> dict[str, Any]:
    """Fill ``folder`` with the experiment's data and return statistics about it.

    Args:
        spec: The stage's section of the spec.
        folder: Existing empty folder for the result.
        progress: Called after each file or image.

    Raises:
        DataError: Files can't be used; the message lists all of them with the reason.
        AssayError: The code of a kind that a package adds can't be imported.
    """
    source = spec.section.source
    report: dict[str, Any] = _code(source_kind(source.kind).build)(source, spec.seed, folder, progress)
    return report


def check_stored(spec: StageConfig[GeneratedImagesSection], folder: Path) -> None:
    """Check that data stored for an equal source, but for another experiment or by a former version, can be used.

    Args:
        spec: The stage's section of the spec.
        folder: The stored result.

    Raises:
        DataError: A table's columns mean something else in this experiment.
    """
    if isinstance(spec.section.source, TableSource):
        _code("assay.datasets.table:check_stored_rows")(spec.section.source, folder)


def content_digest(spec: StageConfig[GeneratedImagesSection], root: Path) -> str:
    """Return the content hash of the user's own data; empty if all data is generated.

    Args:
        spec: The stage's section of the spec.
        root: Storage root, where the hashes of unchanged files are cached.
    """
    source = spec.section.source
    path = source_kind(source.kind).digest
    digest: str = _code(path)(source, root / DIGEST_CACHE) if path else ""
    return digest


def source_kind(kind: str) -> SourceKind:
    """Return the kind of source registered under a name, whether built in or added by an installed package."""
    if kind in BUILT_IN_SOURCES:
        return SOURCES[kind]
    registered: SourceKind = load_plugin(SOURCE_GROUP, kind, SourceKind)
    return registered


def _code(path: str) -> Callable[..., Any]:
    return import_function(path, "The source's code")
