"""Random images with true and predicted boxes: empty ones, absent classes, crowds, ties, doubled boxes."""

import numpy as np

from assay.metrics.box_matching import Boxes

SIZE = 100


def random_case(seed, most_images=6, most_classes=4):
    """Return predicted boxes, objects, number of classes and of images; whole pixels and few confidences make ties."""
    rng = np.random.default_rng(seed)
    images, classes = int(rng.integers(1, most_images + 1)), int(rng.integers(1, most_classes + 1))
    object_count = int(rng.choice([0, 3, 12, 30], p=[0.05, 0.25, 0.4, 0.3]))
    objects = _boxes(rng, object_count, images, rng.integers(1, classes + 1), crowd=rng.random() < 0.5)
    chosen = rng.choice(max(object_count, 1), object_count and int(rng.integers(0, 2 * object_count)))
    near = objects.at(np.sort(chosen)) if object_count else objects
    xywh = near.xywh + rng.integers(-6, 7, near.xywh.shape)
    xywh[:, 2:] = np.maximum(xywh[:, 2:], 1)
    other = rng.random(len(near)) < 0.15
    near = Boxes(near.image, np.where(other, rng.integers(0, classes, len(near)), near.label), xywh, *certain(near))
    stray = _boxes(rng, int(rng.choice([0, 5, 40])), images, classes)
    predicted = _joined(near, stray)
    levels = int(rng.choice([3, 1000]))
    confidence = (rng.integers(0, levels + 1, len(predicted)) / levels).astype(np.float32).astype(np.float64)
    predicted = Boxes(predicted.image, predicted.label, predicted.xywh, confidence, np.zeros(len(predicted), bool))
    return predicted, objects, classes, images


def certain(boxes):
    return np.ones(len(boxes)), np.zeros(len(boxes), bool)


def _boxes(rng, count, images, classes, crowd=False):
    xywh = np.column_stack([rng.integers(0, SIZE - 30, (count, 2)), rng.integers(1, 40, (count, 2))]).astype(float)
    image = np.sort(rng.integers(0, images, count))
    crowds = (rng.random(count) < 0.2) & crowd
    return Boxes(image, rng.integers(0, classes, count), xywh, np.ones(count), crowds)


def _joined(first, second):
    order = np.argsort(np.concatenate([first.image, second.image]), kind="stable")
    columns = ("image", "label", "xywh", "confidence", "crowd")
    return Boxes(*(np.concatenate([getattr(first, name), getattr(second, name)])[order] for name in columns))
