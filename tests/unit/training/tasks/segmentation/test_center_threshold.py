import pytest
import torch

from assay.training.tasks.segmentation.decode import (
    CENTER_THRESHOLDS,
    SegmentationRunningMetric,
    confusion_by_threshold,
    highest_threshold,
    predicted_classes,
)

SIDE = 128


def outputs_with(first, second):
    """Outputs with two squares of class 2 of 2 as foreground, and the probability of a center in each."""
    foreground = torch.full((1, 1, SIDE, SIDE), -9.0)
    centers = torch.full((1, 2, SIDE // 4, SIDE // 4), -9.0)
    for place, heat in ((8, first), (96, second)):
        foreground[..., place : place + 16, place : place + 16] = 9.0
        centers[:, 1, place // 4 + 2, place // 4 + 2] = torch.logit(torch.tensor(heat))
    classes = torch.tensor([-9.0, 9.0]).view(1, 2, 1, 1).expand(1, 2, SIDE // 4, SIDE // 4)
    return torch.cat([torch.nn.functional.pixel_unshuffle(foreground, 4), classes, centers], 1)


def mask_with(*places):
    mask = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
    for place in places:
        mask[..., place : place + 16, place : place + 16] = 2
    return mask


@pytest.mark.parametrize(
    ("heats", "places", "threshold"),
    [
        ((0.9, 0.25), (8,), 0.3),  # the second square is background
        ((0.9, 0.25), (8, 96), 0.0),  # both are objects
        ((0.05, 0.05), (8, 96), 0.0),  # no center is probable, as in large regions
    ],
)
def test_the_lowest_of_the_best_thresholds_is_chosen(heats, places, threshold):
    metric = SegmentationRunningMetric(2)
    metric.add(outputs_with(*heats), mask_with(*places))
    assert metric.values() == pytest.approx({"mean_iou": 1.0, "foreground_iou": 1.0, "least_middle": threshold})


def test_pixels_without_a_probable_center_are_background():
    outputs = outputs_with(0.9, 0.25)
    assert torch.equal(predicted_classes(outputs, 2), mask_with(8, 96))
    assert torch.equal(predicted_classes(outputs, 2, center_threshold=0.3), mask_with(8))
    assert not predicted_classes(outputs, 2, center_threshold=0.95).any()


def test_the_confusion_at_all_thresholds_equals_predicting_at_each():
    source = torch.Generator().manual_seed(3)
    outputs, targets = (
        torch.randn(2, 16 + 2 * 3, 16, 24, generator=source),
        torch.randint(0, 4, (2, 64, 96), generator=source),
    )
    targets[:, :5] = 255
    counts = confusion_by_threshold(
        predicted_classes(outputs, 3), targets.to(torch.uint8), highest_threshold(outputs), 3
    )
    for threshold, matrix in zip(CENTER_THRESHOLDS, counts, strict=True):
        predicted = predicted_classes(outputs, 3, threshold)
        for true in range(4):
            assert torch.bincount(predicted[targets == true], minlength=4).tolist() == matrix[true].tolist()
