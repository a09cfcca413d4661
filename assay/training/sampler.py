"""What happens at each step of a training, as pure functions of the step's number: a resumed training needs no history.

Belongs here: which items, in which parts, at which learning rate. Does not belong here: making the steps.
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
"""``order(count, seed, number)``: indices (count,) int64 of the items seen in a pass, which counts from 0."""


@dataclass(frozen=True)
class Sampler:
    """The steps of a training. Steps, passes and parts count from 0, epochs from 1."""

    lesson: TrainingTask
    team: WorkerGroup = ALONE
    _orders: dict[int, Tensor] = field(default_factory=dict, repr=False)

    @property
    def batch_size(self) -> int:
        """Items per step; batches are whole, as batch normalization wants."""
        count = len(self.lesson.train)
        return min(self.lesson.section.data_train.batch_size or count, count)

    @property
    def steps_per_pass(self) -> int:
        """Whole batches in one pass over all items; with shuffling, the items left over are others each time."""
        return len(self.lesson.train) // self.batch_size

    @property
    def steps(self) -> int:
        """Steps per epoch."""
        return self.lesson.section.train_params.steps_per_epoch or self.steps_per_pass

    @cached_property
    def epochs(self) -> int:
        """Number of epochs."""
        return epoch_count(self.lesson.section.train_params, self.steps_per_pass)

    @cached_property
    def _rule(self) -> Order:
        """Return the rule of the order.

        Raises:
            DataError: Classes are to be balanced, but there are none.
        """
        data = self.lesson.section.data_train
        if data.balance is None:
            return shuffled if data.shuffle else in_order
        if self.lesson.classes is None:
            raise DataError("data_train.balance is 'classes', but the items have no classes. Leave it out.")
        return balanced(self.lesson.classes)

    def items(self, step: int) -> Tensor:
        """Return the indices of the items of a step (B,)."""
        number, place = divmod(step, self.steps_per_pass)
        return self._order(number)[place * self.batch_size :][: self.batch_size]

    def _order(self, number: int) -> Tensor:
        """Return the order of the items in a pass; that of the present pass is remembered."""
        if number not in self._orders:
            self._orders.clear()
            self._orders[number] = self._rule(len(self.lesson.train), self.lesson.seed, number)
        return self._orders[number]

    def parts(self, step: int) -> Iterator[Batch]:
        """Yield this process's parts of the batch of a step, randomly changed."""
        return self._batches(step, self._orders_of_parts(step)[self.team.rank :: self.team.size])

    def all_parts(self, step: int) -> Iterator[Batch]:
        """Yield all parts of the batch of a step, those of other processes too."""
        return self._batches(step, self._orders_of_parts(step))

    def _orders_of_parts(self, step: int) -> list[tuple[int, Tensor]]:
        """Return number and items of each part that goes through the network at once.

        A part has at least two items, for batch normalization; processes that train together share the parts.
        """
        items = self.items(step)
        count = min(self.lesson.section.learner.accumulate * self.team.size, max(1, len(items) // 2))
        return list(enumerate(torch.tensor_split(items, count)))

    def _batches(self, step: int, parts: Sequence[tuple[int, Tensor]]) -> Iterator[Batch]:
        for number, order in parts:
            yield self.lesson.train.batch(order, generator(self.lesson.seed, AUGMENTATION, step, number))

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        return learning_rate(self.lesson.section.learner, step, self.epochs * self.steps)

    def epoch(self, number: int, first: int) -> Iterator[Step]:
        """Yield what is left of an epoch from the step ``first`` on."""
        for step in range(first, number * self.steps):
            name = f"epoch {number}, step {step % self.steps + 1}"
            seed = derived_seed(self.lesson.seed, DROPOUT, step, self.team.rank)
            yield Step(name, self.learning_rate(step), self.batch_size, self.parts(step), seed)


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
