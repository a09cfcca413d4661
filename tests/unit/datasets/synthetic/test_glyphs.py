import numpy as np
import pytest

from assay.datasets.synthetic.glyphs import FONTS, GlyphRenderer
from assay.images.boxes import Box
from assay.spec.generated_images import NumbersSource


@pytest.fixture(scope="module")
def press() -> GlyphRenderer:
    return GlyphRenderer()


def test_no_font_is_listed_twice():
    assert len(set(FONTS)) == len(FONTS) >= 12


@pytest.mark.parametrize("font", FONTS)
def test_every_font_draws_ten_different_digits(press, font):
    assert len({press.draw(str(digit), font, 40, 0).alpha.tobytes() for digit in range(10)}) == 10


@pytest.mark.parametrize("font", FONTS)
@pytest.mark.parametrize("size", [8, 47])
def test_a4_the_ink_is_all_or_nothing_and_never_empty(press, font, size):
    for digit in range(10):
        glyph = press.draw(str(digit), font, size, 17.0 * digit)
        assert set(np.unique(glyph.ink)) == {0, 255}
        assert Box.around(glyph.ink) == glyph.box


@pytest.mark.parametrize("max_number", [10, 100, 255])
def test_every_number_fits_into_the_room_that_the_spec_reckons_with(press, max_number):
    for angle_limit in (None, 90.0):
        keys = {"rotate": False} if angle_limit is None else {"rotation_degrees": angle_limit}
        spec = NumbersSource(
            max_number=max_number, font_size_max=60, max_amount=1, img_size={"width": 500, "height": 500}, **keys
        )
        for font in FONTS:
            for text in {str(max_number - 1), "8", "0", str(max_number // 2)}:
                for angle in (0.0,) if angle_limit is None else (-90.0, -60.0, -45.0, -20.0, 0.0, 33.0, 50.0, 75.0):
                    box = press.draw(text, font, 60, angle).box
                    assert max(box.width_px, box.height_px) <= spec.room_px


def test_a_positive_angle_turns_counter_clockwise(press):
    upright, turned = press.draw("1", FONTS[1], 60, 0).box, press.draw("1", FONTS[1], 60, 90).box
    assert abs(upright.width_px - turned.height_px) <= 1
    seven = np.asarray(press.draw("7", FONTS[1], 60, 90).ink) > 0
    assert seven[:, : seven.shape[1] // 3].sum() > seven[:, -(seven.shape[1] // 3) :].sum()
