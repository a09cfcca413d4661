"""Predicted masks as COCO's files, read by pycocotools."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from pycocotools.coco import COCO

from assay.datasets.mask_classes import MaskMeanings
from assay.errors import DataError
from assay.export.coco import export_coco_masks
from assay.export.predictions import PredictedMasks
from assay.training.predictions import save_mask

SIZES = {"a": (7, 5), "sub/b": (64, 33), "unlabelled": (20, 20)}
CLASSES = ("cat", "dog", "9")


def class_map(item, seed, last=3):
    width, height = SIZES[item]
    return np.random.default_rng(seed).integers(0, last + 1, (height, width)).astype(np.uint8)


@pytest.fixture
def masks(tmp_path):
    for item in SIZES:
        save_mask(tmp_path / "masks" / f"{item}.png", torch.from_numpy(class_map(item, 0, last=2)), 3)
        save_mask(tmp_path / "truth" / f"{item}.png", torch.from_numpy(class_map(item, 1)), 3)
    rows = [(item, f"{item}.jpg", f"{item}.png", *size, item != "unlabelled") for item, size in SIZES.items()]
    columns = ["item", "file", "mask", "width_px", "height_px", "labelled"]
    images = pl.DataFrame(rows, schema=columns, orient="row")
    # Of the values 0 to 3, the last is unknown.
    meanings = MaskMeanings([0, 1, 2, 3], [0, 1, 2, 255])
    return PredictedMasks(images, CLASSES, ("cat", "dog"), tmp_path / "masks", tmp_path / "truth", meanings)


def drawn(coco, image_id, category_ids, size):
    """Return a class map from the annotations of one image."""
    found = np.zeros(size[::-1], np.uint8)
    for one in coco.loadAnns(coco.getAnnIds([image_id])):
        mask = coco.annToMask(one).astype(bool)
        assert not found[mask].any()
        found[mask] = category_ids.index(one["category_id"]) + 1
    return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pycocotools_reads_the_same_pixels(tmp_path, masks):
    export_coco_masks(masks, tmp_path / "out")
    truth = COCO(str(tmp_path / "out" / "instances.json"))
    results = truth.loadRes(str(tmp_path / "out" / "predictions.json"))
    ids = truth.getCatIds(["cat", "dog", "9"])
    by_file = {image["file_name"]: image["id"] for image in truth.dataset["images"]}
    for item, size in SIZES.items():
        number = by_file[f"{item}.jpg"]
        assert np.array_equal(drawn(results, number, ids, size), class_map(item, 0, last=2))
        known = class_map(item, 1)
        known[known == 3] = 0
        assert np.array_equal(drawn(truth, number, ids, size), known if item != "unlabelled" else known * 0)
    areas = [(one["area"], truth.annToMask(one).sum()) for one in truth.dataset["annotations"]]
    assert areas
    assert all(area == drawn_area for area, drawn_area in areas)


def test_ids_can_be_those_of_the_users_file(tmp_path, masks):
    images = [
        {"id": 9 - number, "file_name": name, "width": size[0], "height": size[1]}
        for number, (name, size) in enumerate([("a", (7, 5)), ("b", (64, 33)), ("unlabelled", (20, 20))])
    ]
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps({"images": images, "categories": [{"id": 5, "name": "dog"}, {"id": 3, "name": "cat"}]}))
    (path,) = export_coco_masks(masks, tmp_path / "out", mine)
    entries = {(one["image_id"], one["category_id"]) for one in json.loads(path.read_text())}
    assert entries == {(image, category) for image in (9, 8, 7) for category in (3, 5)}
    mine.write_text(json.dumps({"images": images, "categories": [{"id": 5, "name": "dog"}]}))
    with pytest.raises(DataError, match="has no class 'cat'; it has dog"):
        export_coco_masks(masks, tmp_path / "other", mine)
    assert not (tmp_path / "other").exists()
