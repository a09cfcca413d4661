"""Non-maximum suppression: of several boxes around one object, the one with the highest score stays.

Belongs here: choosing among boxes, for all images of a batch at once. Does not belong here: making boxes (``decode``).
"""

import torch
from torch import Tensor

from assay.training.tasks.detection.boxes import pairwise_iou


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
