"""One epoch of training, and an evaluation.

Belongs here: the order of a training step, the forward pass, frozen layers. Does not belong here: the loop over epochs
(``trainer``), data, networks, files.
"""

import fnmatch
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from assay.errors import DataError, TrainingError
from assay.training.checkpoint import State
from assay.training.device import device_of
from assay.training.distributed import ALONE, WorkerGroup
from assay.training.interfaces import Batch, Loss, RunningMetric

AfterStep = Callable[[], None]


@dataclass(frozen=True)
class Step:
    """The inputs of one optimizer step.

    Attributes:
        name: Used in error messages, such as ``epoch 3, step 17``.
        learning_rate: Learning rate of this step.
        items: Number of items in all parts together.
        parts: The batch, in the parts that go through the network at once; made lazily.
        seed: Seed of dropout.
    """

    name: str
    learning_rate: float
    items: int
    parts: Iterable[Batch]
    seed: int = 0


@dataclass(frozen=True)
class StepRules:
    """The settings that all steps share.

    Attributes:
        loss: Loss that is minimized.
        clip_norm: Largest norm of the gradient; None for no clipping.
        bf16: Whether the network computes in bfloat16.
        workers: The processes that share each step.
    """

    loss: Loss
    clip_norm: float | None = None
    bf16: bool = False
    workers: WorkerGroup = ALONE


def train_one_epoch(state: State, steps: Iterable[Step], rules: StepRules, after_step: AfterStep) -> float:
    """Train the network, in each step: forward, loss, check that it is finite, backward, clip, optimizer step.

    Args:
        state: Changed in place; its tally may already contain the beginning of the epoch.
        steps: The remaining steps of the epoch, with augmented batches.
        rules: Loss, clipping, precision.
        after_step: Called after each step, when the state is consistent.

    Returns:
        The sum of the losses of the epoch's steps.

    Raises:
        TrainingError: The loss is not finite; names epoch, step and learning rate.
    """
    network, optimizer, tally = state.network, state.optimizer, state.tally
    training_mode(network)
    for step in steps:
        torch.default_generator.manual_seed(step.seed)  # dropout takes no generator
        network.zero_grad(set_to_none=True)
        total = 0.0
        for part in step.parts:
            loss = loss_of(network, part, rules.loss, rules.bf16) * (len(part[0]) / step.items)
            total += loss.item()
            if not math.isfinite(total):
                break
            loss.backward()  # type: ignore[no-untyped-call]
        total = require_finite(rules.workers.sum(total), f"{step.name} at learning rate {step.learning_rate:.3g}")
        rules.workers.reduce_gradients(optimizer.parameters, network.buffers())
        if rules.clip_norm is not None:
            nn.utils.clip_grad_norm_(optimizer.parameters, rules.clip_norm)
        optimizer.step(step.learning_rate)
        state.average.follow(network)
        tally.steps, tally.loss = tally.steps + 1, tally.loss + total
        after_step()
    state.average.copy_statistics(network)
    return tally.loss


@torch.no_grad()
def evaluate(
    network: nn.Module, batches: Iterable[Batch], loss: Loss, metric: RunningMetric | None = None, bf16: bool = False
) -> dict[str, float]:
    """Return the mean loss over all items and the values of the metric; nothing is changed.

    Args:
        network: In evaluation mode during the call.
        batches: All items of a subset, in batches of any sizes.
        loss: Mean over a batch.
        metric: A new running metric; None for the loss alone.
        bf16: Whether the network computes in bfloat16.
    """
    was_training = network.training
    network.eval()
    total, count = 0.0, 0
    for inputs, targets in batches:
        outputs = forward(network, inputs, bf16)
        targets = targets.to(outputs.device)
        total += loss(outputs, targets).item() * len(targets)
        count += len(targets)
        if metric is not None:
            metric.add(outputs, targets)
    network.train(was_training)
    return {"loss": total / count, **(metric.values() if metric else {})}


def forward(network: nn.Module, inputs: Tensor, bf16: bool = False) -> Tensor:
    """Return the network's outputs in float32, on the device of its weights."""
    device = device_of(network)
    with torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext():
        outputs: Tensor = network(inputs.to(device, non_blocking=True))
    return outputs.float()


def loss_of(network: nn.Module, batch: Batch, loss: Loss, bf16: bool) -> Tensor:
    """Return the loss of a batch."""
    outputs = forward(network, batch[0], bf16)
    return loss(outputs, batch[1].to(outputs.device, non_blocking=True))


def require_finite(loss: float, where: str) -> float:
    """Return a loss.

    Raises:
        TrainingError: It is NaN or infinite.
    """
    if math.isfinite(loss):
        return loss
    raise TrainingError(
        f"The loss became {loss} in {where}. "
        "Lower learner.learning_rate, or look for extreme values in the inputs and the target."
    )


def freeze(network: nn.Module, patterns: Sequence[str]) -> None:
    """Freeze the parameters of some layers.

    Args:
        network: Frozen parameters no longer require a gradient.
        patterns: Names of layers, may contain ``*``; the name of a group of layers stands for all of them.

    Raises:
        DataError: A pattern matches no layer, or all layers are frozen; lists the layers' names.
    """
    layers = layers_of(network)
    for pattern in patterns:
        chosen = [layer for name, layer in layers.items() if matches(name, pattern)]
        if not chosen:
            raise DataError(f"learner.freeze: {pattern!r} matches none of the network's layers.", list(layers))
        for layer in chosen:
            layer.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise DataError("learner.freeze: every layer is frozen, so nothing is left to learn.", list(layers))


def layers_of(network: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that have parameters of their own, by name."""
    return {name: module for name, module in network.named_modules() if any(True for _ in module.parameters(False))}


def matches(name: str, pattern: str) -> bool:
    """Return whether a pattern names a layer or a group that it belongs to."""
    parts = name.split(".")
    return any(fnmatch.fnmatchcase(".".join(parts[: end + 1]), pattern) for end in range(len(parts)))


def training_mode(network: nn.Module) -> None:
    """Put a network into training mode, except frozen layers, whose running means and variances stay too."""
    network.train()
    for layer in layers_of(network).values():
        if not any(parameter.requires_grad for parameter in layer.parameters(recurse=False)):
            layer.eval()
