"""Items in memory, and the batches in which the network sees them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Generator, Tensor

Batch = tuple[Tensor, Tensor]
"""Inputs (B, ...) float32 and encoded targets (B,)."""


@dataclass(frozen=True)
class Items:
    """A subset in memory.

    Attributes:
        inputs: (n, ...) as ``load_inputs`` gives them.
        targets: (n,) encoded.
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


def training_order(count: int, batch_size: int, shuffle: bool, generator: Generator) -> Iterator[Tensor]:
    """Yield the indices of one batch after the other, without end: pass after pass over all items.

    Batches are whole, as batch normalization wants; with shuffling, the items left over at the end of a pass are
    others each time.

    Args:
        count: Number of items, at least 1.
        batch_size: Items per batch; fewer when there are not as many.
        shuffle: A new order for every pass.
        generator: Source of the orders.
    """
    size = min(batch_size, count)
    while True:
        order = torch.randperm(count, generator=generator) if shuffle else torch.arange(count)
        yield from torch.split(order[: count // size * size], size)


def steps_per_pass(count: int, batch_size: int) -> int:
    """Return the number of whole batches in one pass."""
    return count // min(batch_size, count)


def plain_batches(items: Items, batch_size: int, prepare: Callable[[Tensor], Tensor]) -> Iterator[Batch]:
    """Yield all items in order, the last batch with what is left."""
    for inputs, targets in zip(*(torch.split(part, batch_size) for part in (items.inputs, items.targets)), strict=True):
        yield prepare(inputs), targets


def training_batches(
    items: Items, orders: Iterator[Tensor], steps: int, prepare: Callable[[Tensor], Tensor]
) -> Iterator[Batch]:
    """Yield the next ``steps`` batches in the order given, prepared and augmented by ``prepare``."""
    for order in islice(orders, steps):
        yield prepare(items.inputs[order]), items.targets[order]
