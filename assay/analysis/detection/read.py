"""What was predicted about objects, and what is true.

Belongs here: reading and checking. Does not belong here: matching, tables, pictures.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from assay.analysis.inputs import AnalysisInputs, by_subset
from assay.analysis.item_rows import refuse, repeated_items, unknown_names
from assay.analysis.scenes import place_of, read_scenes, splits_of
from assay.analysis.taught import PLACE, read_objects
from assay.metrics.boxes import Boxes
from assay.tables import read_parquet

PREDICTED = ["item", "subset", "predicted_class", "confidence", *PLACE]


@dataclass(frozen=True)
class Scenes:
    """The images of one subset whose objects are known.

    Attributes:
        frame: One row per image: item, subset, file, width_px, height_px.
        objects: True objects; their images are places in the frame.
        predicted: Predicted boxes likewise.
    """

    frame: pl.DataFrame
    objects: Boxes
    predicted: Boxes


def read_boxes(inputs: AnalysisInputs) -> dict[str, Scenes]:
    """Return true and predicted boxes, by subset, in the order of reports.

    Raises:
        DataError: The tables can't be analysed; lists every problem.
    """
    known = read_scenes(inputs).filter(pl.col("labelled").fill_null(True))
    predicted = read_parquet(inputs.predictions, PREDICTED).with_columns(pl.col("predicted_class").cast(pl.String))
    problems = repeated_items(known)
    problems += [f"column {name!r} has {count} missing values" for name, count in _missing(predicted).items() if count]
    problems += unknown_names("predicted_class", predicted["predicted_class"], inputs.classes)
    problems += [] if len(known) else ["there is no prediction of an image whose objects are known"]
    refuse(inputs, problems)
    objects = read_objects(splits_of(inputs), inputs.label_classes)
    return {subset: _scenes(rows, objects, predicted, inputs.classes) for subset, rows in by_subset(known).items()}


def _scenes(rows: pl.DataFrame, objects: pl.DataFrame, predicted: pl.DataFrame, classes: tuple[str, ...]) -> Scenes:
    items = rows["item"].to_list()
    of_subset = predicted.filter(pl.col("subset") == rows["subset"][0]).rename({"predicted_class": "class"})
    own = objects.with_columns(pl.lit(1.0).alias("confidence"))
    found = of_subset.with_columns(pl.lit(False).alias("crowd"))
    return Scenes(rows, *(_boxes(frame, items, classes) for frame in (own, found)))


def _boxes(frame: pl.DataFrame, items: list[str], classes: tuple[str, ...]) -> Boxes:
    """Return the boxes of some images, ordered by image, otherwise as they come."""
    rows = frame.with_columns(place_of(items).alias("image")).drop_nulls("image").sort("image", maintain_order=True)
    labels = rows["class"].replace_strict(list(classes), list(range(len(classes))), return_dtype=pl.Int64)
    return Boxes(
        rows["image"].to_numpy(),
        labels.to_numpy(),
        rows.select(PLACE).to_numpy().astype(np.float64),
        rows["confidence"].cast(pl.Float64).to_numpy(),
        rows["crowd"].to_numpy(),
    )


def _missing(predicted: pl.DataFrame) -> dict[str, int]:
    counts = predicted.with_columns(pl.selectors.float().fill_nan(None)).null_count()
    return counts.row(0, named=True)
