"""Example data: generated pictures of numbers, painted, encoded, written and indexed; and real handwritten digits.

The digits are those of scikit-learn, which need no download, written as class folders as a user would have them.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from assay.datasets.schema import IMAGE_ITEM_COLUMNS, MASK_CLASSES_FILE
from assay.datasets.synthetic.picture import (
    BACKGROUND_INDEX,
    NUMBER_COLUMNS,
    NumberPainter,
    NumberPicture,
    RowCollector,
    item_name,
    label_text,
    number_mask_classes,
    object_rows,
    picture_row,
)
from assay.images.boxes import Box
from assay.images.png import encode_png
from assay.plots.sheets import class_color, draw_boxes, sample_grid, save_small_png
from assay.spec.generated_images import NumbersSource
from assay.storage.files import temporary_sibling
from assay.storage.parquet import write_parquet
from assay.utils.concurrency import Progress, map_in_order, silent, usable_cores
from assay.utils.text import pluralize


def build_numbers(
    spec: NumbersSource, seed: int, folder: Path, progress: Progress = silent, workers: int | None = None
) -> dict[str, Any]:
    """Fill ``folder`` with generated pictures and return statistics about them.

    Writes images/, masks/ and labels/ (where the spec wants them), items.parquet, objects.parquet,
    mask_classes.parquet (where there are masks) and pictures/samples.png. The bytes depend on the spec and the seed
    alone; memory does not grow with the count.

    Args:
        spec: What to generate.
        seed: Not negative.
        folder: Existing empty folder.
        progress: Called after each picture.
        workers: Threads; None takes one per usable core.

    Raises:
        DataError: Background photos that can't be used, all of them, before anything is generated.
    """
    writer = PictureWriter(spec, seed, folder)
    summary = Summary.empty()
    for done, written in enumerate(map_in_order(writer.write, range(spec.sample_count), workers or usable_cores()), 1):
        summary.add(written)
        progress(done, spec.sample_count, f"{pluralize(summary.objects_count, 'number')} drawn")
    summary.save(folder)
    if spec.masks:
        write_parquet(number_mask_classes(spec.max_number), folder / MASK_CLASSES_FILE)
    return summary.report()


@dataclass(frozen=True)
class Written:
    """What is kept of a picture once its files are written; only the first few have a ``sample``."""

    item: dict[str, Any]
    objects: list[dict[str, Any]]
    without_room: int
    sample: Image.Image | None


class PictureWriter:
    """Paints pictures and writes their files; safe to use from several threads.

    Files are not forced to the disk one by one: the result store does that for the whole folder.
    """

    def __init__(self, spec: NumbersSource, seed: int, folder: Path) -> None:
        self._painter = NumberPainter(spec, seed)
        self._spec = spec
        self._folder = folder
        enabled = {"images": True, "masks": spec.masks, "labels": spec.detection_labels}
        for name in (name for name, is_enabled in enabled.items() if is_enabled):
            (folder / name).mkdir()

    def write(self, index: int) -> Written:
        """Write the files of picture ``index``."""
        item, picture = item_name(index), self._painter.paint(index)
        image = encode_png(picture.image, self._spec.compress_level)
        (self._folder / "images" / f"{item}.png").write_bytes(image)
        if self._spec.masks:
            mask = encode_png(picture.mask, self._spec.compress_level)
            (self._folder / "masks" / f"{item}.png").write_bytes(mask)
        if self._spec.detection_labels:
            (self._folder / "labels" / f"{item}.json").write_text(label_text(item, picture), encoding="utf-8")
        return Written(
            item=picture_row(item, picture, image, self._spec.masks),
            objects=object_rows(item, picture),
            without_room=picture.without_room,
            sample=draw_sample(picture) if index < SAMPLES else None,
        )


@dataclass
class Summary:
    """The tables, counts and samples that are collected while pictures are written."""

    items: RowCollector
    objects: RowCollector
    labels: Counter[str]
    backgrounds: Counter[str]
    amounts: Counter[int]
    samples: list[tuple[str, Image.Image]]
    without_room: int = 0

    @classmethod
    def empty(cls) -> Self:
        """Return a summary of nothing."""
        return cls(RowCollector(IMAGE_ITEM_COLUMNS), RowCollector(NUMBER_COLUMNS), Counter(), Counter(), Counter(), [])

    @property
    def objects_count(self) -> int:
        """Numbers drawn so far."""
        return self.labels.total()

    def add(self, written: Written) -> None:
        """Add one picture."""
        self.items.add([written.item])
        self.objects.add(written.objects)
        self.labels.update(row["label"] for row in written.objects)
        self.backgrounds[written.item["background"]] += 1
        self.amounts[len(written.objects)] += 1
        self.without_room += written.without_room
        if written.sample is not None:
            self.samples.append((written.item["item"], written.sample))

    def save(self, folder: Path) -> None:
        """Write both tables and the sample picture."""
        write_parquet(self.items.frame(), folder / "items.parquet")
        write_parquet(self.objects.frame(), folder / "objects.parquet")
        names, images = zip(*self.samples, strict=True)
        save_small_png(sample_grid(images, names, COLUMNS), folder / "pictures" / "samples.png")

    def report(self) -> dict[str, Any]:
        """Return the statistics as plain values."""
        return {
            "root": ".",
            "images": self.amounts.total(),
            "objects": self.objects_count,
            "objects_without_room": self.without_room,
            "objects_per_image": {str(amount): self.amounts[amount] for amount in sorted(self.amounts)},
            "labels": {label: self.labels[label] for label in sorted(self.labels, key=int)},
            "backgrounds": {name: self.backgrounds[name] for name in sorted(self.backgrounds)},
        }


SAMPLES = 9

COLUMNS = 3

_WINDOW_PX = 192

_TINT = 0.35


def draw_sample(picture: NumberPicture) -> Image.Image:
    """Return a window around the picture's first number in original size: whole pictures would have to be reduced."""
    window = _window(picture)
    image, mask = picture.image.crop(window.edges), picture.mask.crop(window.edges)
    inside = [number for number in picture.numbers if number.box.overlaps(window)]
    boxes = [number.box.shifted(-window.x_px, -window.y_px) for number in inside]
    return draw_boxes(_tinted(image, mask), boxes, [str(number.number) for number in inside])


def _window(picture: NumberPicture) -> Box:
    first = picture.numbers[0].box
    width, height = (min(side, _WINDOW_PX) for side in picture.image.size)
    left = first.x_px + first.width_px // 2 - width // 2
    top = first.y_px + first.height_px // 2 - height // 2
    free_x, free_y = picture.image.width - width, picture.image.height - height
    return Box(min(max(left, 0), free_x), min(max(top, 0), free_y), width, height)


def _tinted(image: Image.Image, mask: Image.Image) -> Image.Image:
    """Blend each number's class colour over its mask pixels."""
    pixels, classes = np.array(image, np.float32), np.asarray(mask)
    for index in np.unique(classes[classes != BACKGROUND_INDEX]).tolist():
        here = classes == index
        pixels[here] += _TINT * (np.array(class_color(index), np.float32) - pixels[here])
    return Image.fromarray(pixels.round().astype(np.uint8))


_BRIGHTEST = 16
"""Largest grey level of the data set."""


def write_handwritten_digits(folder: Path) -> int:
    """Write 1,797 grey images of 8x8 pixels as ``folder/<digit>/<number>.png`` and return how many.

    The folder appears complete or not at all. Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits,
    UCI Machine Learning Repository, 1998; its test part, as scikit-learn ships it.

    Raises:
        FileExistsError: The folder exists and is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} exists and is not empty; choose another folder or remove it.")
    from sklearn.datasets import load_digits

    data = load_digits()
    levels = (data.images * 255 / _BRIGHTEST).round().astype(np.uint8)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = temporary_sibling(folder)
    for digit in sorted(set(data.target.tolist())):
        (draft / str(digit)).mkdir(parents=True)
    for index, (pixels, digit) in enumerate(zip(levels, data.target.tolist(), strict=True)):
        (draft / str(digit) / f"{index:04d}.png").write_bytes(encode_png(Image.fromarray(pixels)))
    draft.rename(folder)
    return len(levels)
