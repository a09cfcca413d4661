"""In which order the items of a pass are seen: pure functions of the seed and the pass's number.

Belongs here: orders, all with one signature. Does not belong here: batches, items.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from assay.learning.determinism import ORDER, generator

Order = Callable[[int, int, int], Tensor]
"""``order(count, seed, number)``: indices (count,) int64 of the items seen in a pass, which counts from 0."""


def in_order(count: int, seed: int, number: int) -> Tensor:
    """Return all items as they come, in every pass."""
    return torch.arange(count)


def shuffled(count: int, seed: int, number: int) -> Tensor:
    """Return all items in an order of this pass's own."""
    return torch.randperm(count, generator=generator(seed, ORDER, number))


def balanced(classes: Tensor) -> Order:
    """Return an order in which every class is seen equally often: items of rare classes several times in a pass.

    Args:
        classes: Class of each item (n,) int64, or which classes an item has (n, k) of 0 and 1. An item of several
            classes counts as one of its rarest; items without any are a class of their own.
    """
    rarest, wanted = shares(classes)

    def order(count: int, seed: int, number: int) -> Tensor:
        source = generator(seed, ORDER, number)
        places = torch.randperm(count, generator=source)
        places = places[rarest[places].argsort(stable=True)]  # class by class, each in an order of its own
        chosen = places[systematic_sample(wanted[places], count, torch.rand((), generator=source).item())]
        return chosen[torch.randperm(count, generator=source)]

    return order


def shares(classes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rarest class of each item (n,), and how often it is to be seen, as a share of all: float64 (n,)."""
    has = torch.nn.functional.one_hot(classes) if classes.dim() == 1 else classes.long()
    has = torch.cat([has, (has.sum(1, keepdim=True) == 0).long()], 1).double()  # the last class: no class
    weights, rarest = (has / has.sum(0).clamp(min=1)).max(1)
    return rarest, weights / weights.sum()


def systematic_sample(wanted: Tensor, count: int, offset: float) -> Tensor:
    """Return ``count`` indices, each as often as its share of them, rounded up or down.

    Args:
        wanted: Shares (n,) with the sum 1.
        count: Number of indices.
        offset: From 0 to 1, decides which shares are rounded up.
    """
    ticks = (torch.arange(count, dtype=torch.float64) + offset) / count
    return torch.searchsorted(wanted.cumsum(0), ticks).clamp(max=len(wanted) - 1)
