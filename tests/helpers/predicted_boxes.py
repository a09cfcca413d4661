"""Random predicted boxes, and how boxes that went through another tool's format are compared with them."""

import numpy as np
import polars as pl

from assay.datasets.schema import OBJECT_COLUMNS
from assay.export.predictions import StoredDetections

IMAGES = {"images/a.jpg": (640, 480), "b.png": (33, 1000), "000003": (1024, 1024), "sub/empty.jpg": (50, 50)}


def image_file(item):
    return f"test/{item}" if "." in item else f"test/{item}.png"


def detections(count=60, classes=("10", "9", "cat")):
    """Random boxes, at positions between pixels, in all images but the last."""
    rng = np.random.default_rng(1)
    rows = []
    for number in range(count):
        item = list(IMAGES)[number % 3]
        size = np.array(IMAGES[item])
        corners = np.sort(rng.uniform(0, 1, (2, 2)) * size, axis=0)
        label = ["cat", "9", "10"][number % 3]
        rows.append((item, label, float(rng.random()), *corners[0], *(corners[1] - corners[0])))
    columns = ["item", "predicted_class", "confidence", "x_px", "y_px", "width_px", "height_px"]
    boxes = pl.DataFrame(rows, schema=columns, orient="row").cast({name: pl.Float32 for name in columns[2:]})
    images = pl.DataFrame(
        [(item, image_file(item), *size, True) for item, size in IMAGES.items()],
        schema=["item", "file", "width_px", "height_px", "labelled"],
        orient="row",
    )
    ground_truth = [("b.png", 0, "cat", 3, 4, 20, 30, False), ("b.png", 1, "9", 0, 0, 33, 1000, True)]
    return StoredDetections(
        images, boxes, pl.DataFrame(ground_truth, schema=dict(OBJECT_COLUMNS), orient="row"), classes
    )


def boxes_of(boxes):
    """Return the boxes of a table as item, label, left, top, width, height, confidence."""
    return boxes.select("item", "predicted_class", "x_px", "y_px", "width_px", "height_px", "confidence").rows()


def assert_same_boxes(ours, theirs):
    """Assert that two lists of ``boxes_of`` agree in every label, and in every edge within a pixel."""
    assert [row[:2] for row in ours] == [row[:2] for row in theirs]
    edges = np.array([[row[2:6] for row in rows] for rows in (ours, theirs)])
    edges[..., 2:] += edges[..., :2]
    assert np.abs(edges[0] - edges[1]).max() < 1
    assert np.allclose([row[6] for row in ours], [row[6] for row in theirs], atol=1e-5)
