import pytest
import torch

from assay.training.sampler import balanced
from assay.training.tasks.detection.task import DetectionDataset
from assay.training.tasks.segmentation.dataset import SegmentationDataset
from assay.training.tasks.windows import classes_of_items, object_probabilities

SIDE, OBJECT = 128, 32


def objects(*classes):
    """Objects in a row, by class; -2 for a crowd."""
    return torch.tensor([[each, 40.0 * place, 0, 40.0 * place + OBJECT, OBJECT] for place, each in enumerate(classes)])


IMAGES = [objects(0, 0, 0), objects(0, 0), objects(0), objects(0, 1), objects(0, 0, 2), torch.zeros(0, 5)]
"""Nine objects of class 0, one of class 1, one of class 2."""


def test_items_have_the_classes_that_their_image_shows():
    assert classes_of_items([objects(0, 2), objects(1, -2), torch.zeros(0, 5)], 3, 5).tolist() == [
        [1, 0, 1],
        [0, 1, 0],
        [0, 0, 0],
        [1, 0, 1],
        [0, 1, 0],
    ]


def test_objects_of_rare_classes_have_a_higher_probability():
    probabilities = object_probabilities(IMAGES, 3)
    assert probabilities[0].tolist() == pytest.approx([1 / 3] * 3)
    assert probabilities[3].tolist() == pytest.approx([0.1, 0.9])
    assert len(probabilities[5]) == 0


def items(kind, **keys):
    images = [torch.zeros(3, SIDE, SIDE, dtype=torch.uint8) for _ in IMAGES]
    if kind is DetectionDataset:
        return DetectionDataset(images, IMAGES, window_size=OBJECT, **keys)
    masks = []
    for each in IMAGES:
        mask = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
        for label, left, top, right, bottom in each.int().tolist():
            mask[top:bottom, left:right] = 1 + label
        masks.append(mask)
    return SegmentationDataset(images, masks, window_size=OBJECT, **keys)


def seen(learned, order):
    """How many windows show each class."""
    _, targets = learned.batch(order, torch.Generator().manual_seed(1))
    classes = targets[:, 0] if targets.dim() == 4 else targets[..., 0] + 1
    return [int((classes == label).flatten(1).any(1).sum()) for label in (1, 2, 3)]


@pytest.mark.parametrize("kind", [DetectionDataset, SegmentationDataset])
def test_windows_show_rare_classes_about_as_often_on_request(kind):
    plain, even = items(kind), items(kind, balanced_classes=3)
    count = 40 * len(IMAGES)
    common, *rare = seen(plain, torch.arange(count))
    assert common > 3 * max(rare)
    order = balanced(classes_of_items(even.objects, 3, count))(count, 0, 0)
    counts = seen(even, order)
    assert max(counts) < 2 * min(counts)
