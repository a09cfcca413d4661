"""Which predicted box finds which object, by the rules of COCO.

Lin et al., "Microsoft COCO: Common Objects in Context" (ECCV 2014), and the reference code of pycocotools: in each
image and class the surest box chooses first, among the objects that are still free, the one that it overlaps most; a
crowd can be chosen any number of times, but only where no object is left.

Belongs here: matching. Does not belong here: counting what was matched (``average_precision``).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from assay.metrics.boxes import Boxes, overlaps
from assay.metrics.samples import Booleans, Floats, Integers

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
