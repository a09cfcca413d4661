"""All epochs of one training, and the choice of the epoch to keep.

Belongs here: the loop over epochs. Does not belong here: a step (``engine``), reading data, writing files.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from assay.spec.trained_model import EarlyStopping, TrainedModelSection
from assay.training.checkpoint import Checkpoints, EpochValues, State, Training, Weights
from assay.training.device import compile_network
from assay.training.distributed import WorkerGroup, worker_group
from assay.training.ema import AveragedNetwork
from assay.training.engine import StepRules, evaluate, freeze, require_finite, train_one_epoch
from assay.training.interfaces import TrainingTask
from assay.training.metrics import as_note, is_better
from assay.training.model_file import start_from
from assay.training.optimizers import build_optimizer
from assay.training.sampler import Sampler
from assay.utils.concurrency import Progress

LEAST_S = 1.0
"""Seconds between two reports within an epoch."""


def fit(
    network: nn.Module,
    lesson: TrainingTask,
    progress: Progress,
    checkpoints: Checkpoints | None = None,
    report_s: float = LEAST_S,
) -> Training:
    """Train the network and return the weights of the chosen and of the last epoch.

    A training that was cut off and is called again with the same arguments ends in the same bytes (on the processor).

    Args:
        network: With its initial weights; changed in place.
        lesson: Data and rules.
        progress: Called after each epoch, and now and then within long ones.
        checkpoints: Where the state is kept for the case that the process ends; None for nowhere. Among processes that
            train together, only the leader's counts.
        report_s: Seconds between two calls of ``progress`` within an epoch.

    Raises:
        TrainingError: The loss became NaN or infinite.
    """
    team, learner = worker_group(), lesson.section.learner
    plan, kept = Sampler(lesson, team), checkpoints or Checkpoints()
    rules = StepRules(lesson.loss, learner.clip_norm, is_bf16(lesson), team)
    prepare(network, lesson.section)
    state = State(network, build_optimizer(learner, network), AveragedNetwork(network, learner.ema_decay))
    if lesson.section.train_params.compile:
        compile_network(network)
    kept.resume(state)
    share_state(state, team)
    live = Live(progress, plan, state, report_s)

    def after_step() -> None:
        kept.save_if_due(state)
        live.after_step()

    while not is_over(state.training, plan):
        epoch = len(state.training.history) + 1
        loss = train_one_epoch(state, plan.epoch(epoch, state.tally.steps), rules, after_step)
        end_epoch(state, plan, loss)
        kept.save_if_due(state)
        live.after_epoch()
    state.training.last = weights_of(state.average.network)
    return state.training


def prepare(network: nn.Module, section: TrainedModelSection) -> None:
    """Give the network its starting weights, freeze what is not to learn, and bring it where it computes.

    Raises:
        DataError: The weights do not fit, or no layer has a name that is to be frozen.
    """
    if section.starting_weights is not None:
        start_from(network, section.starting_weights)
    freeze(network, section.learner.freeze)
    network.to("cuda" if section.train_params.device == "cuda" else "cpu")


def share_state(state: State, team: WorkerGroup) -> None:
    """Let all processes start from the leader's state, which may be that of a training that was cut off."""
    if team.size == 1:
        return
    numbers = team.agree(state.numbers() if team.leads else None)
    team.copy(state.live_tensors().values())
    if not team.leads:
        state.restore(state.live_tensors(), numbers)


def is_over(training: Training, plan: Sampler) -> bool:
    """Return whether there is no further epoch, and write down why."""
    params = plan.lesson.section.train_params
    if len(training.history) < plan.epochs and plan.team.leads:
        training.stopped = reason_to_stop(params.early_stopping, params.choosing_metric, training.history)
    stopped = plan.team.agree({"stopped": training.stopped} if plan.team.leads else None)["stopped"]
    return bool(stopped) or len(training.history) == plan.epochs


def end_epoch(state: State, plan: Sampler, loss: float) -> None:
    """Measure the epoch that was just trained, and keep its weights if they are better.

    Args:
        state: After the epoch's last step.
        plan: Of the training.
        loss: Sum over the epoch's steps.
    """
    epoch = len(state.training.history) + 1
    train = {"loss": loss / plan.steps, "learning_rate": plan.learning_rate(state.tally.steps - 1)}
    leads = plan.team.leads
    validation = validate(state.average.network, plan.lesson, f"the validation of epoch {epoch}") if leads else {}
    state.training.history.append(EpochValues(epoch, train, validation))
    state.tally.loss = 0.0
    if leads:
        keep_if_better(state.training, state.average.network, plan.lesson, last=epoch == plan.epochs)


def is_bf16(lesson: TrainingTask) -> bool:
    """Return whether the network computes in bfloat16."""
    return lesson.section.train_params.precision == "bf16"


def validate(network: nn.Module, lesson: TrainingTask, where: str) -> dict[str, float]:
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


def keep_if_better(training: Training, network: nn.Module, lesson: TrainingTask, last: bool) -> None:
    """Keep the weights of the epoch just ended when the spec's rule prefers them to those kept so far."""
    rule, metric = lesson.section.train_params, lesson.section.train_params.choosing_metric
    newest = training.history[-1]
    best = training.chosen_values.validation.get(metric) if training.chosen_epoch else None
    last_wins = rule.choose_epoch == "last" and last
    if last_wins or (rule.choose_epoch == "best" and is_better(metric, newest.validation[metric], best)):
        training.chosen_epoch = newest.epoch
        training.chosen = weights_of(network)


def weights_of(network: nn.Module) -> Weights:
    """Return a copy of all parameters and buffers, contiguous and in main memory, by name."""
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in network.state_dict().items()
    }


def reason_to_stop(rule: EarlyStopping | None, metric: str, history: Sequence[EpochValues]) -> str:
    """Return why the training ends after the newest epoch; empty when it goes on.

    Args:
        rule: Of the spec.
        metric: What is watched on the validation data.
        history: Of all epochs so far.
    """
    if rule is None:
        return ""
    best, best_epoch = None, 0
    for values in history:
        value = values.validation[metric]
        if is_better(metric, value, best, rule.min_delta):
            best, best_epoch = value, values.epoch
    if len(history) - best_epoch < rule.patience:
        return ""
    return f"{metric} was best in epoch {best_epoch} and not better in the {rule.patience} epochs after it"


@dataclass
class Live:
    """Tells how a training goes, after each epoch and within long ones.

    Attributes:
        progress: Who listens; called with epochs done, epochs in all, a note, and numbers.
        plan: Of the training.
        state: Read only.
        least_s: Seconds between two reports within an epoch.
    """

    progress: Progress
    plan: Sampler
    state: State
    least_s: float = LEAST_S
    _started: float = field(init=False)
    _latest: float = field(init=False)
    _first_step: int = field(init=False)

    def __post_init__(self) -> None:
        self._started = self._latest = time.monotonic()
        self._first_step = self.state.tally.steps

    def after_step(self) -> None:
        """Tell the mean loss of the epoch so far, if nothing has been told for a while."""
        if time.monotonic() - self._latest < self.least_s:
            return
        done = len(self.state.training.history)
        steps = self.state.tally.steps - done * self.plan.steps
        self._tell(
            done, {"epoch": done + 1, "loss": self.state.tally.loss / steps}, f"step {steps} of {self.plan.steps}"
        )

    def after_epoch(self) -> None:
        """Tell what was measured in the newest epoch."""
        newest = self.state.training.history[-1]
        measured = {f"validation_{name}": value for name, value in newest.validation.items()}
        values = {"epoch": newest.epoch, "loss": newest.train["loss"], **measured}
        self._tell(newest.epoch, values, as_note(newest.validation or {"loss": newest.train["loss"]}))

    def _tell(self, done: int, values: dict[str, float], note: str) -> None:
        self._latest = time.monotonic()
        steps, passed_s = self.state.tally.steps - self._first_step, self._latest - self._started
        if steps:
            left = self.plan.epochs * self.plan.steps - self.state.tally.steps
            pace = {"items_per_s": steps * self.plan.batch_size / passed_s, "seconds_left": left * passed_s / steps}
            note = f"{note}, {pace['items_per_s']:,.0f} items/s, {duration(pace['seconds_left'])} left"
            values = {**values, **pace}
        self.progress(done, self.plan.epochs, note, values)


def duration(seconds: float) -> str:
    """Return a duration for people, such as ``45 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
