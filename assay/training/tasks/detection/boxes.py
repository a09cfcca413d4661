"""Arithmetic on boxes given by their edges.

Belongs here: pure functions of tensors of boxes (..., 4): left, top, right, bottom, in pixels, of which right and
bottom are exclusive: a box of one pixel is (x, y, x + 1, y + 1). Does not belong here: classes and scores.
"""

import torch
from torch import Tensor

TINY = 1e-6
"""Keeps divisions by an area defined; far below the area of a pixel."""


def area(boxes: Tensor) -> Tensor:
    """Return areas in square pixels, 0 where the edges are in the wrong order."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)  # (..., 4) -> (...)


def intersection(first: Tensor, second: Tensor) -> Tensor:
    """Return the boxes' common parts, which have area 0 where there is none; broadcasts."""
    corner = torch.maximum(first[..., :2], second[..., :2])
    return torch.cat([corner, torch.minimum(first[..., 2:], second[..., 2:])], -1)  # (..., 4)


def enclosing(first: Tensor, second: Tensor) -> Tensor:
    """Return the smallest boxes around both; broadcasts."""
    corner = torch.minimum(first[..., :2], second[..., :2])
    return torch.cat([corner, torch.maximum(first[..., 2:], second[..., 2:])], -1)  # (..., 4)


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Return intersection over union, 0 to 1; broadcasts, and is 0 between boxes without area."""
    common = area(intersection(first, second))
    return common / (area(first) + area(second) - common).clamp(min=TINY)  # (...)


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the IoU of each box of the first list with each of the second: (..., N, 4), (..., M, 4) -> (..., N, M)."""
    left, top, right, bottom = (edge[..., :, None] for edge in first.unbind(-1))
    other_left, other_top, other_right, other_bottom = (edge[..., None, :] for edge in second.unbind(-1))
    width = (torch.minimum(right, other_right) - torch.maximum(left, other_left)).clamp(min=0)  # (..., N, M)
    height = (torch.minimum(bottom, other_bottom) - torch.maximum(top, other_top)).clamp(min=0)
    common = width * height
    return common / (area(first)[..., :, None] + area(second)[..., None, :] - common).clamp(min=TINY)


def generalized_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the IoU less the unused share of the box around both, -1 to 1; broadcasts.

    Unlike the IoU, it says how far apart boxes are that do not touch (Rezatofighi et al., *Generalized Intersection
    over Union*, 2019).
    """
    common = area(intersection(first, second))
    union = area(first) + area(second) - common
    around = area(enclosing(first, second))
    return common / union.clamp(min=TINY) - (around - union) / around.clamp(min=TINY)  # (...)


def clip(boxes: Tensor, width: Tensor | float, height: Tensor | float) -> Tensor:
    """Return the parts of the boxes inside an image; those outside of it have no area.

    Args:
        boxes: (..., 4).
        width: Of the image in pixels; a tensor must broadcast to (...).
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


def best_of_overlapping(boxes: Tensor, scores: Tensor, classes: Tensor, most_overlap: float) -> Tensor:
    """Return which boxes stay: those that no better box of their image and class, which stays itself, overlaps.

    The result is that of going through the boxes from the best to the worst. Here all boxes are judged at once, again
    and again until nothing changes; each round settles at least the best of those still open (Zheng et al.,
    *Enhancing Geometric Factors*, 2021: "Cluster NMS"), and a few rounds suffice where chains of overlaps are short.

    Args:
        boxes: (B, N, 4) in pixels.
        scores: (B, N); of equal ones, the first is the better. A score of minus infinity marks a place without a box.
        classes: (B, N) int64; boxes of different classes never compete.
        most_overlap: IoU above which two boxes mean the same object.

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
    stays, before = exists, torch.zeros_like(exists)
    while not torch.equal(stays, before):
        before = stays
        stays = exists & ~(beats & before[:, :, None]).any(1)
    return torch.zeros_like(stays).scatter_(1, order, stays)
