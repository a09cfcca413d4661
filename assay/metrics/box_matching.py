"""Matching of predicted boxes with true objects, and average precision, by the rules of COCO.

Lin et al., "Microsoft COCO: Common Objects in Context" (ECCV 2014), and the reference code of pycocotools: in each
image and class the most confident box chooses first, among the objects that are still free, the one that it overlaps
most. A crowd region can be chosen any number of times, but only where no object is left.

faster-coco-eval scores one evaluation faster than this module (``assay.metrics.detection``), but it knows no weights
of images, which every resample of a bootstrap needs. Here boxes are matched once, and scored under any number of
weightings; with equal weights the scores are those of pycocotools.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from faster_coco_eval.core import mask as coco

from assay.metrics.samples import Booleans, Floats, Integers, safe_divide

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""IoU from which a box counts as finding an object: COCO averages over all of them."""

MAX_DETECTIONS = 100
"""Only this many of the most confident boxes of each image and class count."""

RECALLS = np.linspace(0.0, 1.0, 101)
"""Recalls at which COCO samples the precision."""


@dataclass(frozen=True)
class Boxes:
    """True objects, or predicted boxes, of several images.

    Attributes:
        image: (m,) index of the image, ascending.
        label: (m,) index of the class.
        xywh: (m, 4) left and top edge, width and height in pixels.
        confidence: (m,) 0 to 1; 1 for objects.
        crowd: (m,) whether it is a region of many objects, in which a predicted box is neither right nor wrong.
    """

    image: Integers
    label: Integers
    xywh: Floats
    confidence: Floats
    crowd: Booleans

    def __len__(self) -> int:
        """Number of boxes."""
        return len(self.image)

    def at(self, rows: Integers | Booleans) -> "Boxes":
        """Return some of the boxes."""
        return Boxes(self.image[rows], self.label[rows], self.xywh[rows], self.confidence[rows], self.crowd[rows])


@dataclass(frozen=True)
class Matches:
    """Which predicted boxes count, and which object each of them finds.

    Attributes:
        boxes: (d,) indices of the boxes that count, most confident first; at equal confidence by image.
        objects: (t, d) index of the object that each finds at each threshold, or -1.
    """

    boxes: Integers
    objects: Integers


def match_boxes(predicted: Boxes, objects: Boxes, thresholds: Floats = IOU_THRESHOLDS) -> Matches:
    """Match each predicted box with an object of its own class.

    Args:
        predicted: Predicted boxes.
        objects: True objects.
        thresholds: (t,) IoU from which a box counts as finding an object, ascending.
    """
    classes = 1 + max(predicted.label.max(initial=0), objects.label.max(initial=0))
    by_confidence = np.argsort(-predicted.confidence, kind="stable")
    keys, object_keys = (boxes.image * classes + boxes.label for boxes in (predicted, objects))
    order = by_confidence[np.argsort(keys[by_confidence], kind="stable")]
    matched = np.full((len(thresholds), len(predicted)), -1, dtype=np.int64)
    counts = np.zeros(len(predicted), dtype=bool)
    object_order = np.lexsort((objects.crowd, object_keys))
    for key, rows in _runs(keys[order], order):
        chosen = rows[:MAX_DETECTIONS]
        counts[chosen] = True
        span = np.searchsorted(object_keys[object_order], [key, key + 1])
        candidates = object_order[span[0] : span[1]]
        if len(candidates):
            ious = box_iou(predicted.xywh[chosen], objects.xywh[candidates], objects.crowd[candidates])
            indices = _choose(ious, objects.crowd[candidates], thresholds)
            matched[:, chosen] = np.where(indices >= 0, candidates[indices], -1)
    kept = by_confidence[counts[by_confidence]]
    return Matches(kept, matched[:, kept])


def _runs(keys: Integers, rows: Integers) -> Iterator[tuple[int, Integers]]:
    """Yield each key with its rows, for keys in ascending order."""
    values, starts = np.unique(keys, return_index=True)
    yield from zip(values.tolist(), np.split(rows, starts[1:]), strict=False)


def _choose(ious: Floats, crowd: Booleans, thresholds: Floats) -> Integers:
    """Return the index of the object that each box finds, or -1: (t, p).

    Args:
        ious: (p, q) IoU of the boxes and objects of one image and class, the most confident box first, crowds last.
        crowd: (q,) which objects are crowds.
        thresholds: (t,) ascending.
    """
    indices = np.full((len(thresholds), len(ious)), -1)
    free = np.ones((len(thresholds), len(crowd)), dtype=bool)
    enough = np.minimum(thresholds, 1 - 1e-10)[:, None]
    for row in np.flatnonzero(ious.max(axis=1) >= enough[0, 0]):
        allowed = free & (ious[row] >= enough)
        allowed[:, crowd] &= ~allowed[:, ~crowd].any(axis=1, keepdims=True)
        # Of objects with equal IoU, the reference code takes the last.
        last = len(crowd) - 1 - np.argmax(np.where(allowed, ious[row], -1.0)[:, ::-1], axis=1)
        hit = allowed.any(axis=1)
        indices[hit, row] = last[hit]
        free[hit, last[hit]] = crowd[last[hit]]
    return indices


def box_iou(boxes: Floats, objects: Floats, crowd: Booleans) -> Floats:
    """Return the IoU of each box with each object; where the object is a crowd, the share of the box inside it.

    Args:
        boxes: (p, 4) left, top, width, height.
        objects: (q, 4) likewise.
        crowd: (q,) whether the object is a crowd.

    Returns:
        (p, q), 0 to 1; 0 where neither has an area.
    """
    ious = np.asarray(coco.iou(boxes, objects, crowd.astype(int).tolist()), np.float64)
    return ious.reshape(len(boxes), len(objects))  # the library returns an empty list for no boxes


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
        matches: Which box finds which object.
        class_count: Number k of classes.
        weights: (b, n) how often each image counts, in each of b weightings.
    """
    shape = (len(weights), len(matches.objects), class_count)
    precision, recall = np.full(shape, np.nan), np.full(shape, np.nan)
    crowd = np.append(objects.crowd, False)[matches.objects]
    hits, counted = (matches.objects >= 0) & ~crowd, ~crowd
    labels = predicted.label[matches.boxes]
    for label in np.unique(objects.label[~objects.crowd]):
        own = labels == label
        box_weights = weights[:, predicted.image[matches.boxes[own]]]  # (b, d), most confident first
        images = objects.image[(objects.label == label) & ~objects.crowd]
        total = weights @ np.bincount(images, minlength=weights.shape[1]).astype(np.float64)
        scores = _class_scores(box_weights, total, hits[:, own], counted[:, own])
        precision[:, :, label], recall[:, :, label] = scores
    return Scores(precision, recall)


def _class_scores(box_weights: Floats, total: Floats, hits: Booleans, counted: Booleans) -> tuple[Floats, Floats]:
    """Return average precision and recall of one class: (b, t) each."""
    seen = np.cumsum(box_weights, axis=1)
    precision, recall = np.zeros((2, len(total), len(hits)))
    for row, (hit, counts) in enumerate(zip(hits, counted, strict=True)):
        boxes = seen if counts.all() else np.cumsum(box_weights * counts, axis=1)
        true_positives = np.cumsum(box_weights[:, hit], axis=1)
        reached = safe_divide(true_positives, total[:, None])
        precision[:, row] = _average_precision(true_positives / (boxes[:, hit] + np.spacing(1)), reached)
        recall[:, row] = reached[:, -1] if reached.shape[1] else np.where(total > 0, 0.0, np.nan)
    return np.where(total[:, None] > 0, precision, np.nan), recall


def _average_precision(precision: Floats, recall: Floats) -> Floats:
    """Return the mean over ``RECALLS`` of the highest precision at that recall or a higher one: (b,).

    Args:
        precision: (b, h) precision at each true positive; only there recall grows.
        recall: (b, h) recall at each.
    """
    highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    met = np.searchsorted(RECALLS, recall.ravel(), side="right").reshape(recall.shape)
    mean: Floats = (highest * np.diff(met, axis=1, prepend=0)).sum(axis=1) / len(RECALLS)
    return mean
