"""What differs between the kinds of learning, behind one interface.

Belongs here: the interface, and which family a kind of learning belongs to. Does not belong here: any family.
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
from assay.training.data import DataSource
from assay.training.inputs import Inputs
from assay.training.interfaces import TrainingTask
from assay.training.model_card import AnyTarget, ModelCard
from assay.training.model_file import LoadedModel

MODULES = {
    "regression": "assay.training.tasks.tabular",
    "classification": "assay.training.tasks.tabular",
    "multi_label": "assay.training.tasks.tabular",
    "segmentation": "assay.training.tasks.segmentation.task",
    "detection": "assay.training.tasks.detection.task",
}
"""Module by kind of learning; each has the functions of ``Task``."""


@dataclass(frozen=True)
class TrainingRequest:
    """What a training is asked for: spec, kind of learning, seed and data."""

    section: TrainedModelSection
    learning: str
    seed: int
    source: DataSource


@dataclass(frozen=True)
class PredictionRequest:
    """What a prediction is asked for: spec, seed, data, the model, and where files go."""

    section: PredictionsSection
    seed: int
    source: DataSource
    model: LoadedModel
    folder: Path

    @property
    def card(self) -> ModelCard:
        """What is known about the model."""
        return self.model.card

    @property
    def threads(self) -> int:
        """Threads of the arithmetic, those of the training."""
        return self.card.section.train_params.threads


class Task(Protocol):
    """What a module of this package offers."""

    def describe(self, request: TrainingRequest, train: pl.DataFrame) -> tuple[Inputs, AnyTarget]:
        """Return how items become tensors, and what is learned, from the training rows.

        Raises:
            DataError: The rows lack what the spec asks for.
        """

    def prepare(
        self, request: TrainingRequest, inputs: Inputs, target: AnyTarget, subsets: Mapping[str, pl.DataFrame]
    ) -> TrainingTask:
        """Return what the trainer needs, with all data read.

        Args:
            request: Its section is resolved.
            inputs: From ``describe``.
            target: From ``describe``.
            subsets: Rows by subset: those to learn from and those that choose the epoch.

        Raises:
            DataError: Data can't be read or used.
        """

    def predict(self, request: PredictionRequest, subset: str, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the predictions of one subset as rows of ``predictions.parquet``; files go beside it.

        Raises:
            DataError: Data can't be read or used.
        """

    def truth_statistics(self, source: DataSource, target: AnyTarget, rows: pl.DataFrame) -> dict[str, Any]:
        """Return how many rows have a known truth, and its classes with their counts, or its range.

        Raises:
            DataError: The truth can't be read, or the model does not know a class.
        """


def task_of(learning: str) -> Task:
    """Return the functions for a kind of learning; only then are they imported.

    Raises:
        AssayError: There is no such kind.
    """
    if learning not in MODULES:
        raise AssayError(f"{learning!r} can't be learned. Expected one of {', '.join(MODULES)}.")
    return cast(Task, import_module(MODULES[learning]))
