"""The predicted boxes of an experiment, with their images, true boxes and classes.

Belongs here: reading results. Does not belong here: any other tool's format.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Self

import polars as pl

from assay.datasets.schema import OBJECTS_FILE
from assay.errors import DataError
from assay.experiments.contents import TABLES
from assay.export.results import PREDICTED_ITEMS_FILE, require_classes, require_results
from assay.spec.experiment import ExperimentSpec
from assay.tables import read_parquet


@dataclass(frozen=True)
class Detections:
    """What was predicted, and what is true.

    Attributes:
        images: Columns item, file (relative to the images' root), width_px, height_px, labelled; one row per image.
        found: Columns item, predicted_class, confidence, x_px, y_px, width_px, height_px; one row per predicted box.
        objects: Rows of objects.parquet of these images.
        classes: Names, those of numbers by value.
    """

    images: pl.DataFrame
    found: pl.DataFrame
    objects: pl.DataFrame
    classes: tuple[str, ...]

    def with_classes(self, classes: Iterable[str], source: str) -> Self:
        """Return the same with other classes in another order.

        Raises:
            DataError: A class that was predicted is not among them; ``source`` says where they are from.
        """
        names = tuple(classes)
        require_classes(self.found["predicted_class"], names, source)
        return replace(self, classes=names)


def read_detections(root: Path, experiment_id: str, spec: ExperimentSpec) -> Detections:
    """Return the predicted boxes of an experiment.

    Args:
        root: Storage root.
        experiment_id: ID.
        spec: Its spec.

    Raises:
        DataError: The experiment predicts no boxes, or has predicted nothing yet.
    """
    if spec.learning != "detection":
        raise DataError(
            f"Experiment {experiment_id!r} is {spec.learning}; only boxes (detection) and masks (segmentation) can be "
            "exported."
        )
    results = require_results(root, experiment_id, ("splits", "predictions"))
    folder = results["predictions"].folder
    images = read_parquet(folder / PREDICTED_ITEMS_FILE)
    found = read_parquet(folder / TABLES["predictions"])
    objects = read_parquet(results["splits"].folder / OBJECTS_FILE)
    labels = {*objects.filter(~pl.col("crowd").fill_null(False))["label"], *found["predicted_class"]}
    of_these = objects.join(images.select("item"), on="item", how="semi")
    return Detections(images, found, of_these, tuple(sorted(labels, key=_order)))


def _order(label: str) -> tuple[int, float, str]:
    """Return a key that sorts numbers by value, before other names."""
    try:
        return 0, float(label), label
    except ValueError:
        return 1, 0.0, label


def name_without_ending(item: str, file: str) -> str:
    """Return an item's name without the ending of its file, which not every item has."""
    return item.removesuffix(PurePosixPath(file).suffix)
