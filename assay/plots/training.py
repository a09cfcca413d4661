"""Plots of a training: every metric over the epochs, and sheets of samples as the network received them.

Belongs here: turning a network's inputs into images, and what is drawn onto them. Does not belong here: making samples
(``assay.training.net_data``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from assay.plots.common import FAINT, LOG_SPAN, subset_colour, value_ratio
from assay.plots.overlays import GAP_PX, UNKNOWN, ClassMap, Mark, class_legend, paint_classes, with_marks
from assay.plots.sheets import EDGE, MAX_SHEET_BYTES, PAPER, Colour, class_color, fit_into, rgb, save_small_png, sheet
from assay.plots.style import headline, literal, render

MAX_PANELS = 4


def learning_curves(history: pl.DataFrame, best_epoch: int | None = None) -> bytes:
    """Draw one panel per metric, loss first, with one line per subset.

    Args:
        history: Columns epoch, subset, metric, value.
        best_epoch: The epoch whose weights were kept, marked by a line.
    """
    metrics = sorted(history["metric"].unique().to_list(), key=lambda name: ("loss" not in name, name))[:MAX_PANELS]
    columns = min(2, len(metrics))
    rows = -(-len(metrics) // 2)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, metric in zip(panels, metrics, strict=False):
            _draw_metric(axes, metric, history.filter(pl.col("metric") == metric), best_epoch)
        for axes in panels[len(metrics) :]:
            axes.set_visible(False)
        lines = {line.get_label(): line for axes in panels[: len(metrics)] for line in axes.get_lines()}
        figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=len(lines))

    return render(420 * columns if columns > 1 else 640, 310 * rows + 40, draw)


def _draw_metric(axes: Axes, metric: str, rows: pl.DataFrame, best_epoch: int | None) -> None:
    subsets = rows["subset"].unique(maintain_order=True).to_list()
    for subset in subsets:
        line = rows.filter(pl.col("subset") == subset).sort("epoch")
        marker = "o" if len(line) <= 30 else None
        axes.plot(
            line["epoch"],
            line["value"],
            color=subset_colour(subset, subsets),
            label=literal(subset),
            marker=marker,
            markersize=4,
        )
    if best_epoch is not None:
        axes.axvline(best_epoch, color=FAINT, linewidth=1, linestyle="--", label=f"kept: epoch {best_epoch}")
    if "loss" in metric and value_ratio(rows["value"].drop_nulls()) > LOG_SPAN:
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    headline(axes, metric.replace("_", " "))


REACH = 2.5
"""Standard deviations between an item's mean, which is grey, and black or white."""

STANDARDIZED = f"grey: the item's mean; black and white: {REACH} standard deviations from it"
AS_IT_IS = "values as the network got them: 0 is black, 1 is white"
OBJECT_PX, WINDOW_PX = 96, 160
"""Approximate longest side of a tile that shows one object, and of one that shows several."""
WIDTH_PX = 1080
NO_CLASS, UNKNOWN_CLASS = "nothing", "unknown"

Box = Sequence[float]
"""Class, left, top, right, bottom in pixels; a negative class is a crowd region."""


@dataclass(frozen=True)
class Labelled:
    """Samples ready for a sheet.

    Attributes:
        tiles: One image per sample.
        captions: One per tile.
        legend: Texts and their colours; None for a text without a swatch.
    """

    tiles: Sequence[Image.Image]
    captions: Sequence[str]
    legend: Sequence[tuple[str, Colour | None]] = ()


def as_images(values: NDArray[np.float32], standardized: bool) -> list[Image.Image]:
    """Return a network's inputs as images: numbers become shades, in the same way for all of them.

    Args:
        values: (n, C, H, W), as the network received them; C is 3, or 1 for grey.
        standardized: Whether items had mean 0 and standard deviation 1 before augmentation; else they go from 0 to 1.
    """
    levels = values / (2 * REACH) + 0.5 if standardized else values
    pixels = np.rint(levels.clip(0, 1) * 255).astype(np.uint8)
    colours = pixels.repeat(3, axis=1) if pixels.shape[1] == 1 else pixels
    return [Image.fromarray(each) for each in colours.transpose(0, 2, 3, 1)]


def with_targets(images: Sequence[Image.Image], targets: Sequence[Any]) -> Labelled:
    """Return images with a class, a list of classes or a number below each."""
    return Labelled([_enlarged(image, OBJECT_PX) for image in images], [_as_caption(target) for target in targets])


def with_masks(images: Sequence[Image.Image], masks: Sequence[ClassMap], names: Sequence[str]) -> Labelled:
    """Return images, each beside the classes of its pixels (h, w): 0 background, 1 to k the classes, 255 unknown."""
    present = [[value for value in np.unique(mask).tolist() if 0 < value < UNKNOWN] for mask in masks]
    captions = [_as_caption([names[value - 1] for value in values]) for values in present]
    tiles = [_beside(image, mask) for image, mask in zip(images, masks, strict=True)]
    legend = class_legend(names, sorted(set().union(*present)))
    return Labelled(
        tiles, captions, [*legend, *[(UNKNOWN_CLASS, PAPER)] * any((mask == UNKNOWN).any() for mask in masks)]
    )


def with_boxes(images: Sequence[Image.Image], boxes: Sequence[Sequence[Box]], names: Sequence[str]) -> Labelled:
    """Return images with their boxes drawn onto them."""
    captions = [_as_caption([names[int(box[0])] for box in own if box[0] >= 0]) for own in boxes]
    return Labelled([_framed(image, own, names) for image, own in zip(images, boxes, strict=True)], captions)


def save_samples(labelled: Labelled, standardized: bool, path: Path) -> None:
    """Save the sheet of an epoch, at most 150 KB; its legend says how numbers became shades."""
    fitting = max(1, WIDTH_PX // max(tile.width for tile in labelled.tiles))
    rows = -(-len(labelled.tiles) // fitting)
    columns = -(-len(labelled.tiles) // rows)
    legend = [(STANDARDIZED if standardized else AS_IT_IS, None), *labelled.legend]
    save_small_png(sheet(labelled.tiles, labelled.captions, columns, legend), path, MAX_SHEET_BYTES)


def _as_caption(target: Any) -> str:
    if isinstance(target, float):
        return f"{target:.4g}"
    return target if isinstance(target, str) else ", ".join(target) or NO_CLASS


def _enlarged(image: Image.Image, about_px: int) -> Image.Image:
    """Return an image as a tile: enlarged by a whole factor, or reduced where it is more than twice as large."""
    longest = max(image.size)
    return fit_into(image, about_px if longest > 2 * about_px else longest * max(1, round(about_px / longest)))


def _beside(image: Image.Image, mask: ClassMap) -> Image.Image:
    tile = _enlarged(image, WINDOW_PX)
    classes = np.asarray(Image.fromarray(mask).resize(tile.size, Image.Resampling.NEAREST))
    both = Image.new("RGB", (2 * tile.width + GAP_PX, tile.height), PAPER)
    both.paste(tile)
    both.paste(paint_classes(tile, classes), (tile.width + GAP_PX, 0))
    return both


def _framed(image: Image.Image, boxes: Sequence[Box], names: Sequence[str]) -> Image.Image:
    tile = _enlarged(image, WINDOW_PX)
    return with_marks(tile, [_mark(box, names) for box in boxes], tile.width / image.width)


def _mark(box: Box, names: Sequence[str]) -> Mark:
    number, left, top, right, bottom = box
    xywh = (left, top, right - left, bottom - top)
    if number < 0:
        return Mark(xywh, "crowd", rgb(EDGE), dashed=True)
    return Mark(xywh, names[int(number)], class_color(int(number)))
