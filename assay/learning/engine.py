"""The two functions that everything else serves: one epoch of training, and an evaluation.

Belongs here: the order of a step. Does not belong here: epochs, data, networks, files.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assay.errors import TrainingError
from assay.learning.average import AveragedNetwork
from assay.learning.batches import Batch
from assay.learning.losses import Loss
from assay.learning.optimizers import Optimizer

Score = Callable[[Tensor, Tensor], dict[str, Tensor]]
"""``score(outputs, targets)``: further values, one per item (B,), whose means are reported."""


@dataclass(frozen=True)
class StepRules:
    """How each step is made.

    Attributes:
        loss: What is made small.
        clip_norm: Largest norm of the gradient; None for any.
        bf16: Whether the network computes in bfloat16.
    """

    loss: Loss
    clip_norm: float | None = None
    bf16: bool = False


def train_one_epoch(
    network: nn.Module,
    batches: Iterable[Batch],
    learning_rates: Iterator[float],
    rules: StepRules,
    optimizer: Optimizer,
    average: AveragedNetwork,
    where: str = "the epoch",
) -> dict[str, float]:
    """Change the network once per batch: forward, loss, finite check, backward, clip, step.

    Args:
        network: Changed in place.
        batches: The epoch's batches, already augmented.
        learning_rates: One for each step.
        rules: Loss, clipping, precision.
        optimizer: Holds the network's parameters.
        average: Follows the network.
        where: Named in the error, such as ``epoch 3``.

    Returns:
        ``loss``, the mean over the steps, and ``learning_rate`` of the last step.

    Raises:
        TrainingError: The loss is not finite; names epoch, step and learning rate.
    """
    network.train()
    total, rate, steps = 0.0, 0.0, 0
    for inputs, targets in batches:
        rate = next(learning_rates)
        loss = rules.loss(forward(network, inputs, rules.bf16), targets)
        value = loss.item()
        if not torch.isfinite(loss):
            raise not_finite(value, f"{where}, step {steps + 1} at learning rate {rate:.3g}")
        network.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if rules.clip_norm is not None:
            nn.utils.clip_grad_norm_(optimizer.parameters, rules.clip_norm)
        optimizer.step(rate)
        average.follow(network)
        total, steps = total + value, steps + 1
    average.copy_statistics(network)
    return {"loss": total / max(1, steps), "learning_rate": rate}


@torch.no_grad()
def evaluate(
    network: nn.Module, batches: Iterable[Batch], loss: Loss, score: Score | None = None, bf16: bool = False
) -> dict[str, float]:
    """Return the means over all items of the loss and of each score; nothing is changed.

    Args:
        network: Put into evaluation mode for the call, then back.
        batches: All of a subset, in any sizes.
        loss: Mean over a batch.
        score: Further values per item.
        bf16: Whether the network computes in bfloat16.
    """
    was_training = network.training
    network.eval()
    sums: dict[str, float] = {}
    count = 0
    for inputs, targets in batches:
        outputs = forward(network, inputs, bf16)
        values = {"loss": loss(outputs, targets) * len(targets)}
        values |= {name: each.sum() for name, each in (score(outputs, targets) if score else {}).items()}
        sums = {name: sums.get(name, 0.0) + value.item() for name, value in values.items()}
        count += len(targets)
    network.train(was_training)
    return {name: value / count for name, value in sums.items()}


def forward(network: nn.Module, inputs: Tensor, bf16: bool = False) -> Tensor:
    """Return the network's outputs in float32."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        outputs: Tensor = network(inputs)
    return outputs.float()


def not_finite(value: float, where: str) -> TrainingError:
    """Return the error for a loss that is NaN or infinite."""
    return TrainingError(
        f"The loss became {value} in {where}. "
        "Lower learner.learning_rate, or look for extreme values in the inputs and the target."
    )
