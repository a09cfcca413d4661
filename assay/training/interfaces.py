"""What the trainer is given, whatever is learned: items as batches, a loss, a meter.

Belongs here: the interface between the trainer and the families of learning. Does not belong here: either of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Generator, Tensor

from assay.spec.trained_model import TrainedModelSection

Batch = tuple[Tensor, Tensor]
"""Inputs (B, ...) float32 and encoded targets (B, ...): class indices, numbers, masks or padded boxes."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""``loss(outputs, targets)``: one number, differentiable, the mean over the batch."""


class TrainingItems(Protocol):
    """Items that are learned."""

    def __len__(self) -> int:
        """Number of items."""

    def batch(self, order: Tensor, generator: Generator) -> Batch:
        """Return the items of these indices, randomly changed.

        Args:
            order: (B,) int64.
            generator: Source of all randomness of this batch.
        """


class PlainItems(Protocol):
    """Items that are looked at as they are."""

    def __len__(self) -> int:
        """Number of items."""

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield all items in order, the last batch with what is left."""


class Meter(Protocol):
    """Gathers what is measured over the batches of one evaluation."""

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in one batch: the network's outputs in float32, and the targets."""

    def values(self) -> dict[str, float]:
        """Return what people read while a model trains, by name; without the loss."""


@dataclass(frozen=True)
class TrainingTask:
    """Everything that a training reads.

    Attributes:
        section: Resolved spec.
        train: Training items.
        validation: Items that choose the epoch, if any.
        loss: What the optimizer makes small.
        plain_loss: The loss by which epochs are compared: without weights and smoothing, which only help to learn.
        meter: Makes a new meter for each evaluation.
        seed: Of order and augmentation.
        classes: Class of each training item (n,) int64, or (n, k) of 0 and 1 for several; None where there are none.
    """

    section: TrainedModelSection
    train: TrainingItems
    validation: PlainItems | None
    loss: Loss
    plain_loss: Loss
    meter: Callable[[], Meter]
    seed: int
    classes: Tensor | None = None
