import numpy as np
import pytest
import torch
from torch.nn import functional

from assay.datasets.mask_classes import IGNORED
from assay.training.tasks.segmentation.decode import SegmentationRunningMetric


def drawn(seed, classes=4):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, (6, 9, 7))
    truth[rng.random(truth.shape) < 0.2] = IGNORED
    return truth.astype(np.uint8), rng.integers(0, classes, truth.shape)


def brute_force(truth, predicted):
    known = truth != IGNORED
    truth, predicted = truth[known], predicted[known]
    ious = []
    for index in set(truth) | set(predicted):
        if index:
            both, either = (truth == index) & (predicted == index), (truth == index) | (predicted == index)
            ious.append(both.sum() / either.sum())
    foreground = ((truth > 0) & (predicted > 0)).sum() / ((truth > 0) | (predicted > 0)).sum()
    return {"mean_iou": np.mean(ious), "foreground_iou": foreground}


@pytest.mark.parametrize("seed", range(3))
def test_the_running_metric_equals_counting_pixel_by_pixel(seed):
    truth, predicted = drawn(seed)
    outputs = functional.one_hot(torch.from_numpy(predicted), 6).permute(0, 3, 1, 2).float()  # class 5 never occurs
    metric = SegmentationRunningMetric(5)
    for part in (slice(0, 4), slice(4, 6)):
        metric.add(outputs[part], torch.from_numpy(truth[part]))
    assert metric.values() == pytest.approx(brute_force(truth, predicted))


def test_without_objects_and_predictions_the_iou_is_zero():
    metric = SegmentationRunningMetric(2)
    metric.add(torch.tensor([[[[1.0]], [[0.0]], [[0.0]]]]), torch.zeros(1, 1, 1, dtype=torch.uint8))
    assert metric.values() == {"mean_iou": 0.0, "foreground_iou": 0.0}
