"""From annotated images, whatever their format, to the index of items and objects.

Belongs here: the steps that all formats share, the tables, the report, the sample picture. Does not belong here: any
file format, any geometry. Readers know nothing of the index, so that finding and hashing their files imports no plots.
"""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from assay.datasets.annotations import (
    AnnotatedDataset,
    AnnotatedImage,
    MaskPainter,
    PlacedImage,
    UserMasks,
    place_objects,
    write_masks,
    wrong_sizes,
)
from assay.datasets.coco import read_coco
from assay.datasets.geometry import upright_image
from assay.datasets.inspection import ImageInfo, alike_names, inspect_images, odd_images
from assay.datasets.mask_folder import find_mask_paths, read_mask_folder
from assay.datasets.schema import (
    BACKGROUND,
    IMAGE_ITEM_COLUMNS,
    ITEMS_FILE,
    MASK_CLASSES_FILE,
    OBJECT_COLUMNS,
    OBJECTS_FILE,
)
from assay.datasets.yolo import read_yolo
from assay.errors import DataError
from assay.images.decoding import decode, read_mask
from assay.plots.sheets import class_color, draw_boxes, sample_grid, save_small_png
from assay.spec.generated_images import CocoSource, MaskFolderSource, YoloSource
from assay.storage.parquet import write_parquet
from assay.utils.concurrency import Progress, silent
from assay.utils.text import pluralize

AnnotatedSource = CocoSource | YoloSource | MaskFolderSource

_MOST_LEFT_OUT = 100
"""How many of the annotations that were left out the report names."""


def build_coco(spec: CocoSource, seed: int, folder: Path, progress: Progress = silent) -> dict[str, Any]:
    """Index the user's images and objects and return statistics about them; the images stay where they are.

    Writes what ``build_index`` documents.

    Raises:
        DataError: Every file and entry that can't be used, by place and reason, before anything is written.
    """
    return build_index(spec, read_coco(spec), folder, progress)


def build_yolo(spec: YoloSource, seed: int, folder: Path, progress: Progress = silent) -> dict[str, Any]:
    """Index the user's images and objects and return statistics about them; the images stay where they are.

    Writes what ``build_index`` documents.

    Raises:
        DataError: Every file and line that can't be used, by place and reason, before anything is written.
    """
    return build_index(spec, read_yolo(spec), folder, progress)


def build_masks(spec: MaskFolderSource, seed: int, folder: Path, progress: Progress = silent) -> dict[str, Any]:
    """Index the user's images and masks and return statistics about them; both stay where they are.

    Writes items.parquet, an empty objects.parquet, mask_classes.parquet and pictures/samples.png. Where a mask has to
    be turned with its image, all masks are copied to masks/.

    Raises:
        DataError: Every file that can't be used, by name and reason, before anything is written.
    """
    return build_index(spec, read_mask_folder(spec, progress), folder, progress)


def check_annotated_source(spec: AnnotatedSource) -> list[str]:
    """Return warnings about annotated images, and refuse them as ``build_index`` does; opens no image and no mask."""
    if isinstance(spec, MaskFolderSource):
        paths = find_mask_paths(spec)
        images = tuple(
            AnnotatedImage(image.file, image.file, image.given_subset, mask=image.mask) for image in paths.images
        )
        dataset = AnnotatedDataset(paths.root, images, (), paths.problems)
    else:
        dataset = read_coco(spec) if isinstance(spec, CocoSource) else read_yolo(spec)
    _raise_problems(spec, dataset, list(dataset.problems), list(dataset.bad_annotations))
    return [*dataset.warnings, *alike_names(dataset.classes)]


def build_index(
    spec: AnnotatedSource, dataset: AnnotatedDataset, folder: Path, progress: Progress = silent
) -> dict[str, Any]:
    """Index annotated images and return statistics about them; the images stay where they are.

    Writes items.parquet, objects.parquet and pictures/samples.png. Where the user has masks, or outlines are known and
    masks are wanted, it writes mask_classes.parquet too; and masks/, unless the user's masks can be used as they are.

    Raises:
        DataError: Everything that can't be used, before anything is written; of annotations only if the spec refuses
            bad ones.
    """
    infos = inspect_images(dataset.root, [image.file for image in dataset.images], spec.max_pixels, progress)
    unusable = [
        f"{image.where}: {info.problem}" for image, info in zip(dataset.images, infos, strict=True) if info.problem
    ]
    problems = [*dataset.problems, *unusable, *wrong_sizes(dataset.images, infos)]
    placed, misplaced = ([], []) if unusable else place_objects(dataset.images, infos)
    bad_annotations = [*dataset.bad_annotations, *misplaced]
    _raise_problems(spec, dataset, problems, bad_annotations)
    masks = _write_masks(spec, dataset, placed, folder, progress)
    items, objects = _items(dataset.images, infos, placed, masks.names), _objects(placed)
    write_parquet(items, folder / ITEMS_FILE)
    write_parquet(objects, folder / OBJECTS_FILE)
    if masks.classes is not None:
        write_parquet(masks.classes, folder / MASK_CLASSES_FILE)
    save_annotated_samples(
        items, objects, (dataset.root, masks.root), folder / "pictures" / "samples.png", masks.background
    )
    report = {**_report(dataset, items, placed), **dataset.statistics}
    warnings = [*dataset.warnings, *alike_names(dataset.classes)]
    warnings += odd_images([image.file for image in dataset.images], infos)
    if dataset.masks is None:
        report |= _object_report(dataset, objects, placed, bad_annotations)
        warnings += [*_incomplete(placed), *_without_objects(objects, placed)]
    report["warnings"] = warnings
    return report | ({} if masks.classes is None else {"mask_root": masks.reported_root})


def _raise_problems(
    spec: AnnotatedSource, dataset: AnnotatedDataset, problems: list[str], bad_annotations: list[str]
) -> None:
    leaves_out = not isinstance(spec, MaskFolderSource) and spec.bad_annotations == "leave_out"
    refused = [] if leaves_out else bad_annotations
    if problems or refused:
        hint = " source.bad_annotations: leave_out goes on without bad annotations." if refused else ""
        count = len(problems) + len(refused)
        raise DataError(
            f"source.path {spec.path!r}: {pluralize(count, 'problem')}; nothing was computed.{hint}", problems + refused
        )
    if isinstance(spec, MaskFolderSource) and not any(image.mask for image in dataset.images):
        raise DataError(
            f"source.path {spec.path!r}: none of {pluralize(len(dataset.images), 'image')} has a mask of "
            f"its name in {spec.masks!r}."
        )
    if not dataset.images:
        raise DataError(f"source.path {spec.path!r}: no image can be used.", bad_annotations)


@dataclass(frozen=True)
class IndexedMasks:
    """The masks of a result.

    Attributes:
        names: The mask of each image relative to the root; None where there is none.
        root: The folder of all masks.
        reported_root: How the report names it: relative to the result's folder where it is in there.
        classes: Rows of mask_classes.parquet; None where there are no masks.
    """

    names: list[str | None]
    root: Path
    reported_root: str
    classes: pl.DataFrame | None

    @property
    def background(self) -> int | None:
        """Value of pixels that show nothing, if there is one."""
        rows = [] if self.classes is None else self.classes.filter(role=BACKGROUND)["value"].to_list()
        return rows[0] if rows else None


def _write_masks(
    spec: AnnotatedSource, dataset: AnnotatedDataset, placed: Sequence[PlacedImage], folder: Path, progress: Progress
) -> IndexedMasks:
    if dataset.masks is not None:
        names = [image.mask for image in dataset.images]
        orientations = [image.frame.orientation for image in placed]
        if all(orientation == 1 for orientation in orientations):
            return IndexedMasks(names, dataset.masks.root, str(dataset.masks.root), dataset.masks.classes)
        root = folder / "masks"
        _copy_upright(names, orientations, dataset.masks, root)
        return IndexedMasks(names, root, "masks", dataset.masks.classes)
    has_outlines = any(each.outline for image in placed for each in image.objects or ())
    if isinstance(spec, MaskFolderSource) or not spec.masks or not has_outlines:
        return IndexedMasks([None] * len(placed), folder, ".", None)
    painter = MaskPainter(dataset.classes)
    return IndexedMasks(write_masks(painter, placed, folder, progress), folder, ".", painter.table())


def _copy_upright(names: Sequence[str | None], orientations: Sequence[int], masks: UserMasks, root: Path) -> None:
    """Copy all masks to ``root``, turned where the images are."""
    for name, orientation in zip(names, orientations, strict=True):
        if name is None:
            continue
        source, target = masks.root / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if orientation == 1:
            shutil.copyfile(source, target)
        else:
            with Image.open(source) as mask:
                upright_image(mask, orientation).save(target, mask.format)


def _items(
    images: Sequence[AnnotatedImage],
    infos: Sequence[ImageInfo],
    placed: Sequence[PlacedImage],
    masks: Sequence[str | None],
) -> pl.DataFrame:
    rows = [
        item_row(image.file, info) | {"mask": mask, "given_subset": image.given_subset, "labelled": each.has_truth}
        for image, info, each, mask in zip(images, infos, placed, masks, strict=True)
    ]
    return pl.DataFrame(rows, schema=dict(IMAGE_ITEM_COLUMNS), orient="row")


def item_row(file: str, info: ImageInfo) -> dict[str, Any]:
    """Return the row of items.parquet of a labelled image that has no label, mask or subset of its own."""
    return {
        "item": file,
        "file": file,
        "mask": None,
        "width_px": info.width_px,
        "height_px": info.height_px,
        "sha256": info.sha256,
        "pixels": info.pixels,
        "thumbnail": info.thumbnail,
        "label": None,
        "labelled": True,
        "folder": str(PurePosixPath(file).parent),
        "background": None,
        "given_subset": None,
    }


def _objects(placed: Sequence[PlacedImage]) -> pl.DataFrame:
    rows = [
        (image.file, number, each.label, *each.box, each.crowd)
        for image in placed
        for number, each in enumerate(image.objects or ())
    ]
    return pl.DataFrame(rows, schema=dict(OBJECT_COLUMNS), orient="row")


def _report(dataset: AnnotatedDataset, items: pl.DataFrame, placed: Sequence[PlacedImage]) -> dict[str, Any]:
    return {
        "root": str(dataset.root),
        "images": len(items),
        "images_without_truth": int((~items["labelled"]).sum()),
        "given_subsets": dict(sorted(Counter(items["given_subset"].drop_nulls()).items())),
        "images_turned": sum(image.frame.orientation != 1 for image in placed),
        "equal_files": len(items) - items["sha256"].n_unique(),
        "largest_pixels": max(width * height for width, height in items["width_px", "height_px"].iter_rows()),
    }


def _incomplete(placed: Sequence[PlacedImage]) -> list[str]:
    lost = [image.file for image in placed if not image.is_complete]
    if not lost:
        return []
    return [
        f"{len(lost)} of {pluralize(len(placed), 'image')} lost an annotation that can't be right, so that "
        "their truth is unknown "
        f"(predicted, neither trained on nor measured): {', '.join(lost[:3])}{', …' if len(lost) > 3 else ''}"
    ]


def _without_objects(objects: pl.DataFrame, placed: Sequence[PlacedImage]) -> list[str]:
    known = sum(image.has_truth for image in placed)
    return (
        []
        if len(objects) or not known
        else [f"no object in any of {pluralize(known, 'image')}, which all count as empty"]
    )


def _object_report(
    dataset: AnnotatedDataset, objects: pl.DataFrame, placed: Sequence[PlacedImage], left_out: Sequence[str]
) -> dict[str, Any]:
    alone = objects.filter(~pl.col("crowd"))
    counts = Counter(alone["label"])
    longest = alone.select(pl.max_horizontal("width_px", "height_px")).to_series()
    return {
        "objects": len(alone),
        "labels": {name: counts[name] for name in dataset.classes},
        "crowds": len(objects) - len(alone),
        "empty_images": sum(image.has_truth and not image.objects for image in placed),
        "incomplete_images": sum(not image.is_complete for image in placed),
        "boxes_clipped": sum(each.was_clipped for image in placed for each in image.objects or ()),
        "median_object_px": float(longest.quantile(0.5) or 0),
        "left_out": len(left_out),
        "left_out_first": list(left_out[:_MOST_LEFT_OUT]),
    }


SAMPLES = 9

COLUMNS = 3

_CELL_PX = 224

_MOST_BOXES = 30

_TINT = 0.4


def save_annotated_samples(
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
