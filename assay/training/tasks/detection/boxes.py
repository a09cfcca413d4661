"""Arithmetic on boxes given by their edges, and non-maximum suppression.

Pure functions of tensors of boxes (..., 4): left, top, right, bottom in pixels, where right and bottom are exclusive: a
box of one pixel is (x, y, x + 1, y + 1).
"""

import torch
from torch import Tensor

TINY = 1e-6
"""Keeps divisions by an area defined; far below the area of a pixel."""


def area(boxes: Tensor) -> Tensor:
    """Return areas in square pixels; 0 where the edges are in the wrong order."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)  # (..., 4) -> (...)


def intersection(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersections of boxes, with area 0 where they don't overlap; broadcasts."""
    corner = torch.maximum(first[..., :2], second[..., :2])
    return torch.cat([corner, torch.minimum(first[..., 2:], second[..., 2:])], -1)  # (..., 4)


def enclosing(first: Tensor, second: Tensor) -> Tensor:
    """Return the smallest boxes that enclose both; broadcasts."""
    corner = torch.minimum(first[..., :2], second[..., :2])
    return torch.cat([corner, torch.maximum(first[..., 2:], second[..., 2:])], -1)  # (..., 4)


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Return intersection over union, 0 to 1; broadcasts; 0 between boxes without area."""
    common = area(intersection(first, second))
    return common / (area(first) + area(second) - common).clamp(min=TINY)  # (...)


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the IoU of each box in the first list with each in the second: (..., N, 4), (..., M, 4) -> (..., N, M)."""
    left, top, right, bottom = (edge[..., :, None] for edge in first.unbind(-1))
    other_left, other_top, other_right, other_bottom = (edge[..., None, :] for edge in second.unbind(-1))
    width = (torch.minimum(right, other_right) - torch.maximum(left, other_left)).clamp(min=0)  # (..., N, M)
    height = (torch.minimum(bottom, other_bottom) - torch.maximum(top, other_top)).clamp(min=0)
    common = width * height
    return common / (area(first)[..., :, None] + area(second)[..., None, :] - common).clamp(min=TINY)


def generalized_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the IoU minus the share of the enclosing box that is in neither, -1 to 1; broadcasts.

    Unlike the IoU, it depends on the distance between boxes that do not overlap (Rezatofighi et al., *Generalized
    Intersection over Union*, 2019).
    """
    common = area(intersection(first, second))
    union = area(first) + area(second) - common
    around = area(enclosing(first, second))
    return common / union.clamp(min=TINY) - (around - union) / around.clamp(min=TINY)  # (...)


def clip(boxes: Tensor, width: Tensor | float, height: Tensor | float) -> Tensor:
    """Return the parts of boxes inside an image; boxes outside have no area.

    Args:
        boxes: (..., 4).
        width: Width of the image in pixels; a tensor must broadcast to (...).
        height: Likewise.
    """
    zero = boxes.new_zeros(())
    right, bottom = (torch.as_tensor(size, dtype=boxes.dtype, device=boxes.device) for size in (width, height))
    left, top, right_edge, bottom_edge = boxes.unbind(-1)
    return torch.stack(
        [
            left.clamp(zero, right),
            top.clamp(zero, bottom),
            right_edge.clamp(zero, right),
            bottom_edge.clamp(zero, bottom),
        ],
        -1,
    )


def non_maximum_suppression(boxes: Tensor, scores: Tensor, classes: Tensor, most_overlap: float) -> Tensor:
    """Return which boxes non-maximum suppression keeps: those not overlapped by a kept box with a higher score.

    Boxes compete within their image and class. The result equals that of going through the boxes in descending order of
    their scores. Here all boxes are evaluated at once, repeatedly until nothing changes; each round decides at least
    the best of the undecided boxes (Zheng et al., *Enhancing Geometric Factors*, 2021: "Cluster NMS"), and a few rounds
    suffice where chains of overlaps are short.

    Args:
        boxes: (B, N, 4) in pixels.
        scores: (B, N); among equal scores, the first wins. A score of minus infinity marks padding.
        classes: (B, N) int64; boxes of different classes never compete.
        most_overlap: IoU above which two boxes count as the same object.

    Returns:
        bool (B, N).
    """
    order = scores.argsort(dim=1, descending=True, stable=True)  # (B, N)
    ranked = torch.take_along_dim(boxes, order[..., None], 1)
    ranked_classes = torch.take_along_dim(classes, order, 1)
    exists = torch.take_along_dim(scores, order, 1) > -torch.inf
    beats = pairwise_iou(ranked, ranked) > most_overlap  # (B, N, N): row beats column
    beats &= ranked_classes[:, :, None] == ranked_classes[:, None, :]
    beats = beats.triu(diagonal=1)
    kept, before = exists, torch.zeros_like(exists)
    while not torch.equal(kept, before):
        before = kept
        kept = exists & ~(beats & before[:, :, None]).any(1)
    return torch.zeros_like(kept).scatter_(1, order, kept)
