"""All epochs of one training, and the choice of the epoch to keep.

Belongs here: the loop over epochs. Does not belong here: a step (``engine``), reading data, writing files.
"""

import torch
from torch import nn

from assay.learning.average import AveragedNetwork
from assay.learning.checkpoint import Checkpoints
from assay.learning.engine import StepRules, evaluate, require_finite, train_one_epoch
from assay.learning.freezing import freeze
from assay.learning.lesson import Lesson
from assay.learning.live import LEAST_S, Live
from assay.learning.machine import compile_network
from assay.learning.optimizers import build_optimizer
from assay.learning.plan import Plan
from assay.learning.scores import is_better
from assay.learning.starting_weights import start_from
from assay.learning.state import EpochValues, State, Training, Weights
from assay.learning.stopping import reason_to_stop
from assay.learning.team import Team, present_team
from assay.progress import Progress
from assay.spec.trained_model import TrainedModelSection


def fit(
    network: nn.Module,
    lesson: Lesson,
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
    team, learner = present_team(), lesson.section.learner
    plan, kept = Plan(lesson, team), checkpoints or Checkpoints()
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


def share_state(state: State, team: Team) -> None:
    """Let all processes start from the leader's state, which may be that of a training that was cut off."""
    if team.size == 1:
        return
    numbers = team.agree(state.numbers() if team.leads else None)
    team.copy(state.live_tensors().values())
    if not team.leads:
        state.restore(state.live_tensors(), numbers)


def is_over(training: Training, plan: Plan) -> bool:
    """Return whether there is no further epoch, and write down why."""
    params = plan.lesson.section.train_params
    if len(training.history) < plan.epochs and plan.team.leads:
        training.stopped = reason_to_stop(params.early_stopping, params.choosing_metric, training.history)
    stopped = plan.team.agree({"stopped": training.stopped} if plan.team.leads else None)["stopped"]
    return bool(stopped) or len(training.history) == plan.epochs


def end_epoch(state: State, plan: Plan, loss: float) -> None:
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
