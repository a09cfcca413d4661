"""What every kind of learning brings to the analysis: how its predictions are read, shown and talked about.

Belongs here: the interface between the analysis and the kinds of learning. Does not belong here: either of them
(``assay.analysis.report``).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from assay.metrics.registry import Metric
from assay.metrics.samples import Integers, Sample
from assay.spec.analysis import ResultAnalyzer


@dataclass(frozen=True)
class Part:
    """What is known of one subset before any metric is computed.

    Attributes:
        subset: Its name.
        sample: The items whose truth is known, each with weight 1.
        baselines: The same items as trivial predictions see them, by the baseline's name.
        groups: (n,) index of the group, 0 to g-1, that each item is drawn with for intervals.
        tables: Frames by file name without ending, each with a column ``subset``; ``worst_items`` is one of them.
    """

    subset: str
    sample: Sample
    baselines: Mapping[str, Sample]
    groups: Integers
    tables: Mapping[str, pl.DataFrame]

    @property
    def item_count(self) -> int:
        """Items that are scored."""
        return int(self.sample.weights.shape[1])


@dataclass(frozen=True)
class Analysis:
    """What is known about the predictions.

    Attributes:
        tables: Frames by file name without ending: ``analysis``, ``worst_items``, and those of the kind of learning.
            Each has a column ``subset``.
        parts: The subsets, in the order of reports.
    """

    tables: Mapping[str, pl.DataFrame]
    parts: Mapping[str, Part]

    @property
    def headline(self) -> str:
        """The subset that summary and pictures are about."""
        return headline_subset(list(self.parts))

    def of_headline(self, table: str) -> pl.DataFrame:
        """Return the headline subset's part of a table."""
        return self.tables[table].filter(pl.col("subset") == self.headline)


@dataclass(frozen=True)
class AnalysisInputs:
    """What the analysis reads.

    Attributes:
        predictions: The file ``predictions.parquet``; what else was predicted lies beside it.
        taught: What baselines know, see ``assay.training.summary``: ``target`` of each training item; of masks
            ``class`` and ``pixels``; of boxes ``class`` and place.
        task: The kind of learning, such as ``regression`` or ``multi_label``.
        classes: Class names in the model's order, without background; empty for regression.
        crops_folder: Result folder of ``crops``, whose images show the worst items; None when there are none.
        splits_folder: Result folder of ``splits``, with the images and their true masks or boxes; None where neither is
            learned.
        label_classes: Class of each label of masks and boxes; objects of other labels are not looked for.
    """

    predictions: Path
    taught: pl.DataFrame
    task: str = "regression"
    classes: tuple[str, ...] = ()
    crops_folder: Path | None = None
    splits_folder: Path | None = None
    label_classes: Mapping[str, str] = field(default_factory=dict)

    @property
    def train_target(self) -> pl.Series:
        """Target, or class name, or list of class names, of each training item."""
        return self.taught["target"]


@dataclass(frozen=True)
class Kind:
    """One kind of learning, as the analysis sees it.

    Attributes:
        noun: What an item is called, in the singular.
        parts: Reads and checks the predictions; returns the subsets in the order of reports.
        draw: Writes the pictures that only this kind has into a folder.
        advise: Returns the sentence about where the model fails most, given that it beats its baseline and that there
            are worst items.
    """

    noun: str
    parts: Callable[[AnalysisInputs, ResultAnalyzer], list[Part]]
    draw: Callable[[Analysis, AnalysisInputs, ResultAnalyzer, Path], None]
    advise: Callable[[Analysis], str]


STANDARD_SUBSETS = ("train", "validation", "test")


def ordered_subsets(frame: pl.DataFrame) -> list[str]:
    """Return the names of the subsets: train, validation, test, then others as they come."""
    names = frame["subset"].unique(maintain_order=True).to_list()
    return [name for name in STANDARD_SUBSETS if name in names] + [n for n in names if n not in STANDARD_SUBSETS]


def by_subset(frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the rows of each subset, in the order of reports."""
    return {subset: frame.filter(pl.col("subset") == subset) for subset in ordered_subsets(frame)}


def headline_subset(subsets: Sequence[str]) -> str:
    """Return the subset that the summary is about: test, or else the last."""
    return "test" if "test" in subsets else subsets[-1]


ANALYSIS_SCHEMA = {
    "subset": pl.String(),
    "metric": pl.String(),
    "class": pl.String(),
    "value": pl.Float64(),
    "ci_low": pl.Float64(),
    "ci_high": pl.Float64(),
    "baseline": pl.Float64(),
    "baseline_name": pl.String(),
    "unit": pl.String(),
    "count": pl.Int64(),
}
"""One row per subset and metric, and per class where the metric has one value for each; undefined values are null."""

Row = Mapping[str, Any]


def headline_row(analysis: pl.DataFrame, subset: str) -> Row:
    """Return the first metric of a subset that is about all classes, or else the first of all."""
    rows = analysis.filter(pl.col("subset") == subset)
    whole = rows.filter(pl.col("class") == "")
    return (whole if len(whole) else rows).row(0, named=True)


def summarize(row: Row, metric: Metric, items: str) -> str:
    """Return one sentence: metric, interval, subset, number of items, and the trivial baseline.

    Args:
        row: The headline row.
        metric: Its metric.
        items: How many of what it is about, such as ``48 items``.
    """
    unit = f" {row['unit']}" if row["unit"] else ""
    of_class = f" of class {row['class']}" if row["class"] else ""
    between = "" if row["ci_low"] is None else f" [{readable_number(row['ci_low'])}, {readable_number(row['ci_high'])}]"
    measured = f"{metric.label}{of_class} {readable_number(row['value'])}{between}{unit}"
    return f"{measured} on {row['subset']}, {items}; {row['baseline_name']} {readable_number(row['baseline'])}."


def counted(count: int, noun: str) -> str:
    """Return a number of things in words: ``1 item``, ``1,200 images``."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def warn(row: Row, metric: Metric) -> str:
    """Return what to do first where the model can't be said to be better than the baseline; empty where it can."""
    value, baseline = row["value"], row["baseline"]
    if value is None or baseline is None:
        return f"{metric.label} is not defined here: give subset {row['subset']} more, and more varied, items."
    if not metric.beats(value, baseline):
        return (
            f"The model is no better than the {row['baseline_name']}: look for wrong targets among the worst items, "
            "then train longer (trained_model.train_params.epochs)."
        )
    worse_end = row["ci_low"] if metric.higher_is_better else row["ci_high"]
    if worse_end is not None and not metric.beats(worse_end, baseline):
        return f"The interval reaches the {row['baseline_name']}: predict more items of subset {row['subset']}."
    return ""


def readable_number(value: float | None) -> str:
    """Return a number with about four digits, or that it is not defined."""
    if value is None:
        return "not defined"
    return f"{value:.3f}" if 0.001 <= abs(value) < 10 or value == 0 else f"{value:.4g}"
