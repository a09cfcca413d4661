"""What the detector makes small: a focal loss of the heat map and a GIoU loss of the boxes.

Belongs here: weighing the deviation of outputs from targets. Does not belong here: the targets (``targets``).
"""

from torch import Tensor
from torch.nn import functional as F

from assay.learning.detection.decode import boxes_of
from assay.training.tasks.detection.box_coding import CellTargets, cell_targets
from assay.training.tasks.detection.boxes import generalized_iou

BOX_WEIGHT = 2.0
"""Weight of the boxes against the heat map."""


def detection_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of a batch: one number, 0 or more.

    Args:
        outputs: (B, k + 4, h, w) as ``Detector`` gives them, float32.
        targets: (B, M, 5): class, left, top, right, bottom in pixels; class -1 for no box, -2 for crowd regions.
    """
    class_count = outputs.shape[1] - 4
    wanted = cell_targets(targets, class_count, *outputs.shape[2:])
    return heat_loss(outputs[:, :class_count], wanted) + BOX_WEIGHT * box_loss(outputs, wanted)


def heat_loss(logits: Tensor, wanted: CellTargets) -> Tensor:
    """Return the focal loss of Law & Deng, *CornerNet* (2018), per object.

    Cells near a centre count little when they answer too high: (1 - heat)^4.
    """
    probability = logits.sigmoid()
    peak = wanted.heat == 1
    at_peaks = (1 - probability).square() * F.softplus(-logits)  # softplus(-x) = -log p
    elsewhere = (1 - wanted.heat).pow(4) * probability.square() * F.softplus(logits)
    losses = peak * at_peaks + ~peak * elsewhere  # (B, k, h, w)
    return (losses * wanted.counted).sum() / peak.sum().clamp(min=1)


def box_loss(outputs: Tensor, wanted: CellTargets) -> Tensor:
    """Return the weighted mean of 1 - GIoU over the cells that learn a box; 0 when there is none."""
    learning = wanted.weights > 0  # (B, h, w)
    given = boxes_of(outputs[:, -4:])[learning]  # (n, 4)
    weights = wanted.weights[learning]
    losses = 1 - generalized_iou(given, wanted.boxes[learning])
    return (losses * weights).sum() / weights.sum().clamp(min=1)
