"""One number as pixels; colours of numbers and random changes of photos' colours."""

import numpy as np
import pytest
from PIL import Image

from assay.datasets.synthetic.glyphs import FONTS, LUMINANCE, GlyphRenderer, augment_colours, random_colour
from assay.images.boxes import Box
from assay.spec.generated_images import NumbersSource, PhotoAugmentation


@pytest.fixture(scope="module")
def press() -> GlyphRenderer:
    return GlyphRenderer()


def test_no_font_is_listed_twice():
    assert len(set(FONTS)) == len(FONTS) >= 12


@pytest.mark.parametrize("font", FONTS)
def test_every_font_draws_ten_different_digits(press, font):
    assert len({press.draw(str(digit), font, 40, 0).alpha.tobytes() for digit in range(10)}) == 10


@pytest.mark.defect("A4")
@pytest.mark.parametrize("font", FONTS)
@pytest.mark.parametrize("size", [8, 47])
def test_the_ink_is_all_or_nothing_and_never_empty(press, font, size):
    for digit in range(10):
        glyph = press.draw(str(digit), font, size, 17.0 * digit)
        assert set(np.unique(glyph.ink)) == {0, 255}
        assert Box.around(glyph.ink) == glyph.box


@pytest.mark.parametrize("max_number", [10, 100, 255])
def test_every_number_fits_into_the_room_that_the_spec_assumes(press, max_number):
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


NOTHING = dict.fromkeys(PhotoAugmentation.model_fields, False)


def photo() -> Image.Image:
    """Values 60 to 190, so that no moderate change saturates."""
    pixels = np.random.default_rng(0).integers(60, 190, (24, 24, 3), np.uint8)
    return Image.fromarray(pixels).resize((48, 48))


def changed(family: str, seed: int) -> np.ndarray:
    augmentation = PhotoAugmentation(**{**NOTHING, family: True})
    return np.asarray(augment_colours(photo(), np.random.default_rng(seed), augmentation)).astype(int)


def test_without_any_kind_of_change_the_photo_stays_as_it_is():
    augmentation = PhotoAugmentation(**NOTHING)
    for seed in range(20):
        assert augment_colours(photo(), np.random.default_rng(seed), augmentation).tobytes() == photo().tobytes()


@pytest.mark.parametrize("family", ["brightness", "contrast", "hue", "blur", "sharpen"])
def test_each_family_changes_some_photos_and_leaves_others(family):
    is_changed = {bool((changed(family, seed) != np.asarray(photo())).any()) for seed in range(40)}
    assert is_changed == {True, False}


def test_brightness_moves_all_values_by_the_same_amount():
    differences = [changed("brightness", seed) - np.asarray(photo()) for seed in range(20)]
    assert all(np.ptp(difference) <= 1 for difference in differences)
    assert {-1, 1} <= {int(np.sign(difference.mean())) for difference in differences}


def test_a_blur_lowers_and_a_sharpening_raises_the_differences_between_neighbours():
    def roughness(pixels: np.ndarray) -> float:
        return float(np.abs(np.diff(pixels.astype(int), axis=1)).mean())

    before = roughness(np.asarray(photo()))
    assert min(roughness(changed("blur", seed)) for seed in range(30)) < before
    assert max(roughness(changed("blur", seed)) for seed in range(30)) <= before
    assert max(roughness(changed("sharpen", seed)) for seed in range(30)) > before


@pytest.mark.defect("A10")
def test_every_channel_of_a_colour_can_be_0_and_255():
    rng, behind = np.random.default_rng(0), np.full((2, 2, 3), 128, np.uint8)
    colors = np.array([random_colour(behind, 0.0, rng) for _ in range(4000)])
    assert colors.min(axis=0).tolist() == [0, 0, 0]
    assert colors.max(axis=0).tolist() == [255, 255, 255]


@pytest.mark.parametrize("level", [0, 40, 127, 128, 200, 255])
@pytest.mark.parametrize("min_contrast", [40, 127])
def test_a_colour_stands_out_from_any_background(level, min_contrast):
    behind, rng = np.full((3, 3, 3), level, np.uint8), np.random.default_rng(1)
    for _ in range(30):
        assert abs(np.dot(LUMINANCE, random_colour(behind, min_contrast, rng)) - level) >= min_contrast
