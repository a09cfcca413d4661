"""Predicted boxes and masks as COCO's files, read by pycocotools."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from pycocotools.coco import COCO

from assay.datasets.mask_classes import MaskMeanings
from assay.errors import DataError
from assay.export.coco import export_coco, export_coco_masks
from assay.export.predictions import PredictedMasks
from assay.training.predictions import save_mask
from tests.helpers.predicted_boxes import IMAGES, assert_same_boxes, boxes_of, detections, image_file


def test_pycocotools_reads_the_boxes_within_a_pixel(tmp_path, capsys):
    ours = detections()
    export_coco(ours, tmp_path)
    truth = COCO(str(tmp_path / "instances.json"))
    results = truth.loadRes(str(tmp_path / "predictions.json"))
    names = {truth_image["id"]: truth_image["file_name"] for truth_image in truth.dataset["images"]}
    theirs = [
        (names[one["image_id"]], truth.cats[one["category_id"]]["name"], *one["bbox"], one["score"])
        for one in results.dataset["annotations"]
    ]
    assert_same_boxes([(image_file(row[0]), *row[1:]) for row in boxes_of(ours.boxes)], theirs)
    assert len(results.getImgIds()) == 4


def test_true_boxes_are_exported_for_evaluation(tmp_path):
    export_coco(detections(), tmp_path)
    content = json.loads((tmp_path / "instances.json").read_text())
    assert [one["name"] for one in content["categories"]] == ["10", "9", "cat"]
    first, crowd = content["annotations"]
    assert (first["id"], first["bbox"], first["area"], first["iscrowd"]) == (1, [3, 4, 20, 30], 600, 0)
    assert crowd["iscrowd"] == 1


def write_coco(path, sizes, categories=("cat", "9", "10")):
    images = [
        {"id": 50 - number, "file_name": name, "width": width, "height": height}
        for number, (name, (width, height)) in enumerate(sizes.items())
    ]
    content = {"images": images, "categories": [{"id": 7 * n, "name": name} for n, name in enumerate(categories)]}
    path.write_text(json.dumps(content))
    return path


def test_ids_can_be_those_of_the_users_file(tmp_path):
    sizes = {"a.jpg": (640, 480), "b.png": (33, 1000), "000003": (1024, 1024), "sub\\empty.jpg": (50, 50)}
    written = export_coco(detections(), tmp_path, write_coco(tmp_path / "mine.json", sizes))
    assert [path.name for path in written] == ["predictions.json"]
    first = json.loads(written[0].read_text())[0]
    assert (first["image_id"], first["category_id"]) == (50, 0)


@pytest.mark.parametrize(
    ("sizes", "categories", "reason"),
    [
        ({"a.jpg": (640, 480)}, ("cat", "9", "10"), "b.png: is not in"),
        (
            {"a.jpg": (480, 640), "b.png": (33, 1000), "000003": (1024, 1024), "empty.jpg": (50, 50)},
            ("cat", "9", "10"),
            "images/a.jpg: is 640x480 px upright, but 480x640 px there",
        ),
        (IMAGES, ("cat", "9"), "has no class '10'; it has cat, 9"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, sizes, categories, reason):
    with pytest.raises(DataError) as caught:
        export_coco(detections(), tmp_path / "out", write_coco(tmp_path / "mine.json", sizes, categories))
    assert reason in str(caught.value)
    assert not (tmp_path / "out").exists()


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
def test_pycocotools_reads_the_same_pixels_of_masks(tmp_path, masks):
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


def test_ids_of_masks_can_be_those_of_the_users_file(tmp_path, masks):
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
