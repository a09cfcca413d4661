"""Checkpoints: one safetensors file with a training's whole state, its numbers as JSON inside; no pickle.

Belongs here: the file, when it is written, and whether one that is found may be used. Does not belong here: what the
state is (``state``).
"""

import json
import logging
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from assay.learning.state import State, Weights
from assay.storage.files import atomic_path

log = logging.getLogger(__name__)

FILE = "checkpoint.safetensors"
FORMAT = "assay-checkpoint-1"
METADATA_KEY = "assay"
LEAST_RATIO = 100.0
"""Training time between two checkpoints, in units of what the latest cost: at most 1% goes into them."""


@dataclass
class Checkpoints:
    """The checkpoint of one training; without a folder there is none.

    Attributes:
        folder: Where the file is; survives the process.
        owner: Names everything that determines the training; a file of another owner is not used.
        every_s: Seconds between two checkpoints.
    """

    folder: Path | None = None
    owner: str = ""
    every_s: float = 30.0
    _due: float = field(init=False)

    def __post_init__(self) -> None:
        self._due = time.monotonic() + self.every_s

    def resume(self, state: State) -> None:
        """Take over the state of a training that was cut off, if there is one that fits."""
        path = self.folder / FILE if self.folder else None
        if path is None or not path.is_file():
            return
        try:
            tensors, numbers = load_checkpoint(path, self.owner)
            check_shapes(state, tensors, numbers)
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            log.warning(f"The checkpoint {path} is not used: {error}. The training starts from its beginning.")
            return
        state.restore(tensors, numbers)
        log.info(f"The training goes on after step {state.tally.steps}, where it was cut off.")

    def save_if_due(self, state: State) -> None:
        """Replace the checkpoint when the latest is old enough; an interruption leaves the former one."""
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
        ValueError: It is of another training, or damaged; the message says which.
        SafetensorError: It is no safetensors file, or cut off.
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


def check_shapes(state: State, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that does not fit, before anything is changed.

    Raises:
        ValueError: Names the first tensor that differs.
    """
    for name, value in state.live_tensors().items():
        found = tensors.get(name)
        if found is None or found.shape != value.shape or found.dtype != value.dtype:
            raise ValueError(f"{name} is missing or of another shape")
    if set(numbers) != set(state.numbers()):
        raise ValueError("its numbers are of another version")


def checksum(tensors: Mapping[str, Tensor]) -> int:
    """Return the CRC-32 of all bytes, in the order of the names."""
    total = 0
    for name in sorted(tensors):
        total = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, total)
    return total
