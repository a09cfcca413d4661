"""Images of shapes of very different sizes, as a folder of COCO; and which of the shapes a detector finds, by size.

Shapes of three classes lie on a texture, their sides evenly distributed by their logarithm. Nothing is shared with the
generator of the product, so that what was tuned on the one is tried on the other.
"""

import json
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from assay.metrics.box_matching import box_iou
from assay.storage.parquet import read_parquet
from benchmarks.quality.data import Data, Values

CLASSES = ("disc", "square", "triangle")
SIDE_PX = 512
SIZES_PX = (8, 300)
LARGE_PX = 200
MOST_OVERLAP = 0.25
"""IoU of two objects of one image; a small one may lie on a large one."""


def write_shapes(folder: Path, count: int, seed: int = 0) -> None:
    """Write ``images`` and ``annotations.json`` into a new folder."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in range(count):
        name = f"{number:04d}.png"
        picture, objects = picture_of_shapes(rng)
        picture.save(folder / "images" / name)
        images.append({"id": number, "file_name": name, "width": SIDE_PX, "height": SIDE_PX})
        for kind, box in objects:
            area = box[2] * box[3]
            own = {"id": len(annotations) + 1, "image_id": number, "category_id": kind + 1, "bbox": box, "area": area}
            annotations.append({**own, "iscrowd": 0})
    categories = [{"id": place + 1, "name": name} for place, name in enumerate(CLASSES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content), encoding="utf-8")


def picture_of_shapes(rng: np.random.Generator) -> tuple[Image.Image, list[tuple[int, list[int]]]]:
    """Return an image, and class and box (left, top, width, height) of each object, the largest first."""
    picture = Image.fromarray(_texture(rng, SIDE_PX, SIDE_PX))
    sizes = np.exp(rng.uniform(*np.log(SIZES_PX), rng.integers(3, 9))).round().astype(int)
    objects: list[tuple[int, list[int]]] = []
    for size in sorted(sizes.tolist(), reverse=True):
        kind = int(rng.integers(len(CLASSES)))
        left, top = rng.integers(0, SIDE_PX - size, 2).tolist()
        box = [left, top, size, size]
        if all(_iou(box, other) <= MOST_OVERLAP for _, other in objects):
            picture.paste(Image.fromarray(_texture(rng, size, size)), (left, top), _outline(kind, size))
            objects.append((kind, box))
    return picture, objects


def _texture(rng: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    """Return a colour with coarse patches and fine noise."""
    colour = rng.uniform(30, 225, 3)
    cells = rng.normal(0, 14, (2 + height // 32, 2 + width // 32)).astype(np.float32)
    patches = np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC))
    noise = rng.normal(0, 9, (height, width, 3))
    return (colour + patches[..., None] + noise).clip(0, 255).astype(np.uint8)


def _outline(kind: int, size: int) -> Image.Image:
    mask = Image.new("L", (size, size), 0)
    draw, end = ImageDraw.Draw(mask), size - 1
    if kind == 0:
        draw.ellipse((0, 0, end, end), fill=255)
    elif kind == 1:
        draw.rectangle((0, 0, end, end), fill=255)
    else:
        draw.polygon([(0, end), (end, end), (end / 2, 0)], fill=255)
    return mask


def _iou(one: list[int], other: list[int]) -> float:
    return float(box_iou(np.array([one], float), np.array([other], float), np.array([False]))[0, 0])


def recall_of_large(data: Data, model: Path) -> Values:
    """Return ``large_recall``, of the test objects of ``LARGE_PX`` and more, for a model that was judged."""
    predictions = data.predictions_of(model)
    return {"large_recall": recall_of_sizes(predictions, data.folders["splits"], LARGE_PX, SIDE_PX)}


def recall_of_sizes(predictions: Path, splits: Path, least_px: float, most_px: float, confidence: float = 0.3) -> float:
    """Return the share of the test objects of some sizes that a box of their class finds, with an IoU of 0.5.

    Args:
        predictions: Folder of the stage.
        splits: Folder of the stage.
        least_px: Longer side of the smallest of the objects.
        most_px: Longer side that is too large.
        confidence: Least confidence of a box that counts.
    """
    place, sides = ["x_px", "y_px", "width_px", "height_px"], pl.max_horizontal("width_px", "height_px")
    boxes = read_parquet(predictions / "predictions.parquet").filter(pl.col("confidence") >= confidence)
    objects = read_parquet(splits / "objects.parquet").filter(pl.col("subset") == "test")
    chosen = objects.filter((sides >= least_px) & (sides < most_px)).select("item", "label", *place)
    found = []
    for item, label, *box in chosen.iter_rows():
        own = boxes.filter((pl.col("item") == item) & (pl.col("predicted_class") == label)).select(place).to_numpy()
        overlaps = box_iou(own.astype(float), np.array([box], float), np.array([False]))
        found.append(bool((overlaps >= 0.5).any()))
    return float(np.mean(found)) if found else float("nan")
