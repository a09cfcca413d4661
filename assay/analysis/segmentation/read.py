"""What was predicted about pixels.

Belongs here: reading and checking. Does not belong here: tables, pictures.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from assay.analysis.inputs import AnalysisInputs, by_subset
from assay.analysis.item_rows import refuse, repeated_items, unknown_names
from assay.analysis.scenes import place_of
from assay.class_maps import BACKGROUND
from assay.errors import DataError
from assay.metrics.samples import Floats
from assay.tables import read_parquet

COLUMNS = ["item", "subset", "target_class", "predicted_class", "pixels"]


@dataclass(frozen=True)
class PixelCounts:
    """The images of one subset whose truth is known.

    Attributes:
        items: Their names.
        counts: (n, 1 + k, 1 + k) pixels per true and predicted class; 0 is the background.
    """

    items: list[str]
    counts: Floats


def read_counts(inputs: AnalysisInputs) -> dict[str, PixelCounts]:
    """Return the pixels of each image per true and predicted class, by subset, in the order of reports.

    Raises:
        DataError: The table can't be analysed; lists every problem.
    """
    frame = read_parquet(inputs.predictions)
    absent = [name for name in COLUMNS if name not in frame.columns]
    if absent:
        raise DataError(f"{inputs.predictions.name} lacks columns: {', '.join(absent)}.")
    known = frame.select(COLUMNS).filter(pl.col("target_class").is_not_null())
    names = [BACKGROUND, *inputs.classes]
    problems = repeated_items(known.unique(["item", "subset"], maintain_order=True))
    problems += [
        f"column {name!r} has {count} missing values"
        for name in ("predicted_class", "pixels")
        if (count := known[name].null_count())
    ]
    for name in ("target_class", "predicted_class"):
        problems += unknown_names(name, known[name].cast(pl.String), names)
    problems += [] if len(known) else ["there is no prediction of an image whose truth is known"]
    refuse(inputs, problems)
    return {subset: _counts(rows, names) for subset, rows in by_subset(known).items()}


def _counts(rows: pl.DataFrame, names: list[str]) -> PixelCounts:
    items = rows["item"].unique(maintain_order=True).to_list()
    places = list(range(len(names)))
    cells = rows.select(
        place_of(items),
        *(
            pl.col(name).cast(pl.String).replace_strict(names, places, return_dtype=pl.Int64)
            for name in ("target_class", "predicted_class")
        ),
    )
    counts = np.zeros((len(items), len(names), len(names)))
    np.add.at(counts, tuple(cells.to_numpy().T), rows["pixels"].to_numpy())
    return PixelCounts(items, counts)
