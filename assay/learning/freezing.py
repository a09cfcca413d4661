"""Layers that keep their weights while the others learn.

Belongs here: choosing layers by name, and what it means for them. Does not belong here: where weights come from.
"""

import fnmatch
from collections.abc import Sequence

from torch import nn

from assay.errors import DataError


def freeze(network: nn.Module, patterns: Sequence[str]) -> None:
    """Keep the parameters of some layers as they are.

    Args:
        network: Its parameters are told that they need no gradient.
        patterns: Names of layers with ``*``; the name of a group of layers means all of them.

    Raises:
        DataError: A pattern matches no layer, or nothing is left to learn; lists the layers' names.
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
    """Put a network into training mode, but for frozen layers: their running means and variances stay too."""
    network.train()
    for layer in layers_of(network).values():
        if not any(parameter.requires_grad for parameter in layer.parameters(recurse=False)):
            layer.eval()
