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
        known = targets != IGNORED
        pairs = targets[known].long() * len(self.counts) + outputs.argmax(1)[known]
        self.counts += torch.bincount(pairs, minlength=self.counts.numel()).view_as(self.counts).cpu()

    def values(self) -> dict[str, float]:
        """Return ``mean_iou`` over the classes that occur or are predicted, and ``foreground_iou``; 0 to 1.

        The background is no class. The foreground is all that is not background, whatever its class.
        """
        hits = self.counts.diag()[1:]
        union = (self.counts.sum(0) + self.counts.sum(1))[1:] - hits
        occurs = union > 0
        foreground = int(self.counts.sum() - self.counts[0, 0])
        return {
            "mean_iou": (hits[occurs] / union[occurs]).mean().item() if occurs.any() else 0.0,
            "foreground_iou": int(self.counts[1:, 1:].sum()) / foreground if foreground else 0.0,
        }
