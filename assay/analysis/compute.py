"""All numbers of the analysis, before anything is written or drawn.

Belongs here: from predictions to tables. Does not belong here: files, pictures, sentences.
"""

import polars as pl

from assay.analysis.base import Analysis
from assay.analysis.evaluate import evaluate_part
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.kinds import KINDS
from assay.metrics.registry import get_metrics
from assay.progress import Progress, silent
from assay.spec.analysis import ResultAnalyzer


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
