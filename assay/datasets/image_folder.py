"""Source ``image_folder``: from the user's class folders to the index of items.

Belongs here: the index and its statistics. Does not belong here: judging places (``layout``) or files (``inspection``).
"""

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from assay.datasets.inspection import (
    ImageFile,
    Inspected,
    Layout,
    existing_path,
    inspect_images,
    label_conflicts,
    read_layout,
)
from assay.datasets.schema import IMAGE_ITEM_COLUMNS, ITEMS_FILE, OBJECT_COLUMNS, OBJECTS_FILE
from assay.errors import DataError
from assay.images.decoding import decode
from assay.plots.sheets import save_class_samples
from assay.spec.generated_images import ImageFolderSource
from assay.storage.parquet import write_parquet
from assay.utils.concurrency import Progress, silent


def build_image_folder(spec: ImageFolderSource, folder: Path, progress: Progress = silent) -> dict[str, Any]:
    """Index the user's images and return statistics about them; the images stay where they are.

    Writes items.parquet, an empty objects.parquet and pictures/samples.png.

    Raises:
        DataError: Every file or folder that can't be used, by name and reason, before anything is written.
    """
    root = existing_path(spec.path, want_folder=True)
    layout = read_layout(root, spec)
    found = inspect_images(root, [image.item for image in layout.images], spec.max_pixels, progress)
    _raise_problems(spec, layout, found)
    items = _items(layout.images, found)
    write_parquet(items, folder / ITEMS_FILE)
    write_parquet(pl.DataFrame(schema=dict(OBJECT_COLUMNS)), folder / OBJECTS_FILE)
    save_class_samples(items, lambda file: decode((root / file).read_bytes()), folder / "pictures" / "samples.png")
    return _report(root, items, layout)


def _raise_problems(spec: ImageFolderSource, layout: Layout, found: list[Inspected]) -> None:
    unusable = [f"{image.item}: {one.problem}" for image, one in zip(layout.images, found, strict=True) if one.problem]
    problems = layout.problems + unusable + label_conflicts(layout.images, found)
    if problems:
        raise DataError(f"source.path {spec.path!r}: {len(problems)} problems; nothing was computed.", problems)
    if not layout.images:
        wanted = ", ".join(spec.extensions)
        raise DataError(
            f"source.path {spec.path!r} holds no image, but {layout.other_files} other files; expected class folders "
            f"with files that end in {wanted} (source.extensions)."
        )


def _items(images: list[ImageFile], found: list[Inspected]) -> pl.DataFrame:
    rows = [
        {
            "item": image.item,
            "file": image.item,
            "mask": None,
            "width_px": one.width_px,
            "height_px": one.height_px,
            "sha256": one.sha256,
            "pixels": one.pixels,
            "thumbnail": one.thumbnail,
            "label": image.label,
            "labelled": True,
            "folder": image.folder,
            "background": None,
            "given_subset": image.given_subset,
        }
        for image, one in zip(images, found, strict=True)
    ]
    return pl.DataFrame(rows, schema=dict(IMAGE_ITEM_COLUMNS), orient="row")


def _report(root: Path, items: pl.DataFrame, layout: Layout) -> dict[str, Any]:
    return {
        "root": str(root),
        "images": len(items),
        "labels": _counts(items, "label"),
        "given_subsets": _counts(items, "given_subset"),
        "equal_files": len(items) - items["sha256"].n_unique(),
        "other_files": layout.other_files,
        "largest_pixels": max(width * height for width, height in items["width_px", "height_px"].iter_rows()),
    }


def _counts(items: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(sorted(Counter(items[column].drop_nulls()).items()))
