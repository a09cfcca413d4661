"""Which predicted box finds which object, by the rules of COCO.

Lin et al., "Microsoft COCO: Common Objects in Context" (ECCV 2014), and the reference code of pycocotools: in each
image and class the surest box chooses first, among the objects that are still free, the one that it overlaps most; a
crowd can be chosen any number of times, but only where no object is left.

Belongs here: matching. Does not belong here: counting what was matched (``average_precision``).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from assay.metrics.samples import Booleans, Floats, Integers, divide

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""Overlaps from which on a box counts as finding an object."""

MOST_BOXES = 100
"""Of each image and class, only so many of the surest boxes count."""


@dataclass(frozen=True)
class Matches:
    """What the predicted boxes that count have found.

    Attributes:
        boxes: (d,) indices of these boxes, surest first; of equally sure ones, those of earlier images.
        found: (t, d) index of the object that each finds at each threshold, or -1.
    """

    boxes: Integers
    found: Integers


@dataclass(frozen=True)
class Boxes:
    """True objects, or predicted boxes, of several images.

    Attributes:
        image: (m,) index of the image, ascending.
        label: (m,) index of the class.
        place: (m, 4) left and top edge, width and height in pixels.
        confidence: (m,) 0 to 1; 1 for objects.
        crowd: (m,) whether it is a region of many objects, in which a predicted box is neither right nor wrong.
    """

    image: Integers
    label: Integers
    place: Floats
    confidence: Floats
    crowd: Booleans

    def __len__(self) -> int:
        """Number of boxes."""
        return len(self.image)

    def at(self, rows: Integers | Booleans) -> "Boxes":
        """Return some of the boxes."""
        return Boxes(self.image[rows], self.label[rows], self.place[rows], self.confidence[rows], self.crowd[rows])


def match_boxes(predicted: Boxes, objects: Boxes, thresholds: Floats = THRESHOLDS) -> Matches:
    """Return which box finds which object of its own class.

    Args:
        predicted: Predicted boxes.
        objects: True objects.
        thresholds: (t,) overlaps, ascending.
    """
    classes = 1 + max(predicted.label.max(initial=0), objects.label.max(initial=0))
    surest_first = np.argsort(-predicted.confidence, kind="stable")
    keys, object_keys = (boxes.image * classes + boxes.label for boxes in (predicted, objects))
    order = surest_first[np.argsort(keys[surest_first], kind="stable")]
    found = np.full((len(thresholds), len(predicted)), -1, dtype=np.int64)
    counts = np.zeros(len(predicted), dtype=bool)
    object_order = np.lexsort((objects.crowd, object_keys))
    for key, rows in _runs(keys[order], order):
        chosen = rows[:MOST_BOXES]
        counts[chosen] = True
        span = np.searchsorted(object_keys[object_order], [key, key + 1])
        candidates = object_order[span[0] : span[1]]
        if len(candidates):
            shares = overlaps(predicted.place[chosen], objects.place[candidates], objects.crowd[candidates])
            places = _choose(shares, objects.crowd[candidates], thresholds)
            found[:, chosen] = np.where(places >= 0, candidates[places], -1)
    kept = surest_first[counts[surest_first]]
    return Matches(kept, found[:, kept])


def _runs(keys: Integers, rows: Integers) -> Iterator[tuple[int, Integers]]:
    """Yield each key with its rows, for keys in ascending order."""
    values, starts = np.unique(keys, return_index=True)
    yield from zip(values.tolist(), np.split(rows, starts[1:]), strict=False)


def _choose(shares: Floats, crowd: Booleans, thresholds: Floats) -> Integers:
    """Return the place of the object that each box finds, or -1: (t, p).

    Args:
        shares: (p, q) overlaps of one image and class, the surest box first, crowds last.
        crowd: (q,) which objects are crowds.
        thresholds: (t,) ascending.
    """
    places = np.full((len(thresholds), len(shares)), -1)
    free = np.ones((len(thresholds), len(crowd)), dtype=bool)
    enough = np.minimum(thresholds, 1 - 1e-10)[:, None]
    for row in np.flatnonzero(shares.max(axis=1) >= enough[0, 0]):
        allowed = free & (shares[row] >= enough)
        allowed[:, crowd] &= ~allowed[:, ~crowd].any(axis=1, keepdims=True)
        # Of equal overlaps, the reference takes the last.
        last = len(crowd) - 1 - np.argmax(np.where(allowed, shares[row], -1.0)[:, ::-1], axis=1)
        hit = allowed.any(axis=1)
        places[hit, row] = last[hit]
        free[hit, last[hit]] = crowd[last[hit]]
    return places


def overlaps(boxes: Floats, objects: Floats, crowd: Booleans) -> Floats:
    """Return the intersection over union of each box with each object; over the box alone where that is a crowd.

    Args:
        boxes: (p, 4) left, top, width, height.
        objects: (q, 4) likewise.
        crowd: (q,) whether the object is a crowd.

    Returns:
        (p, q), 0 to 1; 0 where a box without area meets one.
    """
    low = np.maximum(boxes[:, None, :2], objects[None, :, :2])
    high = np.minimum(boxes[:, None, :2] + boxes[:, None, 2:], objects[None, :, :2] + objects[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=2)
    own, others = np.prod(boxes[:, 2:], axis=1)[:, None], np.prod(objects[:, 2:], axis=1)[None]
    union = np.where(crowd[None], own, own + others - shared)
    share: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return share


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
