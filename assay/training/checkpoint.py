"""Checkpoints: the complete state of a training in one safetensors file, with its numbers as JSON inside; no pickle.

Belongs here: the state, the file, when it is written, and whether an existing one may be used. Does not belong here:
the training loop. There is no state of random generators: every random number follows from the seed and the step.
"""

import json
import logging
import time
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from assay.storage.files import atomic_path
from assay.training.optimizers import AveragedNetwork, Optimizer

log = logging.getLogger(__name__)

FILE = "checkpoint.safetensors"

FORMAT = "assay-checkpoint-1"

METADATA_KEY = "assay"

LEAST_RATIO = 100.0
"""Least time between two checkpoints as a multiple of the time that the latest took: they cost at most 1%."""

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class EpochValues:
    """Loss and metrics of an epoch; ``validation`` is empty without validation data."""

    epoch: int
    train: dict[str, float]
    validation: dict[str, float]


@dataclass
class Training:
    """The results of a training.

    Attributes:
        history: One entry per epoch.
        chosen_epoch: The epoch that the rule of the spec chose, from 1.
        chosen: Its weights.
        last: Weights of the last epoch.
        stopped: Why the training was stopped early; empty if it was not.
        planned: Number of epochs that the training was planned for.
    """

    history: list[EpochValues] = field(default_factory=list)
    chosen_epoch: int = 0
    chosen: Weights = field(default_factory=dict)
    last: Weights = field(default_factory=dict)
    stopped: str = ""
    planned: int = 0

    @property
    def chosen_values(self) -> EpochValues:
        """Loss and metrics of the chosen epoch."""
        return self.history[self.chosen_epoch - 1]


@dataclass
class Tally:
    """Number of steps so far, and the sum of their losses in the current epoch."""

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
        """Return every tensor that a step changes, by a unique name; not copies."""
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
        """Return everything that is not a tensor, as plain values."""
        return {
            "steps": self.tally.steps,
            "loss": self.tally.loss,
            "average_steps": self.average.steps,
            "chosen_epoch": self.training.chosen_epoch,
            "history": [asdict(values) for values in self.training.history],
        }

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Load a state in place; tensors keep their memory layout, on which rounding depends.

        Args:
            tensors: From ``tensors``.
            numbers: From ``numbers``.

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


@dataclass
class Checkpoints:
    """The checkpoint of one training; without a folder there is none.

    Attributes:
        folder: Folder of the file; survives the process.
        owner: Digest of everything that determines the training; a file of another owner is not used.
        every_s: Seconds between two checkpoints.
        ended: Where a training that ends early by ``stop_after`` leaves its state, for one that goes on.
        earlier: Such states of other trainings, any of which may be the beginning of this one.
        most_epochs: Epochs beyond which such a state is of no use; None for no limit.
    """

    folder: Path | None = None
    owner: str = ""
    every_s: float = 30.0
    ended: Path | None = None
    earlier: Iterable[Path] = ()
    most_epochs: int | None = None
    _due: float = field(init=False)

    def __post_init__(self) -> None:
        self._due = time.monotonic() + self.every_s

    def resume(self, state: State) -> None:
        """Load the state of an interrupted training, or of one that ended earlier, if there is one that fits."""
        path = self.folder / FILE if self.folder else None
        if path is None or not path.is_file():
            path = longest(self.earlier, self.owner, self.most_epochs)
        if path is None:
            return
        try:
            tensors, numbers = load_checkpoint(path, self.owner)
            check_shapes(state, tensors, numbers)
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            log.warning(f"The checkpoint {path} is not used: {error}. The training starts from its beginning.")
            return
        state.restore(tensors, numbers)
        log.info(f"The training goes on after step {state.tally.steps}, where it was interrupted.")

    def save_end(self, state: State) -> None:
        """Write the state of a training that ends early; called between two epochs."""
        if self.ended is not None:
            save_checkpoint(self.ended, state, self.owner)

    def save_if_due(self, state: State) -> None:
        """Replace the checkpoint if the latest is old enough; an interruption leaves the former one."""
        started = time.monotonic()
        if self.folder is None or started < self._due:
            return
        save_checkpoint(self.folder / FILE, state, self.owner)
        ended = time.monotonic()
        self._due = ended + (max(self.every_s, LEAST_RATIO * (ended - started)) if self.every_s else 0.0)


def save_checkpoint(path: Path, state: State, owner: str) -> None:
    """Write a state; the file is complete or absent."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.tensors().items()}
    head = {"format": FORMAT, "owner": owner, "checksum": checksum(tensors), "numbers": state.numbers()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {METADATA_KEY: json.dumps(head)})


def load_checkpoint(path: Path, owner: str) -> tuple[Weights, dict[str, Any]]:
    """Return tensors and numbers of a checkpoint.

    Raises:
        ValueError: It belongs to another training, or is damaged; the message says which.
        SafetensorError: It is not a safetensors file, or truncated.
    """
    with safe_open(path, framework="pt") as opened:
        head = json.loads((opened.metadata() or {}).get(METADATA_KEY, "{}"))
        if head.get("format") != FORMAT:
            raise ValueError(f"its format is {head.get('format')!r}, not {FORMAT!r}")
        if head["owner"] != owner:
            raise ValueError("it is of another training: spec, data or version of torch differ")
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
    if checksum(tensors) != head["checksum"]:
        raise ValueError("its content is damaged")
    return tensors, head["numbers"]


def longest(paths: Iterable[Path], owner: str, most_epochs: int | None) -> Path | None:
    """Return the checkpoint of a training with the most epochs, up to a limit; None if none is of this training."""
    epochs: dict[Path, int] = {}
    for path in paths:
        with suppress(SafetensorError, OSError, ValueError, KeyError), safe_open(path, framework="pt") as opened:
            head = json.loads((opened.metadata() or {}).get(METADATA_KEY, "{}"))
            if head.get("format") == FORMAT and head["owner"] == owner:
                epochs[path] = len(head["numbers"]["history"])
    fitting = [path for path in sorted(epochs) if most_epochs is None or epochs[path] <= most_epochs]
    return max(fitting, key=lambda path: epochs[path], default=None)


def check_shapes(state: State, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that does not fit, before the state is changed.

    Raises:
        ValueError: Names the first tensor that differs.
    """
    for name, value in state.live_tensors().items():
        saved = tensors.get(name)
        if saved is None or saved.shape != value.shape or saved.dtype != value.dtype:
            raise ValueError(f"{name} is missing or of another shape")
    if set(numbers) != set(state.numbers()):
        raise ValueError("its numbers are of another version")


def checksum(tensors: Mapping[str, Tensor]) -> int:
    """Return the CRC-32 of all bytes, in the order of the names."""
    total = 0
    for name in sorted(tensors):
        total = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, total)
    return total
