"""Items with one target each, a number or a class, or several classes, as the trainer wants them.

Belongs here: items in memory as batches, and the meter over their scores. Does not belong here: reading them, the loop.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from assay.spec.training_data import Augmentation
from assay.training.augmentation import augment
from assay.training.inputs import Inputs, as_batch
from assay.training.interfaces import Batch, Meter
from assay.training.metrics import LabelsMeter, readable, score_of
from assay.training.targets import LabelsTarget, Target


@dataclass(frozen=True)
class FlatItems:
    """A subset in memory; serves to learn from and to look at.

    Attributes:
        inputs: How items become tensors.
        values: (n, ...) as ``load_inputs`` gives them.
        targets: (n,) encoded, or (n, k).
        augmentation: Strength of the random changes; validation items don't need any.
    """

    inputs: Inputs
    values: Tensor
    targets: Tensor
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __len__(self) -> int:
        return len(self.values)

    def batch(self, order: Tensor, generator: Generator) -> Batch:
        """Return the items of these indices, randomly changed."""
        plain = as_batch(self.inputs, self.values[order])
        return augment(plain, self.inputs, self.augmentation, generator), self.targets[order]

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield all items in order, the last batch with what is left."""
        for values, targets in zip(
            *(torch.split(part, batch_size) for part in (self.values, self.targets)), strict=True
        ):
            yield as_batch(self.inputs, values), targets


class MeanMeter:
    """Means over all items of the accuracy, or of errors in the label's unit."""

    def __init__(self, target: Target) -> None:
        self.score = score_of(target)
        self.sums: dict[str, float] = {}
        self.count = 0

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in one batch: outputs (B, k) and targets (B,)."""
        for name, each in self.score(outputs, targets).items():
            self.sums[name] = self.sums.get(name, 0.0) + each.sum().item()
        self.count += len(targets)

    def values(self) -> dict[str, float]:
        """Return ``accuracy``, or ``mae`` and ``rmse``."""
        return readable({name: value / self.count for name, value in self.sums.items()})


def meter_of(target: Target) -> Meter:
    """Return a new meter for what is learned."""
    return LabelsMeter(target) if isinstance(target, LabelsTarget) else MeanMeter(target)
