"""Predicted boxes in the formats of other tools, read by those tools or by a reader of ten lines."""

import json

import numpy as np
import polars as pl
import pytest
from pycocotools.coco import COCO

from assay.datasets.schema import OBJECT_COLUMNS
from assay.errors import DataError
from assay.export.coco import export_coco
from assay.export.predictions import Detections, require_empty
from assay.export.yolo import export_yolo

IMAGES = {"images/a.jpg": (640, 480), "b.png": (33, 1000), "000003": (1024, 1024), "sub/empty.jpg": (50, 50)}


def files(item):
    return f"test/{item}" if "." in item else f"test/{item}.png"


def detections(count=60, classes=("10", "9", "cat")):
    """Random boxes, at places between pixels, in all images but the last."""
    rng = np.random.default_rng(1)
    rows = []
    for number in range(count):
        item = list(IMAGES)[number % 3]
        size = np.array(IMAGES[item])
        corners = np.sort(rng.uniform(0, 1, (2, 2)) * size, axis=0)
        label = ["cat", "9", "10"][number % 3]
        rows.append((item, label, float(rng.random()), *corners[0], *(corners[1] - corners[0])))
    columns = ["item", "predicted_class", "confidence", "x_px", "y_px", "width_px", "height_px"]
    found = pl.DataFrame(rows, schema=columns, orient="row").cast({name: pl.Float32 for name in columns[2:]})
    images = pl.DataFrame(
        [(item, files(item), *size, True) for item, size in IMAGES.items()],
        schema=["item", "file", "width_px", "height_px", "labelled"],
        orient="row",
    )
    truth = [("b.png", 0, "cat", 3, 4, 20, 30, False), ("b.png", 1, "9", 0, 0, 33, 1000, True)]
    return Detections(images, found, pl.DataFrame(truth, schema=dict(OBJECT_COLUMNS), orient="row"), classes)


def boxes_of(found):
    """Return the boxes of a table as item, label, left, top, width, height, confidence."""
    return found.select("item", "predicted_class", "x_px", "y_px", "width_px", "height_px", "confidence").rows()


def agree(ours, theirs):
    assert [row[:2] for row in ours] == [row[:2] for row in theirs]
    edges = np.array([[row[2:6] for row in rows] for rows in (ours, theirs)])
    edges[..., 2:] += edges[..., :2]
    assert np.abs(edges[0] - edges[1]).max() < 1
    assert np.allclose([row[6] for row in ours], [row[6] for row in theirs], atol=1e-5)


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
    agree([(files(row[0]), *row[1:]) for row in boxes_of(ours.boxes)], theirs)
    assert len(results.getImgIds()) == 4


def test_true_boxes_go_along_for_evaluation(tmp_path):
    export_coco(detections(), tmp_path)
    content = json.loads((tmp_path / "instances.json").read_text())
    assert [one["name"] for one in content["categories"]] == ["10", "9", "cat"]
    first, crowd = content["annotations"]
    assert (first["id"], first["bbox"], first["area"], first["iscrowd"]) == (1, [3, 4, 20, 30], 600, 0)
    assert crowd["iscrowd"] == 1


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
            agree(mine, theirs)


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
        export_yolo(Detections(images, ours.boxes, ours.objects, ours.classes), tmp_path)


def test_nothing_is_written_among_other_files(tmp_path):
    require_empty(tmp_path / "new")
    require_empty(tmp_path)
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(DataError, match="is not an empty folder; choose another for --to"):
        require_empty(tmp_path)
