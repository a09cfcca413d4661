import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.datasets.mask_classes import IGNORED
from assay.training.tasks.segmentation.dataset import LEAST_PIXELS, numbered_regions, region_boxes


def mask(height=40, width=60):
    """A large and a small object of class 2 that touch none, one of class 1 beside the large one, and a speck."""
    classes = torch.zeros(height, width, dtype=torch.uint8)
    classes[2:20, 3:23] = 2
    classes[2:20, 23:30] = 1
    classes[30:36, 40:44] = 2
    classes[38, 50] = 1
    classes[0, :] = IGNORED
    return classes


def test_regions_are_numbered_from_the_largest_and_specks_are_none():
    numbers = numbered_regions(mask())
    assert numbers[10, 10] == 1
    assert numbers[10, 25] == 2
    assert numbers[32, 42] == 3
    assert numbers[38, 50] == 0
    assert numbers[0].max() == 0


def test_boxes_are_those_of_the_regions_in_every_image_of_the_batch():
    classes = torch.stack([mask(), torch.zeros(40, 60, dtype=torch.uint8), mask().flip(1)])
    rows = region_boxes(classes, torch.stack([numbered_regions(each) for each in classes]))
    assert rows.shape == (3, 3, 5)
    assert rows[0].tolist() == [[1, 3, 2, 23, 20], [0, 23, 2, 30, 20], [1, 40, 30, 44, 36]]
    assert (rows[1, :, 0] == -1).all()
    assert rows[2, 0].tolist() == [1, 37, 2, 57, 20]


def test_a_window_has_the_boxes_of_what_it_shows():
    classes, regions = mask()[None, 10:34, 20:44], numbered_regions(mask())[None, 10:34, 20:44]
    assert region_boxes(classes, regions).tolist() == [[[1, 0, 0, 3, 10], [0, 3, 0, 10, 10], [1, 20, 20, 24, 24]]]
    assert region_boxes(classes[:, :1, 21:], regions[:, :1, 21:]).shape == (1, 0, 5)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=8, deadline=None)
def test_pixels_of_a_region_are_of_one_class_and_enough(seed):
    classes = torch.from_numpy(np.random.default_rng(seed).integers(0, 3, (12, 17)).astype(np.uint8))
    numbers = numbered_regions(classes)
    for number in range(1, int(numbers.max()) + 1):
        own = classes[numbers == number]
        assert len(own) >= LEAST_PIXELS
        assert own.unique().numel() == 1
        assert own[0] > 0
