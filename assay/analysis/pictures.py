"""The pictures of the analysis that every kind of learning has.

Belongs here: which pictures there are. Does not belong here: how a chart looks (``assay.pictures``), the pictures of
one kind of learning (``assay.analysis.kinds``).
"""

from pathlib import Path

import polars as pl

from assay.analysis.base import Analysis
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.kinds import KINDS
from assay.files import write_bytes
from assay.metrics.registry import get_metric
from assay.pictures.bars import metric_bars
from assay.spec.analysis import ResultAnalyzer


def draw_pictures(analysis: Analysis, inputs: AnalysisInputs, analyzer: ResultAnalyzer, folder: Path) -> None:
    """Write every picture that there is something to show for.

    Args:
        analysis: All numbers.
        inputs: Classes, and the images that show the worst items.
        analyzer: The unit of a regression target, how much is shown.
        folder: Where the PNG files go.
    """
    _draw_metrics(analysis.tables["analysis"], folder)
    KINDS[inputs.task].draw(analysis, inputs, analyzer, folder)


def _draw_metrics(table: pl.DataFrame, folder: Path) -> None:
    """Draw every metric about all classes, per subset, beside its baseline."""
    rows = table.filter(pl.col("class") == "")
    if len(rows):
        labels = {name: get_metric(name).label for name in rows["metric"].unique()}
        write_bytes(folder / "metrics.png", metric_bars(rows, labels))
