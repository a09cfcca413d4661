"""Square training windows cut out of whole images, mostly around objects, rotated and zoomed as they are cut.

Belongs here: the dataset that segmentation and detection share, where windows lie, and their pixels. Does not belong
here: masks and boxes in windows (the ``dataset`` of each task), changes of colour (``augmentation``).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from assay.spec.trained_model import Augmentation
from assay.training.augmentation import add_noise, invert, random_maps, recolour
from assay.training.interfaces import Batch
from assay.training.tasks.images import Levels, image_batch, levels_of, split_images

SHOWN_SHARE = 0.5
"""Area of all windows in a pass, as a share of the area of all images."""

ANYWHERE_SHARE = 0.1
"""Share of the windows that may lie anywhere in their image, so that the network also sees background."""


class DrawnWindows(NamedTuple):
    """The random choices behind one batch of windows.

    Attributes:
        indices: Image of each window.
        corners: (B, 2) int64: left and top edge of each window in its image, without the margin; may be negative.
        maps: (B, 2, 3) from ``augmentation.random_maps``.
        margin: Pixels around a window that its random transform may bring in.
        places: (B, S, S, 2): where in the window with its margin each pixel comes from, see ``places_in_windows``.
    """

    indices: list[int]
    corners: Tensor
    maps: Tensor
    margin: int
    places: Tensor


@dataclass(frozen=True)
class WindowDataset(ABC):
    """The images of a subset in memory with their targets, for training and for evaluation.

    In training, an item is a window, and a pass shows every image in as many windows as its size calls for. In
    evaluation, an item is a whole image. Subclasses define what a target is and how it follows its image.

    Attributes:
        images: uint8 (3, h, w) each, of any sizes; windows are made on the same device, which may be a GPU.
        targets: Of each image: a mask or boxes, in main memory.
        window_size: Side in pixels of the training windows.
        standardize: Give each image mean 0 and standard deviation 1.
        augmentation: Strength of the augmentation; not used for evaluation.
        balanced_classes: Number of classes that windows show equally often; None: all objects are equally likely.
    """

    images: Sequence[Tensor]
    targets: Sequence[Tensor]
    window_size: int
    standardize: bool = True
    augmentation: Augmentation = field(default_factory=Augmentation)
    balanced_classes: int | None = None

    anywhere_share: ClassVar[float] = ANYWHERE_SHARE

    @property
    @abstractmethod
    def objects(self) -> list[Tensor]:
        """Class and box of each object of each image (m, 5)."""

    @abstractmethod
    def window_targets(self, drawn: DrawnWindows) -> Tensor:
        """Return the targets of some windows, transformed like their pixels."""

    @abstractmethod
    def stacked_targets(self, targets: Sequence[Tensor], height: int, width: int) -> Tensor:
        """Return the targets of whole images as one tensor (B, ...), for a batch of padded size."""

    def __len__(self) -> int:
        """Return the number of windows in a pass; each image gives the same number, at least one."""
        return windows_per_image(self.images, self.window_size) * len(self.images)

    def batch(self, order: Tensor, generator: Generator) -> Batch:
        """Return a randomly placed and augmented window for each of these indices, with its targets.

        Returns:
            Windows (B, 3, S, S) float32, channels-last, and what ``window_targets`` returns.
        """
        drawn = self._draw(order, generator)
        images, levels = (
            [self.images[index] for index in drawn.indices],
            [self._levels[index] for index in drawn.indices],
        )
        side = self.window_size + 2 * drawn.margin
        windows = resampled(standard_windows(images, levels, drawn.corners - drawn.margin, side), drawn.places)
        return recoloured(windows, self.augmentation, generator), self.window_targets(drawn)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield all whole images in order with their targets; large images come in smaller batches."""
        for part in split_images(self.images, batch_size):
            batch = image_batch(self.images[part], self.standardize)
            yield batch, self.stacked_targets(self.targets[part], *batch.shape[2:])

    @cached_property
    def _levels(self) -> list[Levels]:
        return [levels_of(image, self.standardize) for image in self.images]

    @cached_property
    def _probabilities(self) -> list[Tensor] | None:
        return None if self.balanced_classes is None else object_probabilities(self.objects, self.balanced_classes)

    def _draw(self, order: Tensor, generator: Generator) -> DrawnWindows:
        indices = (order % len(self.images)).tolist()
        corners = self._corners(indices, generator)
        maps = random_maps(len(order), self.augmentation, generator)
        margin = margin_of(self.window_size, self.augmentation)
        device = self.images[0].device
        places = places_in_windows(maps.to(device), self.window_size, self.window_size + 2 * margin)
        return DrawnWindows(indices, corners, maps, margin, places)

    def _corners(self, indices: list[int], generator: Generator) -> Tensor:
        sizes = torch.tensor([self.images[index].shape[:0:-1] for index in indices])  # (B, 2)
        boxes = [self.objects[index][:, 1:] for index in indices]
        probabilities = self._probabilities and [self._probabilities[index] for index in indices]
        anchors = choose_anchors(boxes, sizes, generator, self.anywhere_share, probabilities)
        return draw_corners(anchors, sizes, self.window_size, generator)


def windows_per_image(images: Sequence[Tensor], side: int) -> int:
    """Return how many windows of each image a pass shows: at least one, and more the larger the images are.

    Args:
        images: (3, h, w) each.
        side: Side of the windows in pixels.
    """
    pixels = sum(image.shape[-2] * image.shape[-1] for image in images) / max(1, len(images))
    return max(1, round(SHOWN_SHARE * pixels / side**2))


def choose_anchors(
    boxes: Sequence[Tensor],
    sizes: Tensor,
    generator: Generator,
    anywhere_share: float = ANYWHERE_SHARE,
    probabilities: Sequence[Tensor] | None = None,
) -> Tensor:
    """Return the box that each window is placed at: an object of its image, or the whole image.

    Args:
        boxes: Boxes of each image (m, 4): left, top, right, bottom in pixels; may be empty.
        sizes: (B, 2) width and height of each image.
        generator: Source of randomness.
        anywhere_share: Share of the windows that may lie anywhere in their image.
        probabilities: Of each object of each image (m,), with sum 1; None when all are equally likely.

    Returns:
        (B, 4) float32.
    """
    which, anywhere = torch.rand(2, len(boxes), generator=generator)
    chosen = torch.cat([torch.zeros(len(boxes), 2), sizes.float()], 1)
    for row, own in enumerate(boxes):
        if len(own) and anywhere[row] >= anywhere_share:
            chosen[row] = own[_chosen(which[row], len(own), probabilities[row] if probabilities else None)]
    return chosen


def _chosen(uniform: Tensor, count: int, probabilities: Tensor | None) -> int:
    """Return which of ``count`` objects a uniform random number from 0 to 1 selects."""
    if probabilities is None:
        return int(uniform * count)
    return min(int(torch.searchsorted(probabilities.cumsum(0), uniform, right=True)), count - 1)


def draw_corners(anchors: Tensor, sizes: Tensor, side: int, generator: Generator) -> Tensor:
    """Return the left and top edge of a random window for each anchor: (B, 2) int64.

    The window contains the anchor, or lies within it where the anchor is larger. It extends beyond the image only where
    the image is smaller than the window; then it contains the whole image.

    Args:
        anchors: (B, 4): left, top, right, bottom in pixels.
        sizes: (B, 2) width and height of the images.
        side: Side of the windows in pixels.
        generator: Source of randomness.
    """
    one_end, other_end = anchors[:, 2:] - side, anchors[:, :2]
    corners = one_end + torch.rand(len(anchors), 2, generator=generator) * (other_end - one_end)
    room = sizes - side
    return corners.round().long().clamp(room.clamp(max=0), room.clamp(min=0))


def cut_window(image: Tensor, corner: tuple[int, int], side: int, fill: int) -> Tensor:
    """Return a window of an image, padded where it extends beyond the image.

    Args:
        image: (C, H, W) or (H, W).
        corner: Left and top edge of the window; may be negative.
        side: Side of the window in pixels.
        fill: Value outside the image.
    """
    left, top = corner
    height, width = image.shape[-2:]
    rows = slice(max(top, 0), max(min(top + side, height), 0))
    columns = slice(max(left, 0), max(min(left + side, width), 0))
    window = image.new_full((*image.shape[:-2], side, side), fill)
    part = image[..., rows, columns]
    y, x = rows.start - top, columns.start - left
    window[..., y : y + part.shape[-2], x : x + part.shape[-1]] = part
    return window


def margin_of(side: int, strength: Augmentation) -> int:
    """Return how many pixels around a window its random transform may bring in."""
    turn = math.radians(min(strength.rotation_degrees or 0.0, 45.0))
    reach = (math.cos(turn) + math.sin(turn)) * (1 + (strength.zoom or 0.0)) - 1 + 2 * (strength.shift or 0.0)
    return math.ceil(side / 2 * reach)


def places_in_windows(maps: Tensor, side: int, cut_side: int) -> Tensor:
    """Return where in a window with its margin each pixel of the transformed window comes from: (B, S, S, 2).

    Args:
        maps: (B, 2, 3) from ``augmentation.random_maps``; the identity leaves the window as it is.
        side: S in pixels.
        cut_side: Side of the window with its margin.
    """
    return F.affine_grid(maps, [len(maps), 1, side, side], align_corners=False) * (side / cut_side)


def resampled(windows: Tensor, places: Tensor, mode: str = "bilinear") -> Tensor:
    """Return the pixels at given places of windows.

    Args:
        windows: (B, C, S + 2m, S + 2m) float32, cut with a margin.
        places: (B, S, S, 2).
        mode: ``bilinear`` for pixels, ``nearest`` for masks.
    """
    return F.grid_sample(windows, places, mode=mode, align_corners=False)


def standard_windows(images: Sequence[Tensor], levels: Sequence[Levels], corners: Tensor, side: int) -> Tensor:
    """Return a window of each image (B, 3, side, side) float32, standardized by the levels of the whole image.

    The levels of the window itself would depend on what it happens to show.

    Args:
        images: uint8 (3, h, w) each.
        levels: Levels of each image.
        corners: (B, 2) left and top edges, which may lie outside the image.
        side: Side of the windows in pixels.
    """
    windows = []
    for image, (mean, spread), (left, top) in zip(images, levels, corners.tolist(), strict=True):
        windows.append((cut_window(image, (left, top), side, round(mean)).float() - mean) / spread)
    return torch.stack(windows)


def recoloured(windows: Tensor, strength: Augmentation, generator: Generator) -> Tensor:
    """Return windows with randomly changed contrast, colours, polarity and noise, channels-last."""
    windows = recolour(windows, strength.contrast or 0.0, strength.colour_shift or 0.0, generator)
    windows = invert(windows, strength.invert_probability or 0.0, generator)
    windows = add_noise(windows, strength.noise or 0.0, generator)
    return windows.contiguous(memory_format=torch.channels_last)


def classes_of_items(objects: Sequence[Tensor], class_count: int, item_count: int) -> Tensor:
    """Return which classes the image of each item shows: int64 (n, k) of 0 and 1.

    Args:
        objects: Rows of each image (m, 5), class first; classes below 0 are no objects.
        class_count: k.
        item_count: n; items cycle through the images.
    """
    classes = torch.stack([counts_of(each, class_count) > 0 for each in objects]).long()
    return classes.repeat(-(-item_count // len(classes)), 1)[:item_count]


def object_probabilities(objects: Sequence[Tensor], class_count: int) -> list[Tensor]:
    """Return the probability that a window of an image is placed at each of its objects (m,): higher for rare classes.

    Args:
        objects: Rows of each image (m, 5), class first.
        class_count: k.
    """
    counts = torch.stack([counts_of(each, class_count) for each in objects]).sum(0).clamp(min=1)
    weights = [1 / counts[each[:, 0].long()] for each in objects]
    return [each / each.sum() for each in weights]


def counts_of(objects: Tensor, class_count: int) -> Tensor:
    """Return how many objects of each class there are: float32 (k,)."""
    known = objects[objects[:, 0] >= 0, 0].long()
    return torch.bincount(known, minlength=class_count).float()
