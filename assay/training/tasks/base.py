"""The interface of a task: what differs between regression, classification, segmentation and detection.

Belongs here: the interface, requests, and which module implements which task. Does not belong here: any task.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import polars as pl

from assay.errors import AssayError
from assay.spec.predictions import PredictionsSection
from assay.spec.trained_model import TrainedModelSection
from assay.training.annotations import Annotations
from assay.training.data import DataSource
from assay.training.inputs import Inputs
from assay.training.interfaces import TrainingTask
from assay.training.model_card import AnyTarget, ModelCard
from assay.training.model_file import LoadedModel

MODULES = {
    "regression": "assay.training.tasks.item_level",
    "classification": "assay.training.tasks.item_level",
    "multi_label": "assay.training.tasks.item_level",
    "segmentation": "assay.training.tasks.segmentation.task",
    "detection": "assay.training.tasks.detection.task",
}
"""Module that implements each task; it has the functions of ``Task``."""


@dataclass(frozen=True)
class TrainingRequest:
    """What to train: spec, task, seed and data; boxes and masks of whole images are read through ``annotations``."""

    section: TrainedModelSection
    task: str
    seed: int
    annotations: Annotations

    @property
    def source(self) -> DataSource:
        """The result with the training data."""
        return self.annotations.source


@dataclass(frozen=True)
class PredictionRequest:
    """What to predict: spec, seed, data, the model, and the folder for files."""

    section: PredictionsSection
    seed: int
    annotations: Annotations
    model: LoadedModel
    folder: Path

    @property
    def source(self) -> DataSource:
        """The result with the data to predict."""
        return self.annotations.source

    @property
    def card(self) -> ModelCard:
        """The model's card."""
        return self.model.card

    @property
    def threads(self) -> int:
        """Number of threads, the same as in the training."""
        return self.card.section.train_params.threads


class Task(Protocol):
    """The functions of a module that implements a task."""

    def describe(self, request: TrainingRequest, train: pl.DataFrame) -> tuple[Inputs, AnyTarget]:
        """Return how items become tensors, and the target, both fitted on the training rows.

        Raises:
            DataError: The rows lack something that the spec asks for.
        """

    def prepare(
        self, request: TrainingRequest, inputs: Inputs, target: AnyTarget, subsets: Mapping[str, pl.DataFrame]
    ) -> TrainingTask:
        """Return what the trainer needs, with all data in memory.

        Args:
            request: With a resolved section.
            inputs: From ``describe``.
            target: From ``describe``.
            subsets: Rows of the training subset and, if there is one, of the validation subset.

        Raises:
            DataError: Data can't be read or used.
        """

    def predict(self, request: PredictionRequest, subset: str, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the predictions of one subset as rows of ``predictions.parquet``; files go beside it.

        Raises:
            DataError: Data can't be read or used.
        """

    def ground_truth_statistics(
        self, annotations: Annotations, target: AnyTarget, rows: pl.DataFrame
    ) -> dict[str, Any]:
        """Return how many rows have a known ground truth, and the count of each class or the range of the numbers.

        Raises:
            DataError: The ground truth can't be read, or has a class that the model does not know.
        """


def task_of(task: str) -> Task:
    """Return the module that implements a task; only then is it imported.

    Raises:
        AssayError: There is no such task.
    """
    if task not in MODULES:
        raise AssayError(f"{task!r} can't be learned. Expected one of {', '.join(MODULES)}.")
    return cast(Task, import_module(MODULES[task]))
