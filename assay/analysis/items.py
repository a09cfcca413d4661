"""What the analyses share: reading predictions of items and of whole images, checking them, confusion, common plots.

Predictions that would give wrong numbers (missing values, unknown classes, items in two subsets) are refused before
anything is computed. Belongs here: what at least two tasks use. Does not belong here: metrics.
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
from assay.datasets.schema import CROPS_FILE, PREDICTED_ITEMS_FILE, root_of
from assay.errors import AssayError, DataError
from assay.images.decoding import DECODE_ERRORS, decode
from assay.metrics.samples import Floats, Integers
from assay.plots.classification import class_scores
from assay.plots.sheets import sample_grid, save_small_png, scaled_size
from assay.spec.analysis import ResultAnalyzer
from assay.storage.files import write_bytes
from assay.storage.parquet import read_parquet
from assay.utils.text import pluralize

TILE_PX = 96
"""Longest side of a crop in the plot of the worst items."""

MAX_TILES, GRID_COLUMNS = 24, 6


def read_items(
    inputs: AnalysisInputs, target: str, outputs: Sequence[str], class_columns: Sequence[str] = ()
) -> pl.DataFrame:
    """Return the predictions of the items whose target is known.

    Args:
        inputs: Predictions and classes.
        target: The column of targets; null where it is unknown.
        outputs: The columns of predictions, which must have a value everywhere.
        class_columns: Those of all these columns that hold class names, or lists of them; they are cast to text.

    Raises:
        DataError: Columns or values are missing, a class is unknown, or an item occurs twice; lists every problem.
    """
    frame = inputs.read_predictions()
    required = ["item", "subset", target, *outputs]
    require_prediction_columns(inputs, frame, required)
    frame = frame.filter(pl.col(target).is_not_null())
    frame = frame.with_columns(_as_text(frame[name]) for name in class_columns)
    problems = missing_values(frame.select(required)) + repeated_items(frame)
    problems += _unknown_classes(frame, inputs, class_columns)
    if not inputs.train_target.drop_nulls().len():
        problems.append("there is no training target to make a baseline from")
    if frame.is_empty():
        problems.append("there is no prediction of an item whose target is known")
    refuse(inputs, problems)
    return frame


def require_prediction_columns(inputs: AnalysisInputs, frame: pl.DataFrame, columns: Sequence[str]) -> None:
    """Check that the predictions have all columns.

    Raises:
        DataError: Some are missing; names them.
    """
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        raise DataError(f"{inputs.predictions.name} lacks columns: {', '.join(absent)}.")


def refuse(inputs: AnalysisInputs, problems: list[str]) -> None:
    """Raise an error that lists the problems, if there are any.

    Raises:
        DataError: There are problems.
    """
    if problems:
        raise DataError(f"{inputs.predictions.name} can't be analysed. Materialize predictions again.", problems)


def repeated_items(frame: pl.DataFrame) -> list[str]:
    """Return one line per subset with repeated items, and one per pair of subsets that share items."""
    items = {subset: rows["item"] for subset, rows in by_subset(frame).items()}
    problems = [
        f"{pluralize(len(series) - series.n_unique(), 'item occurs', 'items occur')} more than once in "
        f"subset {subset!r}"
        for subset, series in items.items()
        if series.n_unique() < len(series)
    ]
    for (first, first_items), (second, second_items) in combinations(items.items(), 2):
        shared = sorted(set(first_items) & set(second_items))
        if shared and set(first_items) == set(second_items):
            problems.append(f"subsets {first!r} and {second!r} are the same {pluralize(len(shared), 'item')}")
        elif shared:
            problems.append(
                f"{pluralize(len(shared), 'item is', 'items are')} in both {first!r} and {second!r}, such "
                f"as {shared[0]!r}"
            )
    return problems


def unknown_names(where: str, values: pl.Series, classes: Sequence[str]) -> list[str]:
    """Return one line per class name that the model does not have.

    Args:
        where: The column, for the message.
        values: Class names; null is allowed.
        classes: Those of the model.
    """
    return [
        f"{where} has {name!r}, which is no class of the model ({', '.join(classes)})"
        for name in sorted(set(values.drop_nulls()) - set(classes))
    ]


def groups_of(frame: pl.DataFrame, analyzer: ResultAnalyzer) -> Integers:
    """Return the index (n,) of the group that each item is drawn with for intervals: its image, or the item alone."""
    if analyzer.bootstrap_unit == "item" or "image" not in frame.columns:
        return np.arange(len(frame))
    image = frame.select(pl.coalesce(pl.col("image").cast(pl.String), "item")).to_series()
    groups: Integers = np.unique(image.to_numpy(), return_inverse=True)[1].astype(np.int64)
    return groups


def equal_weights(frame: pl.DataFrame) -> Floats:
    """Return the weighting (1, n) in which every item counts once."""
    return np.ones((1, len(frame)))


def key_columns(frame: pl.DataFrame) -> list[str]:
    """Return the columns that identify a row, those that there are."""
    return [name for name in ("subset", "item", "image") if name in frame.columns]


def as_floats(values: pl.Series) -> Floats:
    """Return the values (n,) in double precision."""
    return values.cast(pl.Float64).to_numpy()


def class_indices(values: pl.Series, classes: Sequence[str]) -> Integers:
    """Return the index (n,) of each class name among the classes."""
    return values.replace_strict(list(classes), list(range(len(classes))), return_dtype=pl.Int64).to_numpy()


def _as_text(values: pl.Series) -> pl.Series:
    return values.cast(pl.List(pl.String) if isinstance(values.dtype, pl.List) else pl.String)


def missing_values(frame: pl.DataFrame) -> list[str]:
    """Return one line per column with null or NaN: a mean without them would flatter the model."""
    counts = frame.with_columns(cs.float().fill_nan(None)).null_count().row(0)
    return [
        f"column {name!r} has {pluralize(count, 'missing value')}"
        for name, count in zip(frame.columns, counts, strict=True)
        if count
    ]


def _unknown_classes(frame: pl.DataFrame, inputs: AnalysisInputs, class_columns: Sequence[str]) -> list[str]:
    columns = {name: frame[name] for name in class_columns}
    if class_columns:
        columns["the training targets"] = _as_text(inputs.train_target)
    flat = {where: values.explode() if values.dtype == pl.List else values for where, values in columns.items()}
    return [line for where, values in flat.items() for line in unknown_names(where, values, inputs.classes)]


def confusion_rows(subset: str, counts: Floats, classes: Sequence[str]) -> pl.DataFrame:
    """Return one row per pair of true and predicted class, including pairs that never occur.

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


def draw_class_scores(analysis: Analysis, about: str, folder: Path) -> None:
    """Draw the metrics of the headline subset that have one value per class, if there are any, as ``classes.png``.

    Args:
        analysis: All tables.
        about: Subset and number of items, for the title.
        folder: Where the file goes.
    """
    per_class = analysis.of_headline("analysis").filter(pl.col("class") != "")
    if len(per_class):
        write_bytes(folder / "classes.png", class_scores(per_class, f"Classes · {about}"))


def draw_worst_crops(
    analysis: Analysis,
    inputs: AnalysisInputs,
    caption: Callable[[Mapping[str, Any]], str],
    folder: Path,
    table: str = "worst_items",
) -> None:
    """Draw the crops of the headline subset's worst items, where there are crops.

    Args:
        analysis: All tables.
        inputs: Where the crops are, if anywhere.
        caption: Takes a row of the table; returns the text below its crop.
        folder: Where the picture goes, under the name of the table.
        table: The table of items, the worst first.
    """
    worst = analysis.of_headline(table)
    if inputs.crops_folder is None or worst.is_empty():
        return
    crops = read_parquet(inputs.crops_folder / CROPS_FILE, ["item", "file"])
    rows = worst.join(crops, on="item", maintain_order="left").head(MAX_TILES)
    if len(rows):
        tiles = [_tile(inputs.crops_folder / file) for file in rows["file"]]
        captions = [caption(row) for row in rows.iter_rows(named=True)]
        save_small_png(sample_grid(tiles, captions, GRID_COLUMNS), folder / f"{table}.png")


def _tile(file: Path) -> Image.Image:
    with Image.open(file) as image:
        size = scaled_size(image, TILE_PX / max(image.size))
        return image.convert("RGB").resize(size, Image.Resampling.BICUBIC)


def read_image_boxes(inputs: AnalysisInputs) -> pl.DataFrame:
    """Return the predicted images: columns item, subset, file, mask, labelled, width_px, height_px.

    Raises:
        DataError: A column is missing.
    """
    columns = ["item", "subset", "file", "mask", "labelled", "width_px", "height_px"]
    return read_parquet(inputs.predictions.parent / PREDICTED_ITEMS_FILE, columns)


def splits_of(inputs: AnalysisInputs) -> Path:
    """Return the result folder of ``splits``.

    Raises:
        AssayError: There is none, without which masks and boxes can't be analysed.
    """
    if inputs.splits_folder is None:
        raise AssayError(
            f"The analysis of {inputs.task} reads images and their ground truth, but got no folder of splits."
        )
    return inputs.splits_folder


def open_image(inputs: AnalysisInputs, file: str) -> Image.Image:
    """Return an image in RGB, upright.

    Args:
        inputs: Where the images are.
        file: As ``predicted_items.parquet`` names it.

    Raises:
        DataError: It can't be read.
    """
    path = root_of(splits_of(inputs)) / file
    try:
        return decode(path.read_bytes()).convert("RGB")
    except DECODE_ERRORS as error:
        raise DataError(f"{path}: the image can't be read ({error}). Materialize splits again.") from error


def item_index(items: Sequence[str]) -> pl.Expr:
    """Return the index of column ``item`` among some items; null for others."""
    indices = list(range(len(items)))
    return pl.col("item").replace_strict(list(items), indices, default=None, return_dtype=pl.Int64)
