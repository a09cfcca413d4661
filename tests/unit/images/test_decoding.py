"""Image files of all kinds as 8-bit grey or colour."""

import numpy as np
import pytest
from PIL import Image

from assay.images.decoding import decode


def encoded(image, path, **options):
    image.save(path, **options)
    return decode(path.read_bytes())


def test_rotation_by_exif_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert encoded(Image.new("RGB", (30, 10), "red"), tmp_path / "a.jpg", exif=exif).size == (10, 30)


def test_sixteen_bits_become_eight_by_a_fixed_scale(tmp_path):
    levels = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    image = encoded(Image.fromarray(levels), tmp_path / "a.png")
    assert (image.mode, np.asarray(image).tolist()) == ("L", [[0, 1, 128, 255]])


def test_transparent_pixels_lie_on_white(tmp_path):
    image = encoded(Image.new("RGBA", (2, 2), (255, 0, 0, 0)), tmp_path / "a.png")
    assert (image.mode, image.getpixel((0, 0))) == ("RGB", (255, 255, 255))
    grey = encoded(Image.new("LA", (2, 2), (0, 0)), tmp_path / "b.png")
    assert (grey.mode, grey.getpixel((0, 0))) == ("L", 255)


def test_palettes_give_their_colours_and_not_their_indices(tmp_path):
    picture = Image.new("RGB", (4, 4), (10, 200, 30)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert encoded(picture, tmp_path / "a.png").getpixel((0, 0)) == (10, 200, 30)
    clear = Image.new("P", (2, 2), 0)
    clear.putpalette([1, 2, 3])
    assert encoded(clear, tmp_path / "b.png", transparency=0).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "CMYK"])
def test_other_modes_become_grey_or_colour(tmp_path, mode):
    assert encoded(Image.new(mode, (4, 4)), tmp_path / "a.tif").mode in ("L", "RGB")


def test_floating_point_pixels_are_refused(tmp_path):
    with pytest.raises(ValueError, match="floating point"):
        encoded(Image.new("F", (4, 4)), tmp_path / "a.tif")
