"""Small data sets of annotated images whose boxes are known, as tools write them: COCO, YOLO, folders of masks."""

import json

import numpy as np
import polars as pl
from PIL import Image

from assay.datasets.index import build_coco, build_masks, build_yolo
from assay.spec.generated_images import CocoSource, MaskFolderSource, YoloSource

SIDE = 64
OBJECT = 14


def corners(count, seed=0):
    """Return left and top of one object per image."""
    return np.random.default_rng(seed).integers(4, SIDE - OBJECT - 4, (count, 2)).tolist()


def names(count):
    return [f"i{number:02d}.png" for number in range(count)]


def truth(count, seed=0):
    """Return the box of each image."""
    return {name: [(*corner, OBJECT, OBJECT)] for name, corner in zip(names(count), corners(count, seed), strict=True)}


def save_images(folder, count, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, (left, top)) in enumerate(zip(names(count), corners(count, seed), strict=True)):
        pixels = np.full((SIDE, SIDE, 3), 40 + number, np.uint8)
        pixels[top : top + OBJECT, left : left + OBJECT] = 220
        Image.fromarray(pixels).save(folder / name)


def coco_content(count, seed=0):
    """Return the content of a COCO file for the images of these names."""
    annotations = [
        {
            "id": number,
            "image_id": number,
            "category_id": 1,
            "bbox": [left, top, OBJECT, OBJECT],
            "area": OBJECT**2,
            "iscrowd": 0,
            "segmentation": [outline(left, top)],
        }
        for number, (left, top) in enumerate(corners(count, seed), 1)
    ]
    images = [
        {"id": number, "file_name": name, "width": SIDE, "height": SIDE} for number, name in enumerate(names(count), 1)
    ]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "box"}]}


def outline(left, top):
    right, bottom = left + OBJECT, top + OBJECT
    return [left, top, right, top, right, bottom, left, bottom]


def write_coco(root, content):
    root.mkdir(parents=True, exist_ok=True)
    (root / "instances.json").write_text(json.dumps(content))


def yolo_line(left, top):
    return f"0 {(left + OBJECT / 2) / SIDE:.6f} {(top + OBJECT / 2) / SIDE:.6f} {OBJECT / SIDE:.6f} {OBJECT / SIDE:.6f}"


def write_labels(folder, lines):
    """Write one label file of one line per image."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, line in zip(names(len(lines)), lines, strict=True):
        (folder / name).with_suffix(".txt").write_text(line + "\n")


def yolo_lines(count, seed=0):
    return [yolo_line(left, top) for left, top in corners(count, seed)]


def polygon_line(left, top):
    return "0 " + " ".join(f"{value / SIDE:.6f}" for value in outline(left, top))


def make_coco(root, count, seed=0, outlines=True):
    """Write images and a COCO file."""
    save_images(root / "images", count, seed)
    content = coco_content(count, seed)
    for entry in content["annotations"]:
        entry["segmentation"] = entry["segmentation"] if outlines else []
    write_coco(root, content)


def make_yolo(root, count, seed=0, images="images", labels="labels", outlines=False):
    """Write images, label files and data.yaml."""
    save_images(root / images, count, seed)
    line = polygon_line if outlines else yolo_line
    write_labels(root / labels, [line(left, top) for left, top in corners(count, seed)])
    (root / "data.yaml").write_text(f"names: [box]\ntrain: {images}\n")


def make_masks(root, count, seed=0, value=1):
    """Write images, and masks in which the object has this value."""
    save_images(root / "images", count, seed)
    (root / "masks").mkdir()
    for name, (left, top) in zip(names(count), corners(count, seed), strict=True):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[top : top + OBJECT, left : left + OBJECT] = value
        Image.fromarray(mask).save(root / "masks" / name)


BUILDERS = {
    "coco": (CocoSource, build_coco),
    "yolo": (YoloSource, build_yolo),
    "masks": (MaskFolderSource, build_masks),
}


class Index:
    """What a reader made of a data set.

    Attributes:
        report: Its report.
        items: Rows of items.parquet.
        boxes: Boxes of each image that has some.
        labels: Labels of all objects.
        folder: The result's folder.
    """

    def __init__(self, kind, root, folder, **keys):
        section, build = BUILDERS[kind]
        folder.mkdir(parents=True)
        self.folder = folder
        self.report = build(section(path=str(root), **keys), 0, folder)
        self.items = pl.read_parquet(folder / "items.parquet")
        objects = pl.read_parquet(folder / "objects.parquet")
        self.labels = objects["label"].to_list()
        self.boxes = {}
        for item, *box in objects.select("item", "x_px", "y_px", "width_px", "height_px").iter_rows():
            self.boxes.setdefault(item.rsplit("/", 1)[-1], []).append(tuple(box))

    @property
    def known(self):
        """Names of the images whose truth is known."""
        return sorted(item.rsplit("/", 1)[-1] for item in self.items.filter("labelled")["item"])
