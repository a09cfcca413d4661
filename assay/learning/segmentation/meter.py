"""What people read while a U-Net trains.

Belongs here: IoU over the validation images. Does not belong here: the full report (``assay.metrics``).
"""

import torch
from torch import Tensor

from assay.learning.segmentation.sureness import CHOICES, counted_by_choice, highest_choice
from assay.training.tasks.segmentation.decode import has_middles, named_pixels

LEAST_MIDDLE = "least_middle"
"""Name of the probability of a middle that gives the best mean IoU; zero asks for none."""


class SegmentationMeter:
    """Counts how often each class is taken for each other, over all pixels whose class is known."""

    def __init__(self, class_count: int) -> None:
        """Start from nothing; ``class_count`` is k, without the background."""
        self.class_count = class_count
        self.counts: Tensor | int = 0  # [choice, true, predicted]; one choice of networks without middles

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in one batch: outputs as ``named_pixels`` takes them, and targets uint8 (B, H, W)."""
        named = named_pixels(outputs, self.class_count)
        if has_middles(outputs, self.class_count):
            counts = counted_by_choice(named, targets, highest_choice(outputs), self.class_count)
        else:
            counts = counted(named, targets, self.class_count)[None]
        self.counts = self.counts + counts.cpu()

    def values(self) -> dict[str, float]:
        """Return ``mean_iou`` over the classes that occur or are predicted, and ``foreground_iou``; 0 to 1.

        Of networks that look for middles, they are those at the ``least_middle`` that gives the best mean IoU, the
        least of several equally good; it is returned too.
        """
        if isinstance(self.counts, int):
            return iou_of(torch.zeros(2, 2))
        ious = [iou_of(each) for each in self.counts]
        best = max(range(len(ious)), key=lambda place: (ious[place]["mean_iou"], -place))
        return ious[best] if len(ious) == 1 else {**ious[best], LEAST_MIDDLE: CHOICES[best]}


def counted(named: Tensor, targets: Tensor, class_count: int) -> Tensor:
    """Return how many pixels of each true class are taken for each class: int64 (1 + k, 1 + k).

    Args:
        named: uint8 (B, H, W): 0 background, 1..k classes.
        targets: uint8 (B, H, W): the same, 255 unknown.
        class_count: k.
    """
    side = 1 + class_count
    pairs = targets.int() * side + named  # unknown pixels come last, and are cut off
    return torch.bincount(pairs.flatten(), minlength=side**2)[: side**2].view(side, side)


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
