"""Resizing by true areas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from assay.images.resizing import area_resize, at_most, coverage

SIDES = st.integers(1, 30)


def test_of_three_pixels_on_two_the_middle_one_counts_half_for_each():
    assert coverage(3, 2).tolist() == [[2, 1, 0], [0, 1, 2]]


@given(SIDES, SIDES)
def test_every_old_pixel_is_divided_among_the_new_ones(old, new):
    assert coverage(old, new).sum(axis=0).tolist() == [new] * old
    assert coverage(old, new).sum(axis=1).tolist() == [old] * new


def exact_means(pixels, size):
    """Return the means by counting: each old pixel is repeated until the new ones are blocks of whole ones."""
    height, width = pixels.shape
    counted = pixels.repeat(size[1], axis=0).repeat(size[0], axis=1)
    return counted.reshape(size[1], height, size[0], width).sum(axis=(1, 3), dtype=np.int64) / (height * width)


@pytest.mark.parametrize(("shape", "size"), [((9, 13), (10, 4)), ((131, 307), (13, 28)), ((70_000, 1), (1, 3))])
def test_grey_levels_are_the_exact_means_rounded_once_whatever_the_processor(shape, size):
    pixels = np.random.default_rng(0).integers(0, 256, shape)
    resized = area_resize(pixels.astype(np.float32), size)
    assert resized.tolist() == exact_means(pixels, size).astype(np.float32).tolist()


@pytest.mark.parametrize("shape", [(1000, 1000), (1023, 701), (70_000, 3)])
def test_white_stays_white_however_many_pixels_are_summed(shape):
    assert (area_resize(np.full(shape, 255, np.float32), (10, 7)) == 255).all()


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
