"""The predicted boxes and masks of an experiment, with their images, ground truth and classes.

Belongs here: reading results, and what every export requires of an experiment, of the user's classes and of the folder
that is written. Does not belong here: any other tool's format.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Self

import numpy as np
import polars as pl

from assay.datasets.mask_classes import IndexMask, MaskMeanings, read_meanings, read_values
from assay.datasets.schema import BACKGROUND, OBJECTS_FILE, PREDICTED_ITEMS_FILE, mask_root_of
from assay.errors import DataError
from assay.experiments.contents import TABLES, stage_results
from assay.spec.experiment import ExperimentSpec
from assay.storage.parquet import read_parquet
from assay.storage.results import Result
from assay.training.image_targets import MaskTarget
from assay.training.model_file import CHOSEN, read_card


@dataclass(frozen=True)
class StoredDetections:
    """Predicted boxes, and what is true.

    Attributes:
        images: Columns item, file (relative to the images' root), width_px, height_px, labelled; one row per image.
        boxes: Columns item, predicted_class, confidence, x_px, y_px, width_px, height_px; one row per predicted box.
        objects: Rows of objects.parquet of these images.
        classes: Names, those of numbers by value.
    """

    images: pl.DataFrame
    boxes: pl.DataFrame
    objects: pl.DataFrame
    classes: tuple[str, ...]

    def with_classes(self, classes: Iterable[str], source: str) -> Self:
        """Return the same with other classes in another order.

        Raises:
            DataError: A class that was predicted is not among them; ``source`` says where they are from.
        """
        names = tuple(classes)
        require_classes(self.boxes["predicted_class"], names, source)
        return replace(self, classes=names)


def read_detections(root: Path, experiment_id: str, spec: ExperimentSpec) -> StoredDetections:
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
    boxes = read_parquet(folder / TABLES["predictions"])
    objects = read_parquet(results["splits"].folder / OBJECTS_FILE)
    labels = {*objects.filter(~pl.col("crowd").fill_null(False))["label"], *boxes["predicted_class"]}
    of_these = objects.join(images.select("item"), on="item", how="semi")
    return StoredDetections(images, boxes, of_these, tuple(sorted(labels, key=_class_order)))


def _class_order(label: str) -> tuple[int, float, str]:
    """Return a key that sorts numbers by value, before other names."""
    try:
        return 0, float(label), label
    except ValueError:
        return 1, 0.0, label


def name_without_ending(item: str, file: str) -> str:
    """Return an item's name without the ending of its file, which not every item has."""
    return item.removesuffix(PurePosixPath(file).suffix)


@dataclass(frozen=True)
class PredictedMasks:
    """The predicted class of every pixel, and what is true.

    Attributes:
        images: Columns item, file, mask (null: truth unknown), width_px, height_px, labelled; one row per image.
        classes: Names of the classes 1 to k of a mask.
        predicted_classes: Those that any predicted mask shows.
        folder: Predicted masks, ``<item>.png``.
        true_root: What ``mask`` is relative to.
        meanings: Classes of the values in true masks.
    """

    images: pl.DataFrame
    classes: tuple[str, ...]
    predicted_classes: tuple[str, ...]
    folder: Path
    true_root: Path
    meanings: MaskMeanings

    def predicted(self, item: str) -> IndexMask:
        """Return the class of every pixel."""
        return read_values(self.folder / f"{item}.png").astype(np.uint8)

    def ground_truth(self, mask: str) -> IndexMask:
        """Return the true class of every pixel; 255 where it is unknown."""
        return self.meanings.apply(read_values(self.true_root / mask))


def read_masks(root: Path, experiment_id: str, spec: ExperimentSpec) -> PredictedMasks:
    """Return the predicted masks of an experiment.

    Args:
        root: Storage root.
        experiment_id: ID.
        spec: Its spec.

    Raises:
        DataError: The experiment predicts no masks, or has predicted nothing yet.
    """
    if spec.learning != "segmentation":
        raise DataError(f"Experiment {experiment_id!r} is {spec.learning}, which predicts no masks.")
    results = require_results(root, experiment_id, ("splits", "trained_model", "predictions"))
    target = read_card(results["trained_model"].folder / CHOSEN).target
    if not isinstance(target, MaskTarget):
        raise DataError(f"The model of experiment {experiment_id!r} predicts {target.kind}. Materialize it again.")
    splits, folder = results["splits"].folder, results["predictions"].folder
    predicted = set(read_parquet(folder / TABLES["predictions"])["predicted_class"]) - {BACKGROUND}
    return PredictedMasks(
        images=read_parquet(folder / PREDICTED_ITEMS_FILE),
        classes=target.classes,
        predicted_classes=tuple(sorted(predicted)),
        folder=folder / "masks",
        true_root=mask_root_of(splits),
        meanings=read_meanings(splits, target.classes, target.mapping),
    )


def require_results(root: Path, experiment_id: str, stages: Sequence[str]) -> Mapping[str, Result]:
    """Return the results of an experiment by stage.

    Raises:
        DataError: It lacks one of ``stages``.
    """
    results = stage_results(root, experiment_id)
    missing = [stage for stage in stages if stage not in results]
    if missing:
        raise DataError(
            f"Experiment {experiment_id!r} has no {' and no '.join(missing)} yet. Next: assay run {experiment_id}"
        )
    return results


def require_classes(predicted: Iterable[str], names: Sequence[str], source: str) -> None:
    """Refuse other classes than those of the user's file.

    Raises:
        DataError: A class that was predicted is not among ``names``; ``source`` says where they are from.
    """
    missing = sorted(set(predicted) - set(names))
    if missing:
        raise DataError(f"{source} has no class {', '.join(map(repr, missing))}; it has {', '.join(names)}.")


def require_empty(folder: Path) -> None:
    """Refuse a folder that holds something.

    Raises:
        DataError: It does, or it is a file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists and is not an empty folder; choose another for --to.")
