"""Boxes of many images as arrays, and how much they overlap.

Belongs here: the arrays, and overlaps. Does not belong here: which box finds which object (``box_matching``).
"""

from dataclasses import dataclass

import numpy as np

from assay.metrics.samples import Booleans, Floats, Integers


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
