"""The interface between the trainer and the tasks: datasets that yield batches, a loss and a running metric."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Generator, Tensor

from assay.spec.trained_model import TrainedModelSection

Batch = tuple[Tensor, Tensor]
"""Inputs (B, ...) float32 and encoded targets (B, ...): class indices, numbers, masks or padded boxes."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""``loss(outputs, targets)``: a differentiable scalar, the mean over the batch."""

NO_OBJECT, CROWD = -1, -2
"""Class indices in tensors of boxes: of rows that only pad, and of regions in which detections are neither right nor
wrong."""


class TrainingDataset(Protocol):
    """Items that the network is trained on."""

    def __len__(self) -> int:
        """Number of items."""

    def batch(self, order: Tensor, generator: Generator) -> Batch:
        """Return the items with these indices, randomly augmented.

        Args:
            order: (B,) int64.
            generator: Source of all randomness of this batch.
        """


class EvaluationDataset(Protocol):
    """Items that the network is evaluated on, without augmentation."""

    def __len__(self) -> int:
        """Number of items."""

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield all items in order; the last batch may be smaller."""


class RunningMetric(Protocol):
    """Accumulates metrics over the batches of one evaluation."""

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Add one batch: the network's outputs in float32, and the targets."""

    def values(self) -> dict[str, float]:
        """Return the metrics by name, without the loss."""


@dataclass(frozen=True)
class TrainingTask:
    """Everything that the trainer needs.

    Attributes:
        section: Resolved spec.
        train: Training items.
        validation: Items that choose the epoch, if any.
        loss: Loss that is minimized.
        plain_loss: Loss by which epochs are compared, without label smoothing.
        running_metric: Returns a new running metric for each evaluation.
        seed: Seed of the order of the items and of augmentation.
        classes: Class of each training item (n,) int64, or (n, k) of 0 and 1 where an item may have several; None for
            tasks without classes.
        warnings: What the user should know about the data before trusting the model.
        notes: What was chosen by the data, and how to choose otherwise.
    """

    section: TrainedModelSection
    train: TrainingDataset
    validation: EvaluationDataset | None
    loss: Loss
    plain_loss: Loss
    running_metric: Callable[[], RunningMetric]
    seed: int
    classes: Tensor | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
