"""Regression, classification and multi-label classification: one prediction per item, a row or an image of one object.

Belongs here: the functions of ``Task`` for these, their dataset and running metric. Does not belong here: targets
(``targets``), reading and standardizing inputs (``inputs``), losses.
"""

import fnmatch
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import polars as pl
import torch
from torch import Generator, Tensor

from assay.errors import AssayError, DataError, one_line
from assay.spec.extensions import added_function
from assay.spec.plugins import PREDICTION_FUNCTIONS
from assay.spec.predictions import AugmentedFunction, FunctionSection
from assay.spec.trained_model import Augmentation
from assay.training.annotations import Annotations
from assay.training.augmentation import augment
from assay.training.class_targets import ClassTarget, LabelsTarget
from assay.training.data import require_columns
from assay.training.device import to_device
from assay.training.engine import forward
from assay.training.inputs import USUAL, Inputs, as_batch, describe_inputs, load_inputs
from assay.training.interfaces import Batch, RunningMetric, TrainingTask
from assay.training.losses import plain_loss, training_loss
from assay.training.metrics import LabelsRunningMetric, readable, score_of
from assay.training.model_card import AnyTarget, require_item_target
from assay.training.model_file import LoadedModel
from assay.training.targets import ItemTarget, NumberTarget, fit_target, target_column
from assay.training.tasks.base import PredictionRequest, TrainingRequest
from assay.training.tasks.statistics import Statistics, class_statistics, number_statistics


def describe(request: TrainingRequest, train: pl.DataFrame) -> tuple[Inputs, ItemTarget]:
    """Return how items become tensors, and the target fitted on the training rows.

    Raises:
        DataError: The target can't be used, or a threshold is to be tuned between more than two classes.
    """
    section = request.section
    column = target_column(section.data_description, request.task, request.source.kind)
    target = fit_target(section.data_description, request.task, column, train)
    if section.train_params.decision == "tuned" and isinstance(target, ClassTarget) and len(target.classes) > 2:
        raise DataError(
            f"trained_model.train_params.decision is 'tuned', which weighs two classes against each other, but there "
            f"are {len(target.classes)} ({one_line(', '.join(target.classes))}); leave it out, or set "
            "trained_model.data_description.multi_label: true."
        )
    return describe_inputs(section, request.source, train, column), target


def prepare(
    request: TrainingRequest, inputs: Inputs, target: AnyTarget, subsets: Mapping[str, pl.DataFrame]
) -> TrainingTask:
    """Return datasets, losses and running metric."""
    section, target = request.section, require_item_target(target)
    device = section.train_params.device
    threads, augmentation = section.train_params.threads, section.data_train.augmentation
    datasets = {}
    for name, rows in subsets.items():
        values = to_device(load_inputs(inputs, request.source, rows, threads), device)
        datasets[name] = ItemDataset(inputs, values, target.encode(rows), augmentation)
    train = datasets[section.data_train.subset]
    return TrainingTask(
        section=section,
        train=train,
        validation=datasets[section.data_validation.subset] if section.data_validation else None,
        loss=training_loss(section, target, train.targets),
        plain_loss=plain_loss(section, target, train.targets),
        running_metric=lambda: running_metric_of(target),
        seed=request.seed,
        classes=None if isinstance(target, NumberTarget) else train.targets,
        warnings=much_reduced(inputs, section.data_description.image_size, subsets[section.data_train.subset]),
    )


MUCH = 4
"""How many times as large as the network's inputs pictures are that lose much when they are reduced."""


def much_reduced(inputs: Inputs, chosen: int | None, rows: pl.DataFrame) -> tuple[str, ...]:
    """Return a warning if pictures are reduced by much although nobody chose a size.

    Args:
        inputs: How items become tensors.
        chosen: The size that the spec asks for.
        rows: The training rows, with columns width_px and height_px where they are crops.
    """
    is_usual = chosen is None and inputs.image_size == USUAL  # pretrained networks have a size of their own
    if not is_usual or not {"width_px", "height_px"} <= set(rows.columns):
        return ()
    usual = rows.select(pl.max_horizontal("width_px", "height_px").median()).item() or 0
    if usual < MUCH * inputs.image_size:
        return ()
    return (
        f"pictures of {usual:.0f} px (the longer side, median) are reduced to {inputs.image_size} px, which is fast, "
        f"but loses details. If these matter: trained_model.data_description.image_size: {2 * inputs.image_size}, or "
        "more; twice the size takes about four times as long.",
    )


def predict(request: PredictionRequest, subset: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Return one row per item, in the order of the rows."""
    spec, card = request.section, request.card
    items = load_inputs(card.inputs, request.source, rows, request.threads)
    how = way_to_predict(request.model, spec.prediction_function)
    predictions = predict_items(items, spec.batch_size, spec.prediction_steps, how, request.seed)
    named = [pl.col("item"), *([pl.col("image")] if "image" in rows.columns else []), pl.lit(subset).alias("subset")]
    copied = copied_columns(rows, spec.prediction_handler.copy_columns)
    table = rows.select(named).hstack(card.item_target.columns(predictions, rows))
    clash = [name for name in copied if name in table.columns]
    if clash:
        raise DataError("prediction_handler.copy_columns: predictions already have columns of these names.", clash)
    return table.hstack(rows.select(copied))


def ground_truth_statistics(annotations: Annotations, target: AnyTarget, rows: pl.DataFrame) -> Statistics:
    """Return the items of each class, or the range of the numbers."""
    item_target = require_item_target(target)
    ground_truth = item_target.ground_truth(rows)
    if isinstance(item_target, NumberTarget):
        return number_statistics(ground_truth)
    known = ground_truth.drop_nulls()
    labels = known.explode().drop_nulls() if known.dtype == pl.List else known
    return class_statistics(len(known), labels, item_target.classes, "items of the class")


def copied_columns(rows: pl.DataFrame, patterns: tuple[str, ...]) -> list[str]:
    """Return the columns that match the patterns, in the table's order.

    Raises:
        DataError: A pattern matches none.
    """
    for pattern in patterns:
        if not fnmatch.filter(rows.columns, pattern):
            require_columns(rows, [pattern], "prediction_handler.copy_columns")
    return [name for name in rows.columns if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


@dataclass(frozen=True)
class ItemDataset:
    """The items of a subset in memory, for training and for evaluation.

    Attributes:
        inputs: How items become tensors.
        values: (n, ...) from ``load_inputs``.
        targets: Encoded targets, (n,) or (n, k).
        augmentation: Strength of the augmentation; not used for evaluation.
    """

    inputs: Inputs
    values: Tensor
    targets: Tensor
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.values)

    def batch(self, order: Tensor, generator: Generator) -> Batch:
        """Return the items with these indices, randomly augmented."""
        plain = as_batch(self.inputs, self.values[order])
        return augment(plain, self.inputs, self.augmentation, generator), self.targets[order]

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield all items in order; the last batch may be smaller."""
        for values, targets in zip(
            *(torch.split(part, batch_size) for part in (self.values, self.targets)), strict=True
        ):
            yield as_batch(self.inputs, values), targets


class MeanRunningMetric:
    """Mean over all items of the accuracy, or of errors in the unit of the target."""

    def __init__(self, target: ItemTarget) -> None:
        self.score = score_of(target)
        self.sums: dict[str, float] = {}
        self.count = 0

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Add one batch: outputs (B, k) and targets (B,)."""
        for name, each in self.score(outputs, targets).items():
            self.sums[name] = self.sums.get(name, 0.0) + each.sum().item()
        self.count += len(targets)

    def values(self) -> dict[str, float]:
        """Return ``accuracy``, or ``mae`` and ``rmse``."""
        return readable({name: value / self.count for name, value in self.sums.items()})


def running_metric_of(target: ItemTarget) -> RunningMetric:
    """Return a new running metric for a target."""
    return LabelsRunningMetric(target) if isinstance(target, LabelsTarget) else MeanRunningMetric(target)


WayToPredict = Callable[[Tensor, Generator], Tensor]
"""From a batch of ``load_inputs`` and a source of randomness to float64 (B, outputs)."""


@torch.no_grad()
def predict_items(items: Tensor, batch_size: int, steps: int | None, how: WayToPredict, seed: int) -> Tensor:
    """Return a model's predictions, in the order of the items.

    Args:
        items: (n, ...) from ``load_inputs``.
        batch_size: Items per batch.
        steps: Largest number of batches to predict; None for all.
        how: Predicts a batch.
        seed: Seed of all randomness.

    Returns:
        float64 (m, outputs): probabilities of the classes, or the standardized number.
    """
    generator = Generator().manual_seed(seed)
    batches: Iterator[Tensor] = islice(iter(torch.split(items, batch_size)), steps)
    return torch.cat([how(batch, generator) for batch in batches])


def way_to_predict(model: LoadedModel, function: FunctionSection) -> WayToPredict:
    """Return how a batch is predicted: once, averaged over augmented copies, or as an installed package does it.

    Raises:
        AssayError: The package can't be used; when a batch is predicted: it returned another shape.
    """
    added = added_function(PREDICTION_FUNCTIONS, function)
    if added is None:
        copies = function.copies if isinstance(function, AugmentedFunction) else 0
        return lambda items, generator: averaged_predictions(model, items, copies, generator)
    predictor = Predictor(model)

    @torch.no_grad()
    def predict_batch(items: Tensor, generator: Generator) -> Tensor:
        batch = as_batch(model.card.inputs, items)
        predictions = added(predictor, batch, generator)
        wanted = (len(batch), model.card.item_target.output_count)
        if not isinstance(predictions, Tensor) or tuple(predictions.shape) != wanted:
            got = tuple(predictions.shape) if isinstance(predictions, Tensor) else type(predictions).__name__
            raise AssayError(f"The prediction function {function.kind!r} returned {got}; expected a tensor {wanted}.")
        return predictions.double()

    return predict_batch


@dataclass(frozen=True)
class Predictor:
    """A trained model, for prediction functions of installed packages.

    Attributes:
        model: The network, in evaluation mode, and its card.
    """

    model: LoadedModel

    def __call__(self, batch: Tensor) -> Tensor:
        """Return the predictions float64 (B, outputs) of a batch: probabilities, or the standardized number."""
        return _predictions(self.model, batch, self.model.card.section.train_params.precision == "bf16")


@torch.no_grad()
def averaged_predictions(model: LoadedModel, items: Tensor, copies: int, generator: Generator) -> Tensor:
    """Return the predictions of one batch, see ``predict_items``; the generator makes the augmented copies."""
    section, inputs = model.card.section, model.card.inputs
    bf16 = section.train_params.precision == "bf16"
    plain = as_batch(inputs, items)
    total = _predictions(model, plain, bf16)
    for _ in range(copies):
        total += _predictions(model, augment(plain, inputs, section.data_train.augmentation, generator), bf16)
    return total / (1 + copies)


def _predictions(model: LoadedModel, batch: Tensor, bf16: bool) -> Tensor:
    return model.card.item_target.predictions(forward(model.network, batch, bf16))
