"""The predicted masks of an experiment, with their images, true masks and classes.

Belongs here: reading results. Does not belong here: any other tool's format.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from assay.datasets.mask_classes import ClassMap, MaskMeanings, read_meanings, read_values
from assay.datasets.schema import BACKGROUND, mask_root_of
from assay.errors import DataError
from assay.experiments.contents import TABLES
from assay.export.results import PREDICTED_ITEMS_FILE, require_results
from assay.learning.scene_targets import MaskTarget
from assay.learning.trained_model import CHOSEN
from assay.learning.weights import read_card
from assay.spec.experiment import ExperimentSpec
from assay.tables import read_parquet


@dataclass(frozen=True)
class PredictedMasks:
    """What was predicted of every pixel, and what is true.

    Attributes:
        images: Columns item, file, mask (null: truth unknown), width_px, height_px, labelled; one row per image.
        classes: Names of the classes 1 to k of a map.
        shown: Those that any predicted map shows.
        folder: Predicted maps, ``<item>.png``.
        truth_root: What ``mask`` is relative to.
        meanings: Of the values in true masks.
    """

    images: pl.DataFrame
    classes: tuple[str, ...]
    shown: tuple[str, ...]
    folder: Path
    truth_root: Path
    meanings: MaskMeanings

    def predicted(self, item: str) -> ClassMap:
        """Return the class of every pixel."""
        return read_values(self.folder / f"{item}.png").astype(np.uint8)

    def truth(self, mask: str) -> ClassMap:
        """Return the true class of every pixel; 255 where it is unknown."""
        return self.meanings.apply(read_values(self.truth_root / mask))


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
    shown = set(read_parquet(folder / TABLES["predictions"])["predicted_class"]) - {BACKGROUND}
    return PredictedMasks(
        images=read_parquet(folder / PREDICTED_ITEMS_FILE),
        classes=target.classes,
        shown=tuple(sorted(shown)),
        folder=folder / "masks",
        truth_root=mask_root_of(splits),
        meanings=read_meanings(splits, target.classes, target.mapping),
    )
