"""Outlines as masks: run lengths and polygons, against COCO's own tools."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from pycocotools import mask as coco

from assay.datasets.geometry import Polygons, Runs, read_counts, turned_edges, turned_size, whole_box

# pycocotools' own use of NumPy
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def random_mask(seed, height, width):
    rng = np.random.default_rng(seed)
    return rng.random((height, width)) < rng.choice([0.0, 0.02, 0.5, 0.98, 1.0])


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_compressed_runs_are_what_pycocotools_wrote(seed, height, width):
    mask = random_mask(seed, height, width)
    text = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert np.array_equal(Runs(read_counts(text), width, height).mask(width, height), mask)


def test_long_runs_and_differences_below_zero_are_read():
    mask = np.zeros((700, 900), bool)
    mask[100:600, 200:210] = mask[3, 800:] = True
    text = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert np.array_equal(Runs(read_counts(text), 900, 700).mask(900, 700), mask)


def test_runs_written_as_numbers_go_down_the_columns():
    assert Runs(read_counts([1, 2, 3]), 2, 3).mask(2, 3).astype(int).tolist() == [[0, 0], [1, 0], [1, 0]]


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ([1, -2], "not whole numbers"),
        ([1, 2.5], "not whole numbers"),
        ("\x01", "which no compressed text has"),
        ("o", "end within a number"),
    ],
)
def test_runs_that_mean_nothing_are_refused(counts, reason):
    with pytest.raises(ValueError, match=reason):
        read_counts(counts)


@given(st.integers(0, 10_000), st.integers(3, 9))
@settings(max_examples=25, deadline=None)
def test_polygons_are_filled_like_pycocotools_but_for_the_pixels_on_their_sides(seed, corners):
    points = np.random.default_rng(seed).uniform(-5, 65, (corners, 2))
    ours = Polygons((points,)).mask(60, 50)
    theirs = coco.decode(coco.frPyObjects([points.ravel().tolist()], 50, 60))[:, :, 0].astype(bool)
    rows, columns = np.nonzero(ours != theirs)
    for row, column in zip(rows, columns, strict=True):
        assert distance_to_sides(points, column + 0.5, row + 0.5) < 1.5


def distance_to_sides(points, x, y):
    start, along = points, np.roll(points, -1, axis=0) - points
    share = np.clip(((x, y) - start) * along @ [1, 1] / (along**2).sum(axis=1), 0, 1)
    return np.hypot(*(start + share[:, None] * along - (x, y)).T).min()


def test_a_rectangle_is_filled_exactly():
    mask = Polygons((np.array([[1.0, 2], [4, 2], [4, 5], [1, 5]]),)).mask(6, 7)
    assert np.argwhere(mask).tolist() == [[row, column] for row in (2, 3, 4) for column in (1, 2, 3)]


def test_parts_of_a_polygon_add_up_where_they_overlap():
    square = np.array([[0.0, 0], [3, 0], [3, 3], [0, 3]])
    assert Polygons((square, square + 1)).mask(4, 4).sum() == 9 + 9 - 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_with_their_image(orientation):
    image = Image.new("L", (30, 20))
    image.paste(255, (3, 5, 10, 7))
    image.getexif()[0x0112] = orientation
    upright = ImageOps.exif_transpose(image)
    assert turned_size(image.size, orientation) == upright.size
    assert turned_edges((3, 5, 10, 7), image.size, orientation) == upright.getbbox()


def test_edges_are_rounded_to_whole_pixels_and_keep_at_least_one():
    assert whole_box((1.4, 2.6, 5.5, 7.4), (10, 10)).box == (1, 3, 5, 4)
    assert whole_box((3.1, 3.1, 3.2, 3.2), (10, 10)).box == (3, 3, 1, 1)
    assert whole_box((9.9, 9.9, 10.0, 10.0), (10, 10)).box == (9, 9, 1, 1)


def test_a_box_slightly_outside_is_cut_off():
    found = whole_box((-1.5, 3, 4, 101.7), (100, 100))
    assert (found.box, found.was_clipped) == ((0, 3, 4, 97), True)
    assert not whole_box((-0.3, 3, 4, 100.3), (100, 100)).was_clipped


@pytest.mark.parametrize(
    ("edges", "reason"),
    [
        ((5, 5, 5, 9), r"\(x 5, y 5, 0x4\) has no area"),
        ((5, 5, 2, 9), "has no area"),
        ((float("nan"), 0, 1, 1), "no finite number"),
        ((0, 0, float("inf"), 1), "no finite number"),
        ((-9, 0, 5, 5), "reaches 9 px out of the image of 100x50 px"),
        ((0, 0, 5, 80), "reaches 30 px out of the image of 100x50 px"),
        ((-3, 0, -1, 5), "lies outside the image of 100x50 px"),
    ],
)
def test_a_box_that_cannot_be_right_is_refused_with_the_reason(edges, reason):
    with pytest.raises(ValueError, match=reason):
        whole_box(edges, (100, 50))
