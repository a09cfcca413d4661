"""The values of a mask's pixels, whatever the file's format, and the regions of each class."""

import io

import numpy as np
import pytest
from PIL import Image

from assay.images.decoding import read_mask


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_the_values_of_a_palette_image_are_its_indices_not_its_colours():
    mask = Image.fromarray(np.array([[0, 15], [255, 1]], np.uint8), "L").convert("L")
    palette = Image.frombytes("P", mask.size, mask.tobytes())
    palette.putpalette([9, 8, 7] * 256)
    assert read_mask(encoded(palette, transparency=0)).tolist() == [[0, 15], [255, 1]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_values_of_a_grey_image_are_its_levels(dtype):
    levels = np.array([[0, 7, np.iinfo(dtype).max]], dtype)
    assert read_mask(encoded(Image.fromarray(levels))).tolist() == levels.tolist()


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_are_packed_into_one_number(mode):
    mask = Image.new("RGB", (2, 1), (0x12, 0x34, 0x56)).convert(mode)
    assert read_mask(encoded(mask)).tolist() == [[0x123456] * 2]


def test_the_values_of_a_one_bit_image_are_0_and_1():
    assert read_mask(encoded(Image.new("1", (2, 1), 1))).tolist() == [[1, 1]]


def test_a_mask_with_a_rotation_is_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_mask(encoded(Image.new("L", (5, 2)), exif=exif)).shape == (5, 2)


def test_a_jpeg_is_refused_because_it_changes_values():
    with pytest.raises(ValueError, match="is a JPEG, which changes the values of pixels; save masks as PNG"):
        read_mask(encoded(Image.new("L", (8, 8)), "JPEG"))


def test_pixels_that_are_not_whole_numbers_are_refused():
    with pytest.raises(ValueError, match="mode F, expected indices, grey levels or colours"):
        read_mask(encoded(Image.new("F", (2, 2)), "TIFF"))
