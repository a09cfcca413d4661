"""Regression and classification: one answer per item, from rows or pictures of one object.

Belongs here: putting the parts together. Does not belong here: any of them.
"""

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import polars as pl
import torch
from torch import Generator, Tensor

from assay.errors import DataError
from assay.spec.trained_model import Augmentation
from assay.training.augmentation import augment
from assay.training.class_targets import LabelsTarget
from assay.training.data import DataSource, require_columns
from assay.training.device import near
from assay.training.engine import forward
from assay.training.inputs import Inputs, as_batch, describe_inputs, load_inputs
from assay.training.interfaces import Batch, Meter, TrainingTask
from assay.training.losses import plain_loss, training_loss
from assay.training.metrics import LabelsMeter, readable, score_of
from assay.training.model_card import AnyTarget, require_flat
from assay.training.model_file import LoadedModel
from assay.training.targets import NumberTarget, Target, fit_target, target_column
from assay.training.tasks.base import PredictionRequest, TrainingRequest
from assay.training.tasks.statistics import Statistics, class_statistics, number_statistics


def describe(request: TrainingRequest, train: pl.DataFrame) -> tuple[Inputs, Target]:
    """Return how items become tensors, and the target fitted on the training rows."""
    section = request.section
    column = target_column(section.data_description, request.learning, request.source.kind)
    target = fit_target(section.data_description, request.learning, column, train)
    return describe_inputs(section, request.source, train, column), target


def prepare(
    request: TrainingRequest, inputs: Inputs, target: AnyTarget, subsets: Mapping[str, pl.DataFrame]
) -> TrainingTask:
    """Return items, loss and meter."""
    section, target = request.section, require_flat(target)
    device = section.train_params.device
    threads, augmentation = section.train_params.threads, section.data_train.augmentation
    items = {
        name: FlatItems(
            inputs, near(load_inputs(inputs, request.source, rows, threads), device), target.encode(rows), augmentation
        )
        for name, rows in subsets.items()
    }
    train = items[section.data_train.subset]
    return TrainingTask(
        section=section,
        train=train,
        validation=items[section.data_validation.subset] if section.data_validation else None,
        loss=training_loss(section, target, train.targets),
        plain_loss=plain_loss(section.learner, target),
        meter=lambda: meter_of(target),
        seed=request.seed,
        classes=None if isinstance(target, NumberTarget) else train.targets,
    )


def predict(request: PredictionRequest, subset: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Return one row per item, in the order of the rows."""
    spec, card = request.section, request.card
    function = spec.prediction_function
    copies = function.copies if function.kind == "augmented" else 0
    items = load_inputs(card.inputs, request.source, rows, request.threads)
    answers = network_outputs(request.model, items, spec.batch_size, spec.prediction_steps, copies, request.seed)
    named = [pl.col("item"), *([pl.col("image")] if "image" in rows.columns else []), pl.lit(subset).alias("subset")]
    kept = copied_columns(rows, spec.prediction_handler.copy_columns)
    table = rows.select(named).hstack(card.flat_target.columns(answers, rows))
    clash = [name for name in kept if name in table.columns]
    if clash:
        raise DataError("prediction_handler.copy_columns: predictions already have columns of these names.", clash)
    return table.hstack(rows.select(kept))


def truth_statistics(source: DataSource, target: AnyTarget, rows: pl.DataFrame) -> Statistics:
    """Return the items of each class, or the range of the numbers."""
    flat = require_flat(target)
    truth = flat.truth(rows)
    if isinstance(flat, NumberTarget):
        return number_statistics(truth)
    known = truth.drop_nulls()
    labels = known.explode().drop_nulls() if known.dtype == pl.List else known
    return class_statistics(len(known), labels, flat.classes, "items of the class")


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
class FlatItems:
    """A subset in memory; serves to learn from and to look at.

    Attributes:
        inputs: How items become tensors.
        values: (n, ...) as ``load_inputs`` gives them.
        targets: (n,) encoded, or (n, k).
        augmentation: Strength of the random changes; validation items don't need any.
    """

    inputs: Inputs
    values: Tensor
    targets: Tensor
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __len__(self) -> int:
        return len(self.values)

    def batch(self, order: Tensor, generator: Generator) -> Batch:
        """Return the items of these indices, randomly changed."""
        plain = as_batch(self.inputs, self.values[order])
        return augment(plain, self.inputs, self.augmentation, generator), self.targets[order]

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield all items in order, the last batch with what is left."""
        for values, targets in zip(
            *(torch.split(part, batch_size) for part in (self.values, self.targets)), strict=True
        ):
            yield as_batch(self.inputs, values), targets


class MeanMeter:
    """Means over all items of the accuracy, or of errors in the label's unit."""

    def __init__(self, target: Target) -> None:
        self.score = score_of(target)
        self.sums: dict[str, float] = {}
        self.count = 0

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in one batch: outputs (B, k) and targets (B,)."""
        for name, each in self.score(outputs, targets).items():
            self.sums[name] = self.sums.get(name, 0.0) + each.sum().item()
        self.count += len(targets)

    def values(self) -> dict[str, float]:
        """Return ``accuracy``, or ``mae`` and ``rmse``."""
        return readable({name: value / self.count for name, value in self.sums.items()})


def meter_of(target: Target) -> Meter:
    """Return a new meter for what is learned."""
    return LabelsMeter(target) if isinstance(target, LabelsTarget) else MeanMeter(target)


@torch.no_grad()
def network_outputs(
    model: LoadedModel, items: Tensor, batch_size: int, steps: int | None, copies: int, seed: int
) -> Tensor:
    """Return the network's answers, in the items' order.

    Args:
        model: Left as it is.
        items: (n, ...) as ``load_inputs`` gives them.
        batch_size: Items at once.
        steps: Exactly so many batches, or as many as there are; None for all.
        copies: Randomly changed copies whose answers are averaged with the item's own.
        seed: Of the changes.

    Returns:
        float64 (m, outputs): probabilities of the classes, or the standardized number.
    """
    generator = Generator().manual_seed(seed)
    batches: Iterator[Tensor] = islice(iter(torch.split(items, batch_size)), steps)
    return torch.cat([_averaged(model, batch, copies, generator) for batch in batches])


def _averaged(model: LoadedModel, items: Tensor, copies: int, generator: Generator) -> Tensor:
    section, inputs = model.card.section, model.card.inputs
    bf16 = section.train_params.precision == "bf16"
    plain = as_batch(inputs, items)
    total = _answers(model, plain, bf16)
    for _ in range(copies):
        total += _answers(model, augment(plain, inputs, section.data_train.augmentation, generator), bf16)
    return total / (1 + copies)


def _answers(model: LoadedModel, batch: Tensor, bf16: bool) -> Tensor:
    return model.card.flat_target.answers(forward(model.network, batch, bf16))
