"""The interface between the analysis and its tasks, and the sentences of the report.

Belongs here: what every task provides, and numbers as text. Does not belong here: a task
(``assay.analysis.classification`` and the others, listed in ``assay.analysis.build``), anything that is drawn.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from assay.metrics.registry import Metric
from assay.metrics.samples import Integers, Sample
from assay.spec.analysis import ResultAnalyzer
from assay.storage.parquet import read_parquet, select
from assay.utils.text import pluralize as pluralize  # where they were before
from assay.utils.text import readable_number as readable_number

STANDARD_SUBSETS = ("train", "validation", "test")

ANALYSIS_SCHEMA = {
    "subset": pl.String(),
    "metric": pl.String(),
    "class": pl.String(),
    "value": pl.Float64(),
    "ci_low": pl.Float64(),
    "ci_high": pl.Float64(),
    "baseline": pl.Float64(),
    "baseline_name": pl.String(),
    "simple_value": pl.Float64(),
    "simple_model": pl.String(),
    "unit": pl.String(),
    "count": pl.Int64(),
}
"""Columns of ``analysis.parquet``: one row per subset and metric, and per class where the metric has one each.

``class`` is empty where a value is about all classes. Values that are not defined are null.
"""

Row = Mapping[str, Any]
"""A row of ``analysis.parquet``."""


@dataclass(frozen=True)
class SimplePredictions:
    """The predictions of a simple model, that a network must beat to be worth its trouble.

    Attributes:
        name: For readers, such as ``gradient boosting``.
        rows: The same items and columns as those of the stage ``predictions``.
    """

    name: str
    rows: pl.DataFrame


@dataclass(frozen=True)
class AnalysisInputs:
    """What the analysis reads.

    Attributes:
        predictions: The file ``predictions.parquet``; other predicted files are beside it.
        rows: Its rows, where they were handed over; None: read from the file.
        training_summary: What baselines know of the training data (``assay.training.summary``): ``target`` of each
            item; of masks ``class`` and ``pixels``; of boxes ``class``, position and size.
        task: What is learned, such as ``regression`` or ``multi_label``.
        classes: Class names in the model's order, without background; empty for regression.
        crops_folder: Result folder of ``crops``, whose images show the worst items; None without crops.
        splits_folder: Result folder of ``splits``, with the images and their true masks or boxes; None for other tasks.
        label_classes: Class of each label of masks and boxes; objects with other labels are ignored.
        simple: What a simple model of the same training data predicts; None where there is none.
    """

    predictions: Path
    training_summary: pl.DataFrame
    task: str = "regression"
    classes: tuple[str, ...] = ()
    crops_folder: Path | None = None
    splits_folder: Path | None = None
    label_classes: Mapping[str, str] = field(default_factory=dict)
    rows: pl.LazyFrame | None = None
    simple: SimplePredictions | None = None

    def read_predictions(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the predictions, or only the given columns.

        Raises:
            DataError: A column does not exist.
            StorageError: The file can't be read.
        """
        if self.rows is None:
            return read_parquet(self.predictions, columns)
        return (self.rows if columns is None else select(self.rows, columns, self.predictions.name)).collect()

    @property
    def train_target(self) -> pl.Series:
        """Target, class name or list of class names of each training item."""
        return self.training_summary["target"]


@dataclass(frozen=True)
class SubsetData:
    """The predictions of one subset, ready for metrics.

    Attributes:
        subset: Its name.
        sample: The items whose target is known, each with weight 1.
        baselines: The same items with trivial predictions, by the baseline's name.
        groups: (n,) index of the group, 0 to g-1, of each item; intervals draw whole groups.
        tables: Frames by file name without suffix, each with a column ``subset``; ``worst_items`` is one of them.
    """

    subset: str
    sample: Sample
    baselines: Mapping[str, Sample]
    groups: Integers
    tables: Mapping[str, pl.DataFrame]

    @property
    def item_count(self) -> int:
        """Number of items that are scored."""
        return int(self.sample.weights.shape[1])


@dataclass(frozen=True)
class Analysis:
    """All numbers of an analysis.

    Attributes:
        tables: Frames by file name without suffix: ``analysis``, ``worst_items`` and those of the task. Each has a
            column ``subset``.
        subsets: The subsets by name, in the order of reports.
    """

    tables: Mapping[str, pl.DataFrame]
    subsets: Mapping[str, SubsetData]

    @property
    def headline(self) -> SubsetData:
        """The subset that the summary and the plots are about: test, or else the last."""
        return self.subsets["test"] if "test" in self.subsets else list(self.subsets.values())[-1]

    def of_headline(self, table: str) -> pl.DataFrame:
        """Return the rows of a table that belong to the headline subset."""
        return self.tables[table].filter(pl.col("subset") == self.headline.subset)


@dataclass(frozen=True)
class TaskAnalysis:
    """How the predictions of one task are analysed.

    Attributes:
        noun: What an item is called, in the singular.
        read: Reads and checks the predictions; returns the subsets in the order of reports.
        draw: Writes the plots that only this task has into a folder.
        advise: Returns the sentence about where the model fails most; only called for a model that beats its baseline
            and has worst items.
    """

    noun: str
    read: Callable[[AnalysisInputs, ResultAnalyzer], list[SubsetData]]
    draw: Callable[[Analysis, AnalysisInputs, ResultAnalyzer, Path], None]
    advise: Callable[[Analysis], str]


def by_subset(frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the rows of each subset, in the order of reports: train, validation, test, then others as they come."""
    names = frame["subset"].unique(maintain_order=True).to_list()
    ordered = [name for name in STANDARD_SUBSETS if name in names]
    ordered += [name for name in names if name not in STANDARD_SUBSETS]
    return {subset: frame.filter(pl.col("subset") == subset) for subset in ordered}


def headline_row(analysis: pl.DataFrame, subset: str) -> Row:
    """Return the first metric of a subset that is about all classes, or else the first of all."""
    rows = analysis.filter(pl.col("subset") == subset)
    over_all_classes = rows.filter(pl.col("class") == "")
    return (over_all_classes if len(over_all_classes) else rows).row(0, named=True)


def summarize(row: Row, metric: Metric, items: str, intervals: bool = True) -> str:
    """Return one sentence: metric, interval, subset, number of items, and the trivial baseline.

    Args:
        row: The headline row.
        metric: Its metric.
        items: Number and name of the items, such as ``48 items``.
        intervals: Whether intervals were asked for.
    """
    unit = f" {row['unit']}" if row["unit"] else ""
    of_class = f" of class {row['class']}" if row["class"] else ""
    interval = " (too few items for an interval)" if intervals and row["value"] is not None else ""
    if row["ci_low"] is not None:
        interval = f" [{readable_number(row['ci_low'])}, {readable_number(row['ci_high'])}]"
    measured = f"{metric.label}{of_class} {readable_number(row['value'])}{interval}{unit}"
    simple = f", {row['simple_model']} {readable_number(row['simple_value'])}" if row["simple_model"] else ""
    baseline = baseline_text(row["baseline_name"], row["baseline"])
    return f"{measured} on {row['subset']}, {items}; {baseline}{simple}."


def baseline_warning(row: Row, metric: Metric) -> str:
    """Return what to do first where the model is not clearly better than the baseline; empty where it is."""
    value, baseline = row["value"], row["baseline"]
    if value is None or baseline is None:
        return f"{metric.label} is not defined here: give subset {row['subset']} more, and more varied, items."
    if not metric.beats(value, baseline):
        return (
            f"The model is no better than the {row['baseline_name']}: look for wrong targets among the worst items, "
            "then train longer (leave trained_model.train_params.epochs out, or raise it), or compare another model "
            "(trained_model.model)."
        )
    if row["ci_low"] is None:
        return ""
    worse_end = row["ci_low"] if metric.higher_is_better else row["ci_high"]
    if not metric.beats(worse_end, baseline):
        return f"The interval reaches the {row['baseline_name']}: predict more items of subset {row['subset']}."
    return ""


def simple_model_advice(row: Row, metric: Metric) -> str:
    """Return what to do first where a simple model is better than the network's interval; empty where none is."""
    best, simple = row["ci_high"] if metric.higher_is_better else row["ci_low"], row["simple_value"]
    if best is None or simple is None or not metric.beats(simple, best):
        return ""
    kind = _KINDS_OF_SIMPLE_MODELS.get(row["simple_model"])
    like_it = f"Compare one like it (of a table: trained_model.model: {{kind: {kind}}}); a" if kind else "A"
    return (
        f"A simple model on the same training data is better: {row['simple_model']}, {metric.label} "
        f"{readable_number(simple)}. {like_it} network may need more to learn from: more items, longer training "
        "(leave trained_model.train_params.epochs out, or raise it), other inputs."
    )


_KINDS_OF_SIMPLE_MODELS = {"linear model": "linear", "gradient boosting": "gradient_boosting"}
"""What to write as ``trained_model.model.kind`` for a model of rows like the simple one."""


def baseline_text(name: str, value: float | None) -> str:
    """Return what the trivial prediction of a name reaches in the metric just told: ``baseline (train mean) 2.450``."""
    return f"baseline ({name}) {readable_number(value)}"
