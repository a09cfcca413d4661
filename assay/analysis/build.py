"""Builds the result of the stage ``analysis``.

Belongs here: the order of work and the files. Does not belong here: how anything is computed or drawn.
"""

from pathlib import Path
from typing import Any

import polars as pl

from assay.analysis.details import calibration_rows, confusion_rows, worst_rows
from assay.analysis.evaluate import evaluate_subset, make_sample
from assay.analysis.inputs import AnalysisInputs, headline_subset, ordered_subsets, read_predictions
from assay.analysis.pictures import draw_metrics, draw_sample, draw_worst
from assay.analysis.words import headline_row, suggest_next, summarize
from assay.metrics.registry import get_metric, get_metrics
from assay.metrics.samples import ClassificationSample, Sample
from assay.progress import Progress, silent
from assay.spec.analysis import AnalysisSection, ResultAnalyzer
from assay.tables import write_parquet


def build_analysis(
    inputs: AnalysisInputs, spec: AnalysisSection, seed: int, folder: Path, progress: Progress = silent
) -> dict[str, Any]:
    """Compute metrics with intervals and baselines, tables of failures, and pictures.

    Writes ``analysis.parquet``, ``worst_items.parquet`` and, for classification, ``confusion_matrix.parquet`` and
    ``calibration.parquet``; pictures of the subset test, or else the last.

    Args:
        inputs: Predictions, training targets, task and classes.
        spec: What is computed.
        seed: Seed of the bootstrap.
        folder: Empty folder to fill.
        progress: Told after each subset.

    Returns:
        Rows per subset, metrics per subset, a summary sentence and what to do next.

    Raises:
        DataError: The predictions can't be analysed, such as two subsets of the same items.
        AssayError: A metric does not fit the task.
    """
    analyzer = spec.result_analyzer
    frame = read_predictions(inputs)
    metrics = get_metrics(analyzer.metrics_for(inputs.task), inputs.task, len(inputs.classes) or None)
    subsets = ordered_subsets(frame)
    parts = {subset: frame.filter(pl.col("subset") == subset) for subset in subsets}
    evaluated = []
    for done, (subset, part) in enumerate(parts.items()):
        progress(done, len(parts) + 1, subset)
        evaluated.append(evaluate_subset(part, inputs, metrics, analyzer, seed))
    analysis = pl.concat(evaluated)
    write_parquet(analysis, folder / "analysis.parquet")
    progress(len(parts), len(parts) + 1, "tables and pictures")
    draw_metrics(folder / "pictures", analysis)
    words = _write_details(parts, inputs, analyzer, analysis, folder)
    progress(len(parts) + 1, len(parts) + 1, "")
    rows = {subset: len(part) for subset, part in parts.items()}
    return {"rows": rows, "classes": list(inputs.classes), "metrics": _metrics_report(analysis), **words}


def _write_details(
    parts: dict[str, pl.DataFrame],
    inputs: AnalysisInputs,
    analyzer: ResultAnalyzer,
    analysis: pl.DataFrame,
    folder: Path,
) -> dict[str, str]:
    """Write the tables and pictures of failures; returns the sentences about the headline subset."""
    samples = {subset: make_sample(part, inputs, analyzer) for subset, part in parts.items()}
    worst = pl.concat([worst_rows(part, inputs, analyzer.worst_items) for part in parts.values()])
    write_parquet(worst, folder / "worst_items.parquet")
    confusion, calibration = _write_classification(samples, inputs.classes, folder)
    subset = headline_subset(list(parts))
    of_subset = pl.col("subset") == subset
    worst = worst.filter(of_subset)
    draw_sample(
        folder / "pictures", subset, samples[subset], inputs.classes, calibration.filter(of_subset), analyzer.unit
    )
    draw_worst(folder / "pictures", worst, inputs)
    row = headline_row(analysis, subset)
    metric = get_metric(row["metric"])
    mistakes = confusion.filter(of_subset) if inputs.task == "classification" else None
    return {"summary": summarize(row, metric), "next": suggest_next(row, metric, worst, mistakes)}


def _write_classification(
    samples: dict[str, Sample], classes: tuple[str, ...], folder: Path
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Write and return confusion and calibration of all subsets; empty frames, and no files, for regression."""
    confusion, calibration = pl.DataFrame({"subset": []}), pl.DataFrame({"subset": []})
    of_classes = {name: sample for name, sample in samples.items() if isinstance(sample, ClassificationSample)}
    if of_classes:
        confusion = pl.concat([confusion_rows(name, sample, classes) for name, sample in of_classes.items()])
        calibration = pl.concat([calibration_rows(name, sample) for name, sample in of_classes.items()])
        write_parquet(confusion, folder / "confusion_matrix.parquet")
        write_parquet(calibration, folder / "calibration.parquet")
    return confusion, calibration


def _metrics_report(analysis: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the metrics about all classes, by subset and name."""
    report: dict[str, dict[str, Any]] = {}
    for row in analysis.filter(pl.col("class") == "").iter_rows(named=True):
        values = {name: row[name] for name in ("value", "ci_low", "ci_high", "baseline", "baseline_name", "unit")}
        report.setdefault(row["subset"], {})[row["metric"]] = values
    return report
