"""What the U-Net makes small, and the loss by which epochs are compared.

Belongs here: weighing the deviation of outputs from masks. Does not belong here: masks, decoding.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from assay.datasets.mask_classes import IGNORED
from assay.training.models.detector import CELL
from assay.training.models.unet import cell_answers
from assay.training.tasks.detection.box_coding import cell_targets
from assay.training.tasks.detection.criterion import heat_loss
from assay.training.tasks.segmentation.dataset import region_boxes
from assay.training.tasks.segmentation.decode import surprise

NEARBY = 3
"""Side in cells of the square in which a cell looks for what it shows, so that also the cells along an edge learn."""


@dataclass(frozen=True)
class SegmentationLoss:
    """The loss of a batch, as a function of outputs and targets.

    Attributes:
        class_weights: (k,) weight of each class; None when all count the same.
    """

    class_weights: Tensor | None = None

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return one number, 0 or more.

        Args:
            outputs: (B, 16 + 2k, H/4, W/4) as ``Unet`` gives them, or (B, 1 + k, H, W) logits of a network
                that knows nothing of middles; float32.
            targets: uint8 (B, 2, H, W): classes, and numbers of regions.
        """
        classes, regions = targets.unbind(1)
        if outputs.shape[2:] == classes.shape[1:]:
            return self._of_pixels(outputs, classes)
        shown, named, middles = cell_answers(outputs)
        wanted = (classes > 0).float()
        known = (classes != IGNORED).float()
        return (
            shown_loss(shown, wanted, known)
            + dice_loss(shown.sigmoid(), wanted, known)
            + class_loss(named, classes, self.class_weights)
            + middles_loss(middles, classes, regions)
        )

    def _of_pixels(self, outputs: Tensor, classes: Tensor) -> Tensor:
        weights = self.class_weights
        if weights is not None:
            weights = torch.cat([weights.new_ones(1), weights]).to(outputs.device)
        shown = 1 - outputs.softmax(1)[:, 0]
        known = (classes != IGNORED).float()
        return plain_loss(outputs, classes, weights) + dice_loss(shown, (classes > 0).float(), known)


def plain_loss(outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean cross entropy over the pixels whose class is known; 0 when there is none.

    Args:
        outputs: (B, 16 + 2k, H/4, W/4) as ``Unet`` gives them, or (B, 1 + k, H, W) logits of another network.
        targets: uint8 (B, H, W): 0 background, 1..k classes, 255 unknown.
        weights: (1 + k,) weights of background and classes, for another network.
    """
    known = (targets != IGNORED).sum().clamp(min=1)
    if outputs.shape[2:] != targets.shape[1:]:
        return surprise(cell_answers(outputs), targets) / known
    losses = F.cross_entropy(outputs, targets.long(), weights, ignore_index=IGNORED, reduction="none")
    return losses.sum() / known


def shown_loss(logits: Tensor, wanted: Tensor, known: Tensor) -> Tensor:
    """Return the mean binary cross entropy over known pixels; all arguments are (B, H, W)."""
    losses = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)


def dice_loss(shown: Tensor, wanted: Tensor, known: Tensor) -> Tensor:
    """Return 1 - Dice over the whole batch, however rare what is wanted (Milletari et al., *V-Net*, 2016).

    Args:
        shown: (B, H, W) probabilities that a pixel shows anything.
        wanted: (B, H, W) of 0 and 1.
        known: (B, H, W) of 0 and 1.
    """
    common = (shown * wanted * known).sum()
    return 1 - (2 * common + 1) / ((shown * known).sum() + (wanted * known).sum() + 1)


def class_loss(logits: Tensor, classes: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean cross entropy over the cells in and near which there is anything; 0 when there is none.

    Args:
        logits: (B, k, H/4, W/4).
        classes: uint8 (B, H, W).
        weights: (k,).
    """
    shares = F.avg_pool2d(class_shares(classes, logits.shape[1]), NEARBY, stride=1, padding=NEARBY // 2)
    most, wanted = shares.max(1)
    losses = F.cross_entropy(logits, wanted, None if weights is None else weights.to(logits.device), reduction="none")
    return (losses * (most > 0)).sum() / (most > 0).sum().clamp(min=1)


def class_shares(classes: Tensor, class_count: int) -> Tensor:
    """Return which share of each cell shows each class: uint8 (B, H, W) -> float32 (B, k, H/4, W/4)."""
    pixels = F.pixel_unshuffle(classes[:, None], CELL).flatten(2)  # (B, 16, cells)
    pixels = torch.where(pixels == IGNORED, 0, pixels).long()
    counts = torch.zeros(len(classes), 1 + class_count, pixels.shape[2], device=classes.device)
    counts.scatter_add_(1, pixels, torch.ones((), device=classes.device).expand(pixels.shape))
    height, width = (side // CELL for side in classes.shape[1:])
    return counts[:, 1:].reshape(len(classes), class_count, height, width) / CELL**2


def middles_loss(logits: Tensor, classes: Tensor, regions: Tensor) -> Tensor:
    """Return the focal loss of the heat map of the regions' middles, per region.

    Args:
        logits: (B, k, H/4, W/4).
        classes: uint8 (B, H, W).
        regions: uint8 (B, H, W).
    """
    wanted = cell_targets(region_boxes(classes, regions), *logits.shape[1:])
    unknown = F.max_pool2d((classes == IGNORED).float(), CELL) > 0  # (B, H/4, W/4)
    peaks = (wanted.heat == 1).any(1)
    return heat_loss(logits, wanted._replace(counted=(~unknown | peaks)[:, None]))
