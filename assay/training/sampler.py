"""What happens at each step of a training, as pure functions of the step's number: a resumed training needs no history.

Belongs here: which items, in which parts, at which learning rate. Does not belong here: making the steps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from assay.errors import DataError
from assay.learning.determinism import AUGMENTATION, DROPOUT, derived_seed, generator
from assay.learning.order import Order, balanced, in_order, shuffled
from assay.learning.schedule import learning_rate
from assay.spec.training_defaults import epoch_count
from assay.training.distributed import ALONE, Team
from assay.training.engine import Step
from assay.training.interfaces import Batch, Lesson


@dataclass(frozen=True)
class Plan:
    """The steps of a training. Steps, passes and parts count from 0, epochs from 1."""

    lesson: Lesson
    team: Team = ALONE
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
