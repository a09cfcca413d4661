"""Stage ``generated_images``: generates or indexes an experiment's raw data.

Reads the data source that the spec names. Writes items.parquet, and depending on the source objects.parquet,
rows.parquet, masks and generated images. Belongs here: choosing the builder and the content digest of a kind of source,
built in or from an installed package. Does not belong here: reading or generating data (``assay.datasets``).
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from assay.errors import AssayError
from assay.pipeline import StageConfig
from assay.spec.generated_images import (
    BUILT_IN_SOURCES,
    SOURCE_PLUGINS,
    CocoSource,
    GeneratedImagesSection,
    ImageFolderSource,
    MaskFolderSource,
    NumbersSource,
    SourceKind,
    TableSource,
    YoloSource,
)
from assay.spec.plugins import load_plugin
from assay.utils.concurrency import Progress, silent

DIGEST_CACHE = "source_digests.json"
"""File in the storage root that remembers the content hashes of users' data."""

SOURCES: dict[str, SourceKind] = {
    "numbers": SourceKind(
        NumbersSource, "assay.stages.generated_images:build_numbers", "assay.stages.generated_images:numbers_digest"
    ),
    "image_folder": SourceKind(
        ImageFolderSource, "assay.stages.generated_images:build_image_folder", "assay.datasets:source_digest"
    ),
    "coco": SourceKind(CocoSource, "assay.stages.generated_images:build_coco", "assay.datasets:source_digest"),
    "yolo": SourceKind(YoloSource, "assay.stages.generated_images:build_yolo", "assay.datasets:source_digest"),
    "masks": SourceKind(MaskFolderSource, "assay.stages.generated_images:build_masks", "assay.datasets:source_digest"),
    "table": SourceKind(TableSource, "assay.stages.generated_images:build_table", "assay.datasets:source_digest"),
}
"""The built-in kinds. Functions are named by ``module:function``, so that a kind's libraries are imported on use."""


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
    report: dict[str, Any] = _function(source_kind(source.kind).build)(source, spec.seed, folder, progress)
    return report


def content_digest(spec: StageConfig[GeneratedImagesSection], root: Path) -> str:
    """Return the content hash of the user's own data; empty if all data is generated.

    Args:
        spec: The stage's section of the spec.
        root: Storage root, where the hashes of unchanged files are cached.
    """
    source = spec.section.source
    path = source_kind(source.kind).digest
    digest: str = _function(path)(source, root / DIGEST_CACHE) if path else ""
    return digest


def source_kind(kind: str) -> SourceKind:
    """Return the kind of source registered under a name, whether built in or added by an installed package."""
    if kind in BUILT_IN_SOURCES:
        return SOURCES[kind]
    registered: SourceKind = load_plugin(SOURCE_PLUGINS, kind, SourceKind)
    return registered


def _function(path: str) -> Callable[..., Any]:
    """Import the function that ``module:function`` names."""
    module, _, name = path.partition(":")
    try:
        function: Callable[..., Any] = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise AssayError(f"The source's code {path!r} can't be imported: {error}.") from error
    return function


def build_numbers(source: NumbersSource, seed: int, folder: Path, progress: Progress) -> dict[str, Any]:
    """Generate number images."""
    from assay.datasets.synthetic.build import build_numbers

    return build_numbers(source, seed, folder, progress)


def numbers_digest(source: NumbersSource, cache: Path) -> str:
    """Return the content hash of the user's background photos; empty if the bundled ones are used."""
    from assay.datasets.synthetic.backgrounds import background_digest

    return background_digest(source.background_folder) if source.background_folder else ""


def build_image_folder(source: ImageFolderSource, seed: int, folder: Path, progress: Progress) -> dict[str, Any]:
    """Index the user's images; the seed is not used."""
    from assay.datasets import build_image_folder

    return build_image_folder(source, folder, progress)


def build_coco(source: CocoSource, seed: int, folder: Path, progress: Progress) -> dict[str, Any]:
    """Index the user's images and COCO annotation files; the seed is not used."""
    from assay.datasets import build_coco

    return build_coco(source, folder, progress)


def build_yolo(source: YoloSource, seed: int, folder: Path, progress: Progress) -> dict[str, Any]:
    """Index the user's images and YOLO label files; the seed is not used."""
    from assay.datasets import build_yolo

    return build_yolo(source, folder, progress)


def build_masks(source: MaskFolderSource, seed: int, folder: Path, progress: Progress) -> dict[str, Any]:
    """Index the user's images and masks; the seed is not used."""
    from assay.datasets import build_masks

    return build_masks(source, folder, progress)


def build_table(source: TableSource, seed: int, folder: Path, progress: Progress) -> dict[str, Any]:
    """Read the user's table; the seed is not used."""
    from assay.datasets import build_table

    return build_table(source, folder, progress)
