"""A real training on shapes that are quickly learned: boxes, loss, decoding and metric agree about what is where."""

import numpy as np
import pytest
import torch

from assay.spec.trained_model import Augmentation
from assay.training.models.detector import Detector
from assay.training.tasks.detection.criterion import DetectionRunningMetric, detection_loss
from assay.training.tasks.detection.task import DetectionDataset

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


def test_a_detector_finds_shapes_in_images_that_it_never_saw():
    torch.manual_seed(0)
    network, generator = Detector(3, 2, 8), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    train = some_items(64, seed=1)
    for _ in range(150):
        windows, targets = train.batch(torch.randint(0, 64, (16,), generator=generator), generator)
        optimizer.zero_grad()
        detection_loss(network(windows), targets).backward()
        optimizer.step()
    network.eval()
    metric = DetectionRunningMetric(2)
    with torch.no_grad():
        for images, targets in some_items(40, seed=2).batches(8):
            metric.add(network(images), targets)
    assert metric.values()["map50"] > 0.9
