"""Focal loss (Lin et al. 2017, *Focal Loss for Dense Object Detection*): items that are right already count for less.

Belongs here: the loss for one class per item, and for several. Does not belong here: weights of classes.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from assay.training.interfaces import Loss

LEAST = 1e-6
"""Smallest distance of a probability from being right, so that the gradient stays finite for every gamma."""


def focal_loss(weights: Tensor | None, smoothing: float, gamma: float) -> Loss:
    """Return the focal loss of one class per item; with ``gamma`` 0 it is the cross-entropy.

    Args:
        weights: (k,) weight of each class; None for 1.
        smoothing: Probability spread evenly over all classes.
        gamma: How fast items that are right lose weight.
    """

    def loss(outputs: Tensor, wanted: Tensor) -> Tensor:
        count = outputs.shape[1]
        scale = torch.ones(count) if weights is None else weights
        scale = scale.to(outputs)
        soft = F.one_hot(wanted, count) * (1 - smoothing) + smoothing / count  # (B, k)
        logs = outputs.log_softmax(1)
        focus = (1 - logs.exp()).clamp(min=LEAST) ** gamma
        return -(scale * soft * focus * logs).sum() / scale[wanted].sum()

    return loss


def focal_labels_loss(weights: Tensor, smoothing: float, gamma: float, alpha: float | None) -> Loss:
    """Return the focal loss of several classes per item; outputs and targets are (B, k).

    Args:
        weights: (2, k) weight of each class in items without it and with it.
        smoothing: Distance of the targets from 0 and 1, twice.
        gamma: How fast items that are right lose weight.
        alpha: Weight of items with a class, 1 - alpha of those without; None for 1 each.
    """
    sides = torch.ones(2, 1) if alpha is None else torch.tensor([[1 - alpha], [alpha]])

    def loss(outputs: Tensor, wanted: Tensor) -> Tensor:
        scale = (weights * sides).to(outputs)
        soft = wanted * (1 - smoothing) + smoothing / 2
        right = torch.where(wanted > 0, outputs, -outputs).sigmoid()
        focus = (1 - right).clamp(min=LEAST) ** gamma
        each = F.binary_cross_entropy_with_logits(outputs, soft, reduction="none")
        return (torch.where(wanted > 0, scale[1], scale[0]) * focus * each).mean()

    return loss
