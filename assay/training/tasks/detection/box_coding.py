"""What the detector should answer at each cell, from the boxes of a batch.

Belongs here: the meaning of the network's outputs. Does not belong here: how a deviation is weighed (``loss``), and
reading outputs (``decode``).
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from assay.training.models.detector import CELL
from assay.training.tasks.detection.boxes import area, best_of_overlapping, clip, iou

NOTHING, CROWD = -1, -2
"""Classes of rows without a box, and of regions in which it is neither right nor wrong to find something."""

SPREAD = 0.12
"""Standard deviation of the bump around a centre, as a share of the box's longer side."""

NEAR = 0.5
"""Height of the bump from which on a cell learns the box."""


class CellTargets(NamedTuple):
    """What the cells of a batch should answer.

    Attributes:
        heat: (B, k, h, w): 1 in the cell of an object's centre, falling off around it like a Gaussian, 0 elsewhere.
        counted: bool (B, 1, h, w): false in crowd regions, but for the cells of centres.
        boxes: (B, h, w, 4): the box that each cell should give, in pixels; any where ``weights`` is 0.
        weights: (B, h, w): how much the box counts, 0 to 1: 1 at the centre of an object.
    """

    heat: Tensor
    counted: Tensor
    boxes: Tensor
    weights: Tensor


def cell_middles(height: int, width: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Return the x (w,) and y (h,) of the cells' middles in pixels."""
    x, y = (torch.arange(count, device=device, dtype=torch.float32) for count in (width, height))
    return (x + 0.5) * CELL, (y + 0.5) * CELL


def cell_targets(targets: Tensor, class_count: int, height: int, width: int) -> CellTargets:
    """Return what the cells should answer.

    A cell that several objects claim gives the box of the one whose bump is highest there; of equal ones, the first.

    Args:
        targets: (B, M, 5): class, left, top, right, bottom in pixels; class -1 for no box, -2 for crowd regions.
            Centres must lie inside the image.
        class_count: k.
        height: Rows of cells.
        width: Columns of cells.
    """
    classes, boxes = targets[..., 0].long(), targets[..., 1:]
    bumps = _bumps(boxes, classes >= 0, height, width)  # (B, M, h, w)
    if not bumps.shape[1]:
        bumps, boxes, classes = (_one_empty_row(part) for part in (bumps, boxes, classes))
    heat = bumps.new_zeros(len(bumps), class_count, height, width)
    places = classes.clamp(min=0)[..., None, None].expand_as(bumps)
    heat = heat.scatter_reduce(1, places, bumps, "amax")
    best, owner = bumps.max(1)  # (B, h, w)
    owned = torch.take_along_dim(boxes[:, :, None, None], owner[:, None, ..., None], 1)[:, 0]  # (B, h, w, 4)
    free = ~_touched(boxes, classes == CROWD, height, width) | (best == 1)
    return CellTargets(heat, free[:, None], owned, torch.where(best > NEAR, best, 0.0))


def _one_empty_row(part: Tensor) -> Tensor:
    return part.new_zeros(part.shape[0], 1, *part.shape[2:])


def _bumps(boxes: Tensor, real: Tensor, height: int, width: int) -> Tensor:
    """Return a Gaussian around each box's centre, 1 in the centre's cell, and 0 for rows that are no object."""
    x, y = cell_middles(height, width, boxes.device)
    middle_x, middle_y = (boxes[..., 0] + boxes[..., 2]) / 2, (boxes[..., 1] + boxes[..., 3]) / 2  # (B, M)
    longer = torch.maximum(boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1])
    scale = -0.5 / (SPREAD * longer).clamp(min=0.5).square()[..., None]
    across = torch.exp((x - middle_x[..., None]).square() * scale)  # (B, M, w)
    down = torch.exp((y - middle_y[..., None]).square() * scale)  # (B, M, h)
    here_x = _cell_of(middle_x, width)[..., None] == torch.arange(width, device=boxes.device)
    here_y = _cell_of(middle_y, height)[..., None] == torch.arange(height, device=boxes.device)
    centre = here_y[..., :, None] & here_x[..., None, :]
    bumps = torch.where(centre, 1.0, (down[..., :, None] * across[..., None, :]).clamp(max=1 - 1e-4))
    return bumps * real[..., None, None]


def _cell_of(middle: Tensor, count: int) -> Tensor:
    return (middle / CELL).floor().clamp(0, count - 1)


def _touched(boxes: Tensor, chosen: Tensor, height: int, width: int) -> Tensor:
    """Return which cells share a part with any of the chosen boxes: bool (B, h, w)."""
    x, y = cell_middles(height, width, boxes.device)
    half = CELL / 2
    across = (x + half > boxes[..., 0:1]) & (x - half < boxes[..., 2:3])  # (B, M, w)
    down = (y + half > boxes[..., 1:2]) & (y - half < boxes[..., 3:4])  # (B, M, h)
    return (down[..., :, None] & across[..., None, :] & chosen[..., None, None]).any(1)


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
