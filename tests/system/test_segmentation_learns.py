import numpy as np
import pytest
import torch

from assay.spec.models import UnetModel
from assay.spec.trained_model import Augmentation
from assay.training.engine import evaluate
from assay.training.models.unet import build_unet
from assay.training.optimizers import AdamW, one_cycle
from assay.training.tasks.segmentation.dataset import SegmentationDataset
from assay.training.tasks.segmentation.decode import SegmentationRunningMetric
from assay.training.tasks.segmentation.loss import SegmentationLoss, plain_segmentation_loss

pytestmark = pytest.mark.system
SIDE, STEPS = 160, 120
CHANGES = Augmentation(rotation_degrees=15, zoom=0.2, invert_probability=0.3, colour_shift=0.5, contrast=0.3)


def textures(seed, count, first_class):
    """Images divided into large regions of noise, stripes and checks: classes ``first_class`` and the next two."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    images, masks = [], []
    for _ in range(count):
        places, kinds = rng.uniform(0, SIDE, (5, 2)), rng.integers(0, 3, 5)
        texture = kinds[np.argmin((y[..., None] - places[:, 0]) ** 2 + (x[..., None] - places[:, 1]) ** 2, -1)]
        looks = [rng.normal(0, 25, (SIDE, SIDE)), 60 * np.sin(x * 1.3), 60 * np.sign(np.sin(x * 0.8) * np.sin(y * 0.8))]
        grey = np.choose(texture, looks) + rng.uniform(90, 160) + rng.normal(0, 10, (SIDE, SIDE))
        images.append(torch.from_numpy(grey.clip(0, 255).astype(np.uint8)).expand(3, -1, -1))
        masks.append(torch.from_numpy((texture + first_class).astype(np.uint8)))
    return images, masks


@pytest.mark.parametrize(("first_class", "classes"), [(1, 3), (0, 2)], ids=["no background", "noise is background"])
def test_large_regions_are_learned_in_seconds_with_and_without_background(first_class, classes):
    torch.manual_seed(0)
    train = SegmentationDataset(*textures(1, 40, first_class), window_size=64, augmentation=CHANGES)
    validation = SegmentationDataset(*textures(2, 20, first_class), window_size=64)
    network = build_unet(UnetModel(width=8), (3, 64, 64), 1 + classes).to(memory_format=torch.channels_last)
    optimizer, loss, source = (
        AdamW(network.parameters(), 0.9, 0.02),
        SegmentationLoss(),
        torch.Generator().manual_seed(0),
    )
    network.train()
    for step in range(STEPS):
        windows, targets = train.batch(torch.randint(0, len(train), (16,), generator=source), source)
        network.zero_grad()
        loss(network(windows), targets).backward()
        optimizer.step(one_cycle(4e-3, step, STEPS, STEPS / 4))
    metric = SegmentationRunningMetric(classes)
    evaluate(network, validation.batches(8), plain_segmentation_loss, metric)
    assert metric.values()["mean_iou"] > 0.8
