"""PNG files, decoded by Pillow."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from assay.images.png import encode_png, size_of_plain_png


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


def saved(image: Image.Image, format: str = "PNG", **keys) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **keys)
    return buffer.getvalue()


def with_text(keyword: str) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text(keyword, "value")
    return info


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


GREY, COLOUR = Image.linear_gradient("L").resize((7, 5)), Image.new("RGB", (7, 5), "teal")


@pytest.mark.parametrize(
    "content",
    [
        encode_png(GREY),
        encode_png(COLOUR),
        saved(GREY),
        saved(COLOUR, dpi=(300, 300), compress_level=9),
        saved(COLOUR, pnginfo=with_text("Software")),
        saved(COLOUR, pnginfo=with_text("Creation Time")),
    ],
)
def test_a_file_is_plain_that_decodes_to_what_would_be_written(content):
    assert size_of_plain_png(content) == (7, 5)
    assert encode_png(decoded(content)) == encode_png(COLOUR if decoded(content).mode == "RGB" else GREY)


@pytest.mark.parametrize(
    "content",
    [
        saved(COLOUR, "JPEG"),
        saved(COLOUR, exif=turned()),
        saved(COLOUR, pnginfo=with_text("Raw profile type exif")),
        saved(COLOUR, pnginfo=with_text("XML:com.adobe.xmp")),
        saved(COLOUR, transparency=(0, 128, 128)),
        saved(COLOUR.convert("RGBA")),
        saved(COLOUR.convert("P")),
        saved(GREY.convert("1")),
        saved(GREY.convert("I;16")),
        saved(GREY, save_all=True, append_images=[Image.new("L", (7, 5), 9)]),
        encode_png(COLOUR) + b"more",
        encode_png(COLOUR)[:-12],
        encode_png(COLOUR)[:40],
        encode_png(COLOUR)[:20],
        b"",
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 4, b"IDAT") + b"0000" + struct.pack(">I", zlib.crc32(b"IDAT0000")),
    ],
)
def test_any_other_file_is_not_plain(content):
    assert size_of_plain_png(content) is None
