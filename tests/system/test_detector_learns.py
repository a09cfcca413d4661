"""A real training on shapes that are quickly learned: boxes, loss, decoding and metric agree about what is where."""

import numpy as np
import pytest
import torch

from assay.spec.trained_model import Augmentation
from assay.training.models.detector import Detector
from assay.training.tasks.detection.criterion import DetectionRunningMetric, PyramidRunningMetric, detection_loss
from assay.training.tasks.detection.pyramid import Pyramid, fitting_reductions, training_pictures
from assay.training.tasks.detection.task import DetectionDataset, reduced_images

pytestmark = pytest.mark.system

SIDE = 96


def image_of_shapes(rng):
    """A noisy image with up to three squares (class 0) and crosses (class 1), none beside the other."""
    pixels = rng.integers(60, 120, (3, SIDE, SIDE)).astype(np.uint8)
    rows = []
    for quarter in rng.permutation(4)[: rng.integers(0, 4)]:
        kind, size = int(rng.integers(0, 2)), int(rng.integers(14, 30))
        x, y = (int(rng.integers(0, SIDE // 2 - size)) + SIDE // 2 * int(part) for part in divmod(quarter, 2))
        if kind == 0:
            pixels[:, y : y + size, x : x + size] = 220
        else:
            third = slice(size // 3, size - size // 3)
            pixels[:, y : y + size, x : x + size][:, third] = 220
            pixels[:, y : y + size, x : x + size][:, :, third] = 220
        rows.append([kind, x, y, x + size, y + size])
    return torch.from_numpy(pixels), torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)


def some_items(count, seed):
    rng = np.random.default_rng(seed)
    images, boxes = zip(*(image_of_shapes(rng) for _ in range(count)), strict=True)
    return DetectionDataset(images, boxes, 64, augmentation=Augmentation(zoom=0.2, contrast=0.2))


def trained_on(items, class_count):
    torch.manual_seed(0)
    network, generator = Detector(3, class_count, 8), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    for _ in range(150):
        order = torch.randint(0, len(items.images), (16,), generator=generator)
        windows, targets = items.batch(order, generator)
        optimizer.zero_grad()
        detection_loss(network(windows), targets).backward()
        optimizer.step()
    return network.eval()


@torch.no_grad()
def measured(network, items, metric):
    for images, targets in items.batches(8):
        metric.add(network(images), targets)
    return metric.values()["map50"]


def test_a_detector_finds_shapes_in_images_that_it_never_saw():
    network = trained_on(some_items(64, seed=1), 2)
    assert measured(network, some_items(40, seed=2), DetectionRunningMetric(2)) > 0.9


def image_of_sizes(rng):
    """A noisy image with a small square (class 0) and a large one (class 1), none beside the other."""
    pixels = rng.integers(60, 120, (3, 2 * SIDE, 2 * SIDE)).astype(np.uint8)
    small, large = int(rng.integers(10, 20)), int(rng.integers(100, 160))
    x, y = (int(rng.integers(0, 2 * SIDE - large - 24)) for _ in range(2))
    rows = [[0, 2 * SIDE - small, y, 2 * SIDE, y + small], [1, x, y, x + large, y + large]]
    for _, left, top, right, bottom in rows:
        pixels[:, top:bottom, left:right] = 220
    return torch.from_numpy(pixels), torch.tensor(rows, dtype=torch.float32)


def test_a_detector_with_reductions_finds_large_and_small_objects():
    """A class each: without the large ones, the mean of both would be at most one half."""
    rng, window = np.random.default_rng(3), 48
    train, test = (
        [list(each) for each in zip(*(image_of_sizes(rng) for _ in range(n)), strict=True)] for n in (48, 24)
    )
    sides = torch.cat([boxes[:, 3] - boxes[:, 1] for boxes in train[1]])
    pyramid = Pyramid(fitting_reductions(sides, window), window)
    assert pyramid.reductions == (1, 2, 4)
    unseen = DetectionDataset(*test, window)
    network = trained_on(DetectionDataset(*training_pictures(*train, pyramid), window), 2)
    metric = PyramidRunningMetric(2, unseen.targets, pyramid)
    assert measured(network, reduced_images(unseen, pyramid), metric) > 0.8
