"""What the detector should answer at each cell, from the boxes of a batch.

Belongs here: the meaning of the network's outputs. Does not belong here: how a deviation is weighed (``loss``), and
reading outputs (``decode``).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from assay.training.models.detector import CELL

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
