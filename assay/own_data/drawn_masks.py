"""Masks of classes, drawn from the outlines of objects.

Belongs here: which object is on top, what is unknown, the files. Does not belong here: drawing one outline.

Larger objects lie below smaller ones. Crowds and objects of which only the box is known make their pixels unknown,
except where an outline lies on them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from assay.datasets.schema import BACKGROUND, CLASS, IGNORE, MASK_CLASS_COLUMNS
from assay.own_data.placing import Frame, PlacedObject, draw
from assay.parallel import map_in_order, usable_cores
from assay.progress import Progress

_MOST_IN_8_BITS = 254


@dataclass(frozen=True)
class Scene:
    """An image with everything in it; ``objects`` is None where nothing is known."""

    file: str
    frame: Frame
    size: tuple[int, int]
    objects: tuple[PlacedObject, ...] | None


@dataclass(frozen=True)
class MaskPainter:
    """Draws the masks of one source; classes have the values 1, 2 and so on, the background 0.

    Attributes:
        classes: Names in the order of their values.
    """

    classes: tuple[str, ...]

    @property
    def ignore(self) -> int:
        """Value of pixels whose class is unknown: the largest of 8 bits, or of 16 where there are too many classes."""
        return 255 if len(self.classes) <= _MOST_IN_8_BITS else 65535

    def table(self) -> pl.DataFrame:
        """Return mask_classes.parquet."""
        named = [(value, name, CLASS) for value, name in enumerate(self.classes, 1)]
        rows = [(0, None, BACKGROUND), *named, (self.ignore, None, IGNORE)]
        return pl.DataFrame(rows, schema=dict(MASK_CLASS_COLUMNS), orient="row")

    def paint(self, scene: Scene) -> Image.Image:
        """Return the mask of an image."""
        width, height = scene.size
        mask = np.zeros((height, width), np.uint8 if self.ignore == 255 else np.uint16)
        objects = sorted(scene.objects or (), key=lambda one: one.box.width_px * one.box.height_px, reverse=True)
        for one in objects:
            if one.outline is None:
                left, top, right, bottom = one.box.edges
                mask[top:bottom, left:right] = self.ignore
            elif one.crowd:
                mask[draw(one.outline, scene.frame)] = self.ignore
        for one in objects:
            if one.outline is not None and not one.crowd:
                mask[draw(one.outline, scene.frame)] = self.classes.index(one.label) + 1
        return Image.fromarray(mask)


def write_masks(painter: MaskPainter, scenes: Sequence[Scene], folder: Path, progress: Progress) -> list[str | None]:
    """Write ``masks/<file>.png`` of each image whose objects are known; return names relative to ``folder``."""
    names = [None if scene.objects is None else f"masks/{scene.file}.png" for scene in scenes]
    for parent in {(folder / name).parent for name in names if name}:
        parent.mkdir(parents=True, exist_ok=True)

    def write(pair: tuple[Scene, str | None]) -> None:
        scene, name = pair
        if name:
            painter.paint(scene).save(folder / name, "PNG", compress_level=1)

    for done, _ in enumerate(map_in_order(write, zip(scenes, names, strict=True), usable_cores()), 1):
        progress(done, len(scenes), "masks drawn")
    return names
