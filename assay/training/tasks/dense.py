"""What segmentation and detection have in common: whole images as inputs.

Belongs here: sizes of images, which images are read, class balance. Does not belong here: what concerns masks or boxes
alone, windows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import polars as pl
from torch import Tensor

from assay.errors import DataError
from assay.training.inputs import Inputs
from assay.training.tasks.base import PredictionRequest, TrainingRequest
from assay.training.tasks.images import ResizedImage, fitting_size, read_images
from assay.training.tasks.windows import WindowDataset, classes_of_items
from assay.utils.text import pluralize

Dataset = TypeVar("Dataset", bound=WindowDataset)

USUAL_OBJECT_PX = 48.0
"""Size to which the median object is reduced: large enough to be recognized, small enough to be fast."""


def describe_images(request: TrainingRequest, train: pl.DataFrame, object_sides_px: Sequence[float]) -> Inputs:
    """Return how images become tensors, given the size of the objects in the training images."""
    description = request.section.data_description
    size = description.image_size or fitting_size(train, object_sides_px, USUAL_OBJECT_PX)
    return Inputs(view="images", image_size=size, standardize=description.standardize is not False)


def has_ground_truth() -> pl.Expr:
    """Return the expression for whether the ground truth of an image is known."""
    return pl.col("labelled").fill_null(True)


def labelled(rows: pl.DataFrame, subset: str) -> pl.DataFrame:
    """Return the images whose ground truth is known: only they can be trained on.

    Raises:
        DataError: There are none.
    """
    known = rows.filter(has_ground_truth())
    if known.is_empty():
        raise DataError(f"The subset {subset!r} has {pluralize(len(rows), 'image')}, but no labels to learn from.")
    return known


def balance_subset(train: Dataset, request: TrainingRequest, class_count: int) -> tuple[Dataset, Tensor | None]:
    """Return the training dataset and, if the spec asks for balanced classes, the classes of each item."""
    if request.section.data_train.balance is None:
        return train, None
    train = replace(train, balanced_classes=class_count)
    return train, classes_of_items(train.objects, class_count, len(train))


def images_to_predict(request: PredictionRequest, rows: pl.DataFrame) -> Iterator[ResizedImage]:
    """Yield the images to predict, one at a time: memory does not grow with their number."""
    return read_images(request.source, rows, request.card.inputs.image_size, request.threads)
