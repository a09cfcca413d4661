"""Annotations of other tools and machines that look fine and mean something else: refused, or told."""

import json

import numpy as np
import polars as pl
import pytest
from PIL import Image

from assay.datasets.annotations import counts_otherwise
from assay.datasets.image_folder import build_image_folder
from assay.datasets.index import build_coco, build_masks, build_yolo
from assay.errors import DataError
from assay.spec.generated_images import CocoSource, ImageFolderSource, MaskFolderSource, YoloSource
from tests.helpers.annotated_data import coco_content, make_coco, make_masks, make_yolo, names, save_images, write_coco

COUNT = 4


@pytest.fixture
def read(tmp_path):
    """Return a function that reads data by a source and returns the report and the labels of the objects."""

    def read(source, build):
        folder = tmp_path / "result"
        folder.mkdir()
        report = build(source, 0, folder)
        return report, pl.read_parquet(folder / "objects.parquet")["label"].to_list()

    return read


def refusal(read, source, build):
    with pytest.raises(DataError) as caught:
        read(source, build)
    return str(caught.value)


def yolo_of_classes(root, classes, numbers):
    """Write data whose label files have these numbers of classes."""
    make_yolo(root, len(numbers))
    (root / "data.yaml").write_text(f"names: {classes}\ntrain: images\n")
    for file, number in zip(sorted((root / "labels").iterdir()), numbers, strict=True):
        file.write_text(f"{number}{file.read_text()[1:]}")


@pytest.mark.parametrize(
    ("used", "known", "start"),
    [
        ({1, 2}, range(2), "count from 1, but their names from 0: 2 has no name, and 0 never occurs"),
        ({0, 1}, {1, 2}, "count from 0, but their names from 1: 0 has no name, and 2 never occurs"),
        ({1}, {0}, "count from 1, but their names from 0"),
        ({0, 1, 2}, range(2), ""),
        ({1, 3}, range(2), ""),
        ({0, 1}, range(2), ""),
        ({1}, range(2), ""),
        (set(), range(2), ""),
        ({1}, set(), ""),
    ],
)
def test_numbers_that_count_from_elsewhere_are_found_and_a_number_too_much_is_not_taken_for_that(used, known, start):
    found = counts_otherwise(used, known)
    assert start in found
    assert bool(found) == bool(start)


@pytest.mark.parametrize("bad_annotations", ["refuse", "leave_out"])
def test_yolo_classes_that_count_from_one_are_refused_since_those_that_exist_would_mean_others(
    read, tmp_path, bad_annotations
):
    yolo_of_classes(tmp_path / "data", "[cat, dog]", [1, 2, 1, 2])
    source = YoloSource(path=str(tmp_path / "data"), bad_annotations=bad_annotations)
    assert "data.yaml: the numbers of classes seem to count from 1" in refusal(read, source, build_yolo)


def test_one_stray_class_can_still_be_left_out(read, tmp_path):
    yolo_of_classes(tmp_path / "data", "[cat, dog]", [0, 1, 2, 1])
    source = YoloSource(path=str(tmp_path / "data"), bad_annotations="leave_out")
    assert sorted(read(source, build_yolo)[1]) == ["cat", "dog", "dog"]


@pytest.mark.parametrize("bad_annotations", ["refuse", "leave_out"])
def test_coco_categories_that_count_from_zero_are_refused(read, tmp_path, bad_annotations):
    content = coco_content(COUNT)
    content["categories"] = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    for number, entry in enumerate(content["annotations"]):
        entry["category_id"] = number % 2
    save_images(tmp_path / "data" / "images", COUNT)
    write_coco(tmp_path / "data", content)
    source = CocoSource(path=str(tmp_path / "data"), bad_annotations=bad_annotations)
    assert "instances.json: the numbers of classes seem to count from 0" in refusal(read, source, build_coco)


def test_numbers_as_names_of_classes_stay_as_they_are_written(read, tmp_path):
    written = ["1_000", "1e3", "0x1F", ".50", "+1", "1.50"]
    yolo_of_classes(tmp_path / "data", f"[{', '.join(written)}]", range(len(written)))
    assert sorted(read(YoloSource(path=str(tmp_path / "data")), build_yolo)[1]) == sorted(written)


def test_files_of_labelme_are_no_images_without_objects(read, tmp_path):
    make_yolo(tmp_path / "data", COUNT)
    (tmp_path / "data" / "labels" / "i00.txt").unlink()
    (tmp_path / "data" / "images" / "i00.json").write_text(json.dumps({"version": "5.4", "shapes": []}))
    source = YoloSource(path=str(tmp_path / "data"), bad_annotations="leave_out")
    message = refusal(read, source, build_yolo)
    assert "images/i00.json: 1 image has a .json file but no label file: shapes of LabelMe are not read" in message


def test_a_json_file_beside_an_image_that_is_something_else_is_left_alone(read, tmp_path):
    make_yolo(tmp_path / "data", COUNT)
    (tmp_path / "data" / "labels" / "i00.txt").unlink()
    (tmp_path / "data" / "images" / "i00.json").write_text('{"camera": "left"}')
    assert len(read(YoloSource(path=str(tmp_path / "data")), build_yolo)[1]) == COUNT - 1


def test_classes_that_labelimg_numbered_otherwise_are_told(read, tmp_path):
    yolo_of_classes(tmp_path / "data", "[cat, dog]", [0, 1])
    (tmp_path / "data" / "labels" / "classes.txt").write_text("dog\ncat\n")
    (warning,) = read(YoloSource(path=str(tmp_path / "data")), build_yolo)[0]["warnings"]
    assert warning.startswith("labels/classes.txt names other classes than data.yaml, or in another order")


def test_the_same_classes_in_both_files_are_not_worth_a_word(read, tmp_path):
    yolo_of_classes(tmp_path / "data", "[cat, dog]", [0, 1])
    (tmp_path / "data" / "labels" / "classes.txt").write_text("cat\ndog\n")
    assert not read(YoloSource(path=str(tmp_path / "data")), build_yolo)[0]["warnings"]


def test_what_lvis_did_not_search_for_and_what_is_to_be_ignored_is_told(read, tmp_path):
    make_coco(tmp_path / "data", COUNT)
    content = coco_content(COUNT)
    content["images"][0]["neg_category_ids"] = [1]
    content["annotations"][0]["ignore"] = 1
    write_coco(tmp_path / "data", content)
    report, labels = read(CocoSource(path=str(tmp_path / "data")), build_coco)
    assert len(labels) == COUNT
    ignored, searched = report["warnings"]
    assert ignored.startswith("1 annotation has ignore: 1, which is not read")
    assert searched.startswith("instances.json: 1 image lists categories that were not searched for in them, as LVIS")


def masks(root, change):
    """Write masks, each changed by a function of its pixels and its number."""
    make_masks(root, COUNT)
    for number, name in enumerate(names(COUNT)):
        pixels = np.asarray(Image.open(root / "masks" / name))
        Image.fromarray(change(pixels.copy(), number)).save(root / "masks" / name)


def black_and_white_here_and_there(pixels, number):
    return pixels * (255 if number % 2 else 1)


def grey_as_colours(pixels, number):
    return np.stack([pixels] * 3, axis=-1)


def voc_colours(pixels, number):
    found = np.zeros((*pixels.shape, 3), np.uint8)
    found[pixels == 1] = (128, 0, 0)
    found[:3] = (224, 224, 192)
    return found


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (
            black_and_white_here_and_there,
            "2 of 4 masks show no class but 255, which stands for pixels of unknown class",
        ),
        (grey_as_colours, "the masks are grey, but saved as colours (RGB), so that classes are called #010101"),
        (voc_colours, "#e0e0c0 is a class of its own; in masks of Pascal VOC it stands for unknown"),
    ],
)
def test_masks_in_which_a_value_may_mean_something_else_are_told(tmp_path, change, warning):
    masks(tmp_path / "data", change)
    (tmp_path / "result").mkdir()
    source = MaskFolderSource(path=str(tmp_path / "data"), images="images", masks="masks")
    report = build_masks(source, 0, tmp_path / "result")
    assert any(line.startswith(warning) for line in report["warnings"]), report["warnings"]


def test_a_copy_of_a_class_folder_is_told(tmp_path):
    for number, name in enumerate(("cat", "cat - Copy", "dog", "dog (1)", "type (1)", "type (2)")):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "data" / name / "1.png")
    (tmp_path / "result").mkdir()
    report = build_image_folder(ImageFolderSource(path=str(tmp_path / "data")), 0, tmp_path / "result")
    copies = "'cat' and 'cat - Copy', 'dog' and 'dog (1)' look like a folder and its copy, but are two classes"
    assert copies in report["warnings"]
