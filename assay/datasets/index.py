"""From a listing of annotated images to the index of items and objects.

Belongs here: the order of steps, the tables, the report. Does not belong here: any file format, any geometry.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from assay.datasets.annotations import (
    AnnotatedImage,
    Listing,
    MaskPainter,
    PlacedObject,
    Scene,
    frame_of,
    needed_turns,
    place,
    write_masks,
)
from assay.datasets.inspection import Inspected, inspect_images
from assay.datasets.schema import IMAGE_ITEM_COLUMNS, ITEMS_FILE, MASK_CLASSES_FILE, OBJECT_COLUMNS, OBJECTS_FILE
from assay.errors import DataError
from assay.images.decoding import decode
from assay.images.masks import read_mask
from assay.plots.sheets import class_color, draw_boxes, sample_grid, save_small_png
from assay.spec.generated_images import CocoSource, YoloSource
from assay.storage.parquet import write_parquet
from assay.utils.concurrency import Progress, silent

_MOST_LEFT_OUT = 100
"""How many annotations that were left out the report names."""


def build_annotated(
    spec: CocoSource | YoloSource, listing: Listing, folder: Path, progress: Progress = silent
) -> dict[str, Any]:
    """Index annotated images and return statistics about them; the images stay where they are.

    Writes items.parquet, objects.parquet, pictures/samples.png and, where outlines are known and masks are wanted,
    masks/ and mask_classes.parquet.

    Raises:
        DataError: Everything that can't be used, before anything is written; of annotations only if the spec refuses
            bad ones.
    """
    found = inspect_images(listing.root, [image.file for image in listing.images], spec.max_pixels, progress)
    problems = listing.problems + [
        f"{image.where}: {one.problem}" for image, one in zip(listing.images, found, strict=True) if one.problem
    ]
    scenes = [] if problems and not _all_usable(found) else _scenes(listing, found, problems)
    _raise_problems(spec, listing, problems)
    masks = _masks(spec, listing, scenes, folder, progress)
    items, objects = _items(listing.images, found, masks), _objects(scenes)
    write_parquet(items, folder / ITEMS_FILE)
    write_parquet(objects, folder / OBJECTS_FILE)
    save_truth_samples(items, objects, (listing.root, folder), folder / "pictures" / "samples.png")
    return _report(listing, items, objects, scenes) | ({"mask_root": "."} if any(masks) else {})


def _all_usable(found: Sequence[Inspected]) -> bool:
    return not any(one.problem for one in found)


def _scenes(listing: Listing, found: Sequence[Inspected], problems: list[str]) -> list[Scene]:
    """Return every image with its objects; adds images of wrong sizes to ``problems``, bad boxes to the listing's."""
    turns, wrong_sizes = needed_turns(listing.images, found)
    problems += wrong_sizes
    scenes = []
    for image, one, orientation in zip(listing.images, found, turns, strict=True):
        frame = frame_of(image, one, orientation)
        objects: list[PlacedObject] = []
        for annotation in image.annotations:
            try:
                objects.append(place(annotation, frame))
            except ValueError as error:
                listing.bad.append(f"{annotation.where}: {error}")
        scenes.append(
            Scene(image.file, frame, (one.width_px, one.height_px), tuple(objects) if image.labelled else None)
        )
    return scenes


def _raise_problems(spec: CocoSource | YoloSource, listing: Listing, problems: list[str]) -> None:
    refused = listing.bad if spec.bad_annotations == "refuse" else []
    if problems or refused:
        hint = " source.bad_annotations: leave_out goes on without bad annotations." if refused else ""
        count = len(problems) + len(refused)
        raise DataError(f"source.path {spec.path!r}: {count} problems; nothing was computed.{hint}", problems + refused)
    if not listing.images:
        raise DataError(f"source.path {spec.path!r}: no image can be used.", listing.bad)


def _masks(
    spec: CocoSource | YoloSource, listing: Listing, scenes: Sequence[Scene], folder: Path, progress: Progress
) -> list[str | None]:
    if not spec.masks or not any(one.outline for scene in scenes for one in scene.objects or ()):
        return [None] * len(scenes)
    painter = MaskPainter(tuple(listing.classes))
    write_parquet(painter.table(), folder / MASK_CLASSES_FILE)
    return write_masks(painter, scenes, folder, progress)


def _items(images: Sequence[AnnotatedImage], found: Sequence[Inspected], masks: Sequence[str | None]) -> pl.DataFrame:
    rows = [item_row(image.file, one, mask) for image, one, mask in zip(images, found, masks, strict=True)]
    for row, image in zip(rows, images, strict=True):
        row |= {"given_subset": image.given_subset, "labelled": image.labelled}
    return pl.DataFrame(rows, schema=dict(IMAGE_ITEM_COLUMNS), orient="row")


def item_row(file: str, one: Inspected, mask: str | None) -> dict[str, Any]:
    """Return an image's row of items.parquet, but for its subset and whether it is labelled."""
    return {
        "item": file,
        "file": file,
        "mask": mask,
        "width_px": one.width_px,
        "height_px": one.height_px,
        "sha256": one.sha256,
        "pixels": one.pixels,
        "thumbnail": one.thumbnail,
        "label": None,
        "folder": str(PurePosixPath(file).parent),
        "background": None,
    }


def _objects(scenes: Sequence[Scene]) -> pl.DataFrame:
    rows = [
        (scene.file, number, one.label, *one.box, one.crowd)
        for scene in scenes
        for number, one in enumerate(scene.objects or ())
    ]
    return pl.DataFrame(rows, schema=dict(OBJECT_COLUMNS), orient="row")


def _report(listing: Listing, items: pl.DataFrame, objects: pl.DataFrame, scenes: Sequence[Scene]) -> dict[str, Any]:
    alone = objects.filter(~pl.col("crowd"))
    counts = Counter(alone["label"])
    longest = alone.select(pl.max_horizontal("width_px", "height_px")).to_series()
    return {
        "root": str(listing.root),
        "images": len(items),
        "objects": len(alone),
        "labels": {name: counts[name] for name in listing.classes},
        "crowds": len(objects) - len(alone),
        "empty_images": sum(scene.objects == () for scene in scenes),
        "images_without_truth": int((~items["labelled"]).sum()),
        "given_subsets": dict(sorted(Counter(items["given_subset"].drop_nulls()).items())),
        "boxes_clipped": sum(one.was_clipped for scene in scenes for one in scene.objects or ()),
        "images_turned": sum(scene.frame.orientation != 1 for scene in scenes),
        "median_object_px": float(longest.quantile(0.5) or 0),
        "equal_files": len(items) - items["sha256"].n_unique(),
        "largest_pixels": max(width * height for width, height in items["width_px", "height_px"].iter_rows()),
        **listing.counts,
        "left_out": len(listing.bad),
        "left_out_first": listing.bad[:_MOST_LEFT_OUT],
    }


SAMPLES = 9

COLUMNS = 3

_CELL_PX = 224

_MOST_BOXES = 30

_TINT = 0.4


def save_truth_samples(
    items: pl.DataFrame, objects: pl.DataFrame, roots: tuple[Path, Path], path: Path, background: int | None = 0
) -> None:
    """Save a grid of the first images that hold something, or of the first ones if none does.

    Args:
        items: Rows of items.parquet.
        objects: Rows of objects.parquet.
        roots: What ``file`` and ``mask`` are relative to.
        path: The PNG file, at most 100 KB.
        background: Value in masks that is not tinted.
    """
    holds_boxes = pl.col("item").is_in(objects["item"].implode())
    filled = items.filter(holds_boxes if len(objects) else pl.col("mask").is_not_null())
    shown = (filled if len(filled) else items).sort("item").head(SAMPLES)
    tiles = []
    for item, file, mask in shown.select("item", "file", "mask").iter_rows():
        image = _fitted(decode((roots[0] / file).read_bytes()).convert("RGB"))
        if mask:
            image = _tinted(image, (roots[1] / mask).read_bytes(), background)
        tiles.append(_with_boxes(image, objects.filter(item=item), items.filter(item=item)["width_px"][0]))
    save_small_png(sample_grid(tiles, shown["item"].to_list(), COLUMNS), path)


def _fitted(image: Image.Image) -> Image.Image:
    scale = min(1.0, _CELL_PX / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BOX)


def _tinted(image: Image.Image, mask: bytes, background: int | None) -> Image.Image:
    """Blend a colour per value over the pixels of a mask."""
    values = Image.fromarray(read_mask(mask)).resize(image.size, Image.Resampling.NEAREST)
    pixels, classes = np.array(image, np.float32), np.asarray(values)
    for value in np.unique(classes[classes != (-1 if background is None else background)]).tolist():
        here = classes == value
        pixels[here] += _TINT * (np.array(class_color(value), np.float32) - pixels[here])
    return Image.fromarray(pixels.round().astype(np.uint8))


def _with_boxes(image: Image.Image, objects: pl.DataFrame, width_px: int) -> Image.Image:
    scale = image.width / width_px
    boxes, labels = [], []
    for *box, label, crowd in (
        objects.select("x_px", "y_px", "width_px", "height_px", "label", "crowd").head(_MOST_BOXES).iter_rows()
    ):
        left, top, width, height = (round(scale * side) for side in box)
        boxes.append((left, top, max(1, width), max(1, height)))
        labels.append(f"{label} (crowd)" if crowd else label)
    return draw_boxes(image, boxes, labels)
