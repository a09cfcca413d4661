"""Predictions with one row per item, checked before anything is computed.

Belongs here: reading them, refusing those that would give wrong numbers, what is drawn together. Does not belong here:
masks and boxes, metrics.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import polars.selectors as cs
from PIL import Image

from assay.analysis.base import Analysis, AnalysisInputs, by_subset
from assay.datasets.schema import CROPS_FILE
from assay.errors import DataError
from assay.metrics.samples import Floats, Integers
from assay.plots.sheets import sample_grid, save_small_png
from assay.spec.analysis import ResultAnalyzer
from assay.storage.parquet import read_parquet


def read_items(inputs: AnalysisInputs, truth: str, predicted: Sequence[str], named: Sequence[str] = ()) -> pl.DataFrame:
    """Return the predictions of the items whose truth is known.

    Args:
        inputs: Predictions and classes.
        truth: The column of the truth; null where it is unknown.
        predicted: The columns of predictions, which must have a value everywhere.
        named: Those of all these columns that hold class names, or lists of them; they become text.

    Raises:
        DataError: Columns or values are missing, a class is unknown, or an item occurs twice; lists every problem.
    """
    frame = read_parquet(inputs.predictions)
    wanted = ["item", "subset", truth, *predicted]
    absent = [name for name in wanted if name not in frame.columns]
    if absent:
        raise DataError(f"{inputs.predictions.name} lacks columns: {', '.join(absent)}.")
    frame = frame.filter(pl.col(truth).is_not_null())
    frame = frame.with_columns(_as_text(frame[name]) for name in named)
    problems = [*_missing(frame.select(wanted)), *repeated_items(frame), *_unknown_classes(frame, inputs, named)]
    problems += (
        [] if inputs.train_target.drop_nulls().len() else ["there is no training target to make a baseline from"]
    )
    problems += [] if len(frame) else ["there is no prediction of an item whose truth is known"]
    refuse(inputs, problems)
    return frame


def refuse(inputs: AnalysisInputs, problems: list[str]) -> None:
    """Raise an error that lists the problems, if there are any.

    Raises:
        DataError: There are problems.
    """
    if problems:
        raise DataError(f"{inputs.predictions.name} can't be analysed. Materialize predictions again.", problems)


def repeated_items(frame: pl.DataFrame) -> list[str]:
    """Return one line per pair of subsets that share items, and one for items twice in one subset."""
    items = {subset: rows["item"] for subset, rows in by_subset(frame).items()}
    problems = [
        f"{len(series) - series.n_unique()} items occur more than once in subset {subset!r}"
        for subset, series in items.items()
        if series.n_unique() < len(series)
    ]
    for (first, ours), (second, theirs) in combinations(items.items(), 2):
        shared = sorted(set(ours) & set(theirs))
        if shared and set(ours) == set(theirs):
            problems.append(f"subsets {first!r} and {second!r} are the same {len(shared)} items")
        elif shared:
            problems.append(f"{len(shared)} items are in both {first!r} and {second!r}, such as {shared[0]!r}")
    return problems


def unknown_names(where: str, values: pl.Series, classes: Sequence[str]) -> list[str]:
    """Return one line per class name that the model does not have."""
    return [
        f"{where} has {name!r}, which is no class of the model ({', '.join(classes)})"
        for name in sorted(set(values.drop_nulls()) - set(classes))
    ]


def groups_of(frame: pl.DataFrame, analyzer: ResultAnalyzer) -> Integers:
    """Return the index (n,) of what each item is drawn with: its image, or itself."""
    if analyzer.bootstrap_unit == "item" or "image" not in frame.columns:
        return np.arange(len(frame))
    image = frame.select(pl.coalesce(pl.col("image").cast(pl.String), "item")).to_series()
    groups: Integers = np.unique(image.to_numpy(), return_inverse=True)[1].astype(np.int64)
    return groups


def equal_weights(frame: pl.DataFrame) -> Floats:
    """Return one weighting (1, n) in which every item counts once."""
    return np.ones((1, len(frame)))


def place_columns(frame: pl.DataFrame) -> list[str]:
    """Return the columns that say where a row belongs."""
    return [name for name in ("subset", "item", "image") if name in frame.columns]


def as_floats(values: pl.Series) -> Floats:
    """Return the values (n,) in double precision."""
    return values.cast(pl.Float64).to_numpy()


def class_indices(values: pl.Series, classes: Sequence[str]) -> Integers:
    """Return the place (n,) of each class name among the classes."""
    return values.replace_strict(list(classes), list(range(len(classes))), return_dtype=pl.Int64).to_numpy()


def _as_text(values: pl.Series) -> pl.Series:
    return values.cast(pl.List(pl.String) if isinstance(values.dtype, pl.List) else pl.String)


def _missing(frame: pl.DataFrame) -> list[str]:
    """Return one line per column with null or NaN: a mean that leaves them out would flatter the model."""
    counts = frame.with_columns(cs.float().fill_nan(None)).null_count().row(0)
    return [
        f"column {name!r} has {count} missing values"
        for name, count in zip(frame.columns, counts, strict=True)
        if count
    ]


def _unknown_classes(frame: pl.DataFrame, inputs: AnalysisInputs, named: Sequence[str]) -> list[str]:
    columns = {name: frame[name] for name in named}
    if named:
        columns["the training targets"] = _as_text(inputs.train_target)
    flat = {where: values.explode() if values.dtype == pl.List else values for where, values in columns.items()}
    return [line for where, values in flat.items() for line in unknown_names(where, values, inputs.classes)]


def confusion_rows(subset: str, counts: Floats, classes: Sequence[str]) -> pl.DataFrame:
    """Return one row per pair of true and predicted class, those that never occur included.

    Args:
        subset: Name of the subset.
        counts: (k, k) whole numbers; rows are true classes.
        classes: The k names.
    """
    size = len(classes)
    return pl.DataFrame(
        {
            "subset": [subset] * size**2,
            "target_class": [name for name in classes for _ in classes],
            "predicted_class": list(classes) * size,
            "count": counts.astype(int).ravel(),
        },
        schema_overrides={"count": pl.Int64},
    )


def name_confusion(confusion: pl.DataFrame) -> str:
    """Return the most frequent mistake as a sentence with what to do next."""
    mistakes = confusion.filter(pl.col("target_class") != pl.col("predicted_class"))
    order = ["count", "target_class", "predicted_class"]
    pair = mistakes.sort(order, descending=[True, False, False]).row(0, named=True)
    total = confusion.filter(pl.col("target_class") == pair["target_class"])["count"].sum()
    return (
        f"Most frequent mistake: {pair['target_class']} taken for {pair['predicted_class']} "
        f"({pair['count']} of {total}). Look at these items in worst_items: wrong labels, or too few to learn from?"
    )


TILE_PX = 96

MOST_TILES = 24

GRID_COLUMNS = 6


def draw_worst_crops(
    analysis: Analysis, inputs: AnalysisInputs, caption: Callable[[Mapping[str, Any]], str], folder: Path
) -> None:
    """Draw the crops of the headline subset's worst items, those that have one.

    Args:
        analysis: All tables.
        inputs: Where the crops are, if anywhere.
        caption: From a row of ``worst_items`` to the text below its crop.
        folder: Where ``worst_items.png`` goes.
    """
    worst = analysis.of_headline("worst_items")
    if inputs.crops_folder is None or worst.is_empty():
        return
    crops = read_parquet(inputs.crops_folder / CROPS_FILE, ["item", "file"])
    rows = worst.join(crops, on="item", maintain_order="left").head(MOST_TILES)
    if len(rows):
        tiles = [_tile(inputs.crops_folder / file) for file in rows["file"]]
        captions = [caption(row) for row in rows.iter_rows(named=True)]
        save_small_png(sample_grid(tiles, captions, GRID_COLUMNS), folder / "worst_items.png")


def _tile(file: Path) -> Image.Image:
    with Image.open(file) as image:
        scale = TILE_PX / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        return image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
