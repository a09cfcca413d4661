"""The sampler: which items, in which parts and at which learning rate, each step of a training uses.

Everything is a pure function of the seed and the number of the step, so that a resumed training needs no history.
Does not belong here: making the steps (``engine``), batches (the datasets).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from assay.errors import DataError
from assay.spec.defaults import epoch_count
from assay.training.device import AUGMENTATION, DROPOUT, ORDER, derived_seed, generator
from assay.training.distributed import ALONE, WorkerGroup
from assay.training.engine import Step
from assay.training.interfaces import Batch, TrainingTask
from assay.training.optimizers import learning_rate

Order = Callable[[int, int, int], Tensor]
"""``order(count, seed, number)``: indices (count,) int64 of the items in a pass; passes count from 0."""


@dataclass(frozen=True)
class Sampler:
    """The steps of a training. Steps, passes and parts count from 0, epochs from 1."""

    training_task: TrainingTask
    workers: WorkerGroup = ALONE
    _orders: dict[int, Tensor] = field(default_factory=dict, repr=False)

    @property
    def batch_size(self) -> int:
        """Items per step; all batches are complete, because of batch normalization."""
        count = len(self.training_task.train)
        return min(self.training_task.section.data_train.batch_size or count, count)

    @property
    def steps_per_pass(self) -> int:
        """Complete batches in one pass over all items; with shuffling, other items are left over in each pass."""
        return len(self.training_task.train) // self.batch_size

    @property
    def steps(self) -> int:
        """Steps per epoch."""
        return self.training_task.section.train_params.steps_per_epoch or self.steps_per_pass

    @cached_property
    def epochs(self) -> int:
        """Number of epochs."""
        return epoch_count(self.training_task.section.train_params, self.steps_per_pass)

    @cached_property
    def _rule(self) -> Order:
        """Return the order that the spec asks for.

        Raises:
            DataError: Classes are to be balanced, but there are none.
        """
        data = self.training_task.section.data_train
        if data.balance is None:
            return shuffled if data.shuffle else in_order
        if self.training_task.classes is None:
            raise DataError("data_train.balance is 'classes', but the items have no classes. Leave it out.")
        return balanced(self.training_task.classes)

    def items(self, step: int) -> Tensor:
        """Return the indices of the items of a step (B,)."""
        number, batch = divmod(step, self.steps_per_pass)
        return self._order(number)[batch * self.batch_size :][: self.batch_size]

    def _order(self, number: int) -> Tensor:
        """Return the order of the items in a pass; that of the current pass is cached."""
        if number not in self._orders:
            self._orders.clear()
            self._orders[number] = self._rule(len(self.training_task.train), self.training_task.seed, number)
        return self._orders[number]

    def parts(self, step: int) -> Iterator[Batch]:
        """Yield this process's parts of the batch of a step, augmented."""
        return self._batches(step, self._orders_of_parts(step)[self.workers.rank :: self.workers.size])

    def all_parts(self, step: int) -> Iterator[Batch]:
        """Yield all parts of the batch of a step, including those of other processes."""
        return self._batches(step, self._orders_of_parts(step))

    def _orders_of_parts(self, step: int) -> list[tuple[int, Tensor]]:
        """Return number and items of each part that goes through the network at once.

        A part has at least two items, because of batch normalization; worker processes share the parts.
        """
        items = self.items(step)
        count = min(self.training_task.section.learner.accumulate * self.workers.size, max(1, len(items) // 2))
        return list(enumerate(torch.tensor_split(items, count)))

    def _batches(self, step: int, parts: Sequence[tuple[int, Tensor]]) -> Iterator[Batch]:
        for number, order in parts:
            yield self.training_task.train.batch(order, generator(self.training_task.seed, AUGMENTATION, step, number))

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        return learning_rate(self.training_task.section.learner, step, self.epochs * self.steps)

    def epoch(self, number: int, first: int) -> Iterator[Step]:
        """Yield the steps of an epoch from the step ``first`` on."""
        for step in range(first, number * self.steps):
            name = f"epoch {number}, step {step % self.steps + 1}"
            seed = derived_seed(self.training_task.seed, DROPOUT, step, self.workers.rank)
            yield Step(name, self.learning_rate(step), self.batch_size, self.parts(step), seed)


def in_order(count: int, seed: int, number: int) -> Tensor:
    """Return all items in their stored order, in every pass."""
    return torch.arange(count)


def shuffled(count: int, seed: int, number: int) -> Tensor:
    """Return all items in a random order, another one in each pass."""
    return torch.randperm(count, generator=generator(seed, ORDER, number))


def balanced(classes: Tensor) -> Order:
    """Return an order in which every class occurs equally often: items of rare classes several times in a pass.

    Args:
        classes: Class of each item (n,) int64, or which classes an item has (n, k) of 0 and 1. An item of several
            classes counts as one of its rarest; items without any are a class of their own.
    """
    rarest, item_shares = shares(classes)

    def order(count: int, seed: int, number: int) -> Tensor:
        source = generator(seed, ORDER, number)
        items = torch.randperm(count, generator=source)
        items = items[rarest[items].argsort(stable=True)]  # class by class, each in a random order
        chosen = items[systematic_sample(item_shares[items], count, torch.rand((), generator=source).item())]
        return chosen[torch.randperm(count, generator=source)]

    return order


def shares(classes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rarest class of each item (n,), and the item's share of a balanced pass: float64 (n,)."""
    has = torch.nn.functional.one_hot(classes) if classes.dim() == 1 else classes.long()
    has = torch.cat([has, (has.sum(1, keepdim=True) == 0).long()], 1).double()  # the last class: no class
    weights, rarest = (has / has.sum(0).clamp(min=1)).max(1)
    return rarest, weights / weights.sum()


def systematic_sample(item_shares: Tensor, count: int, offset: float) -> Tensor:
    """Return ``count`` indices, each as often as its share of them, rounded up or down.

    Args:
        item_shares: Shares (n,) with sum 1.
        count: Number of indices.
        offset: From 0 to 1; decides which shares are rounded up.
    """
    ticks = (torch.arange(count, dtype=torch.float64) + offset) / count
    return torch.searchsorted(item_shares.cumsum(0), ticks).clamp(max=len(item_shares) - 1)
