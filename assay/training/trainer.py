"""The training loop over epochs, and the choice of the epoch to keep.

Belongs here: epochs, validation, early stopping, progress reports. Does not belong here: a step (``engine``), reading
data (``prepare``), writing files (``trained_model``).
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
from assay.training.engine import StepRules, evaluate, freeze, require_finite, train_one_epoch
from assay.training.interfaces import TrainingTask
from assay.training.metrics import as_note, is_better
from assay.training.model_file import start_from
from assay.training.optimizers import AveragedNetwork, build_optimizer
from assay.training.sampler import Sampler
from assay.utils.concurrency import Progress
from assay.utils.text import duration, pluralize

REPORT_INTERVAL_S = 1.0
"""Seconds between two reports within an epoch."""


def fit(
    network: nn.Module,
    training_task: TrainingTask,
    progress: Progress,
    checkpoints: Checkpoints | None = None,
    report_s: float = REPORT_INTERVAL_S,
) -> Training:
    """Train the network and return the weights of the chosen and of the last epoch.

    A training that was interrupted and is called again with the same arguments gives the same bytes (on the CPU).

    Args:
        network: With its initial weights; changed in place.
        training_task: Datasets, losses and metrics.
        progress: Called after each epoch, and from time to time within long ones.
        checkpoints: Where the state is saved, so that an interrupted training can be resumed; None for nowhere. Among
            processes that train together, only the leader's is used.
        report_s: Seconds between two calls of ``progress`` within an epoch.

    Raises:
        TrainingError: The loss became NaN or infinite.
    """
    workers, learner = worker_group(), training_task.section.learner
    sampler, checkpoints = Sampler(training_task, workers), checkpoints or Checkpoints()
    rules = StepRules(training_task.loss, learner.clip_norm, is_bf16(training_task), workers)
    prepare(network, training_task.section)
    state = State(network, build_optimizer(learner, network), AveragedNetwork(network, learner.ema_decay))
    if training_task.section.train_params.compile:
        compile_network(network)
    checkpoints.resume(state)
    share_state(state, workers)
    reporter = EpochReporter(progress, sampler, state, report_s)

    def after_step() -> None:
        checkpoints.save_if_due(state)
        reporter.after_step()

    while not is_over(state.training, sampler):
        epoch = len(state.training.history) + 1
        loss = train_one_epoch(state, sampler.epoch(epoch, state.tally.steps), rules, after_step)
        end_epoch(state, sampler, loss)
        checkpoints.save_if_due(state)
        reporter.after_epoch()
    state.training.last = weights_of(state.average.network)
    if training_task.section.train_params.stop_after is not None:
        checkpoints.save_end(state)
    return state.training


def prepare(network: nn.Module, section: TrainedModelSection) -> None:
    """Load starting weights, freeze layers, and move the network to its device.

    Raises:
        DataError: The weights do not fit, or no layer has a name that is to be frozen.
    """
    if section.starting_weights is not None:
        start_from(network, section.starting_weights)
    freeze(network, section.learner.freeze)
    network.to("cuda" if section.train_params.device == "cuda" else "cpu")


def share_state(state: State, workers: WorkerGroup) -> None:
    """Give all processes the leader's state, which may be that of a resumed training."""
    if workers.size == 1:
        return
    numbers = workers.broadcast_values(state.numbers() if workers.is_leader else None)
    workers.broadcast_tensors(state.live_tensors().values())
    if not workers.is_leader:
        state.restore(state.live_tensors(), numbers)


def is_over(training: Training, sampler: Sampler) -> bool:
    """Return whether the training has ended, and record the reason for stopping early."""
    params, workers = sampler.training_task.section.train_params, sampler.workers
    training.planned = sampler.epochs
    if len(training.history) < sampler.epochs and workers.is_leader:
        training.stopped = reason_to_stop(params.early_stopping, params.choosing_metric, training.history)
        if not training.stopped and len(training.history) == params.stop_after:
            training.stopped = f"stop_after ends it at epoch {params.stop_after} of {sampler.epochs}"
    stopped = workers.broadcast_values({"stopped": training.stopped} if workers.is_leader else None)["stopped"]
    return bool(stopped) or len(training.history) == sampler.epochs


def end_epoch(state: State, sampler: Sampler, loss: float) -> None:
    """Evaluate the epoch that has just been trained, and keep its weights if they are better.

    Args:
        state: State after the epoch's last step.
        sampler: Sampler of the training.
        loss: Sum over the epoch's steps.
    """
    epoch, training_task = len(state.training.history) + 1, sampler.training_task
    train = {"loss": loss / sampler.steps, "learning_rate": sampler.learning_rate(state.tally.steps - 1)}
    validation: dict[str, float] = {}
    if sampler.workers.is_leader:
        validation = validate(state.average.network, training_task, f"the validation of epoch {epoch}")
    state.training.history.append(EpochValues(epoch, train, validation))
    state.tally.loss = 0.0
    if sampler.workers.is_leader:
        last = epoch in (sampler.epochs, training_task.section.train_params.stop_after)
        keep_if_better(state.training, state.average.network, training_task, last)


def is_bf16(training_task: TrainingTask) -> bool:
    """Return whether the network computes in bfloat16."""
    return training_task.section.train_params.precision == "bf16"


def validate(network: nn.Module, training_task: TrainingTask, where: str) -> dict[str, float]:
    """Return loss and metrics on the validation data; empty without such data.

    Raises:
        TrainingError: The loss is NaN or infinite.
    """
    data = training_task.section.data_validation
    if training_task.validation is None or data is None:
        return {}
    batches = training_task.validation.batches(data.batch_size)
    metric = training_task.running_metric()
    values = evaluate(network, batches, training_task.plain_loss, metric, is_bf16(training_task))
    require_finite(values["loss"], where)
    return values


def keep_if_better(training: Training, network: nn.Module, training_task: TrainingTask, last: bool) -> None:
    """Keep the weights of the newest epoch if the spec's rule prefers them to those kept so far."""
    rule, metric = training_task.section.train_params, training_task.section.train_params.choosing_metric
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
    """Return why the training ends after the newest epoch; empty when it continues.

    Args:
        rule: Rule of the spec; None to never stop early.
        metric: Name of the monitored metric on the validation data.
        history: Values of all epochs so far.
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
    return f"{metric} was best in epoch {best_epoch} and not better in the {pluralize(rule.patience, 'epoch')} after it"


@dataclass
class EpochReporter:
    """Reports the progress of a training, after each epoch and within long ones.

    Attributes:
        progress: Called with epochs done, total epochs, a note, and numbers.
        sampler: Sampler of the training.
        state: State of the training; not changed.
        interval_s: Least seconds between two reports within an epoch.
    """

    progress: Progress
    sampler: Sampler
    state: State
    interval_s: float = REPORT_INTERVAL_S
    _started: float = field(init=False)
    _latest: float = field(init=False)
    _first_step: int = field(init=False)

    def __post_init__(self) -> None:
        self._started = self._latest = time.monotonic()
        self._first_step = self.state.tally.steps

    def after_step(self) -> None:
        """Report the mean loss of the epoch so far, if the latest report is old enough."""
        if time.monotonic() - self._latest < self.interval_s:
            return
        done = len(self.state.training.history)
        steps = self.state.tally.steps - done * self.sampler.steps
        values = {"epoch": done + 1, "loss": self.state.tally.loss / steps}
        self._report(done, values, f"step {steps} of {self.sampler.steps}")

    def after_epoch(self) -> None:
        """Report loss and metrics of the newest epoch."""
        newest = self.state.training.history[-1]
        measured = {f"validation_{name}": value for name, value in newest.validation.items()}
        values = {"epoch": newest.epoch, "loss": newest.train["loss"], **measured}
        self._report(newest.epoch, values, as_note(newest.validation or {"loss": newest.train["loss"]}))

    def _report(self, done: int, values: dict[str, float], note: str) -> None:
        self._latest = time.monotonic()
        steps, passed_s = self.state.tally.steps - self._first_step, self._latest - self._started
        if steps:
            left = self.sampler.epochs * self.sampler.steps - self.state.tally.steps
            pace = {"items_per_s": steps * self.sampler.batch_size / passed_s, "seconds_left": left * passed_s / steps}
            note = f"{note}, {pace['items_per_s']:,.0f} items/s, {duration(pace['seconds_left'])} left"
            values = {**values, **pace}
        self.progress(done, self.sampler.epochs, note, values)
