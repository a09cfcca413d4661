import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.datasets.synthetic.picture import GAP_PX, _random_free_position, random_position
from assay.images.boxes import Box


def test_a10_every_place_is_drawn_including_the_last_row_and_column():
    rng = np.random.default_rng(0)
    places = {random_position((4, 3), [], (8, 6), rng)[:2] for _ in range(800)}
    assert places == {(x, y) for x in range(5) for y in range(4)}


def test_a_number_as_large_as_the_image_has_one_place():
    assert random_position((8, 6), [], (8, 6), np.random.default_rng(0)) == Box(0, 0, 8, 6)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 1000),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    taken=st.lists(st.builds(Box, st.integers(0, 9), st.integers(0, 9), st.integers(1, 5), st.integers(1, 5))),
)
def test_the_full_search_finds_exactly_the_places_that_are_clear(seed, size, taken):
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


def test_there_is_no_place_in_a_full_image():
    assert random_position((2, 2), [Box(0, 0, 10, 10)], (10, 10), np.random.default_rng(0)) is None
