"""What people read while a U-Net trains.

Belongs here: IoU over the validation images. Does not belong here: the full report (``assay.metrics``).
"""

import torch
from torch import Tensor

from assay.class_maps import IGNORED


class SegmentationMeter:
    """Counts how often each class is taken for each other, over all pixels whose class is known."""

    def __init__(self, class_count: int) -> None:
        """Start from nothing; ``class_count`` is k, without the background."""
        self.counts = torch.zeros(1 + class_count, 1 + class_count, dtype=torch.int64)  # [true, predicted]

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in one batch: outputs (B, 1 + k, H, W) and targets uint8 (B, H, W)."""
        self.counts += counted(outputs.argmax(1), targets, len(self.counts) - 1).cpu()

    def values(self) -> dict[str, float]:
        """Return ``mean_iou`` over the classes that occur or are predicted, and ``foreground_iou``; 0 to 1."""
        return iou_of(self.counts)


def counted(named: Tensor, targets: Tensor, class_count: int) -> Tensor:
    """Return how many pixels of each true class are taken for each class: int64 (1 + k, 1 + k).

    Args:
        named: int64 (B, H, W): 0 background, 1..k classes.
        targets: uint8 (B, H, W): the same, 255 unknown.
        class_count: k.
    """
    known = targets != IGNORED
    side = 1 + class_count
    pairs = targets[known].long() * side + named[known]
    return torch.bincount(pairs, minlength=side**2).view(side, side)


def iou_of(counts: Tensor) -> dict[str, float]:
    """Return ``mean_iou`` over the classes that occur or are predicted, and ``foreground_iou``; 0 to 1.

    The background is no class. The foreground is all that is not background, whatever its class.

    Args:
        counts: (1 + k, 1 + k) pixels per true and predicted class.
    """
    hits = counts.diag()[1:]
    union = (counts.sum(0) + counts.sum(1))[1:] - hits
    occurs = union > 0
    foreground = int(counts.sum() - counts[0, 0])
    return {
        "mean_iou": (hits[occurs] / union[occurs]).mean().item() if occurs.any() else 0.0,
        "foreground_iou": int(counts[1:, 1:].sum()) / foreground if foreground else 0.0,
    }
