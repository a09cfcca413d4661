import pytest
import torch

from assay.spec.trained_model import Augmentation, TrainedModelSection
from assay.training.annotations import Annotations
from assay.training.data import DataSource, read_subsets
from assay.training.tasks.base import TrainingRequest
from assay.training.tasks.detection.task import DetectionDataset, describe, too_large
from tests.helpers.image_cases import write_splits

BRIGHT = 250
STRENGTH = Augmentation(zoom=0.2, invert_probability=0.5, colour_shift=0.5, contrast=0.3, noise=0.01)


def one_object(height, width, box, index=0):
    """A dark image with a bright box in it."""
    image = torch.full((3, height, width), 20, dtype=torch.uint8)
    left, top, right, bottom = box
    image[:, top:bottom, left:right] = BRIGHT
    return image, torch.tensor([[index, *box]], dtype=torch.float32)


def some_items(augmentation=STRENGTH):
    wide = one_object(90, 160, (100, 30, 120, 60))
    small = one_object(24, 30, (5, 6, 15, 16), index=1)
    empty = (torch.full((3, 70, 70), 20, dtype=torch.uint8), torch.zeros(0, 5))
    images, boxes = zip(wide, small, empty, strict=True)
    return DetectionDataset(images, boxes, window_size=64, augmentation=augmentation)


def test_windows_show_their_objects_where_the_boxes_say():
    items = some_items(Augmentation(zoom=0.2))
    generator = torch.Generator().manual_seed(0)
    shown = 0
    for _ in range(20):
        windows, targets = items.batch(torch.tensor([0, 1]), generator)
        for window, rows in zip(windows, targets, strict=True):
            for index, left, top, right, bottom in rows[rows[:, 0] >= 0].round().long().tolist():
                inside = window[:, top + 1 : bottom - 1, left + 1 : right - 1]
                assert index in (0, 1)
                assert inside.min() > window.mean()
                shown += 1
    assert shown > 30


def test_the_same_generator_gives_the_same_batch():
    items = some_items()
    first, second = (items.batch(torch.tensor([2, 0, 1]), torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert first[0].shape == (3, 3, 64, 64)
    assert first[0].is_contiguous(memory_format=torch.channels_last)


def test_a_batch_of_empty_images_has_no_boxes():
    windows, targets = some_items().batch(torch.tensor([2, 2]), torch.Generator().manual_seed(0))
    assert windows.isfinite().all()
    assert targets.shape == (2, 0, 5)


def test_whole_images_come_in_order_with_all_their_boxes():
    items = some_items()
    batches = list(items.batches(2))
    assert len(items) == 3
    assert [images.shape for images, _ in batches] == [(2, 3, 96, 160), (1, 3, 80, 80)]
    assert [targets.shape for _, targets in batches] == [(2, 1, 5), (1, 0, 5)]
    assert batches[0][1][1, 0].tolist() == [1, 5, 6, 15, 16]


def test_objects_that_no_window_shows_are_told_with_the_keys_that_help():
    assert too_large(some_items(), 160) == ()
    images, boxes = zip(one_object(300, 300, (10, 10, 290, 290)), one_object(90, 160, (100, 30, 120, 60)), strict=True)
    (warning,) = too_large(DetectionDataset(images, boxes, window_size=96), 300)
    assert warning.startswith("1 of 2 training objects are too large for the training windows of 96 px")
    assert "data_description.reductions: [1, 2, 4], or window_size: 224, or reduce" in warning
    assert "image_size: 132" in warning
    (warning,) = too_large(DetectionDataset(images, boxes, window_size=96), 300, (1, 2))
    assert "windows of 96 px of images reduced by 2: none" in warning
    assert "reductions: [1, 2, 4], or window_size: 112, or" in warning
    assert "image_size: 265" in warning
    assert too_large(DetectionDataset(images, boxes, window_size=96), 300, (1, 2, 4)) == ()
    assert too_large(DetectionDataset(images, boxes, window_size=224), 300) == ()


def test_an_object_of_which_enough_is_shown_is_not_too_large():
    images, boxes = zip(one_object(200, 400, (0, 0, 150, 90)), strict=True)  # 96 x 90 of 150 x 90 are 64%
    assert too_large(DetectionDataset(images, boxes, window_size=96), 400) == ()


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"image_size": 64, "window_size": 32}, (1, 2)),
        ({"image_size": 32, "window_size": 32}, (1,)),  # then the largest object has 25 px
        ({"image_size": 64}, (1,)),  # windows of 96 px
        ({"image_size": 64, "window_size": 32, "reductions": [1]}, (1,)),
        ({"image_size": 64, "reductions": [1, 2, 4]}, (1, 2, 4)),
    ],
)
def test_reductions_are_those_of_the_spec_or_follow_from_the_sizes_that_the_network_sees(keys, expected, tmp_path):
    write_splits(tmp_path / "splits", {"a": [("cat", 4, 4, 50, 20), ("dog", 40, 40, 8, 20)]})
    source = DataSource("splits", tmp_path / "splits", "ssss")
    section = TrainedModelSection.model_validate({"data_description": keys})
    inputs, _ = describe(
        TrainingRequest(section, "detection", 0, Annotations(source)), read_subsets(source, ["test"], "label")["test"]
    )
    assert inputs.reductions == expected
    assert ("reductions" in inputs.model_dump()) == (expected != (1,))
