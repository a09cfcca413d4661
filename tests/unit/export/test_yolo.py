"""Predicted boxes as YOLO's label files, read by a reader of ten lines."""

import polars as pl
import pytest

from assay.errors import DataError
from assay.export.predictions import StoredDetections
from assay.export.yolo import export_yolo
from tests.helpers.predicted_boxes import IMAGES, assert_same_boxes, boxes_of, detections


def read_yolo(folder, name, size):
    """Return class, left, top, width, height and confidence of each line, as any reader of YOLO's files would."""
    classes = (folder / "classes.txt").read_text().split("\n")
    for line in (folder / "labels" / f"{name}.txt").read_text().splitlines():
        index, *shares = line.split(" ")
        x, y, width, height, confidence = map(float, shares)
        width, height = width * size[0], height * size[1]
        yield classes[int(index)], x * size[0] - width / 2, y * size[1] - height / 2, width, height, confidence


def test_a_reader_of_yolo_files_gets_the_boxes_within_a_pixel(tmp_path):
    ours = detections()
    export_yolo(ours, tmp_path)
    names = {"images/a.jpg": "a", "b.png": "b", "000003": "000003", "sub/empty.jpg": "sub/empty"}
    for item, size in IMAGES.items():
        theirs = [(item, *row) for row in read_yolo(tmp_path, names[item], size)]
        mine = boxes_of(ours.boxes.filter(item=item))
        assert len(theirs) == len(mine) == (0 if item == "sub/empty.jpg" else 20)
        if mine:
            assert_same_boxes(mine, theirs)


def test_numbers_of_classes_can_be_those_of_the_users_data(tmp_path):
    (tmp_path / "data.yaml").write_text("names: [dog, cat, '9', '10']\ntrain: nowhere\n")
    export_yolo(detections(), tmp_path / "out", tmp_path / "data.yaml")
    assert (tmp_path / "out" / "classes.txt").read_text().split() == ["dog", "cat", "9", "10"]
    assert (tmp_path / "out" / "labels" / "a.txt").read_text().startswith("1 ")


def test_images_that_would_share_a_label_file_are_named(tmp_path):
    ours = detections()
    images = ours.images.with_columns(
        item=pl.col("item").replace("b.png", "images/a.png"), file=pl.col("file").replace("test/b.png", "test/a.png")
    )
    with pytest.raises(DataError, match=r"images/a.png and images/a.jpg would have the same label file, a.txt"):
        export_yolo(StoredDetections(images, ours.boxes, ours.objects, ours.classes), tmp_path)
