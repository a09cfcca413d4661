"""Average precision of boxes under any number of weightings of the images.

COCO's definition: precision at 101 recalls, each the highest that is reached at this recall or a higher one. With
whole-numbered weights it equals what the library says of a data set in which images occur that often.

Belongs here: from matches to average precision and recall. Does not belong here: matching, means over classes.
"""

from dataclasses import dataclass

import numpy as np

from assay.metrics.box_matching import Matches
from assay.metrics.boxes import Boxes
from assay.metrics.samples import Booleans, Floats, divide

RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class Scores:
    """Scores of each weighting, threshold and class; NaN where the class has no object.

    Attributes:
        precision: (b, t, k) average precision.
        recall: (b, t, k) share of the objects that are found by any box that counts.
    """

    precision: Floats
    recall: Floats


def weighted_scores(predicted: Boxes, objects: Boxes, matches: Matches, class_count: int, weights: Floats) -> Scores:
    """Return average precision and recall of every class.

    Args:
        predicted: Predicted boxes.
        objects: True objects.
        matches: Which found which.
        class_count: Number k of classes.
        weights: (b, n) how often each image counts, in each of b weightings.
    """
    shape = (len(weights), len(matches.found), class_count)
    precision, recall = np.full(shape, np.nan), np.full(shape, np.nan)
    crowd = np.append(objects.crowd, False)[matches.found]
    hits, counted = (matches.found >= 0) & ~crowd, ~crowd
    labels = predicted.label[matches.boxes]
    for place in np.unique(objects.label[~objects.crowd]):
        own = labels == place
        sure = weights[:, predicted.image[matches.boxes[own]]]  # (b, d), surest first
        wanted = objects.image[(objects.label == place) & ~objects.crowd]
        total = weights @ np.bincount(wanted, minlength=weights.shape[1]).astype(np.float64)
        scores = _class_scores(sure, total, hits[:, own], counted[:, own])
        precision[:, :, place], recall[:, :, place] = scores
    return Scores(precision, recall)


def _class_scores(sure: Floats, total: Floats, hits: Booleans, counted: Booleans) -> tuple[Floats, Floats]:
    """Return average precision and recall of one class: (b, t) each."""
    seen = np.cumsum(sure, axis=1)
    precision, recall = np.zeros((2, len(total), len(hits)))
    for row, (hit, counts) in enumerate(zip(hits, counted, strict=True)):
        boxes = seen if counts.all() else np.cumsum(sure * counts, axis=1)
        right = np.cumsum(sure[:, hit], axis=1)
        reached = divide(right, total[:, None])
        precision[:, row] = _area(right / (boxes[:, hit] + np.spacing(1)), reached)
        recall[:, row] = reached[:, -1] if reached.shape[1] else np.where(total > 0, 0.0, np.nan)
    return np.where(total[:, None] > 0, precision, np.nan), recall


def _area(precision: Floats, recall: Floats) -> Floats:
    """Return the mean over the recalls asked for of the highest precision from there on: (b,).

    Args:
        precision: (b, h) precision at each right box; only there recall grows.
        recall: (b, h) recall at each.
    """
    highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    met = np.searchsorted(RECALLS, recall.ravel(), side="right").reshape(recall.shape)
    area: Floats = (highest * np.diff(met, axis=1, prepend=0)).sum(axis=1) / len(RECALLS)
    return area
