"""From a listing of annotated images to the index of items and objects.

Belongs here: the order of steps, the tables, the report. Does not belong here: any file format, any geometry.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from assay.datasets.annotations import AnnotatedImage, Listing
from assay.datasets.inspection import Inspected, inspect_images
from assay.datasets.schema import IMAGE_ITEM_COLUMNS, ITEMS_FILE, MASK_CLASSES_FILE, OBJECT_COLUMNS, OBJECTS_FILE
from assay.errors import DataError
from assay.own_data.drawn_masks import MaskPainter, Scene, write_masks
from assay.own_data.placing import PlacedObject, frame_of, place
from assay.own_data.truth_samples import save_truth_samples
from assay.own_data.turning import needed_turns
from assay.progress import Progress, silent
from assay.spec.annotated_images import CocoSource, YoloSource
from assay.tables import write_parquet

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
