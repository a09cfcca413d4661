"""Coherent regions of masks: which pixels of a class touch each other, if only by a corner.

Belongs here: finding them. Does not belong here: what is made of them (``learning.segmentation.regions``,
``learning.scene_truth``).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TOUCHING = np.ones((3, 3))


@dataclass(frozen=True)
class Regions:
    """The regions of one class.

    Attributes:
        box: Rows and columns around all pixels of the class.
        numbers: int32, of the size of the box: 1 to ``count`` for the regions, 0 elsewhere.
        count: Number of regions.
    """

    box: tuple[slice, slice]
    numbers: NDArray[np.int32]
    count: int


def regions_by_class(classes: NDArray[np.integer]) -> Iterator[Regions]:
    """Yield the regions of each class that occurs, in ascending order, looking only where it does.

    Args:
        classes: (h, w): 0 for pixels that belong to no region, small positive numbers for the classes.
    """
    from scipy import ndimage  # 0.2 s, which only segmentation needs

    for value, box in enumerate(ndimage.find_objects(classes), 1):
        if box is not None:
            numbers, count = ndimage.label(classes[box] == value, _TOUCHING)
            yield Regions(box, numbers, count)
