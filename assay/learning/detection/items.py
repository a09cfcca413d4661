"""Images and their boxes in memory, as batches of windows to learn from, or of whole images to look at.

Belongs here: putting the parts together. Does not belong here: their arithmetic.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Generator, Tensor

from assay.learning.augment import add_noise, invert, random_maps, recolour
from assay.learning.detection.windows import boxes_in_window, moved_boxes, stacked_boxes
from assay.learning.lesson import Batch
from assay.learning.scene_batches import Levels, as_scene_batch, levels_of, split_scenes
from assay.learning.windows import choose_anchors, cut, draw_corners, margin_of, resampled
from assay.spec.training import Augmentation


@dataclass(frozen=True)
class DetectionItems:
    """A subset in memory; serves to learn from and to look at.

    Attributes:
        images: uint8 (3, h, w) each, of any sizes.
        boxes: float32 (m, 5) of each image: class, left, top, right, bottom in its pixels; class -2 for crowd regions.
        window_size: Side in pixels of the windows to learn from.
        standardize: Give each image mean 0 and standard deviation 1.
        augmentation: Strength of the random changes; validation items don't need any.
    """

    images: Sequence[Tensor]
    boxes: Sequence[Tensor]
    window_size: int
    standardize: bool = True
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, order: Tensor, generator: Generator) -> Batch:
        """Return a randomly chosen and changed window of each image of these indices, and its boxes (B, M, 5)."""
        corners = self._corners(order, generator)
        maps = random_maps(len(order), self.augmentation, generator)
        windows = resampled(self._cut(order, corners), maps, self.window_size)
        targets = stacked_boxes([self.boxes[index] for index in order.tolist()])
        targets[..., 1:] = moved_boxes(targets[..., 1:] - corners.repeat(1, 2)[:, None], maps, self.window_size)
        return self._recoloured(windows, generator), boxes_in_window(targets, self.window_size)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield all images in order, whole, with their boxes (B, M, 5); fewer at once where they are large."""
        for part in split_scenes(self.images, batch_size):
            yield as_scene_batch(self.images[part], self.standardize), stacked_boxes(list(self.boxes[part]))

    @cached_property
    def _levels(self) -> list[Levels]:
        """Brightness and contrast of the whole images; windows must not be standardized by what they happen to show."""
        return [levels_of(image, self.standardize) for image in self.images]

    def _corners(self, order: Tensor, generator: Generator) -> Tensor:
        indices = order.tolist()
        sizes = torch.tensor([self.images[index].shape[:0:-1] for index in indices])  # (B, 2)
        objects = [self.boxes[index][self.boxes[index][:, 0] >= 0, 1:] for index in indices]
        return draw_corners(choose_anchors(objects, sizes, generator), sizes, self.window_size, generator)

    def _cut(self, order: Tensor, corners: Tensor) -> Tensor:
        """Return the windows with their margin, standardized like their whole image."""
        margin = margin_of(self.window_size, self.augmentation)
        windows = []
        for index, corner in zip(order.tolist(), corners.tolist(), strict=True):
            image = self.images[index]
            mean, spread = self._levels[index]
            place = (corner[0] - margin, corner[1] - margin)
            windows.append((cut(image, place, self.window_size + 2 * margin, round(mean)).float() - mean) / spread)
        return torch.stack(windows)

    def _recoloured(self, windows: Tensor, generator: Generator) -> Tensor:
        strength = self.augmentation
        windows = recolour(windows, strength.contrast or 0.0, strength.colour_shift or 0.0, generator)
        windows = invert(windows, strength.invert_probability or 0.0, generator)
        windows = add_noise(windows, strength.noise or 0.0, generator)
        return windows.contiguous(memory_format=torch.channels_last)
