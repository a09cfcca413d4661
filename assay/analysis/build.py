"""Builds the result of the stage ``analysis``.

Belongs here: which files there are. Does not belong here: how anything is computed or drawn.
"""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from assay.analysis.base import ANALYSIS_SCHEMA, Analysis, AnalysisInputs, Part
from assay.analysis.report import KINDS, draw_pictures, report_of
from assay.metrics.bootstrap import intervals
from assay.metrics.registry import Metric, get_metrics
from assay.metrics.samples import Floats
from assay.spec.analysis import AnalysisSection, ResultAnalyzer
from assay.storage.parquet import read_parquet, write_parquet
from assay.training.image_targets import ImageTarget
from assay.training.model_file import read_card
from assay.training.predictions import PREDICTIONS
from assay.training.summary import TRAINING_SUMMARY
from assay.training.targets import NumberTarget
from assay.training.trained_model import CHOSEN
from assay.utils.concurrency import Progress, silent


def build_analysis(
    inputs: AnalysisInputs, spec: AnalysisSection, seed: int, folder: Path, progress: Progress = silent
) -> dict[str, Any]:
    """Compute metrics with intervals and baselines, tables of failures, and pictures.

    Writes ``analysis.parquet``, ``worst_items.parquet`` and further tables of the kind of learning; pictures of the
    subset test, or else the last.

    Args:
        inputs: Predictions, training targets, kind of learning and classes.
        spec: What is computed.
        seed: Seed of the bootstrap.
        folder: Empty folder to fill.
        progress: Told after each subset.

    Returns:
        Rows per subset, metrics per subset, a summary sentence and what to do next.

    Raises:
        DataError: The predictions can't be analysed, such as two subsets of the same items.
        AssayError: A metric does not fit the kind of learning.
    """
    analysis = compute_analysis(inputs, spec.result_analyzer, seed, progress)
    steps = len(analysis.parts) + 1
    progress(steps - 1, steps, "tables and pictures")
    for name, table in analysis.tables.items():
        write_parquet(table, folder / f"{name}.parquet")
    draw_pictures(analysis, inputs, spec.result_analyzer, folder / "pictures")
    progress(steps, steps, "")
    return report_of(analysis, KINDS[inputs.task])


def compute_analysis(
    inputs: AnalysisInputs, analyzer: ResultAnalyzer, seed: int, progress: Progress = silent
) -> Analysis:
    """Return every table of the analysis.

    Raises:
        DataError: The predictions can't be analysed, such as two subsets of the same items.
        AssayError: A metric does not fit the kind of learning.
    """
    metrics = get_metrics(analyzer.metrics_for(inputs.task), inputs.task, len(inputs.classes) or None)
    parts = KINDS[inputs.task].parts(inputs, analyzer)
    evaluated = []
    for done, part in enumerate(parts):
        progress(done, len(parts) + 1, part.subset)
        evaluated.append(evaluate_part(part, inputs.classes, metrics, analyzer, seed))
    tables = {name: pl.concat([part.tables[name] for part in parts]) for name in parts[0].tables}
    return Analysis({"analysis": pl.concat(evaluated), **tables}, {part.subset: part for part in parts})


def evaluate_part(
    part: Part, classes: tuple[str, ...], metrics: Mapping[str, Metric], analyzer: ResultAnalyzer, seed: int
) -> pl.DataFrame:
    """Return the metrics of one subset.

    Args:
        part: The subset.
        classes: Class names in the model's order.
        metrics: By name, in the order of the rows.
        analyzer: Intervals and unit.
        seed: Seed of the bootstrap; a subset's draws do not depend on which other subsets there are.
    """
    ends = intervals(
        {name: metric.compute for name, metric in metrics.items()},
        part.sample,
        part.groups,
        np.random.default_rng([seed, zlib.crc32(part.subset.encode())]),
        resamples=analyzer.bootstrap_samples,
        confidence=analyzer.confidence,
    )
    rows: list[dict[str, Any]] = []
    for name, metric in metrics.items():
        baseline = metric.compute(part.baselines[metric.baseline_name])[0]
        columns = [metric.compute(part.sample)[0], *ends[name], baseline]
        fixed = {"subset": part.subset, "metric": name, "baseline_name": metric.baseline_name}
        fixed["unit"] = metric.unit_for(analyzer.unit)
        rows += [{**fixed, **values} for values in _values(columns, metric, part, classes)]
    return pl.DataFrame(rows, schema=ANALYSIS_SCHEMA).with_columns(pl.selectors.float().fill_nan(None))


def _values(
    columns: list[Floats], metric: Metric, part: Part, classes: tuple[str, ...]
) -> list[dict[str, str | int | float]]:
    """Return class, count and numbers of each row of a metric: one, or one per class."""
    names = classes if metric.per_class else ("",)
    counts = part.sample.class_counts if metric.per_class else [part.item_count]
    spread = [np.broadcast_to(column, len(names)).tolist() for column in columns]
    keys = ("class", "count", "value", "ci_low", "ci_high", "baseline")
    return [dict(zip(keys, row, strict=True)) for row in zip(names, counts, *spread, strict=True)]


def inputs_of_model(
    model_folder: Path,
    predictions_folder: Path,
    splits_folder: Path | None = None,
    crops_folder: Path | None = None,
) -> AnalysisInputs:
    """Return what the analysis of a model's predictions reads.

    Args:
        model_folder: Result of the stage ``trained_model``.
        predictions_folder: Result of the stage ``predictions``.
        splits_folder: Result of ``splits`` that was predicted, with true masks or boxes; None where neither is learned.
        crops_folder: Result of ``crops``, to show the worst items; None where there are no pictures.
    """
    card, taught = read_card(model_folder / CHOSEN), read_parquet(model_folder / TRAINING_SUMMARY)
    predictions, target = predictions_folder / PREDICTIONS, card.target
    if isinstance(target, ImageTarget):
        return AnalysisInputs(
            predictions, taught, card.task, target.classes, splits_folder=splits_folder, label_classes=target.mapping
        )
    classes = () if isinstance(target, NumberTarget) else target.classes
    return AnalysisInputs(predictions, taught, card.task, classes, crops_folder)
