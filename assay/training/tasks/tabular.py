"""Regression and classification: one answer per item, from rows or pictures of one object.

Belongs here: putting the parts together. Does not belong here: any of them.
"""

import fnmatch
from collections.abc import Mapping

import polars as pl

from assay.errors import DataError
from assay.learning.flat import FlatItems, meter_of
from assay.learning.outputs import network_outputs as network_answers
from assay.training.data import DataSource, require_columns
from assay.training.device import near
from assay.training.inputs import Inputs, describe_inputs, load_inputs
from assay.training.interfaces import Lesson
from assay.training.losses import plain_loss, training_loss
from assay.training.model_card import AnyTarget, require_flat
from assay.training.targets import NumberTarget, Target, fit_target, target_column
from assay.training.tasks.base import PredictionRequest, TrainingRequest
from assay.training.tasks.statistics import Statistics, class_statistics, number_statistics


def describe(request: TrainingRequest, train: pl.DataFrame) -> tuple[Inputs, Target]:
    """Return how items become tensors, and the target fitted on the training rows."""
    section = request.section
    column = target_column(section.data_description, request.learning, request.source.kind)
    target = fit_target(section.data_description, request.learning, column, train)
    return describe_inputs(section, request.source, train, column), target


def prepare(request: TrainingRequest, inputs: Inputs, target: AnyTarget, subsets: Mapping[str, pl.DataFrame]) -> Lesson:
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
    return Lesson(
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
    answers = network_answers(request.model, items, spec.batch_size, spec.prediction_steps, copies, request.seed)
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
