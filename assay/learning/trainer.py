"""All epochs of one training, and the choice of the epoch to keep.

Belongs here: the loop over epochs. Does not belong here: a step (``engine``), reading data, writing files.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from assay.learning.average import AveragedNetwork
from assay.learning.engine import StepRules, evaluate, require_finite, train_one_epoch
from assay.learning.lesson import Lesson
from assay.learning.optimizers import build_optimizer
from assay.learning.plan import Plan
from assay.learning.scores import as_note, is_better
from assay.progress import Progress

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


def fit(network: nn.Module, lesson: Lesson, progress: Progress) -> Training:
    """Train the network and return the weights of the chosen and of the last epoch.

    Args:
        network: With its initial weights; changed in place.
        lesson: Data and rules.
        progress: Called after each epoch.

    Raises:
        TrainingError: The loss became NaN or infinite.
    """
    plan, learner = Plan(lesson), lesson.section.learner
    rules = StepRules(lesson.loss, learner.clip_norm, is_bf16(lesson))
    optimizer = build_optimizer(learner, network)
    average = AveragedNetwork(network, learner.ema_decay)
    training = Training()
    for epoch in range(1, plan.epochs + 1):
        train = train_one_epoch(network, plan.epoch(epoch, (epoch - 1) * plan.steps), rules, optimizer, average)
        validation = validate(average.network, lesson, f"the validation of epoch {epoch}")
        training.history.append(EpochValues(epoch, train, validation))
        keep_if_better(training, average.network, lesson, last=epoch == plan.epochs)
        progress(epoch, plan.epochs, as_note(validation or {"loss": train["loss"]}))
    training.last = weights_of(average.network)
    return training


def is_bf16(lesson: Lesson) -> bool:
    """Return whether the network computes in bfloat16."""
    return lesson.section.train_params.precision == "bf16"


def validate(network: nn.Module, lesson: Lesson, where: str) -> dict[str, float]:
    """Return loss and scores on the validation data; nothing without such data.

    Raises:
        TrainingError: The loss is NaN or infinite.
    """
    data = lesson.section.data_validation
    if lesson.validation is None or data is None:
        return {}
    batches = lesson.validation.batches(data.batch_size)
    values = evaluate(network, batches, lesson.plain_loss, lesson.meter(), is_bf16(lesson))
    require_finite(values["loss"], where)
    return values


def keep_if_better(training: Training, network: nn.Module, lesson: Lesson, last: bool) -> None:
    """Keep the weights of the epoch just ended when the spec's rule prefers them to those kept so far."""
    rule = lesson.section.train_params
    newest = training.history[-1]
    best = training.chosen_values.validation.get(rule.metric) if training.chosen_epoch else None
    last_wins = rule.choose_epoch == "last" and last
    if last_wins or (rule.choose_epoch == "best" and is_better(rule.metric, newest.validation[rule.metric], best)):
        training.chosen_epoch = newest.epoch
        training.chosen = weights_of(network)


def weights_of(network: nn.Module) -> Weights:
    """Return a copy of all parameters and buffers, contiguous, by name."""
    return {
        name: value.detach().clone(memory_format=torch.contiguous_format)
        for name, value in network.state_dict().items()
    }
