"""Test kind ``beats_baseline``: the model is better than a prediction made without looking at the items.

Belongs here: comparing with the baseline in the analysis. Does not belong here: computing it.
"""

from assay.checks.result import ExperimentFiles, TestResult, not_materialized, verdict
from assay.exptests.analysis_rows import MetricRow, find_row
from assay.metrics.registry import Metric, get_metric
from assay.spec.exptest_kinds import BeatsBaselineTest


def check_beats_baseline(test: BeatsBaselineTest, files: ExperimentFiles) -> TestResult:
    """Compare the metric, or the worse end of its interval, with the baseline beside it.

    Raises:
        ValueError: The metric is null; ``ExptestsSection.tests_for`` fills it in.
    """
    if test.metric is None:
        raise ValueError("beats_baseline.metric is null; take the tests from ExptestsSection.tests_for(task)")
    metric = get_metric(test.metric)
    direction = "above" if metric.higher_is_better else "below"
    of = "interval of " if test.confident else ""
    expected = f"{of}{test.metric} {direction} the baseline on {test.subset}"
    if files.analysis is None:
        return not_materialized(test, "analysis", expected)
    row = find_row(files.analysis, test.subset, test.metric)
    if isinstance(row, str):
        return verdict(test, False, row, measured="no such row", expected=expected)
    passed = _beats(metric, row, test.confident)
    baseline = "not defined" if row.baseline is None else f"{row.baseline:.4g}"
    measured = f"{row.as_text()}; {row.baseline_name} {baseline}"
    description = f"{metric.label} on {test.subset} is {row.as_text()}; {row.baseline_name} alone gives {baseline}."
    if not passed:
        description += " Look at the worst items for wrong labels, or train longer."
    return verdict(test, passed, description, measured=measured, expected=expected)


def _beats(metric: Metric, row: MetricRow, confident: bool) -> bool:
    worse_end = row.ci_low if metric.higher_is_better else row.ci_high
    value = worse_end if confident else row.value
    return value is not None and row.baseline is not None and metric.beats(value, row.baseline)
