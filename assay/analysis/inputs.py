"""What the analysis reads, checked before anything is computed.

Belongs here: reading predictions and refusing those that would give wrong numbers. Does not belong here: metrics.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import polars as pl
import polars.selectors as cs

from assay.errors import DataError
from assay.tables import read_parquet

STANDARD_SUBSETS = ("train", "validation", "test")


@dataclass(frozen=True)
class AnalysisInputs:
    """What the analysis reads.

    Attributes:
        predictions: The file ``predictions.parquet``.
        train_target: Target, or class name, of each training item: what baselines know.
        task: ``regression`` or ``classification``.
        classes: Class names in the model's order; empty for regression.
        crops_folder: Result folder of ``crops``, whose images show the worst items; None when there are none.
    """

    predictions: Path
    train_target: pl.Series
    task: str
    classes: tuple[str, ...] = ()
    crops_folder: Path | None = None


def read_predictions(inputs: AnalysisInputs) -> pl.DataFrame:
    """Return the predictions, classes as text.

    Raises:
        DataError: Columns or values are missing, a class is unknown, or an item occurs twice; lists every problem.
    """
    frame = read_parquet(inputs.predictions)
    wanted = _wanted_columns(inputs)
    absent = [name for name in wanted if name not in frame.columns]
    if absent:
        raise DataError(f"{inputs.predictions.name} lacks columns: {', '.join(absent)}.")
    if inputs.task == "classification":
        frame = frame.with_columns(pl.col("target_class", "predicted_class").cast(pl.String))
    train_target = inputs.train_target.drop_nulls()
    problems = [*_missing(frame.select(wanted)), *_repeated(frame), *_unknown_classes(frame, inputs)]
    problems += [] if len(train_target) else ["there is no training target to make a baseline from"]
    problems += [] if len(frame) else ["there is no prediction"]
    if problems:
        raise DataError(f"{inputs.predictions.name} can't be analysed. Materialize predictions again.", problems)
    return frame


def ordered_subsets(frame: pl.DataFrame) -> list[str]:
    """Return the names of the subsets: train, validation, test, then others as they come."""
    names = frame["subset"].unique(maintain_order=True).to_list()
    return [name for name in STANDARD_SUBSETS if name in names] + [n for n in names if n not in STANDARD_SUBSETS]


def headline_subset(subsets: Sequence[str]) -> str:
    """Return the subset that the summary is about: test, or else the last."""
    return "test" if "test" in subsets else subsets[-1]


def _wanted_columns(inputs: AnalysisInputs) -> list[str]:
    if inputs.task == "regression":
        return ["item", "subset", "target", "prediction"]
    probabilities = [f"prob_{name}" for name in inputs.classes]
    return ["item", "subset", "target_class", "predicted_class", "confidence", *probabilities]


def _missing(frame: pl.DataFrame) -> list[str]:
    """Return one line per column with null or NaN: a mean that leaves them out would flatter the model."""
    counts = frame.with_columns(cs.float().fill_nan(None)).null_count().row(0)
    return [
        f"column {name!r} has {count} missing values"
        for name, count in zip(frame.columns, counts, strict=True)
        if count
    ]


def _repeated(frame: pl.DataFrame) -> list[str]:
    """Return one line per pair of subsets that share items, and one for items twice in one subset."""
    items = {subset: frame.filter(pl.col("subset") == subset)["item"] for subset in ordered_subsets(frame)}
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


def _unknown_classes(frame: pl.DataFrame, inputs: AnalysisInputs) -> list[str]:
    if inputs.task == "regression":
        return []
    known = set(inputs.classes)
    named = {
        "target_class": frame["target_class"],
        "predicted_class": frame["predicted_class"],
        "the training targets": inputs.train_target.cast(pl.String),
    }
    return [
        f"{where} has {name!r}, which is no class of the model ({', '.join(inputs.classes)})"
        for where, values in named.items()
        for name in sorted(set(values.drop_nulls()) - known)
    ]
