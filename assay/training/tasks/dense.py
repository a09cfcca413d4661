"""What segmentation and detection share: whole images as inputs.

Belongs here: sizes of images, which of them are read, how often each is seen. Does not belong here: masks or boxes
alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import polars as pl
from torch import Tensor

from assay.errors import DataError
from assay.training.inputs import Inputs
from assay.training.tasks.base import PredictionRequest, TrainingRequest
from assay.training.tasks.detection.dataset import DetectionItems
from assay.training.tasks.images import Scene, fitting_size, read_scenes
from assay.training.tasks.segmentation.dataset import SegmentationItems
from assay.training.tasks.windows import classes_of_items

Items = TypeVar("Items", SegmentationItems, DetectionItems)

USUAL_OBJECT_PX = 48.0
"""Size of the median object to which images are reduced: large enough to be recognized, small enough to be quick."""


def describe_scenes(request: TrainingRequest, train: pl.DataFrame, object_sides_px: Sequence[float]) -> Inputs:
    """Return how images become tensors, from the size of the objects in the training images."""
    description = request.section.data_description
    size = description.image_size or fitting_size(train, object_sides_px, USUAL_OBJECT_PX)
    return Inputs(view="images", image_size=size, standardize=description.standardize is not False)


def has_truth() -> pl.Expr:
    """Return whether the truth of an image is known."""
    return pl.col("labelled").fill_null(True)


def labelled(rows: pl.DataFrame, subset: str) -> pl.DataFrame:
    """Return the images whose truth is known: the only ones to learn from.

    Raises:
        DataError: There are none.
    """
    known = rows.filter(has_truth())
    if known.is_empty():
        raise DataError(f"The subset {subset!r} has {len(rows)} images, but none has labels to learn from.")
    return known


def balanced(train: Items, request: TrainingRequest, class_count: int) -> tuple[Items, Tensor | None]:
    """Return the training items and, when the spec asks for every class equally often, the classes of each."""
    if request.section.data_train.balance is None:
        return train, None
    train = replace(train, balanced_classes=class_count)
    return train, classes_of_items(train.objects, class_count, len(train))


def scenes_to_predict(request: PredictionRequest, rows: pl.DataFrame) -> Iterator[Scene]:
    """Yield the images to predict, one at a time: memory does not grow with their number."""
    return read_scenes(request.source, rows, request.card.inputs.image_size, request.threads)
