"""Seeing every class of object equally often, in windows of whole images.

Belongs here: how often an image, and an object in it, is to be looked at. Does not belong here: orders (``order``),
where windows lie (``windows``).
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def classes_of_items(objects: Sequence[Tensor], class_count: int, item_count: int) -> Tensor:
    """Return which classes the image of each item shows: int64 (n, k) of 0 and 1.

    Args:
        objects: Of each image (m, 5), class first; below 0 for what is none.
        class_count: k.
        item_count: n; the images come again and again.
    """
    shown = torch.stack([counts_of(each, class_count) > 0 for each in objects]).long()
    return shown.repeat(-(-item_count // len(shown)), 1)[:item_count]


def chances(objects: Sequence[Tensor], class_count: int) -> list[Tensor]:
    """Return the chance of each object to be looked at when its image is: (m,), the higher the rarer its class is."""
    counts = torch.stack([counts_of(each, class_count) for each in objects]).sum(0).clamp(min=1)
    weights = [1 / counts[each[:, 0].long()] for each in objects]
    return [each / each.sum() for each in weights]


def counts_of(objects: Tensor, class_count: int) -> Tensor:
    """Return how many objects of each class there are: float32 (k,)."""
    known = objects[objects[:, 0] >= 0, 0].long()
    return torch.bincount(known, minlength=class_count).float()
