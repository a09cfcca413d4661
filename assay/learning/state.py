"""Everything that changes while a network is trained: what a training must know to go on as if nothing had happened.

Belongs here: the parts of the state, and moving them into tensors and plain values and back. Does not belong here:
files (``checkpoint``), the loop (``trainer``). There is no state of random generators: see ``determinism``.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from assay.training.ema import AveragedNetwork
from assay.training.optimizers import Optimizer

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class EpochValues:
    """What was measured in an epoch; ``validation`` is empty without validation data."""

    epoch: int
    train: dict[str, float]
    validation: dict[str, float]


@dataclass
class Training:
    """What a training leaves behind.

    Attributes:
        history: One entry per epoch.
        chosen_epoch: The epoch that the rule of the spec chose, from 1.
        chosen: Its weights.
        last: Weights of the last epoch.
        stopped: Why there is no further epoch; empty when all were trained.
    """

    history: list[EpochValues] = field(default_factory=list)
    chosen_epoch: int = 0
    chosen: Weights = field(default_factory=dict)
    last: Weights = field(default_factory=dict)
    stopped: str = ""

    @property
    def chosen_values(self) -> EpochValues:
        """What was measured in the chosen epoch."""
        return self.history[self.chosen_epoch - 1]


@dataclass
class Tally:
    """Steps made so far, and the sum of their losses in the present epoch."""

    steps: int = 0
    loss: float = 0.0


@dataclass
class State:
    """A training between two steps."""

    network: nn.Module
    optimizer: Optimizer
    average: AveragedNetwork
    training: Training = field(default_factory=Training)
    tally: Tally = field(default_factory=Tally)

    def live_tensors(self) -> Weights:
        """Return every tensor that a step changes, by a name of its own; not copies."""
        parts: dict[str, Mapping[str, Tensor]] = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state(),
        }
        if self.average.decay:
            parts["average"] = self.average.network.state_dict()
        return {f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()}

    def tensors(self) -> Weights:
        """Return the live tensors and the best weights so far."""
        return self.live_tensors() | {f"chosen/{name}": value for name, value in self.training.chosen.items()}

    def numbers(self) -> dict[str, Any]:
        """Return everything that is no tensor, as plain values."""
        return {
            "steps": self.tally.steps,
            "loss": self.tally.loss,
            "average_steps": self.average.steps,
            "chosen_epoch": self.training.chosen_epoch,
            "history": [asdict(values) for values in self.training.history],
        }

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Take over a state; tensors keep their place and memory layout, on which rounding depends.

        Args:
            tensors: As ``tensors`` gave them.
            numbers: As ``numbers`` gave them.

        Raises:
            KeyError: Something is missing.
            RuntimeError: A tensor has another shape.
        """
        history = [EpochValues(**values) for values in numbers["history"]]
        self.tally.steps, self.tally.loss = numbers["steps"], numbers["loss"]
        self.average.steps = numbers["average_steps"]
        chosen = {name.removeprefix("chosen/"): value for name, value in tensors.items() if name.startswith("chosen/")}
        self.training.history, self.training.chosen_epoch = history, numbers["chosen_epoch"]
        self.training.chosen = chosen
        for name, value in self.live_tensors().items():
            value.copy_(tensors[name])
