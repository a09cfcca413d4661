"""What becomes of boxes when a window is cut out of their image and moved.

Belongs here: boxes in windows, as pure functions of batches. Does not belong here: the window's pixels
(``assay.training.tasks.windows``).
"""

import torch
from torch import Tensor

from assay.training.tasks.detection.box_coding import CROWD, NOTHING
from assay.training.tasks.detection.boxes import area, clip

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
