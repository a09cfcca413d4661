import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.spec.trained_model import Augmentation
from assay.training.augmentation import random_maps
from assay.training.tasks.detection.task import boxes_in_window, stacked_boxes, transformed_boxes
from assay.training.tasks.windows import places_in_windows, resampled

SIDE = 64


def rows(*boxes):
    return torch.tensor([boxes], dtype=torch.float32)


def test_objects_inside_stay_as_they_are():
    inside = rows([3, 10, 10, 20, 20], [0, 0, 0, 64, 64])
    assert torch.equal(boxes_in_window(inside, SIDE), inside)


def test_of_an_object_mostly_inside_the_visible_part_is_the_target():
    assert boxes_in_window(rows([3, -4, 10, 16, 20]), SIDE).tolist() == [[[3, 0, 10, 16, 20]]]


def test_half_an_object_becomes_a_crowd_region():
    assert boxes_in_window(rows([3, -10, 10, 10, 20]), SIDE).tolist() == [[[-2, 0, 10, 10, 20]]]


def test_objects_outside_are_left_out():
    outside = rows([3, 64, 10, 80, 20], [1, 10, 10, 20, 20], [2, -20, 0, 0, 9])
    assert boxes_in_window(outside, SIDE).tolist() == [[[1, 10, 10, 20, 20]]]
    assert boxes_in_window(outside[:, :1], SIDE).shape == (1, 0, 5)
    assert boxes_in_window(torch.zeros(2, 0, 5), SIDE).shape == (2, 0, 5)


def test_a_crowd_stays_a_crowd_however_little_is_seen_of_it():
    assert boxes_in_window(rows([-2, -100, 0, 2, 64]), SIDE).tolist() == [[[-2, 0, 0, 2, 64]]]


def test_an_object_larger_than_the_window_becomes_a_crowd_region():
    assert boxes_in_window(rows([1, -50, -50, 100, 100]), SIDE).tolist() == [[[-2, 0, 0, 64, 64]]]


def test_lists_of_boxes_are_padded_with_rows_of_no_object():
    stacked = stacked_boxes([torch.zeros(0, 5), torch.ones(2, 5)])
    assert stacked[..., 0].tolist() == [[-1, -1], [1, 1]]
    assert stacked_boxes([]).shape == (0, 0, 5)


@given(seed=st.integers(0, 1000), x=st.integers(12, 40), y=st.integers(12, 40), size=st.integers(6, 16))
@settings(max_examples=30, deadline=None)
def test_boxes_move_with_their_image(seed, x, y, size):
    windows = torch.zeros(1, 1, SIDE, SIDE)
    windows[..., y : y + size, x : x + 2 * size] = 1
    maps = random_maps(1, Augmentation(zoom=0.3, shift=0.05), torch.Generator().manual_seed(seed))
    seen = torch.nonzero(resampled(windows, places_in_windows(maps, SIDE, SIDE))[0, 0] > 0.5)
    (moved,) = transformed_boxes(rows([x, y, x + 2 * size, y + size]), maps, SIDE)
    around = torch.cat([seen.amin(0).flip(0), seen.amax(0).flip(0) + 1]).float()
    inside = moved[0].clamp(0, SIDE)
    assert (around - inside).abs().max() <= 1


def test_a_disc_keeps_its_size_when_it_is_turned():
    turned = random_maps(1, Augmentation(rotation_degrees=40), torch.Generator().manual_seed(1))
    (moved,) = transformed_boxes(rows([20, 20, 44, 44]), turned, SIDE)
    assert torch.allclose(moved, torch.tensor([[20.0, 20, 44, 44]]), atol=1e-3)
