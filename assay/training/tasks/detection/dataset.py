"""Images with boxes in memory, and what becomes of the boxes in training windows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from assay.training.interfaces import CROWD, NO_OBJECT
from assay.training.tasks.detection.boxes import area, clip
from assay.training.tasks.windows import DrawnWindows, WindowDataset


@dataclass(frozen=True)
class DetectionDataset(WindowDataset):
    """A subset of images with boxes.

    The target of an image is float32 (m, 5): class, left, top, right, bottom in its pixels; class -2 for crowd regions.
    Batches have (B, M, 5), padded with rows of class -1.
    """

    @cached_property
    def objects(self) -> list[Tensor]:
        """Class and box of each object of each image (m, 5), without crowds."""
        return [boxes[boxes[:, 0] >= 0] for boxes in self.targets]

    def window_targets(self, drawn: DrawnWindows) -> Tensor:
        """Return the boxes in some windows (B, M, 5)."""
        targets = stacked_boxes([self.targets[index] for index in drawn.indices])
        boxes = targets[..., 1:] - drawn.corners.repeat(1, 2)[:, None]
        targets[..., 1:] = transformed_boxes(boxes, drawn.maps, self.window_size)
        return boxes_in_window(targets, self.window_size)

    def stacked_targets(self, targets: Sequence[Tensor], height: int, width: int) -> Tensor:
        """Return the boxes of whole images (B, M, 5)."""
        return stacked_boxes(targets)


VISIBLE_SHARE = 0.6
"""Least share of an object's box inside a window for its visible part to be a training target."""


def transformed_boxes(boxes: Tensor, maps: Tensor, side: int) -> Tensor:
    """Return boxes where ``windows.resampled`` moves their content.

    Zoom and shift are exact. A rotated box becomes the box around the rotated ellipse that the box contained: the box
    around the rotated corners would be larger than most objects (Kalra et al., *Towards Rotation Invariance in Object
    Detection*, 2021).

    Args:
        boxes: (B, M, 4) in pixels of the window.
        maps: (B, 2, 3) from ``augmentation.random_maps``.
        side: Side of the window in pixels.
    """
    inverse = torch.linalg.inv(maps[:, :, :2])  # (B, 2, 2): from the original to the transformed window
    half = side / 2
    centers = (boxes[..., :2] + boxes[..., 2:]) / 2 - half * (1 + maps[:, None, :, 2])  # (B, M, 2)
    centers = centers @ inverse.mT + half
    reach = (boxes[..., 2:] - boxes[..., :2]).square() @ inverse.square().mT  # (B, M, 2)
    reach = reach.sqrt() / 2
    return torch.cat([centers - reach, centers + reach], -1)


def boxes_in_window(targets: Tensor, side: int) -> Tensor:
    """Return the visible parts of boxes in a window.

    Objects cut off by the window count with their visible part, as they do at the edge of an image. Where only a small
    part is visible, it becomes a crowd region: detecting half an object is neither right nor wrong. So a network learns
    hardly anything about objects much larger than the window, because their windows lie within them. Reduce such images
    (``data_description.image_size``) or enlarge the window.

    Args:
        targets: (B, M, 5): class, left, top, right, bottom in pixels of the window.
        side: Side of the window in pixels.

    Returns:
        (B, N, 5) with N <= M: padding that all windows have is left out.
    """
    classes, boxes = targets[..., 0], targets[..., 1:]
    visible = clip(boxes, side, side)
    share = area(visible) / area(boxes).clamp(min=1e-6)
    classes = torch.where((classes >= 0) & (share < VISIBLE_SHARE), CROWD, classes)
    classes = torch.where(area(visible) > 0, classes, NO_OBJECT)
    order = (classes == NO_OBJECT).to(torch.uint8).argsort(dim=1, stable=True)
    ordered = torch.take_along_dim(torch.cat([classes[..., None], visible], -1), order[..., None], 1)
    return ordered[:, : int((classes != NO_OBJECT).sum(1).max())]


def stacked_boxes(boxes: Sequence[Tensor]) -> Tensor:
    """Return the boxes (m, 5) of several images as one tensor (B, M, 5), padded with rows of class -1."""
    most = max((len(own) for own in boxes), default=0)
    stacked = torch.zeros(len(boxes), most, 5)
    stacked[..., 0] = NO_OBJECT
    for row, own in enumerate(boxes):
        stacked[row, : len(own)] = own
    return stacked
