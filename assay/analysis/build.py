"""Builds the result of the stage ``analysis``: reads the inputs, evaluates each subset, writes tables and plots.

Belongs here: what every task has in common, the report, and the table of the tasks. Does not belong here: what one task
reads, draws and advises (a module each), metrics (``assay.metrics``).
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from assay.analysis.base import (
    ANALYSIS_SCHEMA,
    Analysis,
    AnalysisInputs,
    Row,
    SimplePredictions,
    SubsetData,
    TaskAnalysis,
    baseline_warning,
    headline_row,
    simple_model_advice,
    summarize,
)
from assay.analysis.classification import CLASSIFICATION, rare_class_advice
from assay.analysis.detection import DETECTION
from assay.analysis.multi_label import MULTI_LABEL
from assay.analysis.regression import REGRESSION
from assay.analysis.segmentation import SEGMENTATION
from assay.errors import AssayError, shorten
from assay.metrics.intervals import intervals
from assay.metrics.paired import LEAST_PAIRED
from assay.metrics.registry import Metric, get_metric, get_metrics
from assay.metrics.samples import Floats, Sample
from assay.plots.metrics import metric_bars
from assay.spec.analysis import AnalysisSection, ResultAnalyzer
from assay.spec.extensions import added_function
from assay.spec.plugins import RESULT_ANALYZERS
from assay.storage.files import write_bytes
from assay.storage.parquet import read_parquet, write_parquet
from assay.training.image_targets import ImageTarget
from assay.training.model_file import CHOSEN, read_card
from assay.training.predictions import PREDICTIONS
from assay.training.summary import TRAINING_SUMMARY
from assay.training.targets import NumberTarget
from assay.utils.concurrency import Progress, silent
from assay.utils.text import pluralize


def build_analysis(
    inputs: AnalysisInputs, spec: AnalysisSection, seed: int, folder: Path, progress: Progress = silent
) -> dict[str, Any]:
    """Compute metrics with intervals and baselines, tables of the worst items, and plots.

    Writes ``analysis.parquet``, ``worst_items.parquet``, further tables of the task, and plots of the subset test, or
    else of the last.

    Args:
        inputs: Predictions, training summary, task and classes.
        spec: What is computed.
        seed: Seed of the bootstrap.
        folder: Empty folder to fill.
        progress: Called before each subset and after the last step.

    Returns:
        The report: rows per subset, metrics per subset, a summary sentence and what to do next.

    Raises:
        DataError: The predictions can't be analysed; for example, two subsets have the same items.
        AssayError: A metric does not belong to the task.
    """
    analysis = compute_analysis(inputs, spec.result_analyzer, seed, progress)
    steps = len(analysis.subsets) + 1
    progress(steps - 1, steps, "tables and plots")
    for name, table in analysis.tables.items():
        write_parquet(table, folder / f"{name}.parquet")
    draw_plots(analysis, inputs, spec.result_analyzer, folder / "pictures")
    report = report_of(analysis, TASK_ANALYSES[inputs.task], intervals=spec.result_analyzer.bootstrap_samples > 0)
    report |= further_findings(spec.result_analyzer, analysis, inputs, folder)
    progress(steps, steps, "")
    return report


def further_findings(
    analyzer: ResultAnalyzer, analysis: Analysis, inputs: AnalysisInputs, folder: Path
) -> dict[str, Any]:
    """Let the analyzer of an installed package add tables, plots (PNG files in ``pictures/``) and numbers.

    Args:
        analyzer: Its section; nothing is done for Assay's own.
        analysis: All numbers so far.
        inputs: What the analysis reads.
        folder: The result's folder, with every file that Assay writes.

    Returns:
        What to add to the report, under the kind of the analyzer.

    Raises:
        AssayError: It failed, returned something else than numbers and texts by name, or changed a file of Assay's.
    """
    analyse = added_function(RESULT_ANALYZERS, analyzer)
    if analyse is None:
        return {}
    kind, before = str(getattr(analyzer, "kind", "")), _state_of(folder)
    found = analyse(analysis, inputs, folder)
    if changed := sorted(name for name, state in before.items() if _state_of(folder).get(name) != state):
        raise AssayError(f"The result analyzer {kind!r} changed {', '.join(changed)}; expected files of its own.")
    if not isinstance(found, Mapping) or not all(isinstance(value, str | int | float) for value in found.values()):
        raise AssayError(f"The result analyzer {kind!r} returned {shorten(found)}; expected numbers and texts by name.")
    return {kind: dict(found)} if found else {}


def _state_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and modification time of each file, by its path in the folder."""
    files = [(path.relative_to(folder).as_posix(), path.stat()) for path in folder.rglob("*") if path.is_file()]
    return {name: (status.st_size, status.st_mtime_ns) for name, status in files}


def compute_analysis(
    inputs: AnalysisInputs, analyzer: ResultAnalyzer, seed: int, progress: Progress = silent
) -> Analysis:
    """Compute every table of the analysis, without writing or drawing anything.

    Raises:
        DataError: The predictions can't be analysed; for example, two subsets have the same items.
        AssayError: A metric does not belong to the task.
    """
    metrics = get_metrics(analyzer.metrics_for(inputs.task), inputs.task, len(inputs.classes) or None)
    subsets = TASK_ANALYSES[inputs.task].read(inputs, analyzer)
    simple = _simple_subsets(inputs, analyzer)
    evaluated = []
    for done, data in enumerate(subsets):
        progress(done, len(subsets) + 1, data.subset)
        evaluated.append(evaluate_subset(data, inputs.classes, metrics, analyzer, seed, simple.get(data.subset)))
    tables = {name: pl.concat([data.tables[name] for data in subsets]) for name in subsets[0].tables}
    return Analysis({"analysis": pl.concat(evaluated), **tables}, {data.subset: data for data in subsets})


@dataclass(frozen=True)
class _Simple:
    """A simple model's predictions of a subset."""

    name: str
    sample: Sample


def _simple_subsets(inputs: AnalysisInputs, analyzer: ResultAnalyzer) -> dict[str, _Simple]:
    """Return the simple model's predictions of each subset, of the items that the model predicted."""
    if inputs.simple is None:
        return {}
    items = inputs.read_predictions(["subset", "item"])
    rows = inputs.simple.rows.join(items, ["subset", "item"], "semi", maintain_order="left")
    read = TASK_ANALYSES[inputs.task].read(replace(inputs, rows=rows.lazy(), simple=None), analyzer)
    return {data.subset: _Simple(inputs.simple.name, data.sample) for data in read}


def evaluate_subset(
    data: SubsetData,
    classes: tuple[str, ...],
    metrics: Mapping[str, Metric],
    analyzer: ResultAnalyzer,
    seed: int,
    simple: _Simple | None = None,
) -> pl.DataFrame:
    """Return the metrics of one subset with their intervals and baselines, as rows of ``analysis.parquet``.

    Args:
        data: The subset.
        classes: Class names in the model's order.
        metrics: By name, in the order of the rows.
        analyzer: Settings of the intervals, and the unit.
        seed: Seed of the bootstrap; a subset's draws do not depend on which other subsets there are.
        simple: What a simple model predicts for the subset.
    """
    ends = intervals(
        metrics,
        data.sample,
        data.groups,
        np.random.default_rng([seed, zlib.crc32(data.subset.encode())]),
        resamples=analyzer.bootstrap_samples,
        confidence=analyzer.confidence,
    )
    rows: list[dict[str, Any]] = []
    for name, metric in metrics.items():
        baseline = metric.compute(data.baselines[metric.baseline_name])[0]
        simply = np.array(np.nan) if simple is None else metric.compute(simple.sample)[0]
        columns = [metric.compute(data.sample)[0], *ends[name], baseline, simply]
        fixed = {"subset": data.subset, "metric": name, "baseline_name": metric.baseline_name}
        fixed["simple_model"] = simple.name if simple else ""
        fixed["unit"] = metric.unit_for(analyzer.unit)
        rows += [{**fixed, **values} for values in _values(columns, metric, data, classes)]
    return pl.DataFrame(rows, schema=ANALYSIS_SCHEMA).with_columns(pl.selectors.float().fill_nan(None))


def _values(
    columns: list[Floats], metric: Metric, data: SubsetData, classes: tuple[str, ...]
) -> list[dict[str, str | int | float]]:
    """Return class, count and numbers of each row of a metric: one row, or one per class."""
    names = classes if metric.per_class else ("",)
    counts = data.sample.class_counts if metric.per_class else [data.item_count]
    spread = [np.broadcast_to(column, len(names)).tolist() for column in columns]
    keys = ("class", "count", "value", "ci_low", "ci_high", "baseline", "simple_value")
    return [dict(zip(keys, row, strict=True)) for row in zip(names, counts, *spread, strict=True)]


def inputs_of_model(
    model_folder: Path,
    predictions_folder: Path,
    splits_folder: Path | None = None,
    crops_folder: Path | None = None,
    rows: pl.LazyFrame | None = None,
    simple: SimplePredictions | None = None,
) -> AnalysisInputs:
    """Return what the analysis of a model's predictions reads.

    Args:
        model_folder: Result of the stage ``trained_model``.
        predictions_folder: Result of the stage ``predictions``.
        splits_folder: Result of ``splits`` that was predicted, with true masks or boxes; None for other tasks.
        crops_folder: Result of ``crops``, whose images show the worst items; None without crops.
        rows: The table of the predictions, where it was handed over.
        simple: What a simple model predicts for the same items.
    """
    card, predictions = read_card(model_folder / CHOSEN), predictions_folder / PREDICTIONS
    training_summary, target = read_parquet(model_folder / TRAINING_SUMMARY), card.target
    if isinstance(target, ImageTarget):
        return AnalysisInputs(
            predictions,
            training_summary,
            card.task,
            target.classes,
            splits_folder=splits_folder,
            label_classes=target.mapping,
            rows=rows,
        )
    classes = () if isinstance(target, NumberTarget) else target.classes
    return AnalysisInputs(predictions, training_summary, card.task, classes, crops_folder, rows=rows, simple=simple)


def report_of(analysis: Analysis, task: TaskAnalysis, intervals: bool = True) -> dict[str, Any]:
    """Return rows per subset, metrics over all classes per subset, a summary sentence and what to do next.

    Args:
        analysis: All numbers.
        task: What is particular to the task.
        intervals: Whether intervals were asked for.
    """
    table = analysis.tables["analysis"]
    row = headline_row(table, analysis.headline.subset)
    metric = get_metric(row["metric"])
    metrics: dict[str, dict[str, Any]] = {}
    for measured in table.filter(pl.col("class") == "").iter_rows(named=True):
        values = {name: value for name, value in measured.items() if name not in ("subset", "metric", "class", "count")}
        metrics.setdefault(measured["subset"], {})[measured["metric"]] = values
    return {
        "rows": {subset: data.item_count for subset, data in analysis.subsets.items()},
        "metrics": metrics,
        "summary": summarize(row, metric, pluralize(analysis.headline.item_count, task.noun), intervals),
        "next": _next_step(analysis, task, row, metric),
    }


LOOSE = 0.7
"""mAP@50:95 below which boxes that are all found still lie badly."""


def _next_step(analysis: Analysis, task: TaskAnalysis, row: Row, metric: Metric) -> str:
    """Return what to do next: about the baseline where it is not beaten, else about where the model fails most."""
    warning = rare_class_advice(analysis.tables["analysis"], row["subset"]) if task is CLASSIFICATION else ""
    warning = warning or baseline_warning(row, metric) or simple_model_advice(row, metric)
    if warning:
        return warning
    if analysis.of_headline("worst_items").is_empty():
        if task is DETECTION and row["value"] is not None and row["value"] < LOOSE:
            return (
                f"Every object of {row['subset']} is found, but its box is loose: train longer (leave "
                "train_params.epochs out, or raise it), or read larger images (data_description.image_size)."
            )
        few = analysis.headline.item_count < LEAST_PAIRED
        than = f", but {pluralize(analysis.headline.item_count, 'item is', 'items are')} few" if few else ""
        then = "test more, such as every item once with assay sweep ID --folds 5" if few else "try harder data"
        return f"There is no mistake on {row['subset']}{than}: make sure that split_leakage passed, then {then}."
    return task.advise(analysis)


def draw_plots(analysis: Analysis, inputs: AnalysisInputs, analyzer: ResultAnalyzer, folder: Path) -> None:
    """Write all plots for which there is data.

    Args:
        analysis: All numbers.
        inputs: Classes, and the images that show the worst items.
        analyzer: Unit of a regression target, and how many items are shown.
        folder: Where the PNG files go.
    """
    _draw_metrics(analysis.tables["analysis"], folder)
    TASK_ANALYSES[inputs.task].draw(analysis, inputs, analyzer, folder)


def _draw_metrics(table: pl.DataFrame, folder: Path) -> None:
    """Draw every metric over all classes, per subset, beside its baseline."""
    rows = table.filter(pl.col("class") == "")
    if len(rows):
        labels = {name: get_metric(name).label for name in rows["metric"].unique()}
        write_bytes(folder / "metrics.png", metric_bars(rows, labels))


TASK_ANALYSES: Mapping[str, TaskAnalysis] = {
    "regression": REGRESSION,
    "classification": CLASSIFICATION,
    "segmentation": SEGMENTATION,
    "detection": DETECTION,
    "multi_label": MULTI_LABEL,
}
"""By task."""
