import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.spec.trained_model import Augmentation
from assay.training.augmentation import random_maps
from assay.training.tasks.windows import (
    choose_anchors,
    cut_window,
    draw_corners,
    margin_of,
    places_in_windows,
    resampled,
)

STILL = Augmentation()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@given(seed=st.integers(0, 1000), width=st.integers(1, 90), height=st.integers(1, 90), side=st.sampled_from([16, 48]))
@settings(max_examples=40, deadline=None)
def test_a_window_shows_all_of_its_object_or_as_much_as_it_can(seed, width, height, side):
    rng = np.random.default_rng(seed)
    left, top = int(rng.integers(0, width)), int(rng.integers(0, height))
    box = [left, top, int(rng.integers(left + 1, width + 1)), int(rng.integers(top + 1, height + 1))]
    ((x, y),) = draw_corners(
        torch.tensor([box]).float(), torch.tensor([[width, height]]), side, generator(seed)
    ).tolist()
    for corner, low, high, size in ((x, box[0], box[2], width), (y, box[1], box[3], height)):
        shown = min(high, corner + side) - max(low, corner)
        assert shown == min(high - low, side)
        assert 0 <= corner <= size - side or size - side <= corner <= 0


def test_corners_are_spread_over_all_that_is_possible():
    anchors = torch.tensor([[40.0, 40.0, 50.0, 50.0]]).expand(500, 4)
    corners = draw_corners(anchors, torch.tensor([[100, 100]]).expand(500, 2), 32, generator())
    assert corners.min() <= 19
    assert corners.max() >= 39


def test_every_object_is_chosen_and_sometimes_the_whole_image():
    boxes = torch.tensor([[1.0, 1, 5, 5], [3.0, 3, 9, 9]])
    sizes = torch.tensor([[64, 48]]).expand(200, 2)
    chosen = choose_anchors([boxes] * 200, sizes, generator())
    counts = [int((chosen == row).all(1).sum()) for row in (*boxes, torch.tensor([0.0, 0, 64, 48]))]
    assert sum(counts) == 200
    assert min(counts[:2]) > 60
    assert 5 < counts[2] < 40


def test_an_image_without_objects_is_its_own_anchor():
    assert choose_anchors([torch.zeros(0, 4)], torch.tensor([[64, 48]]), generator()).tolist() == [[0, 0, 64, 48]]


def test_a_window_that_leaves_the_image_is_filled_up():
    image = torch.arange(6, dtype=torch.uint8).view(1, 2, 3)
    expected = [[9, 9, 9, 9], [9, 0, 1, 2], [9, 3, 4, 5], [9, 9, 9, 9]]
    assert cut_window(image, (-1, -1), 4, fill=9).tolist() == [expected]
    assert cut_window(image[0], (-1, -1), 4, fill=9).tolist() == expected
    assert cut_window(image, (5, 5), 2, fill=9).tolist() == [[[9, 9], [9, 9]]]


def test_the_identity_map_leaves_the_window_as_it_is():
    windows = torch.rand(2, 3, 12, 12, generator=generator())
    inner = resampled(windows, places_in_windows(random_maps(2, STILL, generator()), 8, 12))
    assert torch.allclose(inner, windows[..., 2:10, 2:10], atol=1e-5)


@given(zoom=st.floats(0, 0.5), shift=st.floats(0, 0.2), angle=st.floats(0, 180), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_margin_is_wide_enough_for_every_transform(zoom, shift, angle, seed):
    strength = Augmentation(zoom=zoom, shift=shift, rotation_degrees=angle)
    side = 16
    outer = side + 2 * margin_of(side, strength)
    places = places_in_windows(random_maps(4, strength, generator(seed)), side, outer)
    moved = resampled(torch.ones(4, 1, outer, outer), places)
    assert moved.min() > 0.999  # beyond the margin, there would be zeros


def test_masks_keep_their_values_when_they_are_moved():
    masks = torch.randint(0, 4, (2, 1, 40, 40), generator=generator()).float()
    strength = Augmentation(zoom=0.3, rotation_degrees=20)
    moved = resampled(masks, places_in_windows(random_maps(2, strength, generator()), 24, 40), mode="nearest")
    assert set(moved.unique().tolist()) <= {0.0, 1.0, 2.0, 3.0}
