"""What people read while several labels at once are learned.

Belongs here: counting hits over batches. Does not belong here: metrics of the analysis (``assay.metrics.multi_label``).
"""

import torch
from torch import Tensor

from assay.training.class_targets import LabelsTarget


class LabelsMeter:
    """Macro F1, and the share of items all of whose classes are right, at the target's thresholds."""

    def __init__(self, target: LabelsTarget) -> None:
        self.target = target
        self.hits = torch.zeros(target.output_count)
        self.marked = torch.zeros(target.output_count)
        self.exact = self.count = 0

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in one batch: outputs (B, k), targets (B, k) of 0 and 1."""
        predicted, wanted = self.target.decide(self.target.answers(outputs)).cpu(), targets.cpu() > 0
        self.hits += (predicted & wanted).sum(0)
        self.marked += predicted.sum(0) + wanted.sum(0)
        self.exact += int((predicted == wanted).all(1).sum())
        self.count += len(targets)

    def values(self) -> dict[str, float]:
        """Return ``macro_f1`` over the classes that occur or are predicted (0 if none does), and ``exact_match``."""
        occurring = self.marked > 0
        f1 = 2 * self.hits[occurring] / self.marked[occurring]
        return {"macro_f1": f1.mean().item() if len(f1) else 0.0, "exact_match": self.exact / max(1, self.count)}
