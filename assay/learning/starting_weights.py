"""Weights that a network starts from, out of a local safetensors file; nothing is ever downloaded, no code is run.

Belongs here: reading the file, and fitting it to the network. Does not belong here: the file's part in fingerprints
(``assay.spec.starting_weights``).
"""

import fnmatch
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from assay.errors import DataError
from assay.spec.starting_weights import ADVICE, StartingWeights


def start_from(network: nn.Module, spec: StartingWeights) -> None:
    """Copy the file's weights into the network; tensors that are left out keep their random values.

    Raises:
        DataError: The file can't be read, or does not fit; names every tensor that is missing, unexpected or of
            another shape.
    """
    found = {name: value for name, value in read_weights(spec.file).items() if not is_excluded(name, spec)}
    wanted = {name: value for name, value in network.state_dict().items() if not is_excluded(name, spec)}
    problems = differences(found, wanted, spec)
    if problems:
        raise DataError(
            f"starting_weights: {spec.file} does not fit the network in {len(problems)} place(s). Leave these out by "
            "starting_weights.exclude, or allow them by allow_missing or allow_unexpected.",
            problems,
        )
    with torch.no_grad():
        for name in wanted.keys() & found.keys():
            wanted[name].copy_(found[name])


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return all tensors of a safetensors file by name.

    Raises:
        DataError: It does not exist, or is no such file.
    """
    if not path.is_file():
        raise DataError(
            f"starting_weights.path: {path} does not exist. Assay never downloads weights; put the file there."
        )
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"starting_weights.path: {path} is no safetensors file ({error}). If it holds weights, {ADVICE}."
        ) from error
    return tensors


def is_excluded(name: str, spec: StartingWeights) -> bool:
    """Return whether a tensor is left out."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in spec.exclude)


def differences(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], spec: StartingWeights) -> list[str]:
    """Return a line for everything in which a file differs from what a network needs."""
    missing = [] if spec.allow_missing else [name for name in wanted if name not in found]
    unexpected = [] if spec.allow_unexpected else sorted(found.keys() - wanted.keys())
    return [
        *(f"{name}: the file lacks it; the network needs {shape(wanted[name])}" for name in missing),
        *(f"{name}: only the file has it, {shape(found[name])}" for name in unexpected),
        *(
            f"{name}: {shape(found[name])} in the file, {shape(value)} in the network"
            for name, value in wanted.items()
            if name in found and found[name].shape != value.shape
        ),
    ]


def shape(value: Tensor) -> str:
    """Return a shape such as ``24x3x3x3``; of a single number, ``1 number``."""
    return "x".join(map(str, value.shape)) or "1 number"
