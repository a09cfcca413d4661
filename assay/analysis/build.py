"""Builds the result of the stage ``analysis``.

Belongs here: which files there are. Does not belong here: how anything is computed or drawn.
"""

from pathlib import Path
from typing import Any

from assay.analysis.compute import compute_analysis
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.kinds import KINDS
from assay.analysis.pictures import draw_pictures
from assay.analysis.report import report_of
from assay.progress import Progress, silent
from assay.spec.analysis import AnalysisSection
from assay.tables import write_parquet


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
