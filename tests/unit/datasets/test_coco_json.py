"""COCO files as many tools write them: what they mean, and what is refused although each number alone may be right."""

import json
import os

import numpy as np
import polars as pl
import pytest

from assay.datasets.coco_json import as_coco_id
from assay.errors import DataError
from assay.spec.splits import SplitsSection
from assay.stages.splits import build_splits
from assay.training.tasks.dense import labelled
from tests.helpers.annotated_data import (
    OBJECT,
    SIDE,
    Index,
    coco_content,
    make_coco,
    names,
    save_images,
    truth,
    write_coco,
)

COUNT = 4
TRUTH = truth(COUNT)


@pytest.fixture
def content(tmp_path):
    save_images(tmp_path / "data" / "images", COUNT)
    return coco_content(COUNT)


def read(tmp_path, content, **keys):
    write_coco(tmp_path / "data", content)
    return Index("coco", tmp_path / "data", tmp_path / "result", **keys)


def refused(tmp_path, content, **keys):
    with pytest.raises(DataError) as caught:
        read(tmp_path, content, **keys)
    assert not list((tmp_path / "result").iterdir()), "nothing may be computed"
    return str(caught.value)


# Numbers and names


def as_floats(content):
    for entry in (*content["images"], *content["annotations"], *content["categories"]):
        for key in ("id", "image_id", "category_id", "width", "height", "iscrowd"):
            if key in entry:
                entry[key] = float(entry[key])


def as_texts(content):
    for entry in content["annotations"]:
        entry["image_id"] = str(entry["image_id"])


def test_whole_numbers_may_be_written_as_floats(tmp_path, content):
    as_floats(content)
    assert read(tmp_path, content).boxes == TRUTH


def in_texts(content, *keys):
    for entry in (*content["images"], *content["annotations"], *content["categories"]):
        for key in keys:
            if key in entry:
                entry[key] = str(entry[key])


@pytest.mark.parametrize("keys", [("image_id",), ("category_id",), ("image_id", "category_id"), ("id",)])
def test_ids_may_be_texts_on_one_side_and_are_told(tmp_path, content, keys):
    in_texts(content, *keys)
    found = read(tmp_path, content)
    assert found.boxes == TRUTH
    count = len(content["annotations"])
    assert any(f"{count} annotations write the id" in warning for warning in found.report["warnings"])


@pytest.mark.parametrize("value", ["01", "1.0", " 1", "one", "", True, [1]])
def test_a_text_that_is_no_id_is_refused(tmp_path, content, value):
    content["annotations"][0]["category_id"] = value
    assert "is the id of no category" in refused(tmp_path, content)


def test_a_category_that_annotations_name_as_text_is_no_unused_root(tmp_path, content):
    for entry in content["categories"][1:]:
        entry["supercategory"] = content["categories"][0]["name"]
    in_texts(content, "category_id")
    assert read(tmp_path, content).boxes == TRUTH


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (1.0, 1), ("a", "a"), (True, None), (1.5, None), (None, None)])
def test_ids_are_whole_numbers_or_text(value, expected):
    assert as_coco_id(value) == expected
    assert type(as_coco_id(value)) is type(expected)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), [], {}])
def test_what_is_no_id_is_refused_with_its_entry(tmp_path, content, value):
    content["images"][0]["id"] = value
    assert "images[0]: has no id (a whole number or text)" in refused(tmp_path, content)


@pytest.mark.parametrize(("name", "label"), [(7, "7"), (7.0, "7"), (1.5, "1.5"), ("07", "07")])
def test_names_that_are_numbers_are_texts(tmp_path, content, name, label):
    content["categories"][0]["name"] = name
    assert read(tmp_path, content).labels == [label] * COUNT


@pytest.mark.parametrize(
    ("name", "reason"),
    [(True, "its name is true; put it in quotation marks"), (None, "has no name"), (float("nan"), "has no name")],
)
def test_names_that_are_nothing_are_refused(tmp_path, content, name, reason):
    content["categories"][0]["name"] = name
    assert reason in refused(tmp_path, content)


HUGE = 10**400


@pytest.mark.parametrize("value", [HUGE, -HUGE, float("inf"), float("nan"), 1e300])
@pytest.mark.parametrize("key", ["bbox", "segmentation"])
def test_a_number_that_no_pixel_has_is_a_bad_annotation(tmp_path, content, key, value):
    place = content["annotations"][1][key]
    (place if key == "bbox" else place[0])[0] = value
    message = refused(tmp_path, content)
    assert "instances.json: annotations[1] (id 2): " in message
    assert len(message) < 1000
    left_out = Index("coco", tmp_path / "data", tmp_path / "again", bad_annotations="leave_out")
    assert left_out.known == [name for name in names(COUNT) if name != names(COUNT)[1]]


def test_a_number_of_thousands_of_digits_is_a_bad_annotation(tmp_path, content):
    content["annotations"][1]["bbox"][0] = "DIGITS"
    write_coco(tmp_path / "data", content)
    path = tmp_path / "data" / "instances.json"
    path.write_text(path.read_text().replace('"DIGITS"', "9" * 5000))
    index = Index("coco", tmp_path / "data", tmp_path / "result", bad_annotations="leave_out")
    assert "annotations[1] (id 2): its bbox holds inf, which is no finite number" in index.report["left_out_first"][0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("[" * 200_000, "is JSON of too many nested brackets"), ('{"a":' * 200_000, "too many nested brackets")],
)
def test_a_file_of_nothing_but_brackets_is_refused(tmp_path, text, reason):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "instances.json").write_text(text)
    with pytest.raises(DataError, match=reason):
        Index("coco", tmp_path / "data", tmp_path / "result")


@pytest.mark.parametrize("key", ["bbox", "segmentation", "category_id", "image_id", "iscrowd"])
def test_values_nested_deeply_are_bad_annotations(tmp_path, content, key):
    for number in (0, 1):
        nested = []
        for _ in range(600):
            nested = [nested]
        content["annotations"][number][key] = nested
    content["annotations"].append(dict(content["annotations"][0], id=2))
    message = refused(tmp_path, content)
    assert len(message) < 2000


def as_pipe(path):
    os.mkfifo(path)


def as_dead_link(path):
    path.symlink_to("gone.json")


def as_circle(path):
    path.symlink_to(path.name)


def as_sparse(path):
    with path.open("wb") as file:
        file.truncate(2**40)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (as_pipe, "is a pipe (FIFO); expected a regular file"),
        (as_dead_link, "is a link that leads nowhere"),
        (as_circle, "can't be read: Too many levels of symbolic links"),
        (as_sparse, "holds 1,099,511,627,776 bytes or more; expected at most 2,147,483,648"),
    ],
)
def test_a_json_file_that_is_no_regular_file_is_refused(tmp_path, content, make, reason):
    make(tmp_path / "data" / "instances.json")
    with pytest.raises(DataError) as caught:
        Index("coco", tmp_path / "data", tmp_path / "result")
    assert str(caught.value).startswith(f"instances.json: {reason}")


# Names of files


def spell(content, change):
    for entry in content["images"]:
        entry["file_name"] = change(entry["file_name"])


@pytest.mark.parametrize(
    "change",
    [
        lambda name: f"./{name}",
        lambda name: f"x/../{name}",
        lambda name: f"../images/{name}",
        lambda name: f"images/../images/{name}",
        lambda name: f"images\\{name}",
        lambda name: f".\\images\\{name}",
    ],
)
def test_paths_that_lead_back_into_the_data_are_followed(tmp_path, content, change):
    spell(content, change)
    assert read(tmp_path, content).boxes == TRUTH


@pytest.mark.parametrize("through_link", [False, True])
def test_absolute_paths_into_the_data_are_followed(tmp_path, content, through_link):
    spell(content, lambda name: str(tmp_path / "data" / "images" / name))
    write_coco(tmp_path / "data", content)
    root = tmp_path / "data"
    if through_link:
        (tmp_path / "link").symlink_to(root)
        root = tmp_path / "link"
    assert Index("coco", root, tmp_path / "result").boxes == TRUTH


@pytest.mark.parametrize("path", ["/etc/hostname", "../../elsewhere.png"])
def test_paths_out_of_the_data_are_bad_annotations(tmp_path, content, path):
    (tmp_path.parent / "elsewhere.png").write_bytes(b"")
    content["images"][0]["file_name"] = path
    assert "leads out of the folder of images" in refused(tmp_path, content)
    index = Index("coco", tmp_path / "data", tmp_path / "again", bad_annotations="leave_out")
    assert index.known == names(COUNT)[1:]


@pytest.mark.parametrize(
    ("stated", "stored"), [("\u00e9", "e\u0301"), ("e\u0301", "\u00e9"), ("a b", "a b"), ("a%20b", "a b")]
)
def test_names_are_found_however_they_are_spelled(tmp_path, content, stated, stored):
    for name in names(COUNT):
        (tmp_path / "data" / "images" / name).rename(tmp_path / "data" / "images" / f"{stored}{name}")
    spell(content, lambda name: f"{stated}{name}")
    assert read(tmp_path, content).boxes == {f"{stored}{name}": boxes for name, boxes in TRUTH.items()}


def test_names_of_another_machine_are_told(tmp_path, content):
    spell(content, lambda name: f"/home/elsewhere/{name}")
    assert f"there is 'i00.png' in {tmp_path / 'data' / 'images'}, so write names without folders" in refused(
        tmp_path, content
    )


def test_names_in_another_case_are_told(tmp_path, content):
    spell(content, str.upper)
    message = refused(tmp_path, content)
    assert f"is not in {tmp_path / 'data' / 'images'}; there is 'i00.png', in which upper and lower case" in message


def test_a_similar_name_is_told(tmp_path, content):
    content["images"][0]["file_name"] = "i00_.png"
    assert "; did you mean 'i00.png'?" in refused(tmp_path, content)


@pytest.mark.parametrize("name", ["a\0.png", "\ud800.png"])
def test_names_that_no_file_can_have_are_refused(tmp_path, content, name):
    content["images"][0]["file_name"] = name
    assert "can't be the name of a file" in refused(tmp_path, content)


def test_a_name_longer_than_any_file_is_missing(tmp_path, content):
    content["images"][0]["file_name"] = "a" * 5000
    assert len(refused(tmp_path, content)) < 1500


# Boxes that mean something else


def corners_for_sizes(box):
    return [box[0], box[1], box[0] + box[2], box[1] + box[3]]


def centres(box):
    return [box[0] + box[2] / 2, box[1] + box[3] / 2, box[2], box[3]]


def shares(values):
    return [value / SIDE for value in values]


def change_boxes(content, change, **keys):
    for entry in content["annotations"]:
        entry |= keys
        entry["bbox"] = change(entry["bbox"])


QUESTIONS = [
    (corners_for_sizes, "is this x1, y1, x2, y2 rather than x, y, width, height?"),
    (centres, "is this the box's centre, width and height"),
    (shares, "are these shares of the image's sides (0 to 1) rather than pixels?"),
]


@pytest.mark.parametrize(("change", "question"), QUESTIONS)
def test_a_box_that_contradicts_its_outline_is_bad(tmp_path, content, change, question):
    change_boxes(content, change)
    message = refused(tmp_path, content)
    assert message.count(question) == COUNT


@pytest.mark.parametrize("keys", [{"segmentation": []}, {"segmentation": [], "area": None}])
def test_shares_are_bad_without_an_outline_too(tmp_path, content, keys):
    change_boxes(content, shares, **keys)
    content["annotations"][0]["bbox"] = [0, 0, 1, 1]  # the whole image
    assert refused(tmp_path, content).count("are these shares of the image's sides") == COUNT


@pytest.mark.parametrize("keys", [{"segmentation": []}, {}])
def test_areas_tell_corners_from_sizes(tmp_path, content, keys):
    change_boxes(content, corners_for_sizes, **keys)
    assert refused(tmp_path, content, masks=False).count("is this x1, y1, x2, y2") == COUNT


def test_corners_that_do_not_fit_as_sizes_discredit_those_that_do(tmp_path, content):
    change_boxes(content, corners_for_sizes, segmentation=[], area=0)
    content["annotations"][0]["bbox"] = [2, 3, 9, 9]
    content["annotations"][1]["bbox"] = [40, 30, 60, 50]
    index = read(tmp_path, content, bad_annotations="leave_out")
    assert (index.boxes, index.known) == ({}, [])


def test_an_image_of_another_unit_is_not_suspected_of_boxes_that_are_right(tmp_path, content):
    """Areas of masks are smaller than their boxes; a box of one whole pixel at the corner is one."""
    content["annotations"][0] |= {"bbox": [0, 0, 1, 1], "segmentation": [], "area": 1}
    for entry in content["annotations"][1:]:
        entry |= {"segmentation": None, "area": 100}
    expected = {**TRUTH, names(COUNT)[0]: [(0, 0, 1, 1)]}
    assert read(tmp_path, content).boxes == expected


@pytest.mark.parametrize("bbox", [None, "own"])
def test_outlines_in_shares_are_bad(tmp_path, content, bbox):
    for entry in content["annotations"]:
        entry["segmentation"] = [shares(entry["segmentation"][0])]
        entry["bbox"] = entry["bbox"] if bbox else None
    assert refused(tmp_path, content).count("are these shares of the image's sides") == COUNT


@pytest.mark.parametrize(
    "segmentation",
    [
        [[200, 200, 230, 200, 230, 230]],
        [[10.6, 10.6, 10.9, 10.6, 10.9, 10.9]],
        [[10, 10, 20, 10, 15, 10]],
        {"size": [SIDE, SIDE], "counts": [SIDE * SIDE]},
    ],
)
def test_an_outline_without_a_pixel_is_bad(tmp_path, content, segmentation):
    content["annotations"][1]["segmentation"] = segmentation
    message = refused(tmp_path, content)
    assert "annotations[1] (id 2): its " in message
    assert "1 problem;" in message


def test_a_loose_box_around_its_outline_is_believed(tmp_path, content):
    """Boxes may include what is hidden; only half of such a box must be seen."""
    left, top = TRUTH[names(COUNT)[0]][0][:2]
    content["annotations"][0]["bbox"] = [left - 3, top - 3, OBJECT + 5, OBJECT + 5]
    assert read(tmp_path, content).boxes[names(COUNT)[0]] == [(left - 3, top - 3, OBJECT + 5, OBJECT + 5)]


@pytest.mark.parametrize("segmentation", [[[]], [], None, [[], []]])
@pytest.mark.parametrize("masks", [False, True])
def test_an_empty_outline_is_none(tmp_path, content, segmentation, masks):
    for entry in content["annotations"]:
        entry["segmentation"] = segmentation
    assert read(tmp_path, content, masks=masks).boxes == TRUTH


def test_outlines_are_not_read_where_no_masks_are_wanted(tmp_path, content):
    for entry in content["annotations"]:
        entry["segmentation"] = [[1, 2, 3]]
    assert read(tmp_path, content, masks=False).boxes == TRUTH


# What is left out is not known to be empty


BREAK = [
    {"bbox": [5, 5, 0, 0], "segmentation": None},
    {"bbox": [500, 5, 20, 20], "segmentation": None},
    {"bbox": "nothing"},
    {"category_id": 99},
    {"category_id": None},
    {"iscrowd": 7},
    {"segmentation": [[200, 200, 230, 200, 230, 230]]},
]


@pytest.mark.parametrize("keys", BREAK)
def test_an_image_that_lost_an_annotation_is_not_known(tmp_path, content, keys):
    content["annotations"][1] |= keys
    index = read(tmp_path, content, bad_annotations="leave_out")
    assert index.known == [name for name in names(COUNT) if name != "i01.png"]
    assert (index.report["incomplete_images"], index.report["empty_images"], index.report["left_out"]) == (1, 0, 1)
    assert "1 of 4 images lost an annotation that can't be right" in index.report["warnings"][0]
    masks = dict(index.items.select("item", "mask").rows())
    assert [name for name, mask in masks.items() if mask is None] == [
        "images/i01.png" if "/" in min(masks) else "i01.png"
    ]


@pytest.mark.parametrize("entry", [None, 3, "text", [], {}, {"image_id": 4711, "category_id": 1, "bbox": [1, 1, 5, 5]}])
def test_an_annotation_of_no_image_may_be_that_of_an_image_without_any(tmp_path, content, entry):
    content["annotations"][1] = entry
    index = read(tmp_path, content, bad_annotations="leave_out")
    assert index.known == [name for name in names(COUNT) if name != "i01.png"]
    assert "1 annotation belongs to no image" in index.report["warnings"][0]


@pytest.mark.parametrize("keys", [BREAK[0], BREAK[6]])
def test_neither_detection_nor_segmentation_learns_from_an_image_that_lost_an_annotation(tmp_path, keys):
    count = 20
    make_coco(tmp_path / "data", count)
    content = coco_content(count)
    content["annotations"][1] |= keys
    index = read(tmp_path, content, bad_annotations="leave_out")
    (index.folder / "report.json").write_text(json.dumps(index.report))
    (tmp_path / "splits").mkdir()
    build_splits(index.folder, SplitsSection(), 0, tmp_path / "splits")
    items = pl.read_parquet(tmp_path / "splits" / "items.parquet")
    (subset,) = items.filter(pl.col("item").str.contains("i01"))["subset"]
    learned = labelled(items.filter(subset=subset), subset)
    assert not learned["item"].str.contains("i01").any()
    assert learned["mask"].null_count() == 0
    assert items["mask"].null_count() == 1


def test_ids_of_annotations_that_begin_anew_drop_no_box(tmp_path, content):
    for entry in content["annotations"]:
        entry["id"] = 1
    index = read(tmp_path, content, bad_annotations="leave_out")
    assert (index.boxes, index.known, index.report["left_out"]) == (TRUTH, names(COUNT), 0)
    assert "3 annotations have the ID of another one" in index.report["warnings"][0]


# Categories


def with_root(content, name="shapes"):
    content["categories"] = [
        {"id": 0, "name": name, "supercategory": "none"},
        {"id": 1, "name": "box", "supercategory": name},
    ]


@pytest.mark.parametrize("name", ["shapes", "box"])
def test_the_group_that_roboflow_adds_is_no_class(tmp_path, content, name):
    with_root(content, name)
    index = read(tmp_path, content)
    assert index.report["labels"] == {"box": COUNT}
    assert f"category '{name}' (id 0) names the group of all others" in index.report["warnings"][0]


def test_a_group_that_is_used_is_a_class(tmp_path, content):
    with_root(content)
    content["annotations"][0]["category_id"] = 0
    assert read(tmp_path, content).report["labels"] == {"shapes": 1, "box": COUNT - 1}


def test_an_unused_class_that_is_no_group_stays(tmp_path, content):
    content["categories"].insert(0, {"id": 0, "name": "person", "supercategory": "person"})
    assert read(tmp_path, content).report["labels"] == {"person": 0, "box": COUNT}


def test_a_polygon_of_very_many_corners_is_drawn_like_any_other(tmp_path, content):
    left, top = TRUTH["i00.png"][0][:2]
    steps = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    circle = np.column_stack([left + 7 + 7 * np.cos(steps), top + 7 + 7 * np.sin(steps)]).round(4)
    content["annotations"][0]["segmentation"] = [circle.ravel().tolist()]
    assert read(tmp_path, content).boxes == TRUTH
    assert json.dumps(content)
