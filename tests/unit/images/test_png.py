"""PNG files, decoded by Pillow."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from assay.images.png import encode_png


def decoded(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    mode=st.sampled_from(["L", "RGB"]),
    level=st.integers(0, 9),
    seed=st.integers(0, 99),
)
def test_what_is_encoded_is_decoded_by_pillow_pixel_for_pixel(width, height, mode, level, seed):
    shape = (height, width) if mode == "L" else (height, width, 3)
    pixels = np.random.default_rng(seed).integers(0, 255, shape, np.uint8, endpoint=True)
    image = decoded(encode_png(Image.fromarray(pixels), level))
    assert image.mode == mode
    assert np.array_equal(np.asarray(image), pixels)


def test_equal_pixels_give_equal_bytes():
    image = Image.linear_gradient("L")
    assert encode_png(image) == encode_png(image.copy())


def test_every_compression_level_is_honoured():
    image = Image.merge("RGB", [Image.radial_gradient("L"), Image.linear_gradient("L"), Image.radial_gradient("L")])
    sizes = [len(encode_png(image, level)) for level in (0, 1, 6, 9)]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 4


def test_an_image_of_another_mode_is_refused_with_its_name():
    with pytest.raises(ValueError, match="not RGBA; convert it first"):
        encode_png(Image.new("RGBA", (2, 2)))
