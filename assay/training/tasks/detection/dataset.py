"""Images and their boxes in memory, as batches of windows to learn from, or of whole images to look at.

Belongs here: putting the parts together. Does not belong here: their arithmetic.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Generator, Tensor

from assay.learning.detection.windows import boxes_in_window, moved_boxes, stacked_boxes
from assay.spec.training_data import Augmentation
from assay.training.augmentation import random_maps
from assay.training.interfaces import Batch
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
