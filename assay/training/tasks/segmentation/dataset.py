"""Images and their masks in memory, as batches of windows to learn from, or of whole images to look at.

Belongs here: putting the parts together. Does not belong here: their arithmetic.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from assay.datasets.mask_classes import IGNORED
from assay.images.masks import regions_by_class
from assay.spec.trained_model import Augmentation
from assay.training.augmentation import random_maps
from assay.training.interfaces import Batch
from assay.training.tasks.detection.box_coding import NOTHING
from assay.training.tasks.images import Levels, as_scene_batch, levels_of, split_scenes
from assay.training.tasks.windows import (
    chances,
    choose_anchors,
    cut,
    draw_corners,
    margin_of,
    places_in_windows,
    recoloured,
    resampled,
    standard_windows,
    windows_per_image,
)

ELSEWHERE = 0.3
"""Share of the windows that may lie anywhere in their image: fewer, and too much of the background becomes something;
more, and the classes are learned more slowly."""


@dataclass(frozen=True)
class SegmentationItems:
    """A subset in memory; serves to learn from and to look at.

    To learn from, an item is a window, and a pass shows every image in as many windows as its size calls for. To look
    at, an item is an image.

    Attributes:
        images: uint8 (3, h, w) each, of any sizes; windows are made where they are, in a GPU's memory too.
        masks: uint8 (h, w) of each image, in the processor's memory: 0 background, 1..k classes, 255 unknown.
        window_size: Side in pixels of the windows to learn from.
        standardize: Give each image mean 0 and standard deviation 1.
        augmentation: Strength of the random changes; validation items don't need any.
        balanced_classes: Number of classes of which windows show objects equally often; None: all objects are equal.
    """

    images: Sequence[Tensor]
    masks: Sequence[Tensor]
    window_size: int
    standardize: bool = True
    augmentation: Augmentation = field(default_factory=Augmentation)
    balanced_classes: int | None = None

    def __len__(self) -> int:
        """Number of windows in a pass; each image gives the same number, at least one."""
        return windows_per_image(self.images, self.window_size) * len(self.images)

    def batch(self, order: Tensor, generator: Generator) -> Batch:
        """Return a randomly chosen and changed window for each of these indices.

        Returns:
            Windows (B, 3, S, S), and uint8 (B, 2, S, S): their classes, and the numbers of their regions.
        """
        indices = (order % len(self.images)).tolist()
        margin = margin_of(self.window_size, self.augmentation)
        corners = self._corners(indices, generator) - margin
        maps = random_maps(len(order), self.augmentation, generator)
        side = self.window_size + 2 * margin
        images, levels = [self.images[index] for index in indices], [self._levels[index] for index in indices]
        windows = standard_windows(images, levels, corners, side)
        places = places_in_windows(maps.to(windows.device), self.window_size, side)
        windows = resampled(windows, places)
        masks = resampled(self._masks(indices, corners, side).to(windows.device).float(), places, "nearest")
        return recoloured(windows, self.augmentation, generator), masks.to(torch.uint8)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield all images in order, whole, with their masks uint8 (B, H, W); fewer at once where they are large."""
        for part in split_scenes(self.images, batch_size):
            batch = as_scene_batch(self.images[part], self.standardize)
            yield batch, stacked_masks(self.masks[part], *batch.shape[2:])

    @cached_property
    def _levels(self) -> list[Levels]:
        return [levels_of(image, self.standardize) for image in self.images]

    @cached_property
    def _regions(self) -> list[Tensor]:
        return [numbered_regions(mask) for mask in self.masks]

    @cached_property
    def objects(self) -> list[Tensor]:
        """Class and box of each region of each image (m, 5)."""
        return [
            region_boxes(mask[None], regions[None])[0] for mask, regions in zip(self.masks, self._regions, strict=True)
        ]

    @cached_property
    def _chances(self) -> list[Tensor] | None:
        return None if self.balanced_classes is None else chances(self.objects, self.balanced_classes)

    def _corners(self, indices: list[int], generator: Generator) -> Tensor:
        sizes = torch.tensor([self.images[index].shape[:0:-1] for index in indices])  # (B, 2)
        boxes = [self.objects[index][:, 1:] for index in indices]
        rarity = self._chances and [self._chances[index] for index in indices]
        anchors = choose_anchors(boxes, sizes, generator, ELSEWHERE, rarity)
        return draw_corners(anchors, sizes, self.window_size, generator)

    def _masks(self, indices: list[int], corners: Tensor, side: int) -> Tensor:
        """Return classes and regions in the windows (B, 2, side, side); nothing is known of what lies outside."""
        windows = [
            torch.stack([cut(self.masks[index], corner, side, IGNORED), cut(self._regions[index], corner, side, 0)])
            for index, corner in zip(indices, corners.tolist(), strict=True)
        ]
        return torch.stack(windows)


def stacked_masks(masks: Sequence[Tensor], height: int, width: int) -> Tensor:
    """Return masks in the top left corners of larger ones (B, height, width), unknown around."""
    stacked = torch.full((len(masks), height, width), IGNORED, dtype=torch.uint8)
    for row, mask in enumerate(masks):
        stacked[row, : mask.shape[0], : mask.shape[1]] = mask
    return stacked


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
