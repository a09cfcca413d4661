"""Images and their masks in memory, as batches of windows to learn from, or of whole images to look at.

Belongs here: putting the parts together. Does not belong here: their arithmetic.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Generator, Tensor

from assay.datasets.mask_classes import IGNORED
from assay.learning.segmentation.regions import numbered_regions, region_boxes
from assay.spec.training_data import Augmentation
from assay.training.augmentation import random_maps
from assay.training.interfaces import Batch
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
