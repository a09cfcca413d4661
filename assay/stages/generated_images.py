"""Where an experiment's data come from: the builder and the content digest of each kind of source.

Belongs here: choosing them. Does not belong here: reading or generating.
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

_SOURCE_DIGEST = "assay.datasets.fingerprints:source_digest"

SOURCES: dict[str, SourceKind] = {
    "numbers": SourceKind(
        NumbersSource, "assay.stages.generated_images:build_numbers", "assay.stages.generated_images:numbers_digest"
    ),
    "image_folder": SourceKind(ImageFolderSource, "assay.stages.generated_images:build_image_folder", _SOURCE_DIGEST),
    "coco": SourceKind(CocoSource, "assay.stages.generated_images:build_coco", _SOURCE_DIGEST),
    "yolo": SourceKind(YoloSource, "assay.stages.generated_images:build_yolo", _SOURCE_DIGEST),
    "masks": SourceKind(MaskFolderSource, "assay.stages.generated_images:build_masks", _SOURCE_DIGEST),
    "table": SourceKind(TableSource, "assay.stages.generated_images:build_table", _SOURCE_DIGEST),
}


def build_source(
    spec: StageConfig[GeneratedImagesSection], folder: Path, progress: Progress = silent
) -> dict[str, Any]:
    """Fill ``folder`` with the experiment's data and return statistics about them.

    Raises:
        DataError: Files that can't be used, all of them by name and reason.
        AssayError: The code of an added kind can't be imported.
    """
    source = spec.section.source
    report: dict[str, Any] = _function(source_kind(source.kind).build)(source, spec.seed, folder, progress)
    return report


def content_digest(spec: StageConfig[GeneratedImagesSection], root: Path) -> str:
    """Return the content hash of the user's own data; empty where all data are generated.

    Args:
        spec: The slice of ``generated_images``.
        root: Storage root, where hashes of unchanged files are remembered.
    """
    source = spec.section.source
    path = source_kind(source.kind).digest
    digest: str = _function(path)(source, root / DIGEST_CACHE) if path else ""
    return digest


def source_kind(kind: str) -> SourceKind:
    """Return what is registered under a name, built in or by an installed package."""
    if kind in BUILT_IN_SOURCES:
        return SOURCES[kind]
    registered: SourceKind = load_plugin(SOURCE_PLUGINS, kind, SourceKind)
    return registered


def _function(path: str) -> Callable[..., Any]:
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
    """Return the content hash of the user's background photos; empty for those that come along."""
    from assay.datasets.synthetic.backgrounds import background_digest

    return background_digest(source.background_folder) if source.background_folder else ""


def build_image_folder(source: ImageFolderSource, seed: int, folder: Path, progress: Progress) -> dict[str, Any]:
    """Index the user's images; there is nothing random about it."""
    from assay.datasets.image_folder import build_image_folder

    return build_image_folder(source, folder, progress)


def build_coco(source: CocoSource, seed: int, folder: Path, progress: Progress) -> dict[str, Any]:
    """Index the user's images with COCO files; there is nothing random about it."""
    from assay.datasets.index import build_coco

    return build_coco(source, folder, progress)


def build_yolo(source: YoloSource, seed: int, folder: Path, progress: Progress) -> dict[str, Any]:
    """Index the user's images with YOLO's label files; there is nothing random about it."""
    from assay.datasets.index import build_yolo

    return build_yolo(source, folder, progress)


def build_masks(source: MaskFolderSource, seed: int, folder: Path, progress: Progress) -> dict[str, Any]:
    """Index the user's images with masks; there is nothing random about it."""
    from assay.datasets.index import build_masks

    return build_masks(source, folder, progress)


def build_table(source: TableSource, seed: int, folder: Path, progress: Progress) -> dict[str, Any]:
    """Read the user's table; there is nothing random about it."""
    from assay.datasets.table import build_table

    return build_table(source, folder, progress)
