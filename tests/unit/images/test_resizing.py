"""Resizing by true areas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from assay.images.resizing import area_resize, at_most, coverage

SIDES = st.integers(1, 30)


def test_from_three_pixels_to_two_the_middle_one_counts_half_for_each():
    assert coverage(3, 2) * 3 == pytest.approx(np.array([[2, 1, 0], [0, 1, 2]]))


@given(SIDES, SIDES, SIDES, SIDES)
@settings(max_examples=40)
def test_the_mean_grey_level_never_changes(height, width, new_height, new_width):
    pixels = np.random.default_rng(height * 31 + width).random((height, width), dtype=np.float32) * 255
    resized = area_resize(pixels, (new_width, new_height))
    assert resized.shape == (new_height, new_width)
    assert resized.mean() == pytest.approx(pixels.mean(), rel=1e-4)
    assert resized.min() >= pixels.min() - 1e-3
    assert resized.max() <= pixels.max() + 1e-3


def test_a_whole_factor_averages_blocks():
    pixels = np.arange(16, dtype=np.float32).reshape(4, 4)
    assert area_resize(pixels, (2, 2)).tolist() == [[2.5, 4.5], [10.5, 12.5]]


def test_colours_are_resized_like_grey():
    pixels = np.random.default_rng(0).random((7, 5, 3), dtype=np.float32)
    each = [area_resize(pixels[:, :, channel], (3, 2)) for channel in range(3)]
    assert area_resize(pixels, (3, 2)) == pytest.approx(np.stack(each, axis=2))


def test_small_images_are_left_as_they_are():
    image = Image.new("RGB", (20, 10), "red")
    assert at_most(image, 20) is image


@pytest.mark.parametrize(("size", "expected"), [((100, 40), (32, 13)), ((33, 33), (32, 32)), ((4000, 1), (32, 1))])
def test_large_images_keep_their_shape_and_colour(size, expected):
    reduced = at_most(Image.new("RGB", size, (200, 100, 50)), 32)
    assert reduced.size == expected
    assert reduced.getpixel((0, 0)) == (200, 100, 50)
