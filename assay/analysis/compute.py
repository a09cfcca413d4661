"""All numbers of the analysis, before anything is written or drawn.

Belongs here: from predictions to tables and the report. Does not belong here: files, pictures.
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

from assay.analysis.details import calibration_rows, confusion_rows, worst_rows
from assay.analysis.evaluate import evaluate_subset, make_sample
from assay.analysis.inputs import AnalysisInputs, headline_subset, ordered_subsets, read_predictions
from assay.analysis.words import headline_row, suggest_next, summarize
from assay.metrics.registry import get_metric, get_metrics
from assay.metrics.samples import ClassificationSample, Sample
from assay.progress import Progress, silent
from assay.spec.analysis import ResultAnalyzer


@dataclass(frozen=True)
class Analysis:
    """What is known about the predictions.

    Attributes:
        tables: Frames by file name without ending: ``analysis`` and ``worst_items``; for classification also
            ``confusion_matrix`` and ``calibration``. Each has a column ``subset``.
        samples: The items of each subset, in the order of reports.
    """

    tables: dict[str, pl.DataFrame]
    samples: dict[str, Sample]

    @property
    def headline(self) -> str:
        """The subset that summary and pictures are about."""
        return headline_subset(list(self.samples))

    def of_headline(self, table: str) -> pl.DataFrame | None:
        """Return the headline subset's part of a table, None when there is no such table."""
        frame = self.tables.get(table)
        return None if frame is None else frame.filter(pl.col("subset") == self.headline)


def compute_analysis(
    inputs: AnalysisInputs, analyzer: ResultAnalyzer, seed: int, progress: Progress = silent
) -> Analysis:
    """Return every table of the analysis.

    Raises:
        DataError: The predictions can't be analysed, such as two subsets of the same items.
        AssayError: A metric does not fit the task.
    """
    frame = read_predictions(inputs)
    metrics = get_metrics(analyzer.metrics_for(inputs.task), inputs.task, len(inputs.classes) or None)
    parts = {subset: frame.filter(pl.col("subset") == subset) for subset in ordered_subsets(frame)}
    samples = {subset: make_sample(part, inputs, analyzer) for subset, part in parts.items()}
    evaluated = []
    for done, (subset, part) in enumerate(parts.items()):
        progress(done, len(parts) + 1, subset)
        evaluated.append(evaluate_subset(part, inputs, metrics, analyzer, seed))
    tables = {
        "analysis": pl.concat(evaluated),
        "worst_items": pl.concat([worst_rows(part, inputs, analyzer.worst_items) for part in parts.values()]),
    }
    return Analysis(tables | _classification_tables(samples, inputs.classes), samples)


def _classification_tables(samples: dict[str, Sample], classes: tuple[str, ...]) -> dict[str, pl.DataFrame]:
    of_classes = {name: sample for name, sample in samples.items() if isinstance(sample, ClassificationSample)}
    if not of_classes:
        return {}
    return {
        "confusion_matrix": pl.concat([confusion_rows(name, sample, classes) for name, sample in of_classes.items()]),
        "calibration": pl.concat([calibration_rows(name, sample) for name, sample in of_classes.items()]),
    }


def report_of(analysis: Analysis) -> dict[str, Any]:
    """Return rows per subset, metrics about all classes per subset, a summary sentence and what to do next."""
    table = analysis.tables["analysis"]
    row = headline_row(table, analysis.headline)
    metric = get_metric(row["metric"])
    worst = analysis.tables["worst_items"].filter(pl.col("subset") == analysis.headline)
    metrics: dict[str, dict[str, Any]] = {}
    for whole in table.filter(pl.col("class") == "").iter_rows(named=True):
        values = {name: whole[name] for name in ("value", "ci_low", "ci_high", "baseline", "baseline_name", "unit")}
        metrics.setdefault(whole["subset"], {})[whole["metric"]] = values
    return {
        "rows": {subset: len(sample.target) for subset, sample in analysis.samples.items()},
        "metrics": metrics,
        "summary": summarize(row, metric),
        "next": suggest_next(row, metric, worst, analysis.of_headline("confusion_matrix")),
    }
