"""Coherent regions of masks: numbered once per image, found again in windows cut out of it.

Belongs here: which pixels belong together, and the boxes around them. Does not belong here: what is learned from them
(``loss``).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assay.datasets.mask_classes import IGNORED
from assay.images.masks import regions_by_class
from assay.training.tasks.detection.box_coding import NOTHING

LEAST_PIXELS = 16
"""Pixels of a region that counts as an object; smaller ones have no middle to look for."""

MOST_REGIONS = 254
"""Regions of an image that can be told apart; of more, the smallest count as none."""


def numbered_regions(classes: Tensor) -> Tensor:
    """Return which pixels of a mask belong together: of one class, and touching, if only by a corner.

    Args:
        classes: uint8 (h, w): 0 background, 1..k classes, 255 unknown.

    Returns:
        uint8 (h, w): 1 to 254 for the regions of an image, from the largest to the smallest; 0 elsewhere.
    """
    values = classes.numpy()
    found = list(regions_by_class(np.where(values == IGNORED, 0, values)))
    numbers = np.zeros(values.shape, np.uint8)
    if not found:
        return torch.from_numpy(numbers)
    sizes = [np.bincount(each.numbers.ravel(), minlength=1 + each.count)[1:] for each in found]
    ranks = np.split(ranked(np.concatenate(sizes)), np.cumsum([each.count for each in found])[:-1])
    for each, own in zip(found, ranks, strict=True):
        numbers[each.box] += np.append(np.uint8(0), own)[each.numbers]
    return torch.from_numpy(numbers)


def ranked(sizes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the rank of each region by its size, from 1; 0 for those that do not count."""
    order = np.argsort(-sizes, kind="stable")[:MOST_REGIONS]
    order = order[sizes[order] >= LEAST_PIXELS]
    ranks = np.zeros(len(sizes), np.uint8)
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks


def region_boxes(classes: Tensor, regions: Tensor) -> Tensor:
    """Return the boxes around what is seen of each region.

    Args:
        classes: uint8 (B, H, W).
        regions: uint8 (B, H, W), from ``numbered_regions``, perhaps cut and moved since.

    Returns:
        float32 (B, M, 5): class from 0, left, top, right, bottom in pixels, right and bottom exclusive; rows of class
        -1 fill up where an image has fewer regions than another.
    """
    image, y, x = ((regions > 0) & (classes > 0) & (classes != IGNORED)).nonzero(as_tuple=True)
    keys, owner, counts = torch.unique(
        image * 256 + regions[image, y, x].long(), return_inverse=True, return_counts=True
    )
    edges = torch.stack([x, y, -x - 1, -y - 1], 1).float()  # the least of -x - 1 is minus the exclusive right edge
    least = edges.new_zeros(len(keys), 4).scatter_reduce(
        0, owner[:, None].expand(-1, 4), edges, "amin", include_self=False
    )
    seen = classes[image, y, x].float() - 1
    own_class = seen.new_zeros(len(keys)).scatter_reduce(0, owner, seen, "amax", include_self=False)
    own_class = torch.where(counts >= LEAST_PIXELS, own_class, float(NOTHING))
    rows = torch.cat([own_class[:, None], least[:, :2], -least[:, 2:]], 1)
    return _stacked(rows, keys // 256, len(classes))


def _stacked(rows: Tensor, images: Tensor, image_count: int) -> Tensor:
    """Return rows (n, 5) as (B, M, 5); ``images`` (n,) says in ascending order which image each belongs to."""
    counts = torch.bincount(images, minlength=image_count)
    starts = counts.cumsum(0) - counts
    most = int(counts.max()) if len(rows) else 0
    stacked = rows.new_zeros(image_count, most, 5)
    stacked[..., 0] = NOTHING
    stacked[images, torch.arange(len(rows), device=rows.device) - starts[images]] = rows
    return stacked
