"""Images with masks in memory, and the connected regions of masks: found once per image, and again in every window."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from assay.datasets.mask_classes import IGNORED
from assay.training.interfaces import NO_OBJECT
from assay.training.tasks.windows import DrawnWindows, WindowDataset, cut_window, resampled


@dataclass(frozen=True)
class SegmentationDataset(WindowDataset):
    """A subset of images with masks.

    The target of an image is its mask uint8 (h, w): 0 background, 1..k classes, 255 unknown. Batches of windows have
    uint8 (B, 2, S, S), the classes and the numbers of the regions; batches of whole images have masks (B, H, W).
    """

    anywhere_share: ClassVar[float] = 0.3
    """With fewer windows anywhere, too much of the background is taken for an object; with more, the classes are
    learned more slowly."""

    @cached_property
    def _regions(self) -> list[Tensor]:
        return [numbered_regions(mask) for mask in self.targets]

    @cached_property
    def objects(self) -> list[Tensor]:
        """Class and box of each region of each image (m, 5)."""
        pairs = zip(self.targets, self._regions, strict=True)
        return [region_boxes(mask[None], regions[None])[0] for mask, regions in pairs]

    def window_targets(self, drawn: DrawnWindows) -> Tensor:
        """Return classes and regions in some windows: uint8 (B, 2, S, S); pixels outside the image are unknown."""
        side = self.window_size + 2 * drawn.margin
        corners = (drawn.corners - drawn.margin).tolist()
        masks = [
            torch.stack(
                [
                    cut_window(self.targets[index], corner, side, IGNORED),
                    cut_window(self._regions[index], corner, side, 0),
                ]
            )
            for index, corner in zip(drawn.indices, corners, strict=True)
        ]
        stacked = torch.stack(masks).to(drawn.places.device).float()
        return resampled(stacked, drawn.places, "nearest").to(torch.uint8)

    def stacked_targets(self, targets: Sequence[Tensor], height: int, width: int) -> Tensor:
        """Return the masks of whole images: uint8 (B, height, width)."""
        return stacked_masks(targets, height, width)


def stacked_masks(masks: Sequence[Tensor], height: int, width: int) -> Tensor:
    """Return masks in the top left corners of larger ones (B, height, width); the padding is unknown."""
    stacked = torch.full((len(masks), height, width), IGNORED, dtype=torch.uint8)
    for row, mask in enumerate(masks):
        stacked[row, : mask.shape[0], : mask.shape[1]] = mask
    return stacked


LEAST_PIXELS = 16
"""Pixels of a region that counts as an object; the center of a smaller one is not a training target."""

MOST_REGIONS = 254
"""Largest number of regions per image; of more, the smallest are dropped."""


def numbered_regions(classes: Tensor) -> Tensor:
    """Return the connected regions of a mask: pixels of one class that touch, also diagonally.

    Args:
        classes: uint8 (h, w): 0 background, 1..k classes, 255 unknown.

    Returns:
        uint8 (h, w): 1 to 254 for the regions, from the largest to the smallest, regions of equal size in the order of
        their classes; 0 elsewhere.
    """
    from skimage.measure import label  # 0.2 s, which only segmentation needs

    values = classes.numpy()
    values = np.where(values == IGNORED, 0, values)
    numbers, count = label(values, background=0, return_num=True, connectivity=2)  # type: ignore[no-untyped-call]
    if not count:
        return torch.zeros(values.shape, dtype=torch.uint8)
    sizes = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
    region_classes = np.zeros(count + 1, values.dtype)
    region_classes[numbers] = values
    order = np.lexsort((region_classes[1:], -sizes))[:MOST_REGIONS]
    order = order[sizes[order] >= LEAST_PIXELS]
    ranks = np.zeros(count + 1, np.uint8)
    ranks[1 + order] = np.arange(1, len(order) + 1)
    return torch.from_numpy(ranks[numbers])


def region_boxes(classes: Tensor, regions: Tensor) -> Tensor:
    """Return the boxes around the visible part of each region.

    Args:
        classes: uint8 (B, H, W).
        regions: uint8 (B, H, W), from ``numbered_regions``; may be a window of it, transformed.

    Returns:
        float32 (B, M, 5): class from 0, left, top, right, bottom in pixels, right and bottom exclusive; padded with
        rows of class -1.
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
    own_class = torch.where(counts >= LEAST_PIXELS, own_class, float(NO_OBJECT))
    rows = torch.cat([own_class[:, None], least[:, :2], -least[:, 2:]], 1)
    return _stacked(rows, keys // 256, len(classes))


def _stacked(rows: Tensor, images: Tensor, image_count: int) -> Tensor:
    """Return rows (n, 5) as (B, M, 5); ``images`` (n,) says in ascending order which image each belongs to."""
    counts = torch.bincount(images, minlength=image_count)
    starts = counts.cumsum(0) - counts
    most = int(counts.max()) if len(rows) else 0
    stacked = rows.new_zeros(image_count, most, 5)
    stacked[..., 0] = NO_OBJECT
    stacked[images, torch.arange(len(rows), device=rows.device) - starts[images]] = rows
    return stacked
