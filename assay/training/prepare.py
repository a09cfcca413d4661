"""Everything that a training needs before its first step: data read, defaults filled in, the model's card begun.

Belongs here: from a request to a lesson. Does not belong here: training, files of the result.
"""

from dataclasses import dataclass, replace

import torch

from assay.errors import DataError, SpecError
from assay.spec.defaults import resolved
from assay.spec.recipes import View
from assay.spec.trained_model import TrainedModelSection
from assay.training.data import read_subsets, row_counts
from assay.training.device import settled
from assay.training.inputs import Inputs
from assay.training.interfaces import TrainingTask
from assay.training.model_card import AnyTarget, ModelCard
from assay.training.targets import target_column
from assay.training.tasks.base import TrainingRequest, task_of


@dataclass(frozen=True)
class Prepared:
    """What training starts from.

    Attributes:
        lesson: Data and rules.
        card: What is known before the training.
    """

    lesson: TrainingTask
    card: ModelCard


def prepare_training(request: TrainingRequest) -> Prepared:
    """Read the data and fill in the defaults.

    Raises:
        DataError: The data lack a subset, column, class or value that the spec asks for.
        SpecError: A key has no meaning for this task or data.
    """
    spec, source, family = request.section, request.source, task_of(request.learning)
    column = target_column(spec.data_description, request.learning, source.kind)
    subsets = read_subsets(source, subset_names(spec), column)
    inputs, target = family.describe(request, subsets[spec.data_train.subset])
    section = settled(resolve(spec, request.learning, inputs.view))
    lesson = family.prepare(replace(request, section=section), inputs, target, subsets)
    if len(lesson.train) < 2:
        raise DataError(f"The subset {section.data_train.subset!r} has 1 item; training needs at least 2.")
    return Prepared(lesson, first_card(replace(request, section=section), inputs, target, row_counts(subsets)))


def resolve(spec: TrainedModelSection, learning: str, view: View) -> TrainedModelSection:
    """Return the section with all defaults for what is learned from what.

    Raises:
        SpecError: A key has no meaning for them.
    """
    try:
        return resolved(spec, learning, view)
    except ValueError as error:
        raise SpecError("the spec", [f"trained_model.{error}"]) from None


def subset_names(spec: TrainedModelSection) -> list[str]:
    """Return the subsets that are learned, and that choose the epoch."""
    validation = spec.data_validation
    return [spec.data_train.subset, *([validation.subset] if validation else [])]


def first_card(request: TrainingRequest, inputs: Inputs, target: AnyTarget, rows: dict[str, int]) -> ModelCard:
    """Return the card of a network that is not trained yet."""
    return ModelCard(
        task=request.learning,
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
