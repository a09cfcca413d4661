"""Boxes that contradict their outlines, or all others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.datasets.box_units import CENTRE, CORNERS, SHARES, guess_unit, require_agreement, require_unit

SIZE = (200, 100)

boxes = st.tuples(st.integers(5, 120), st.integers(5, 60), st.integers(8, 80), st.integers(8, 40))


def edges(x, y, width, height):
    return float(x), float(y), float(x + width), float(y + height)


@given(boxes, st.integers(-2, 2), st.integers(-2, 2))
@settings(deadline=None)
def test_a_box_near_its_outline_is_right(box, shift, growth):
    x, y, width, height = box
    require_agreement(edges(x + shift, y + shift, width, height), edges(*box))
    require_agreement(edges(x - 2, y - 2, width + 4, height + 4), edges(*box))
    require_agreement(edges(x, y, width + growth, height), edges(*box))


@given(boxes)
@settings(deadline=None)
def test_other_readings_of_a_box_are_recognized(box):
    x, y, width, height = box
    readings = {CORNERS: (x, y, x + width, y + height), CENTRE: (x + width / 2, y + height / 2, width, height)}
    for question, numbers in readings.items():
        with pytest.raises(ValueError, match=r"contradicts its outline") as caught:
            require_agreement(edges(*numbers), edges(*box))
        assert question in str(caught.value)


@given(boxes)
@settings(deadline=None)
def test_a_box_of_another_scale_contradicts_its_outline(box):
    with pytest.raises(ValueError, match="contradicts its outline"):
        require_agreement(edges(*(2 * value for value in box)), edges(*box))


@given(boxes)
@settings(deadline=None)
def test_an_outline_in_shares_is_told(box):
    outline = tuple(value / side for value, side in zip(edges(*box), (*SIZE, *SIZE), strict=True))
    with pytest.raises(ValueError, match="of the outline, are these shares"):
        require_agreement(edges(*box), outline)


def measured(*numbers):
    return [(edges(*each), SIZE) for each in numbers]


@pytest.mark.parametrize(
    ("boxes", "guess"),
    [
        ([], ""),
        ([(10, 10, 20, 20)], ""),
        ([(0, 0, 1, 1)], ""),
        ([(0.1, 0.2, 0.5, 0.5), (0, 0, 1, 1)], SHARES),
        ([(0.1, 0.2, 0.5, 0.5), (50, 50, 20, 20)], SHARES),
        ([(2, 3, 190, 90), (150, 60, 190, 90)], CORNERS),
        ([(150, 60, 190, 90), (50, 50, 20, 20)], ""),
        ([(150, 60, 100, 90)], ""),
        ([(150, 60, 190, 190)], ""),
    ],
)
def test_the_unit_is_guessed_from_all_boxes(boxes, guess):
    assert guess_unit(measured(*boxes), measured(*boxes)) == guess


def test_only_boxes_of_the_other_unit_are_refused():
    require_unit(edges(50, 50, 20, 20), SIZE, SHARES, is_alone=True)
    require_unit(edges(2, 3, 190, 90), SIZE, CORNERS, is_alone=False)
    for numbers, guess in [((0, 0, 1, 1), SHARES), ((2, 3, 190, 90), CORNERS)]:
        with pytest.raises(ValueError, match=r"fits its image|less than a pixel") as caught:
            require_unit(edges(*numbers), SIZE, guess, is_alone=True)
        assert guess in str(caught.value)


def test_boxes_of_random_objects_are_not_suspected():
    rng = np.random.default_rng(0)
    for _ in range(200):
        sizes = rng.integers(4, 60, (5, 2))
        places = rng.integers(0, np.array(SIZE) - sizes)
        found = measured(*np.hstack([places, sizes]).tolist())
        assert guess_unit(found, found) == ""
