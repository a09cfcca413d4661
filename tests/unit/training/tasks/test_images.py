import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from assay.datasets.schema import MASK_CLASS_COLUMNS, OBJECT_COLUMNS
from assay.errors import DataError
from assay.spec.classes import DataDescription
from assay.storage.parquet import write_parquet
from assay.training import annotations
from assay.training.annotations import (
    Annotations,
    boxes_of_rows,
    classes_in_masks,
    labels_in_masks,
    read_class_maps,
)
from assay.training.data import DataSource
from assay.training.image_targets import BoxTarget, MaskTarget, fit_image_classes
from assay.training.interfaces import CROWD
from assay.training.tasks.images import fitting_size, read_image, read_images, reduced_size, resize_classes

BOXES = BoxTarget(classes=("cat", "dog"), mapping={"cat": "cat", "kitten": "cat", "dog": "dog"})
MASKS = MaskTarget(classes=BOXES.classes, mapping=BOXES.mapping)


@pytest.fixture
def source(tmp_path):
    """A result of splits: a wide image with two objects, a crowd and a mask, and an empty image without a mask."""
    rng = np.random.default_rng(0)
    for name, size in (("wide", (40, 80)), ("empty", (20, 10))):
        Image.fromarray(rng.integers(0, 255, (*size, 3)).astype(np.uint8)).save(tmp_path / f"{name}.png")
    mask = np.zeros((40, 80), np.uint8)
    mask[10:30, 20:40], mask[0:4, 0:4], mask[35:, 70:] = 7, 8, 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    rows = [("wide", "wide.png", "mask.png", 80, 40), ("empty", "empty.png", None, 10, 20)]
    items = pl.DataFrame(rows, ["item", "file", "mask", "width_px", "height_px"], orient="row")
    objects = [
        ("wide", 0, "kitten", 20, 10, 20, 20, False),
        ("wide", 1, "bird", 0, 0, 4, 4, False),
        ("wide", 2, "dog", 60, 0, 20, 40, True),
    ]
    write_parquet(pl.DataFrame(objects, dict(OBJECT_COLUMNS), orient="row"), tmp_path / "objects.parquet")
    meanings = [(0, None, "background"), (7, "kitten", "class"), (8, "bird", "class"), (255, None, "ignore")]
    write_parquet(pl.DataFrame(meanings, dict(MASK_CLASS_COLUMNS), orient="row"), tmp_path / "mask_classes.parquet")
    return DataSource("splits", tmp_path, "ffff"), items


def test_boxes_shrink_with_their_image_and_others_are_left_out(source):
    data, items = source
    wide, empty = boxes_of_rows(Annotations(data), items, BOXES, 40)
    assert wide.tolist() == [[0, 10, 5, 20, 15], [CROWD, 30, 0, 40, 20]]
    assert empty.shape == (0, 5)


def test_masks_shrink_with_their_image_and_unknown_pixels_stay_unknown(source):
    data, items = source
    (classes,) = read_class_maps(Annotations(data), items.head(1), MASKS, 40, 1)
    assert classes.shape == (20, 40)
    assert classes[5:15, 10:20].unique().tolist() == [1]
    assert classes[18:, 36:].unique().tolist() == [255]
    assert classes[:2, :2].unique().tolist() == [0], "a label of no class is background"


def test_an_image_without_a_mask_is_named_where_masks_are_learned(source):
    data, items = source
    with pytest.raises(DataError, match=r"1 image has no mask") as error:
        read_class_maps(Annotations(data), items, MASKS, 40, 1)
    assert error.value.problems == ["empty"]


def test_masks_give_their_labels_and_the_sizes_of_their_objects(source):
    data, items = source
    labels, sides = labels_in_masks(Annotations(data), items.head(1), 1)
    assert labels == ["kitten", "bird"]
    assert sorted(sides) == [4.0, 20.0]


@pytest.mark.parametrize(("width", "height", "longest"), [(80, 40, 40), (41, 80, 32), (10, 20, 64), (1000, 3, 16)])
def test_an_image_has_the_size_that_its_boxes_are_scaled_to(tmp_path, width, height, longest):
    Image.new("RGB", (width, height)).save(tmp_path / "image.png")
    image = read_image(tmp_path / "image.png", longest)
    assert tuple(image.pixels.shape) == (3, *reduced_size(width, height, longest)[::-1])
    assert (image.width_px, image.height_px) == (width, height)
    assert max(image.pixels.shape[1:]) <= max(longest, 1)


def test_images_come_in_the_order_of_the_rows(source):
    data, items = source
    sizes = [image.pixels.shape[1:] for image in read_images(data, items.reverse(), 1000, 2)]
    assert sizes == [(20, 10), (40, 80)]


def test_a_broken_image_is_named(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bad\.png: the image can't be read"):
        read_image(tmp_path / "bad.png", 100)


def test_images_are_reduced_until_the_median_object_has_the_target_size_but_never_enlarged():
    rows = pl.DataFrame({"width_px": [1000, 400], "height_px": [500, 800]})
    assert fitting_size(rows, [90, 96, 300], 48.0) == 500
    assert fitting_size(rows, [20, 30], 48.0) == 1000
    assert fitting_size(rows, [], 48.0) == 1000


def test_a_reduced_map_is_resized_to_the_original_image():
    small = torch.tensor([[0, 3], [255, 1]], dtype=torch.uint8)
    assert resize_classes(small, 4, 2).tolist() == [[0, 0, 3, 3], [255, 255, 1, 1]]


@pytest.mark.parametrize(
    ("description", "classes", "mapping"),
    [
        ({}, ("bird", "cat", "kitten"), {"bird": "bird", "cat": "cat", "kitten": "kitten"}),
        ({"classes": ["kitten", "bird"]}, ("kitten", "bird"), {"bird": "bird", "kitten": "kitten"}),
        (
            {"classes": [{"name": "cat", "subclasses": ["kitten"]}, "bird"]},
            ("cat", "bird"),
            {"cat": "cat", "kitten": "cat", "bird": "bird"},
        ),
        ({"class_mapping": {"cat": "pet", "kitten": "pet"}}, ("pet",), {"cat": "pet", "kitten": "pet"}),
    ],
)
def test_labels_become_classes_and_labels_of_no_class_are_ignored(description, classes, mapping):
    given = DataDescription.model_validate(description)
    assert fit_image_classes(given, ["bird", "cat", "kitten"]) == (classes, mapping)


def test_a_class_that_the_training_images_do_not_show_is_an_error():
    given = DataDescription.model_validate({"classes": ["cat", "dgo"]})
    with pytest.raises(DataError, match="they show cat, dog") as error:
        fit_image_classes(given, ["cat", "dog"])
    assert error.value.problems == ["dgo"]
    with pytest.raises(DataError, match="show no object of any class"):
        fit_image_classes(DataDescription(), [])


@pytest.mark.parametrize("most_bytes", [0, annotations.MOST_KEPT_BYTES])
def test_masks_give_the_same_classes_whether_they_were_kept_in_memory_or_not(most_bytes, source, monkeypatch):
    monkeypatch.setattr(annotations, "MOST_KEPT_BYTES", most_bytes)
    data, items = Annotations(source[0]), source[1].head(1)
    labels_in_masks(data, items, 1)
    (again,) = read_class_maps(data, items, MASKS, 40, 1)
    (fresh,) = read_class_maps(Annotations(source[0]), items, MASKS, 40, 1)
    assert torch.equal(again, fresh)
    assert list(classes_in_masks(data, items, MASKS)) == ["cat"]
