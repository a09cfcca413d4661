"""Stage ``crops``: cuts every labelled object out of its image.

Reads ``splits``: items.parquet, objects.parquet and the images. Writes crops.parquet, one PNG file per crop and
pictures/crops.png. Each image is decoded once, however many objects it shows; a PNG file that is a crop as it is
becomes a hard link. Belongs here: which crops there are, the window around a box, the files and the report. Does not
belong here: decoding, resizing and encoding images (``assay.images``).
"""

import hashlib
import math
from dataclasses import dataclass
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from assay.datasets.schema import CROPS_FILE, ITEMS_FILE, OBJECTS_FILE, is_nested, root_of
from assay.errors import DataError
from assay.images.boxes import Box
from assay.images.decoding import decode
from assay.images.png import encode_png, size_of_plain_png
from assay.images.resizing import at_most
from assay.plots.sheets import save_class_samples
from assay.spec.crops import CropsSection
from assay.storage.files import try_link
from assay.storage.parquet import read_parquet, write_parquet
from assay.utils.concurrency import Progress, map_in_order, silent, usable_cores
from assay.utils.text import pluralize

CROP_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "item": pl.String,
    "image": pl.String,
    "subset": pl.String,
    "label": pl.String,
    "number": pl.Float64,
    "x_px": pl.Int32,
    "y_px": pl.Int32,
    "width_px": pl.Int32,
    "height_px": pl.Int32,
    "file": pl.String,
    "sha256": pl.String,
}
"""Columns of crops.parquet, one row per crop. The box is that of the object, in pixels of its image; ``number`` is the
label as a number, or null in every row unless all labels are numbers; ``file`` is relative to the result folder."""


def build_crops(splits_folder: Path, spec: CropsSection, folder: Path, progress: Progress = silent) -> dict[str, Any]:
    """Cut every labelled object out of its image and return statistics about the crops.

    Writes crops.parquet, ``<subset>/[<sub_dir>/]<crop>.png`` and pictures/crops.png. For a table, which has no images,
    and for images that only have masks, it writes an empty crops.parquet.

    Args:
        splits_folder: Result of ``splits``.
        spec: Margin, shape, size and names of the crops.
        folder: Existing empty folder for the result.
        progress: Called after each image.

    Raises:
        DataError: A box lies outside its image, there is nothing to crop, or an image changed since it was indexed.
    """
    items = read_parquet(splits_folder / ITEMS_FILE)
    if "file" not in items.columns:
        return _no_crops(folder, "The source is a table: there are no images to cut from.")
    taken = items if spec.recursive else items.filter(~is_nested())
    crops = list_crops(taken, read_parquet(splits_folder / OBJECTS_FILE), spec.name_delimiter)
    if crops.is_empty() and len(taken) and taken["mask"].null_count() < len(taken):
        return _no_crops(folder, "The images have masks, but no boxes and no labels: there is nothing to cut out.")
    if crops.is_empty():
        raise DataError(_nothing_to_cut(len(items), len(taken)))
    crops = crops.with_columns(pl.Series("file", _file_names(crops, spec)))
    hashes = _cut_all(crops, taken, root_of(splits_folder), folder, spec, progress)
    crops = crops.with_columns(pl.Series("sha256", hashes)).select(*CROP_COLUMNS)
    write_parquet(crops.cast(pl.Schema(CROP_COLUMNS)), folder / CROPS_FILE)
    save_class_samples(crops, lambda file: _open(folder / file), folder / "pictures" / "crops.png")
    return _report(crops, taken)


def _no_crops(folder: Path, note: str) -> dict[str, Any]:
    write_parquet(pl.DataFrame(schema=CROP_COLUMNS), folder / CROPS_FILE)
    return {"crops": 0, "note": note}


def _nothing_to_cut(items: int, taken: int) -> str:
    if taken < items:
        return (
            f"crops.recursive is false, but {pluralize(items, 'image')}, all of them, lie in folders below "
            "their class folder; "
            "set crops.recursive: true."
        )
    return f"None of {pluralize(items, 'image')} has a label or a labelled box, so there is nothing to cut."


def list_crops(items: pl.DataFrame, objects: pl.DataFrame, delimiter: str) -> pl.DataFrame:
    """Return one row per crop, sorted by image and object: item, image, subset, label, number and box in pixels.

    A labelled box becomes a crop unless it marks a crowd; an image with a label of its own becomes one whole crop.

    Args:
        items: Rows of items.parquet.
        objects: Rows of objects.parquet.
        delimiter: Put between an image's name and the number of an object in the name of a crop.

    Raises:
        DataError: Boxes that have no label, are empty, or extend beyond their image; the message lists them all.
    """
    placed = (
        objects.filter(~pl.col("crowd").fill_null(False))
        .join(items.select("item", image_width_px="width_px", image_height_px="height_px"), on="item")
        .sort("item", "object")
    )
    _require_inside(placed)
    boxes = placed.select(
        item=pl.format("{}{}{}", pl.col("item"), pl.lit(delimiter), pl.col("object")),
        image="item",
        subset="subset",
        label="label",
        x_px="x_px",
        y_px="y_px",
        width_px="width_px",
        height_px="height_px",
    )
    zero = pl.lit(0, pl.Int32)
    whole = items.filter(pl.col("label").is_not_null()).select(
        "item", "subset", "label", "width_px", "height_px", image="item", x_px=zero, y_px=zero
    )
    crops = pl.concat([boxes, whole.select(boxes.columns)])
    return crops.with_columns(number=numeric_labels(crops["label"])).sort("image", maintain_order=True)


def _require_inside(placed: pl.DataFrame) -> None:
    right, bottom = pl.col("x_px") + pl.col("width_px"), pl.col("y_px") + pl.col("height_px")
    outside = (
        (pl.col("x_px") < 0)
        | (pl.col("y_px") < 0)
        | (right > pl.col("image_width_px"))
        | (bottom > pl.col("image_height_px"))
    )
    empty = (pl.col("width_px") < 1) | (pl.col("height_px") < 1)
    wrong = placed.filter(outside | empty | pl.col("label").is_null())
    if len(wrong):
        raise DataError(
            f"{pluralize(len(wrong), 'label')} can't be used; nothing was computed.",
            [_sentence(row) for row in wrong.iter_rows(named=True)],
        )


def _sentence(row: dict[str, object]) -> str:
    what = f"{row['item']}, object {row['object']} (label {row['label']!r})"
    box = f"x {row['x_px']}, y {row['y_px']}, {row['width_px']}x{row['height_px']} px"
    if row["label"] is None:
        return f"{what}: has no label"
    return f"{what}: its box ({box}) is not inside the image of {row['image_width_px']}x{row['image_height_px']} px"


def numeric_labels(labels: pl.Series) -> pl.Series:
    """Return the labels as numbers if every one is a finite number, otherwise nulls; Float64 either way."""
    numbers = labels.cast(pl.Float64, strict=False)
    if numbers.null_count() == 0 and numbers.is_finite().all():
        return numbers
    return pl.Series([None] * len(labels), dtype=pl.Float64)


def _file_names(crops: pl.DataFrame, spec: CropsSection) -> list[str]:
    """Return the relative path of each crop; it keeps the folders of its image, but not the image's file extension."""
    names = []
    for item, image, subset in crops.select("item", "image", "subset").iter_rows():
        name = item if item != image else str(PurePosixPath(item).with_suffix(""))
        names.append(str(PurePosixPath(subset, spec.sub_dir, f"{name}.png")))
    return names


_BATCH, _MANY = 8, 256
"""Images per job of a thread, where there are many such jobs: handing over a small image by itself would cost more than
linking it."""


@dataclass(frozen=True)
class _Job:
    """One image and everything that is cut out of it."""

    path: Path
    sha256: str
    boxes: list[Box]
    targets: list[Path]
    is_whole: bool


def _cut_all(
    crops: pl.DataFrame, items: pl.DataFrame, root: Path, folder: Path, spec: CropsSection, progress: Progress
) -> list[str]:
    """Write all crops, image by image, and return the SHA-256 of each file in the order of ``crops``."""
    jobs = _jobs(crops, items, root, folder)
    for parent in {target.parent for job in jobs for target in job.targets}:
        parent.mkdir(parents=True, exist_ok=True)
    size = max(1, min(_BATCH, len(jobs) // _MANY))
    parts = [jobs[start : start + size] for start in range(0, len(jobs), size)]
    hashes: list[str] = []
    done = 0
    for part in map_in_order(lambda part: [_cut_one(job, spec) for job in part], parts, usable_cores()):
        hashes += chain.from_iterable(part)
        done += len(part)
        progress(done, len(jobs), pluralize(len(hashes), "crop"))
    return hashes


def _jobs(crops: pl.DataFrame, items: pl.DataFrame, root: Path, folder: Path) -> list[_Job]:
    sources = {item: (file, sha256) for item, file, sha256 in items.select("item", "file", "sha256").iter_rows()}
    jobs = []
    rows = crops.select("image", "item", "file", "x_px", "y_px", "width_px", "height_px").iter_rows()
    for image, group in groupby(rows, key=itemgetter(0)):  # they are sorted by image
        own = list(group)
        file, sha256 = sources[image]
        boxes, targets = [Box(*row[3:]) for row in own], [folder / row[2] for row in own]
        jobs.append(_Job(root / file, sha256, boxes, targets, is_whole=own[0][1] == image))
    return jobs


def _cut_one(job: _Job, spec: CropsSection) -> list[str]:
    content = job.path.read_bytes()
    if hashlib.sha256(content).hexdigest() != job.sha256:
        raise DataError(f"{job.path} has changed since it was indexed. Run again: the change makes a new result.")
    if job.is_whole and (size := size_of_plain_png(content)) and max(size) <= spec.max_size:
        if not try_link(job.path.resolve() if job.path.is_symlink() else job.path, job.targets[0]):
            job.targets[0].write_bytes(content)
        return [job.sha256]
    image = decode(content)
    return [
        _save(_pixels(image, box, job.is_whole, spec), target)
        for box, target in zip(job.boxes, job.targets, strict=True)
    ]


def _pixels(image: Image.Image, box: Box, is_whole: bool, spec: CropsSection) -> Image.Image:
    crop = image if is_whole else cut(image, window_around(box, image.size, spec.margin, spec.square))
    return at_most(crop, spec.max_size)


def window_around(box: Box, size: tuple[int, int], margin: float, square: bool) -> Box:
    """Return the window to cut out for a box.

    The window is shifted, not shrunk, to lie inside the image. Only a window larger than the image extends beyond it,
    equally on both sides.

    Args:
        box: Box inside the image, in pixels.
        size: Width and height of the image, in pixels.
        margin: Margin on each side, as a fraction of the box's longer side.
        square: Whether the window is as wide as it is high.
    """
    room = 2 * margin * max(box.width_px, box.height_px)
    width, height = math.ceil(box.width_px + room), math.ceil(box.height_px + room)
    if square:
        width = height = max(width, height)
    left = _start(box.x_px + box.width_px / 2, width, size[0])
    top = _start(box.y_px + box.height_px / 2, height, size[1])
    return Box(left, top, width, height)


def _start(centre: float, length: int, limit: int) -> int:
    if length >= limit:
        return -((length - limit) // 2)
    return min(max(math.floor(centre - length / 2 + 0.5), 0), limit - length)


def cut(image: Image.Image, window: Box) -> Image.Image:
    """Return the window's pixels; where it extends beyond the image, the image's edge pixels are repeated.

    Repeated pixels don't add an edge that no object has, as a black border would.
    """
    left, top, right, bottom = window.edges
    inside = (max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height))
    pixels = image.crop(inside)
    if inside == window.edges:
        return pixels
    rows, columns = (inside[1] - top, bottom - inside[3]), (inside[0] - left, right - inside[2])
    depth = [(0, 0)] if image.mode != "L" else []
    return Image.fromarray(np.pad(np.asarray(pixels), [rows, columns, *depth], mode="edge"))


def _save(crop: Image.Image, target: Path) -> str:
    content = encode_png(crop)
    target.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def _open(path: Path) -> Image.Image:
    return decode(path.read_bytes())


def _report(crops: pl.DataFrame, items: pl.DataFrame) -> dict[str, Any]:
    longest = crops.select(pl.max_horizontal("width_px", "height_px")).to_series()
    counts = crops.group_by("subset", "label").len().sort("subset", "label")
    return {
        "crops": len(crops),
        "images": len(items),
        "images_without_crops": len(items) - crops["image"].n_unique(),
        "crops_per_subset": dict(crops["subset"].value_counts().sort("subset").iter_rows()),
        "labels_per_subset": {
            str(subset[0]): dict(part["label", "len"].iter_rows())
            for subset, part in counts.group_by("subset", maintain_order=True)
        },
        "all_labels_are_numbers": crops["number"].null_count() == 0,
        "median_box_px": float(longest.quantile(0.5) or 0),
    }
