"""From the detector's outputs to boxes with classes and scores.

Belongs here: reading outputs. Does not belong here: what they should be (``targets``), comparing them with the truth.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from assay.learning.detection.nms import best_of_overlapping
from assay.training.tasks.detection.box_coding import cell_middles
from assay.training.tasks.detection.boxes import area, clip, iou

CANDIDATES = 3
"""Peaks that are looked at per object that is wanted at most: some are of the same object."""

MOST_OVERLAP = 0.5
"""IoU above which two boxes of one class mean the same object."""

REACH = 2
"""Cells to each side of a peak whose boxes are averaged with its own."""

SIMILAR = 0.8
"""IoU above which the boxes of neighbouring cells are averaged."""


class Found(NamedTuple):
    """What was found in one image, from the surest to the least sure.

    Attributes:
        boxes: (n, 4): left, top, right, bottom in pixels of the network's input.
        scores: (n,): 0 to 1.
        classes: (n,) int64: class indices.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor


def boxes_of(distances: Tensor) -> Tensor:
    """Return the box that each cell gives: (B, 4, h, w) distances -> (B, h, w, 4) edges, in pixels."""
    x, y = cell_middles(distances.shape[2], distances.shape[3], distances.device)
    left, top, right, bottom = distances.unbind(1)
    return torch.stack([x - left, y[:, None] - top, x + right, y[:, None] + bottom], -1)


def found_objects(
    outputs: Tensor, sizes: Tensor, least_score: float, most: int, most_overlap: float = MOST_OVERLAP
) -> list[Found]:
    """Return what was found in each image of a batch.

    Args:
        outputs: (B, k + 4, h, w) as ``Detector`` gives them, float32.
        sizes: (B, 2) width and height of the images in pixels, without padding; boxes end there.
        least_score: Answers below are left out, 0 to 1.
        most: Objects per image.
        most_overlap: IoU above which two boxes of one class mean the same object, and the surer stays.
    """
    scores, places = _peaks(outputs[:, :-4].sigmoid(), least_score, CANDIDATES * most)
    classes = places // outputs[0, 0].numel()  # (B, N)
    boxes = clip(_averaged_boxes(outputs, places), sizes[:, :1], sizes[:, 1:])  # (B, N, 4)
    scores = torch.where(area(boxes) > 0, scores, -torch.inf)  # what lies in the padding is nothing
    stays = best_of_overlapping(boxes, scores, classes, most_overlap)
    rows = zip(boxes, scores, classes, stays, strict=True)
    return [Found(*(part[keep][:most] for part in parts)) for *parts, keep in rows]


def _peaks(heat: Tensor, least_score: float, most: int) -> tuple[Tensor, Tensor]:
    """Return scores and places, counted through (k, h, w), of the cells that no neighbour surpasses in their class.

    Args:
        heat: (B, k, h, w), 0 to 1.
        least_score: Lower peaks are none.
        most: Peaks per image.

    Returns:
        Both (B, N), best first, where N is the number that some image has; places without a peak have a score of minus
        infinity.
    """
    is_peak = (F.max_pool2d(heat, 3, stride=1, padding=1) == heat) & (heat >= least_score)
    scores, places = torch.where(is_peak, heat, -torch.inf).flatten(1).topk(min(most, heat[0].numel()), 1)
    count = int((scores > -torch.inf).sum(1).max())
    return scores[:, :count], places[:, :count]


def _averaged_boxes(outputs: Tensor, places: Tensor) -> Tensor:
    """Return for each peak the mean of its box and of similar ones of the cells around it, weighted by their scores.

    Neighbouring cells err independently to some degree, so their mean is closer than the surest of them (Gidaris &
    Komodakis, *Object detection via a multi-region and semantic segmentation-aware CNN model*, 2015: "box voting").

    Args:
        outputs: (B, k + 4, h, w).
        places: (B, N), counted through (k, h, w).
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
