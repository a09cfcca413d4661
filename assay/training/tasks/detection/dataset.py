"""Images and their boxes in memory, as batches of windows to learn from, or of whole images to look at.

Belongs here: putting the parts together. Does not belong here: their arithmetic.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Generator, Tensor

from assay.spec.trained_model import Augmentation
from assay.training.augmentation import random_maps
from assay.training.interfaces import Batch
from assay.training.tasks.detection.box_coding import CROWD, NOTHING
from assay.training.tasks.detection.boxes import area, clip
from assay.training.tasks.images import Levels, as_scene_batch, levels_of, split_scenes
from assay.training.tasks.windows import (
    chances,
    choose_anchors,
    draw_corners,
    margin_of,
    places_in_windows,
    recoloured,
    resampled,
    standard_windows,
    windows_per_image,
)


@dataclass(frozen=True)
class DetectionItems:
    """A subset in memory; serves to learn from and to look at.

    To learn from, an item is a window, and a pass shows every image in as many windows as its size calls for. To look
    at, an item is an image.

    Attributes:
        images: uint8 (3, h, w) each, of any sizes; windows are made where they are, in a GPU's memory too.
        boxes: float32 (m, 5) of each image: class, left, top, right, bottom in its pixels; class -2 for crowd regions.
        window_size: Side in pixels of the windows to learn from.
        standardize: Give each image mean 0 and standard deviation 1.
        augmentation: Strength of the random changes; validation items don't need any.
        balanced_classes: Number of classes of which windows show objects equally often; None: all objects are equal.
    """

    images: Sequence[Tensor]
    boxes: Sequence[Tensor]
    window_size: int
    standardize: bool = True
    augmentation: Augmentation = field(default_factory=Augmentation)
    balanced_classes: int | None = None

    def __len__(self) -> int:
        """Number of windows in a pass; each image gives the same number, at least one."""
        return windows_per_image(self.images, self.window_size) * len(self.images)

    def batch(self, order: Tensor, generator: Generator) -> Batch:
        """Return a randomly chosen and changed window for each of these indices, and its boxes (B, M, 5)."""
        indices = (order % len(self.images)).tolist()
        corners = self._corners(indices, generator)
        maps = random_maps(len(order), self.augmentation, generator)
        margin = margin_of(self.window_size, self.augmentation)
        images, levels = [self.images[index] for index in indices], [self._levels[index] for index in indices]
        side = self.window_size + 2 * margin
        windows = standard_windows(images, levels, corners - margin, side)
        windows = resampled(windows, places_in_windows(maps.to(windows.device), self.window_size, side))
        windows = recoloured(windows, self.augmentation, generator)
        targets = stacked_boxes([self.boxes[index] for index in indices])
        targets[..., 1:] = moved_boxes(targets[..., 1:] - corners.repeat(1, 2)[:, None], maps, self.window_size)
        return windows, boxes_in_window(targets, self.window_size)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield all images in order, whole, with their boxes (B, M, 5); fewer at once where they are large."""
        for part in split_scenes(self.images, batch_size):
            yield as_scene_batch(self.images[part], self.standardize), stacked_boxes(list(self.boxes[part]))

    @cached_property
    def _levels(self) -> list[Levels]:
        return [levels_of(image, self.standardize) for image in self.images]

    @cached_property
    def objects(self) -> list[Tensor]:
        """Class and box of each object of each image (m, 5), without crowds."""
        return [boxes[boxes[:, 0] >= 0] for boxes in self.boxes]

    @cached_property
    def _chances(self) -> list[Tensor] | None:
        return None if self.balanced_classes is None else chances(self.objects, self.balanced_classes)

    def _corners(self, indices: list[int], generator: Generator) -> Tensor:
        sizes = torch.tensor([self.images[index].shape[:0:-1] for index in indices])  # (B, 2)
        boxes = [self.objects[index][:, 1:] for index in indices]
        rarity = self._chances and [self._chances[index] for index in indices]
        anchors = choose_anchors(boxes, sizes, generator, chances=rarity)
        return draw_corners(anchors, sizes, self.window_size, generator)


VISIBLE_SHARE = 0.6
"""Least share of an object's box inside the window for the network to be asked for it: for its visible part."""


def moved_boxes(boxes: Tensor, maps: Tensor, side: int) -> Tensor:
    """Return boxes where ``windows.resampled`` brings their content.

    Zoom and shift are exact. Of a turned box, the new one holds the ellipse that the old one held: the box around the
    turned corners would be larger than most objects (Kalra et al., *Towards Rotation Invariance in Object Detection*,
    2021).

    Args:
        boxes: (B, M, 4) in pixels of the inner part of the window.
        maps: (B, 2, 3) from ``augment.random_maps``.
        side: Of the inner part in pixels.
    """
    back = torch.linalg.inv(maps[:, :, :2])  # (B, 2, 2): from the original to the moved image
    half = side / 2
    middles = (boxes[..., :2] + boxes[..., 2:]) / 2 - half * (1 + maps[:, None, :, 2])  # (B, M, 2)
    middles = middles @ back.mT + half
    reach = (boxes[..., 2:] - boxes[..., :2]).square() @ back.square().mT  # (B, M, 2)
    reach = reach.sqrt() / 2
    return torch.cat([middles - reach, middles + reach], -1)


def boxes_in_window(targets: Tensor, side: int) -> Tensor:
    """Return what a window shows of the boxes.

    Objects cut off by the window count by their visible part, as they do at the edge of an image. Where little of one
    is left, the place becomes a crowd region: finding half an object is neither right nor wrong. So of an object much
    larger than the window hardly anything is learned: its windows lie within it. Reduce such images
    (``data_description.image_size``) or enlarge the window.

    Args:
        targets: (B, M, 5): class, left, top, right, bottom in pixels of the window.
        side: Of the window in pixels.

    Returns:
        (B, N, 5) with N <= M: rows of nothing are left out where all windows have some.
    """
    classes, boxes = targets[..., 0], targets[..., 1:]
    visible = clip(boxes, side, side)
    share = area(visible) / area(boxes).clamp(min=1e-6)
    classes = torch.where((classes >= 0) & (share < VISIBLE_SHARE), CROWD, classes)
    classes = torch.where(area(visible) > 0, classes, NOTHING)
    order = (classes == NOTHING).to(torch.uint8).argsort(dim=1, stable=True)
    ordered = torch.take_along_dim(torch.cat([classes[..., None], visible], -1), order[..., None], 1)
    return ordered[:, : int((classes != NOTHING).sum(1).max())]


def stacked_boxes(boxes: list[Tensor]) -> Tensor:
    """Return lists of boxes (m, 5) of several images as one tensor (B, M, 5), filled up with rows of class -1."""
    most = max((len(own) for own in boxes), default=0)
    stacked = torch.zeros(len(boxes), most, 5)
    stacked[..., 0] = NOTHING
    for row, own in enumerate(boxes):
        stacked[row, : len(own)] = own
    return stacked
