"""Everything that a training needs before its first step: data in memory, defaults filled in, the first model card.

Belongs here: from a training request to a training task. Does not belong here: training, files of the result.
"""

from dataclasses import dataclass, replace

import polars as pl
import torch

from assay.errors import DataError, SpecError
from assay.spec.defaults import of_features, with_defaults
from assay.spec.recipes import View
from assay.spec.trained_model import TrainedModelSection
from assay.training.annotations import Annotations
from assay.training.data import read_subsets, row_counts
from assay.training.device import resolve_device
from assay.training.features import FrozenNetwork, frozen_network
from assay.training.inputs import Inputs
from assay.training.interfaces import TrainingTask
from assay.training.model_card import AnyTarget, ModelCard
from assay.training.optimizers import learner_function
from assay.training.targets import target_column
from assay.training.tasks.base import TrainingRequest, task_of
from assay.utils.concurrency import Progress, silent


@dataclass(frozen=True)
class Prepared:
    """What a training starts from.

    Attributes:
        training_task: Datasets, losses and metrics.
        card: What is known before the training.
        subsets: The rows of each subset that was read.
        frozen: The network whose features are the inputs, which is not trained; None: the whole network is.
    """

    training_task: TrainingTask
    card: ModelCard
    subsets: dict[str, pl.DataFrame]
    frozen: FrozenNetwork | None = None


def prepare_training(request: TrainingRequest, progress: Progress = silent) -> Prepared:
    """Read the data and fill in the defaults; ``progress`` is called while features are computed.

    Raises:
        DataError: The data lack a subset, column, class or value that the spec asks for.
        SpecError: A key has no meaning for this task or data.
    """
    frozen = frozen_network(request.section, request.source, progress)
    if frozen is not None:
        request = replace(request, section=of_features(request.section), annotations=Annotations(frozen.rows))
    spec, source = request.section, request.source
    column = target_column(spec.data_description, request.task, source.kind)
    prepared = prepare_subsets(request, read_subsets(source, subset_names(spec), column))
    return replace(prepared, card=frozen.marked(prepared.card), frozen=frozen) if frozen else prepared


def prepare_subsets(request: TrainingRequest, subsets: dict[str, pl.DataFrame]) -> Prepared:
    """Do what ``prepare_training`` does, with rows that were read before.

    Raises:
        DataError, SpecError: As ``prepare_training``.
    """
    spec, task = request.section, task_of(request.task)
    inputs, target = task.describe(request, subsets[spec.data_train.subset])
    request = replace(request, section=resolve_device(resolve_section(spec, request.task, inputs.view)))
    training_task = with_added_loss(task.prepare(request, inputs, target, subsets), target)
    if len(training_task.train) < 2:
        raise DataError(f"The subset {spec.data_train.subset!r} has 1 item; training needs at least 2.")
    return Prepared(training_task, first_card(request, inputs, target, row_counts(subsets)), subsets)


def with_added_loss(training_task: TrainingTask, target: AnyTarget) -> TrainingTask:
    """Return the task with the loss of an installed package's learner, which also compares epochs; else as it is.

    Raises:
        AssayError: The package can't be used.
    """
    loss = learner_function(training_task.section.learner, "loss")
    if loss is None:
        return training_task
    added = loss(target)
    return replace(training_task, loss=added, plain_loss=added)


def resolve_section(spec: TrainedModelSection, task: str, view: View) -> TrainedModelSection:
    """Return the section with all defaults for a task and its kind of inputs.

    Raises:
        SpecError: A key has no meaning for them.
    """
    try:
        return with_defaults(spec, task, view)
    except ValueError as error:
        raise SpecError("the spec", [f"trained_model.{error}"]) from None


def subset_names(spec: TrainedModelSection) -> list[str]:
    """Return the subsets for training and, if there is one, for validation."""
    validation = spec.data_validation
    return [spec.data_train.subset, *([validation.subset] if validation else [])]


def first_card(request: TrainingRequest, inputs: Inputs, target: AnyTarget, rows: dict[str, int]) -> ModelCard:
    """Return the card of a network that is not trained yet."""
    return ModelCard(
        task=request.task,
        section=request.section,
        inputs=inputs,
        target=target,
        trained_on={request.source.kind: request.source.fingerprint},
        rows=rows,
        seed=request.seed,
        epoch=0,
        chosen_by="not trained",
        values={},
        torch_version=torch.__version__,
    )
