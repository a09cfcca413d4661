"""Boxes of whole pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from assay.images.boxes import Box

boxes = st.builds(Box, st.integers(0, 20), st.integers(0, 20), st.integers(1, 12), st.integers(1, 12))


def mask_of(box: Box) -> np.ndarray:
    pixels = np.zeros((40, 40), np.uint8)
    pixels[box.y_px : box.y_px + box.height_px, box.x_px : box.x_px + box.width_px] = 255
    return pixels


@pytest.mark.defect("A11")
def test_a_white_block_of_10_by_10_gives_a_crop_of_10_by_10():
    image = Image.new("L", (30, 20))
    image.paste(255, (7, 4, 17, 14))
    box = Box.around(image)
    assert box == Box(x_px=7, y_px=4, width_px=10, height_px=10)
    crop = image.crop(box.edges)
    assert crop.size == (10, 10)
    assert crop.getextrema() == (255, 255)


@given(boxes)
def test_the_box_around_a_block_is_the_block(box):
    assert Box.around(Image.fromarray(mask_of(box))) == box


def test_there_is_no_box_around_nothing():
    assert Box.around(Image.new("L", (5, 5))) is None


@given(boxes, boxes)
def test_boxes_overlap_exactly_when_they_share_a_pixel(one, other):
    assert one.overlaps(other) == bool((mask_of(one) & mask_of(other)).any())
    assert one.overlaps(other) == other.overlaps(one)


def test_a_gap_keeps_boxes_apart_by_as_many_pixels():
    box = Box(0, 0, 4, 4)
    assert not box.overlaps(Box(6, 0, 4, 4), gap=2)
    assert box.overlaps(Box(5, 0, 4, 4), gap=2)


def test_shifting_moves_and_keeps_the_size():
    assert Box(1, 2, 3, 4).shifted(10, -2) == Box(11, 0, 3, 4)
