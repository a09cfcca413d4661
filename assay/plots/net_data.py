"""Sheets of training samples as the network got them, with their labels, boxes or masks.

Belongs here: from a network's inputs to pixels, and what is drawn onto them. Does not belong here: making samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assay.plots.overlays import GAP_PX, UNKNOWN, ClassMap, Mark, class_legend, painted, with_marks
from assay.plots.sheets import EDGE, MAX_BYTES, PAPER, Colour, class_color, fit, rgb, save_small_png, sheet

REACH = 2.5
"""Standard deviations from an item's mean to black and to white."""

STANDARDIZED = f"grey: the item's mean; black and white: {REACH} standard deviations from it"
AS_IT_IS = "values as the network got them: 0 is black, 1 is white"
OBJECT_PX, WINDOW_PX = 96, 160
"""About the longest side of a tile that shows one object, and of one that shows several."""
WIDTH_PX = 1080
NOTHING, NOT_KNOWN = "nothing", "unknown"

Box = Sequence[float]
"""Class, left, top, right, bottom in pixels; a negative class is a crowd region."""


@dataclass(frozen=True)
class Labelled:
    """Tiles with a caption each, and what their colours mean."""

    tiles: Sequence[Image.Image]
    captions: Sequence[str]
    legend: Sequence[tuple[str, Colour | None]] = ()


def as_images(values: NDArray[np.float32], standardized: bool) -> list[Image.Image]:
    """Return inputs as pictures; nothing is undone but that numbers become shades, in the same way for all of them.

    Args:
        values: (n, C, H, W), as the network got them; C is 3, or 1 for grey.
        standardized: Whether items have mean 0 and standard deviation 1 but for random changes, or go from 0 to 1.
    """
    levels = values / (2 * REACH) + 0.5 if standardized else values
    pixels = np.rint(levels.clip(0, 1) * 255).astype(np.uint8)
    colours = pixels.repeat(3, axis=1) if pixels.shape[1] == 1 else pixels
    return [Image.fromarray(each) for each in colours.transpose(0, 2, 3, 1)]


def with_answers(images: Sequence[Image.Image], answers: Sequence[Any]) -> Labelled:
    """Return pictures with a class, a list of classes or a number below each."""
    return Labelled([_enlarged(image, OBJECT_PX) for image in images], [_in_words(answer) for answer in answers])


def with_masks(images: Sequence[Image.Image], masks: Sequence[ClassMap], names: Sequence[str]) -> Labelled:
    """Return images, beside each the classes of its pixels (h, w): 0 background, 1 to k the classes, 255 unknown."""
    present = [[value for value in np.unique(mask).tolist() if 0 < value < UNKNOWN] for mask in masks]
    captions = [_in_words([names[value - 1] for value in values]) for values in present]
    tiles = [_beside(image, mask) for image, mask in zip(images, masks, strict=True)]
    legend = class_legend(names, sorted(set().union(*present)))
    return Labelled(tiles, captions, [*legend, *[(NOT_KNOWN, PAPER)] * any((mask == UNKNOWN).any() for mask in masks)])


def with_boxes(images: Sequence[Image.Image], boxes: Sequence[Sequence[Box]], names: Sequence[str]) -> Labelled:
    """Return images with their boxes drawn onto them."""
    captions = [_in_words([names[int(box[0])] for box in own if box[0] >= 0]) for own in boxes]
    return Labelled([_framed(image, own, names) for image, own in zip(images, boxes, strict=True)], captions)


def save_samples(labelled: Labelled, standardized: bool, path: Path) -> None:
    """Save the sheet of an epoch, at most 150 KB; below the tiles it says how numbers became shades."""
    most = max(1, WIDTH_PX // max(tile.width for tile in labelled.tiles))
    rows = -(-len(labelled.tiles) // most)
    columns = -(-len(labelled.tiles) // rows)
    legend = [(STANDARDIZED if standardized else AS_IT_IS, None), *labelled.legend]
    save_small_png(sheet(labelled.tiles, labelled.captions, columns, legend), path, MAX_BYTES)


def _in_words(answer: Any) -> str:
    if isinstance(answer, float):
        return f"{answer:.4g}"
    return answer if isinstance(answer, str) else ", ".join(answer) or NOTHING


def _enlarged(image: Image.Image, about_px: int) -> Image.Image:
    """Return an image as a tile: its pixels as squares of whole pixels, or reduced where it is much larger."""
    longest = max(image.size)
    return fit(image, about_px if longest > 2 * about_px else longest * max(1, round(about_px / longest)))


def _beside(image: Image.Image, mask: ClassMap) -> Image.Image:
    tile = _enlarged(image, WINDOW_PX)
    classes = np.asarray(Image.fromarray(mask).resize(tile.size, Image.Resampling.NEAREST))
    both = Image.new("RGB", (2 * tile.width + GAP_PX, tile.height), PAPER)
    both.paste(tile)
    both.paste(painted(tile, classes), (tile.width + GAP_PX, 0))
    return both


def _framed(image: Image.Image, boxes: Sequence[Box], names: Sequence[str]) -> Image.Image:
    tile = _enlarged(image, WINDOW_PX)
    return with_marks(tile, [_mark(box, names) for box in boxes], tile.width / image.width)


def _mark(box: Box, names: Sequence[str]) -> Mark:
    number, left, top, right, bottom = box
    place = (left, top, right - left, bottom - top)
    if number < 0:
        return Mark(place, "crowd", rgb(EDGE), dashed=True)
    return Mark(place, names[int(number)], class_color(int(number)))
