"""Values of masks as class indices, values without a meaning, and values that smoothing left."""

import os

import numpy as np
import polars as pl
import pytest
from PIL import Image
from scipy import ndimage

from assay.datasets.mask_classes import indices_of, inspect_masks, read_meanings, read_values, value_problems_of
from assay.errors import DataError
from assay.spec.generated_images import MaskFolderSource
from assay.utils.concurrency import silent


@pytest.fixture
def meanings(tmp_path):
    """Meanings of masks with the labels cat, dog and tree, as a model of the class animal understands them."""
    rows = [
        (7, "cat", "class"),
        (3, "dog", "class"),
        (5, "tree", "class"),
        (0, None, "background"),
        (9, None, "ignore"),
    ]
    schema = {"value": pl.Int32, "label": pl.String, "role": pl.String}
    pl.DataFrame(rows, schema, orient="row").write_parquet(tmp_path / "mask_classes.parquet")
    return read_meanings(tmp_path, ["plant", "animal"], {"cat": "animal", "dog": "animal"})


def test_values_become_indices_labels_of_no_class_background(meanings):
    assert meanings.apply(np.array([[7, 3, 5], [0, 9, 7]], np.int32)).tolist() == [[2, 2, 0], [0, 255, 2]]


def test_a_value_without_meaning_is_an_error_that_names_it(meanings):
    with pytest.raises(DataError, match=r"value 8, which mask_classes\.parquet does not name"):
        meanings.apply(np.array([[7, 8]], np.int32))


def test_a_mask_that_cannot_be_read_is_an_error_that_names_it(tmp_path):
    Image.new("L", (2, 2), 4).save(tmp_path / "good.png")
    assert read_values(tmp_path / "good.png").tolist() == [[4, 4], [4, 4]]
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bad\.png: the mask can't be read"):
        read_values(tmp_path / "bad.png")


@pytest.mark.parametrize("largest", [9, 300, 70_000, 0xFFFFFF, -1])
def test_a_value_is_found_by_table_or_by_search(largest):
    known = [7, largest, 0]
    beyond = 0xFFFFFF if largest < 0xFFFFFF else 2
    values = np.array([[0, largest, 1, -2], [7, largest - 1, beyond, -70]], np.int32)
    assert indices_of(values, known).tolist() == [[2, 1, 3, 3], [0, 3, 3, 3]]


def test_without_known_values_every_index_is_0():
    assert indices_of(np.array([[0, 5]], np.int32), []).tolist() == [[0, 0]]


# Traces of smoothing


def smoothed(levels=None, spread=1.5, high=200, low=0):
    """Return a mask of one square whose edges are smoothed, in as many levels."""
    mask = np.full((64, 64), low, np.float64)
    mask[20:44, 20:44] = high
    mask = ndimage.gaussian_filter(mask, spread)
    if levels:
        step = (high - low) / (levels + 1)
        mask = low + np.round((mask - low) / step) * step
    return np.round(mask).astype(np.uint8)


def problems_of(tmp_path, *masks, **keys):
    for number, mask in enumerate(masks):
        Image.fromarray(mask).save(tmp_path / f"{number}.png")
    names = [f"{number}.png" for number in range(len(masks))]
    source = MaskFolderSource(path=str(tmp_path), **keys)
    contents = inspect_masks(tmp_path, names, source, silent)
    return value_problems_of(source, names, contents)


@pytest.mark.parametrize("levels", [1, 2, 3, 5, 12, 40, None])
@pytest.mark.parametrize(("low", "high"), [(0, 200), (0, 255), (10, 90), (50, 250)])
def test_values_along_edges_are_traces_of_smoothing(tmp_path, levels, low, high):
    (problem,) = problems_of(tmp_path, smoothed(levels, 1.0, high, low), ignore=None, background=None)
    assert "lie only along edges, between others" in problem


@pytest.mark.parametrize("spread", [0.6, 1.0, 2.0, 4.0])
def test_however_far_they_are_smoothed(tmp_path, spread):
    assert problems_of(tmp_path, smoothed(None, spread))


def test_smoothed_colours_are_refused(tmp_path):
    channels = [smoothed(6, 1.0, high) for high in (240, 120, 60)]
    assert "lie only along edges" in problems_of(tmp_path, np.dstack(channels))[0]


def test_smoothed_masks_whose_classes_are_named_have_values_without_a_meaning(tmp_path):
    assert "which mean nothing" in problems_of(tmp_path, smoothed(), classes={"box": 200})[0]


def regions(values, seed=0):
    """Return a mask of areas of these values that touch each other, with straight and slanted edges."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64]
    points = rng.uniform(0, 64, (3 * len(values), 2))
    nearest = np.argmin([(y - a) ** 2 + (x - b) ** 2 for a, b in points], axis=0)
    return np.array(values, np.uint8)[nearest % len(values)]


@pytest.mark.parametrize("values", [[0, 1], [0, 1, 2, 3], [0, 100, 200], [*range(20)], [*range(0, 240, 12)]])
@pytest.mark.parametrize("seed", range(3))
def test_areas_that_touch_each_other_are_classes(tmp_path, values, seed):
    assert problems_of(tmp_path, regions(values, seed)) == []


def with_line(middle, width):
    mask = np.zeros((64, 64), np.uint8)
    mask[20:44, 20:44] = 2
    mask[20 - width : 20, 20:44] = middle
    return mask


@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_thin_class_between_two_others_is_a_class_where_values_are_indices(tmp_path, width):
    assert problems_of(tmp_path, with_line(1, width)) == []


@pytest.mark.parametrize("values", [[*range(21)], [*range(0, 250, 10)]])
def test_one_thin_class_among_many_with_areas_is_a_class(tmp_path, values):
    mask = regions([value for value in values if value != 10])
    rows, columns = np.nonzero((mask[:, :-1] < 10) & (mask[:, 1:] > 10))
    mask[rows, columns] = 10
    assert 10 in mask
    assert problems_of(tmp_path, mask) == []


def test_a_single_smoothed_mask_among_sharp_ones_is_named(tmp_path):
    sharp = [regions([0, 200], seed) for seed in range(5)]
    (problem,) = problems_of(tmp_path, *sharp, smoothed())
    assert "first in 5.png" in problem


def test_many_masks_that_are_smoothed_far_are_refused(tmp_path):
    """Each value fills a square somewhere, where smoothing is that flat."""
    masks = [np.round(ndimage.gaussian_filter(regions([0, 200], seed) * 1.0, 3)).astype(np.uint8) for seed in range(20)]
    assert "lie only along edges" in problems_of(tmp_path, *masks)[0]


def test_thin_lines_and_dots_are_classes_whatever_their_value(tmp_path):
    mask = np.zeros((64, 64), np.uint8)
    mask[10, 5:60], mask[30:32, 20], mask[40:43, 40:43], mask[50, 50] = 90, 150, 255, 200
    assert problems_of(tmp_path, mask, ignore=None) == []


def test_random_values_are_classes(tmp_path):
    values = np.random.default_rng(0).integers(0, 4, (64, 64)).astype(np.uint8)
    assert problems_of(tmp_path, values) == []


# Files


def test_a_mask_that_is_no_regular_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "circle.png").symlink_to("circle.png")
    (tmp_path / "dead.png").symlink_to("gone.png")
    names = ["pipe.png", "circle.png", "dead.png"]
    contents = inspect_masks(tmp_path, names, MaskFolderSource(path=str(tmp_path)), silent)
    assert [content.problem.split(";")[0] for content in contents] == [
        "is a pipe (FIFO)",
        "can't be read: Too many levels of symbolic links",
        "is a link that leads nowhere",
    ]


def test_a_mask_of_too_many_pixels_is_not_decoded(tmp_path):
    Image.new("1", (4000, 4000)).save(tmp_path / "0.png")
    source = MaskFolderSource(path=str(tmp_path), max_pixels=10_000)
    (content,) = inspect_masks(tmp_path, ["0.png"], source, silent)
    assert "has 4000x4000 = 16,000,000 pixels, expected at most 10,000" in content.problem
