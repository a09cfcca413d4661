"""The U-Net's training loss, and the plain loss by which epochs are compared.

Belongs here: weighing the deviation of outputs from masks. Does not belong here: masks (``dataset``), decoding.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from assay.datasets.mask_classes import IGNORED
from assay.training.models.detector import CELL
from assay.training.models.unet import cell_outputs
from assay.training.tasks.detection.boxes import cell_targets
from assay.training.tasks.detection.criterion import heat_loss
from assay.training.tasks.segmentation.dataset import region_boxes
from assay.training.tasks.segmentation.decode import nll

NEARBY = 3
"""Side in cells of the square whose foreground gives a cell its class, so that cells beside an edge learn too."""


@dataclass(frozen=True)
class SegmentationLoss:
    """The training loss, as a function of outputs and targets.

    Attributes:
        class_weights: (k,) weight of each class; None when all have the same.
    """

    class_weights: Tensor | None = None

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return a scalar, 0 or more.

        Args:
            outputs: (B, 16 + 2k, H/4, W/4) of ``Unet``, or (B, 1 + k, H, W) logits of a network without centers;
                float32.
            targets: uint8 (B, 2, H, W): classes, and numbers of regions.
        """
        classes, regions = targets.unbind(1)
        if outputs.shape[2:] == classes.shape[1:]:
            return self._of_pixels(outputs, classes)
        foreground, class_logits, centers = cell_outputs(outputs)
        true = (classes > 0).float()
        known = (classes != IGNORED).float()
        return (
            foreground_loss(foreground, true, known)
            + dice_loss(foreground.sigmoid(), true, known)
            + class_loss(class_logits, classes, self.class_weights)
            + centers_loss(centers, classes, regions)
        )

    def _of_pixels(self, outputs: Tensor, classes: Tensor) -> Tensor:
        weights = self.class_weights
        if weights is not None:
            weights = torch.cat([weights.new_ones(1), weights]).to(outputs.device)
        foreground = 1 - outputs.softmax(1)[:, 0]
        known = (classes != IGNORED).float()
        return plain_segmentation_loss(outputs, classes, weights) + dice_loss(foreground, (classes > 0).float(), known)


def plain_segmentation_loss(outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean cross entropy over the pixels whose class is known; 0 when there is none.

    Args:
        outputs: (B, 16 + 2k, H/4, W/4) of ``Unet``, or (B, 1 + k, H, W) logits of another network.
        targets: uint8 (B, H, W): 0 background, 1..k classes, 255 unknown.
        weights: (1 + k,) weights of background and classes, for another network.
    """
    known = (targets != IGNORED).sum().clamp(min=1)
    if outputs.shape[2:] != targets.shape[1:]:
        return nll(cell_outputs(outputs), targets) / known
    losses = F.cross_entropy(outputs, targets.long(), weights, ignore_index=IGNORED, reduction="none")
    return losses.sum() / known


def foreground_loss(logits: Tensor, true: Tensor, known: Tensor) -> Tensor:
    """Return the mean binary cross entropy over known pixels; all arguments are (B, H, W)."""
    losses = F.binary_cross_entropy_with_logits(logits, true, reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)


def dice_loss(probabilities: Tensor, true: Tensor, known: Tensor) -> Tensor:
    """Return 1 - Dice over the whole batch, however rare the foreground is (Milletari et al., *V-Net*, 2016).

    Args:
        probabilities: (B, H, W) probabilities of the foreground.
        true: (B, H, W) of 0 and 1: foreground pixels.
        known: (B, H, W) of 0 and 1.
    """
    common = (probabilities * true * known).sum()
    return 1 - (2 * common + 1) / ((probabilities * known).sum() + (true * known).sum() + 1)


def class_loss(logits: Tensor, classes: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean cross entropy over the cells with foreground in or next to them; 0 when there is none.

    Args:
        logits: (B, k, H/4, W/4).
        classes: uint8 (B, H, W).
        weights: (k,).
    """
    shares = F.avg_pool2d(class_shares(classes, logits.shape[1]), NEARBY, stride=1, padding=NEARBY // 2)
    most, targets = shares.max(1)
    losses = F.cross_entropy(logits, targets, None if weights is None else weights.to(logits.device), reduction="none")
    return (losses * (most > 0)).sum() / (most > 0).sum().clamp(min=1)


def class_shares(classes: Tensor, class_count: int) -> Tensor:
    """Return the share of each class in each cell: uint8 (B, H, W) -> float32 (B, k, H/4, W/4)."""
    pixels = F.pixel_unshuffle(classes[:, None], CELL).flatten(2)  # (B, 16, cells)
    pixels = torch.where(pixels == IGNORED, 0, pixels).long()
    counts = torch.zeros(len(classes), 1 + class_count, pixels.shape[2], device=classes.device)
    counts.scatter_add_(1, pixels, torch.ones((), device=classes.device).expand(pixels.shape))
    height, width = (side // CELL for side in classes.shape[1:])
    return counts[:, 1:].reshape(len(classes), class_count, height, width) / CELL**2


def centers_loss(logits: Tensor, classes: Tensor, regions: Tensor) -> Tensor:
    """Return the focal loss of the heat map of the regions' centers, per region.

    Args:
        logits: (B, k, H/4, W/4).
        classes: uint8 (B, H, W).
        regions: uint8 (B, H, W).
    """
    cells = cell_targets(region_boxes(classes, regions), *logits.shape[1:])
    unknown = F.max_pool2d((classes == IGNORED).float(), CELL) > 0  # (B, H/4, W/4)
    peaks = (cells.heat == 1).any(1)
    return heat_loss(logits, cells._replace(counted=(~unknown | peaks)[:, None]))
