"""Polygons and run lengths as masks, beside COCO's own tools and plain loops; boxes clipped and turned upright."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from pycocotools import mask as coco

from assay.datasets.geometry import Polygons, clip_box, fill_polygon, parse_rle, upright_edges, upright_size

# pycocotools' own use of NumPy
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def random_mask(seed, height, width):
    rng = np.random.default_rng(seed)
    return rng.random((height, width)) < rng.choice([0.0, 0.02, 0.5, 0.98, 1.0])


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_compressed_run_lengths_give_the_mask_that_pycocotools_wrote(seed, height, width):
    mask = random_mask(seed, height, width)
    text = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert np.array_equal(parse_rle(text, width, height).mask(width, height), mask)


def test_long_runs_and_negative_differences_are_decompressed():
    mask = np.zeros((700, 900), bool)
    mask[100:600, 200:210] = mask[3, 800:] = True
    text = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert np.array_equal(parse_rle(text, 900, 700).mask(900, 700), mask)


def test_run_lengths_written_as_numbers_go_down_the_columns():
    assert parse_rle([1, 2, 3], 2, 3).mask(2, 3).astype(int).tolist() == [[0, 0], [1, 0], [1, 0]]


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ([1, -2], "not whole numbers"),
        ([1, 2.5], "not whole numbers"),
        ([True, 5], "not whole numbers"),
        ([], "sum to 0, expected 6"),
        ([1, 4], "sum to 5, expected 6"),
        ([2**62] * 4 + [6], "sum to more than 2147483647, expected 6"),
        ([2**64], "sum to more than 2147483647, expected 6"),
        ("", "sum to 0, expected 6"),
        ("\x01", "which no compressed text has"),
        ("su", "hold 's', which no compressed text has"),
        ("1é", "hold 'é', which no compressed text has"),
        ("o", "end within a number"),
        ("o" * 30 + "0", "not whole numbers from 0 on with the sum"),
        ("N0", "not whole numbers"),
    ],
)
def test_run_lengths_that_cannot_be_a_mask_of_this_size_are_refused(counts, reason):
    with pytest.raises(ValueError, match=reason):
        parse_rle(counts, 3, 2)


def test_a_mask_larger_than_any_image_is_refused_before_anything_is_allocated():
    with pytest.raises(ValueError, match=r"of more than 2,147,483,647 px"):
        parse_rle([2**31], 2**16, 2**15)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=12), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_the_box_of_run_lengths_is_that_of_their_pixels(lengths, width):
    height = -(-max(1, sum(lengths)) // width)
    outline = parse_rle([*lengths, width * height - sum(lengths)], width, height)
    assert outline.edges == Image.fromarray(outline.mask(width, height)).getbbox()


COORDINATES = st.one_of(st.integers(-6, 18).map(float), st.integers(-12, 36).map(lambda n: n / 2), st.floats(-6, 18))


@given(
    st.lists(st.tuples(COORDINATES, COORDINATES), min_size=1, max_size=9),
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from([1, 36, 10**6]),
)
@settings(max_examples=200, deadline=None)
@pytest.mark.system
def test_a_pixel_belongs_to_a_polygon_when_its_centre_is_inside_by_the_even_odd_rule(
    corners, height, width, most_crossings
):
    mask = np.zeros((height, width), bool)
    fill_polygon(np.array(corners), mask, most_crossings)
    assert mask.tolist() == [[is_inside(corners, x + 0.5, y + 0.5) for x in range(width)] for y in range(height)]
    assert Polygons((np.array(corners),)).covers(width, height) == mask.any()


def is_inside(corners, x, y):
    """Return whether a point is inside: a ray to the left crosses an odd number of sides."""
    crossed = 0
    for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True):
        if (y1 <= y) != (y2 <= y):
            crossed += x1 + (y - y1) / (y2 - y1) * (x2 - x1) <= x
    return crossed % 2 == 1


def test_a_polygon_is_added_to_what_is_in_the_mask_already():
    mask = np.array([[True, False, False, False]])
    fill_polygon(np.array([[1.0, 0], [3, 0], [3, 1], [1, 1]]), mask)
    assert mask.tolist() == [[True, True, True, False]]


def test_corners_far_outside_take_no_more_memory_than_the_image():
    far = np.array([[-1e12, -1e12], [1e12, -1e12], [1e12, 1e12], [-1e12, 1e12]])
    assert Polygons((far,)).mask(5, 4).all()


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
def test_boxes_are_turned_upright_with_their_image(orientation):
    image = Image.new("L", (30, 20))
    image.paste(255, (3, 5, 10, 7))
    image.getexif()[0x0112] = orientation
    upright = ImageOps.exif_transpose(image)
    assert upright_size(image.size, orientation) == upright.size
    assert upright_edges((3, 5, 10, 7), image.size, orientation) == upright.getbbox()


def test_edges_are_rounded_to_whole_pixels_and_keep_at_least_one():
    assert clip_box((1.4, 2.6, 5.5, 7.4), (10, 10)).box == (1, 3, 5, 4)
    assert clip_box((3.1, 3.1, 3.2, 3.2), (10, 10)).box == (3, 3, 1, 1)
    assert clip_box((9.9, 9.9, 10.0, 10.0), (10, 10)).box == (9, 9, 1, 1)


def test_a_box_slightly_outside_is_cut_off():
    found = clip_box((-1.5, 3, 4, 101.7), (100, 100))
    assert (found.box, found.was_clipped) == ((0, 3, 4, 97), True)
    assert not clip_box((-0.3, 3, 4, 100.3), (100, 100)).was_clipped


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
def test_an_implausible_box_is_refused_with_the_reason(edges, reason):
    with pytest.raises(ValueError, match=reason):
        clip_box(edges, (100, 50))
