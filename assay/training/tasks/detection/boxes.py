"""Boxes given by their edges: arithmetic, non-maximum suppression, and how the detector's outputs encode them.

Tensors of boxes (..., 4) are left, top, right, bottom in pixels, where right and bottom are exclusive: a box of one
pixel is (x, y, x + 1, y + 1). Belongs here: boxes as targets of cells, and outputs decoded to detections. Does not
belong here: the loss (``criterion``).
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from assay.training.interfaces import CROWD
from assay.training.models.detector import CELL

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
    ranks = torch.arange(beats.shape[1], device=beats.device)
    beats &= ranks[:, None] < ranks  # as `triu`, which takes far longer for bool
    kept, before = exists, torch.zeros_like(exists)
    while not torch.equal(kept, before):
        before = kept
        kept = exists & ~(beats & before[:, :, None]).any(1)
    return torch.zeros_like(kept).scatter_(1, order, kept)


SPREAD = 0.12
"""Standard deviation of the Gaussian around a center, as a share of the box's longer side."""

NEAR = 0.5
"""Height of the Gaussian above which a cell learns the box."""


class CellTargets(NamedTuple):
    """The targets of all cells of a batch.

    Attributes:
        heat: (B, k, h, w): 1 in the cell of an object's center, a Gaussian around it, 0 elsewhere.
        counted: bool (B, 1, h, w): false in crowd regions, except in the cells of centers.
        boxes: (B, h, w, 4): the box that each cell should predict, in pixels; arbitrary where ``weights`` is 0.
        weights: (B, h, w): weight of the box, 0 to 1: 1 at the center of an object.
    """

    heat: Tensor
    counted: Tensor
    boxes: Tensor
    weights: Tensor


def cell_centers(height: int, width: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Return the x (w,) and y (h,) of the cells' centers in pixels."""
    x, y = (torch.arange(count, device=device, dtype=torch.float32) for count in (width, height))
    return (x + 0.5) * CELL, (y + 0.5) * CELL


def cell_targets(targets: Tensor, class_count: int, height: int, width: int) -> CellTargets:
    """Return the targets of the cells.

    Where Gaussians of several objects overlap, a cell predicts the box of the highest; among equals, the first.

    Args:
        targets: (B, M, 5): class, left, top, right, bottom in pixels; class -1 for padding, -2 for crowd regions.
            Centers must lie inside the image.
        class_count: k.
        height: Rows of cells.
        width: Columns of cells.
    """
    classes, boxes = targets[..., 0].long(), targets[..., 1:]
    heats = _gaussians(boxes, classes >= 0, height, width)  # (B, M, h, w)
    if not heats.shape[1]:
        heats, boxes, classes = (_one_empty_row(part) for part in (heats, boxes, classes))
    heat = heats.new_zeros(len(heats), class_count, height, width)
    channels = classes.clamp(min=0)[..., None, None].expand_as(heats)
    heat = heat.scatter_reduce(1, channels, heats, "amax")
    best, owner = heats.max(1)  # (B, h, w)
    owned = torch.take_along_dim(boxes[:, :, None, None], owner[:, None, ..., None], 1)[:, 0]  # (B, h, w, 4)
    counted = ~_touched(boxes, classes == CROWD, height, width) | (best == 1)
    return CellTargets(heat, counted[:, None], owned, torch.where(best > NEAR, best, 0.0))


def _one_empty_row(part: Tensor) -> Tensor:
    return part.new_zeros(part.shape[0], 1, *part.shape[2:])


def _gaussians(boxes: Tensor, real: Tensor, height: int, width: int) -> Tensor:
    """Return a Gaussian around each box's center, 1 in the center's cell; 0 for rows that are no object."""
    x, y = cell_centers(height, width, boxes.device)
    center_x, center_y = (boxes[..., 0] + boxes[..., 2]) / 2, (boxes[..., 1] + boxes[..., 3]) / 2  # (B, M)
    longer = torch.maximum(boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1])
    scale = -0.5 / (SPREAD * longer).clamp(min=0.5).square()[..., None]
    across = torch.exp((x - center_x[..., None]).square() * scale)  # (B, M, w)
    down = torch.exp((y - center_y[..., None]).square() * scale)  # (B, M, h)
    here_x = _cell_of(center_x, width)[..., None] == torch.arange(width, device=boxes.device)
    here_y = _cell_of(center_y, height)[..., None] == torch.arange(height, device=boxes.device)
    at_center = here_y[..., :, None] & here_x[..., None, :]
    heats = torch.where(at_center, 1.0, (down[..., :, None] * across[..., None, :]).clamp(max=1 - 1e-4))
    return heats * real[..., None, None]


def _cell_of(center: Tensor, count: int) -> Tensor:
    return (center / CELL).floor().clamp(0, count - 1)


def _touched(boxes: Tensor, chosen: Tensor, height: int, width: int) -> Tensor:
    """Return which cells overlap any of the chosen boxes: bool (B, h, w)."""
    x, y = cell_centers(height, width, boxes.device)
    half = CELL / 2
    across = (x + half > boxes[..., 0:1]) & (x - half < boxes[..., 2:3])  # (B, M, w)
    down = (y + half > boxes[..., 1:2]) & (y - half < boxes[..., 3:4])  # (B, M, h)
    return (down[..., :, None] & across[..., None, :] & chosen[..., None, None]).any(1)


CANDIDATES = 3
"""Peaks that are decoded per detection that may be returned: several can belong to one object."""

MOST_OVERLAP = 0.5
"""IoU above which two boxes of one class count as the same object."""

REACH = 2
"""Cells to each side of a peak whose boxes are averaged with its own."""

SIMILAR = 0.8
"""IoU above which the boxes of neighbouring cells are averaged."""


class Detections(NamedTuple):
    """The detections in one image, in descending order of their scores.

    Attributes:
        boxes: (n, 4): left, top, right, bottom in pixels of the network's input.
        scores: (n,): 0 to 1.
        classes: (n,) int64: class indices.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor


def boxes_of(distances: Tensor) -> Tensor:
    """Return the box that each cell predicts: (B, 4, h, w) distances -> (B, h, w, 4) edges, in pixels."""
    x, y = cell_centers(distances.shape[2], distances.shape[3], distances.device)
    left, top, right, bottom = distances.unbind(1)
    return torch.stack([x - left, y[:, None] - top, x + right, y[:, None] + bottom], -1)


def decode_detections(
    outputs: Tensor, sizes: Tensor, least_score: float, most: int, most_overlap: float = MOST_OVERLAP
) -> list[Detections]:
    """Return the detections in each image of a batch.

    Args:
        outputs: (B, k + 4, h, w) of ``Detector``, float32.
        sizes: (B, 2) width and height of the images in pixels, without padding; boxes are clipped to them.
        least_score: Least score of a detection, 0 to 1.
        most: Largest number of detections per image.
        most_overlap: IoU above which two boxes of one class count as the same object.
    """
    return best_candidates(*box_candidates(outputs, sizes, least_score, most), most, most_overlap)


def box_candidates(outputs: Tensor, sizes: Tensor, least_score: float, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return boxes (B, N, 4), scores (B, N) and classes (B, N) of what may be detections, best first.

    Padding has a score of minus infinity; see ``decode_detections`` for the arguments.
    """
    scores, places = _peaks(outputs[:, :-4].sigmoid(), least_score, CANDIDATES * most)
    classes = places // outputs[0, 0].numel()  # (B, N)
    boxes = clip(_averaged_boxes(outputs, places), sizes[:, :1], sizes[:, 1:])  # (B, N, 4)
    return boxes, torch.where(area(boxes) > 0, scores, -torch.inf), classes  # boxes in the padding are none


def best_candidates(boxes: Tensor, scores: Tensor, classes: Tensor, most: int, most_overlap: float) -> list[Detections]:
    """Return the best of overlapping candidates as the detections in each image; they must be ordered, best first."""
    kept = non_maximum_suppression(boxes, scores, classes, most_overlap)
    rows = zip(boxes, scores, classes, kept, strict=True)
    return [Detections(*(part[keep][:most] for part in parts)) for *parts, keep in rows]


def _peaks(heat: Tensor, least_score: float, most: int) -> tuple[Tensor, Tensor]:
    """Return scores and flat indices into (k, h, w) of the local maxima in each class.

    Args:
        heat: (B, k, h, w), 0 to 1.
        least_score: Least score of a peak.
        most: Largest number of peaks per image.

    Returns:
        Both (B, N), best first, where N is the largest number of peaks in an image; padding has a score of minus
        infinity.
    """
    is_peak = (F.max_pool2d(heat, 3, stride=1, padding=1) == heat) & (heat >= least_score)
    scores, places = torch.where(is_peak, heat, -torch.inf).flatten(1).topk(min(most, heat[0].numel()), 1)
    count = int((scores > -torch.inf).sum(1).max())
    return scores[:, :count], places[:, :count]


def _averaged_boxes(outputs: Tensor, places: Tensor) -> Tensor:
    """Return for each peak the mean of its box and of similar boxes of the cells around it, weighted by their scores.

    Neighbouring cells err independently to some degree, so their mean is closer than the best of them (Gidaris &
    Komodakis, *Object detection via a multi-region and semantic segmentation-aware CNN model*, 2015: "box voting").

    Args:
        outputs: (B, k + 4, h, w).
        places: (B, N), flat indices into (k, h, w).
    """
    height, width = outputs.shape[2:]
    classes, cells = places // (height * width), places % (height * width)
    steps = torch.arange(-REACH, REACH + 1, device=outputs.device)
    rows = ((cells // width)[..., None, None] + steps[:, None]).clamp(0, height - 1)  # (B, N, r, 1)
    columns = ((cells % width)[..., None, None] + steps).clamp(0, width - 1)  # (B, N, 1, r)
    around = (rows * width + columns).flatten(2)  # (B, N, r²)
    image = torch.arange(len(outputs), device=outputs.device)[:, None, None]
    boxes = boxes_of(outputs[:, -4:]).flatten(1, 2)  # (B, h·w, 4)
    own, near = boxes[image[..., 0], cells], boxes[image, around]  # (B, N, 4), (B, N, r², 4)
    scores = outputs.flatten(2)[image, classes[..., None], around].sigmoid()  # (B, N, r²)
    weights = torch.where(iou(near, own[:, :, None]) > SIMILAR, scores, 0.0)[..., None]
    return (weights * near).sum(2) / weights.sum(2).clamp(min=1e-9)  # 0 where the peak's own box has no area
