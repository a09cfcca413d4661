"""Generated pictures: image, mask and labels agree, whatever the spec; placement of the numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from assay.datasets.synthetic.backgrounds import SHIPPED_PHOTOS
from assay.datasets.synthetic.glyphs import FONTS
from assay.datasets.synthetic.picture import (
    BACKGROUND_INDEX,
    GAP_PX,
    NumberPainter,
    NumberPicture,
    _random_free_position,
    random_position,
)
from assay.images.boxes import Box
from assay.spec.generated_images import NumbersSource, PhotoAugmentation

SMALL = {"img_size": {"width": 64, "height": 64}, "font_size_min": 10, "font_size_max": 14, "max_amount": 8}

specs = st.builds(
    NumbersSource,
    max_number=st.integers(1, 30),
    max_amount=st.integers(1, 5),
    img_size=st.fixed_dictionaries({"width": st.integers(64, 90), "height": st.integers(64, 90)}),
    font_size_min=st.integers(8, 12),
    font_size_max=st.integers(12, 15),
    rotation_degrees=st.sampled_from([10.0, 45.0, 180.0]),
    overlap=st.booleans(),
    min_contrast=st.sampled_from([0.0, 40.0, 127.0]),
    augmentation=st.builds(PhotoAugmentation, flip=st.booleans(), affine=st.booleans(), elastic=st.booleans()),
)


def pictures(spec: NumbersSource, count: int, seed: int = 1) -> list[NumberPicture]:
    painter = NumberPainter(spec, seed)
    return [painter.paint(index) for index in range(count)]


@pytest.fixture(scope="module")
def many() -> list[NumberPicture]:
    return pictures(NumbersSource(**SMALL), 250)


@settings(max_examples=12, deadline=None)
@given(spec=specs, seed=st.integers(0, 2**63 - 1), index=st.integers(0, 999_999))
@pytest.mark.system
def test_mask_boxes_and_sizes_agree_for_any_spec(spec, seed, index):
    picture = NumberPainter(spec, seed).paint(index)
    size = (spec.img_size.width, spec.img_size.height)
    assert picture.image.mode == "RGB"
    assert picture.image.size == picture.mask.size == size
    assert 1 <= len(picture.numbers) <= spec.max_amount
    mask = np.asarray(picture.mask)
    classes = {number.number for number in picture.numbers}
    assert set(np.unique(mask)) - {BACKGROUND_INDEX} == classes <= set(range(spec.max_number))
    in_a_box = np.zeros(mask.shape, bool)
    for number in picture.numbers:
        left, top, right, bottom = number.box.edges
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]
        in_a_box[top:bottom, left:right] = True
        inside = mask[top:bottom, left:right] == number.number
        assert inside[0].any()
        assert inside[-1].any()
        assert inside[:, 0].any()
        assert inside[:, -1].any()
    assert (mask[~in_a_box] == BACKGROUND_INDEX).all()


@pytest.mark.defect("A4")
@pytest.mark.system
def test_a_mask_holds_only_the_numbers_drawn_and_background(many):
    for picture in many:
        assert set(np.unique(picture.mask)) == {number.number for number in picture.numbers} | {BACKGROUND_INDEX}


@pytest.mark.defect("A11")
def test_a_box_is_the_extent_of_its_number_with_last_row_and_column(many):
    for picture in many:
        mask = np.asarray(picture.mask)
        for number in picture.numbers:
            left, top, right, bottom = number.box.edges
            apart = np.full(mask.shape, BACKGROUND_INDEX)
            apart[top - 1 if top else 0 : bottom + 1, left - 1 if left else 0 : right + 1] = mask[
                top - 1 if top else 0 : bottom + 1, left - 1 if left else 0 : right + 1
            ]
            rows, columns = np.nonzero(apart == number.number)
            assert (columns.min(), rows.min()) == (left, top)
            assert (columns.max() - left + 1, rows.max() - top + 1) == (number.box.width_px, number.box.height_px)


@pytest.mark.defect("A9")
def test_every_amount_up_to_max_amount_is_drawn_and_none_above(many):
    assert {len(picture.numbers) + picture.without_room for picture in many} == set(range(1, 9))
    assert max(len(picture.numbers) for picture in many) == 8


@pytest.mark.defect("A10")
def test_every_background_font_size_and_number_is_drawn_and_none_beyond(many):
    numbers = [number for picture in many for number in picture.numbers]
    assert {picture.background for picture in many} == set(SHIPPED_PHOTOS)
    assert {number.font for number in numbers} == set(FONTS)
    assert {number.number for number in numbers} == set(range(10))
    assert {number.font_size_px for number in numbers} == set(range(10, 15))


@pytest.mark.defect("A10")
def test_max_number_is_exclusive():
    numbers = {n.number for picture in pictures(NumbersSource(**SMALL, max_number=5), 40) for n in picture.numbers}
    assert numbers == {0, 1, 2, 3, 4}


def test_angles_reach_both_limits_and_are_zero_without_rotation(many):
    angles = [number.rotation_deg for picture in many for number in picture.numbers]
    assert -45 <= min(angles) < -43
    assert 43 < max(angles) <= 45
    upright = pictures(NumbersSource(**SMALL, rotate=False), 10)
    assert {number.rotation_deg for picture in upright for number in picture.numbers} == {0.0}


def test_numbers_keep_clear_of_each_other_unless_overlap_is_wanted(many):
    def overlapping(some: list[NumberPicture]) -> int:
        pairs = ((a, b) for picture in some for a in picture.numbers for b in picture.numbers if a is not b)
        return sum(a.box.overlaps(b.box) for a, b in pairs)

    assert overlapping(many) == 0
    assert overlapping(pictures(NumbersSource(**SMALL, overlap=True), 30)) > 0


def test_a_number_has_the_colour_that_its_label_says():
    for picture in pictures(NumbersSource(font_size_min=40), 20):
        image, mask = np.asarray(picture.image), np.asarray(picture.mask)
        for number in picture.numbers:
            left, top, right, bottom = number.box.edges
            own = mask[top:bottom, left:right] == number.number
            exact = (image[top:bottom, left:right] == number.color).all(-1)
            assert (exact & own).any()


def test_a_number_stands_out_as_much_as_asked():
    for picture in pictures(NumbersSource(**SMALL, min_contrast=120), 20):
        image, mask = np.asarray(picture.image.convert("L"), float), np.asarray(picture.mask)
        for number in picture.numbers:
            left, top, right, bottom = number.box.edges
            ink = mask[top:bottom, left:right] == number.number
            region = image[top:bottom, left:right]
            if (~ink).sum() > 10:
                assert abs(region[ink].mean() - region[~ink].mean()) > 30


def test_a_picture_depends_on_seed_and_index_alone():
    spec = NumbersSource(**SMALL)
    forwards = NumberPainter(spec, 5)
    backwards = NumberPainter(spec, 5)
    one = [forwards.paint(index).image.tobytes() for index in range(6)]
    other = [backwards.paint(index).image.tobytes() for index in reversed(range(6))]
    assert one == other[::-1]
    assert len(set(one)) == 6
    assert not set(one) & {picture.image.tobytes() for picture in pictures(spec, 6, seed=6)}


def test_painting_touches_no_global_random_state():
    np.random.seed(3)
    before = np.random.get_state()[1].tolist()
    NumberPainter(NumbersSource(**SMALL), 5).paint(0)
    assert np.random.get_state()[1].tolist() == before


@pytest.mark.defect("A18")
def test_pictures_do_not_depend_on_the_order_in_which_photos_were_copied(tmp_path):
    names = [f"{letter}.png" for letter in "fbdace"]
    for folder, order in (("one", names), ("other", names[::-1])):
        (tmp_path / folder).mkdir()
        for name in order:
            Image.new("RGB", (80, 80), (ord(name[0]), 90, 30)).save(tmp_path / folder / name)
    one, other = (
        [picture.image.tobytes() for picture in pictures(NumbersSource(**SMALL, background_folder=str(folder)), 6)]
        for folder in (tmp_path / "one", tmp_path / "other")
    )
    assert one == other


def test_numbers_of_several_digits_are_one_object():
    drawn = {n.number for picture in pictures(NumbersSource(max_number=255, max_amount=4), 40) for n in picture.numbers}
    assert max(drawn) > 200
    assert min(drawn) < 50


def test_an_image_too_small_for_all_counts_what_found_no_room():
    size = {"width": 84, "height": 84}
    spec = NumbersSource(img_size=size, max_number=255, font_size_min=24, font_size_max=24, max_amount=2)
    some = pictures(spec, 60)
    assert sum(picture.without_room for picture in some) > 0
    assert all(picture.numbers for picture in some)


@pytest.mark.defect("A10")
@pytest.mark.parametrize("draw", [random_position, _random_free_position])
def test_every_position_occurs_including_the_last_row_and_column(draw):
    rng = np.random.default_rng(0)
    places = {draw((4, 3), [], (8, 6), rng)[:2] for _ in range(800)}
    assert places == {(x, y) for x in range(5) for y in range(4)}


def test_a_number_as_large_as_the_image_has_one_position():
    assert random_position((8, 6), [], (8, 6), np.random.default_rng(0)) == Box(0, 0, 8, 6)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 1000),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    taken=st.lists(st.builds(Box, st.integers(0, 9), st.integers(0, 9), st.integers(1, 5), st.integers(1, 5))),
)
def test_the_full_search_finds_exactly_the_free_positions(seed, size, taken):
    width, height = 12, 11
    clear = {
        (x, y)
        for x in range(width - size[0] + 1)
        for y in range(height - size[1] + 1)
        if not any(Box(x, y, *size).overlaps(other, GAP_PX) for other in taken)
    }
    rng = np.random.default_rng(seed)
    found = [_random_free_position(size, taken, (width, height), rng) for _ in range(30)]
    assert all((box is None) == (not clear) for box in found)
    assert all(box[:2] in clear for box in found if box is not None)
    if len(clear) == 1:
        assert random_position(size, taken, (width, height), rng)[:2] in clear


def test_a_full_image_has_no_free_position():
    assert random_position((2, 2), [Box(0, 0, 10, 10)], (10, 10), np.random.default_rng(0)) is None
