"""All epochs of one training, and the choice of the epoch to keep.

Belongs here: the loop over epochs. Does not belong here: a step (``engine``), reading data, writing files.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Generator, Tensor, nn

from assay.learning.augment import augment
from assay.learning.average import AveragedNetwork
from assay.learning.batches import Items, plain_batches, steps_per_pass, training_batches, training_order
from assay.learning.determinism import generator
from assay.learning.engine import StepRules, evaluate, not_finite, train_one_epoch
from assay.learning.inputs import Inputs, as_batch
from assay.learning.losses import plain_loss, training_loss
from assay.learning.optimizers import build_optimizer
from assay.learning.schedule import learning_rate
from assay.learning.scores import as_note, is_better, readable, score_of
from assay.learning.targets import Target
from assay.progress import Progress
from assay.spec.trained_model import TrainedModelSection
from assay.spec.training_defaults import epoch_count

ORDER, AUGMENTATION = 1, 2
"""Purposes of random generators."""

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
    """

    history: list[EpochValues] = field(default_factory=list)
    chosen_epoch: int = 0
    chosen: Weights = field(default_factory=dict)
    last: Weights = field(default_factory=dict)

    @property
    def chosen_values(self) -> EpochValues:
        """What was measured in the chosen epoch."""
        return self.history[self.chosen_epoch - 1]


@dataclass(frozen=True)
class Lesson:
    """Everything that a training reads.

    Attributes:
        section: Resolved spec.
        inputs: How items become tensors.
        target: How targets were encoded.
        train: Training items.
        validation: Items that choose the epoch, if any.
        seed: Of order and augmentation.
    """

    section: TrainedModelSection
    inputs: Inputs
    target: Target
    train: Items
    validation: Items | None
    seed: int

    @property
    def epochs(self) -> int:
        """Number of epochs."""
        return epoch_count(self.section.train_params, steps_per_pass(len(self.train), self.batch_size))

    @property
    def batch_size(self) -> int:
        """Items per step."""
        return self.section.data_train.batch_size or len(self.train)

    @property
    def steps(self) -> int:
        """Steps per epoch."""
        return self.section.train_params.steps_per_epoch or steps_per_pass(len(self.train), self.batch_size)

    @property
    def bf16(self) -> bool:
        """Whether the network computes in bfloat16."""
        return self.section.train_params.precision == "bf16"


def fit(network: nn.Module, lesson: Lesson, progress: Progress) -> Training:
    """Train the network and return the weights of the chosen and of the last epoch.

    Args:
        network: With its initial weights; changed in place.
        lesson: Data and rules.
        progress: Called after each epoch.

    Raises:
        TrainingError: The loss became NaN or infinite.
    """
    section = lesson.section
    loss = training_loss(section.learner, lesson.target, lesson.train.targets)
    rules = StepRules(loss, section.learner.clip_norm, lesson.bf16)
    optimizer = build_optimizer(section.learner, network)
    average = AveragedNetwork(network, section.learner.ema_decay)
    rates = learning_rates(lesson)
    orders = training_order(
        len(lesson.train), lesson.batch_size, section.data_train.shuffle, generator(lesson.seed, ORDER)
    )
    changes = generator(lesson.seed, AUGMENTATION)
    training = Training()
    for epoch in range(1, lesson.epochs + 1):
        batches = training_batches(
            lesson.train, orders, lesson.steps, lambda items: changed(as_batch(lesson.inputs, items), lesson, changes)
        )
        train = train_one_epoch(network, batches, rates, rules, optimizer, average, f"epoch {epoch}")
        validation = validate(average.network, lesson, f"the validation of epoch {epoch}")
        training.history.append(EpochValues(epoch, train, validation))
        keep_if_better(training, average.network, lesson)
        progress(epoch, lesson.epochs, as_note(validation or {"loss": train["loss"]}))
    training.last = weights_of(average.network)
    return training


def changed(batch: Tensor, lesson: Lesson, changes: Generator) -> Tensor:
    """Return a batch with the random changes of the spec."""
    return augment(batch, lesson.inputs, lesson.section.data_train.augmentation, changes)


def learning_rates(lesson: Lesson) -> Iterator[float]:
    """Yield the learning rate of every step of the training."""
    learner, steps = lesson.section.learner, lesson.epochs * lesson.steps
    for step in range(steps):
        yield learning_rate(learner.schedule, learner.learning_rate or 0.0, step, steps, learner.warmup)


def validate(network: nn.Module, lesson: Lesson, where: str) -> dict[str, float]:
    """Return loss and scores on the validation data; nothing without such data.

    Raises:
        TrainingError: The loss is NaN or infinite.
    """
    data = lesson.section.data_validation
    if lesson.validation is None or data is None:
        return {}
    batches = plain_batches(lesson.validation, data.batch_size, partial(as_batch, lesson.inputs))
    loss = plain_loss(lesson.section.learner, lesson.target)
    values = evaluate(network, batches, loss, score_of(lesson.target), lesson.bf16)
    if not math.isfinite(values["loss"]):
        raise not_finite(values["loss"], where)
    return readable(values)


def keep_if_better(training: Training, network: nn.Module, lesson: Lesson) -> None:
    """Keep the weights of the epoch just ended when the spec's rule prefers them to those kept so far."""
    rule = lesson.section.train_params
    newest = training.history[-1]
    best = training.chosen_values.validation.get(rule.metric) if training.chosen_epoch else None
    last_wins = rule.choose_epoch == "last" and newest.epoch == lesson.epochs
    if last_wins or (rule.choose_epoch == "best" and is_better(rule.metric, newest.validation[rule.metric], best)):
        training.chosen_epoch = newest.epoch
        training.chosen = weights_of(network)


def weights_of(network: nn.Module) -> Weights:
    """Return a copy of all parameters and buffers, contiguous, by name."""
    return {
        name: value.detach().clone(memory_format=torch.contiguous_format)
        for name, value in network.state_dict().items()
    }
