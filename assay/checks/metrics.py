"""Tests of the analysis: ``metric`` compares one with a number, ``beats_baseline`` with a trivial prediction.

Belongs here: finding a metric in ``analysis.parquet`` and comparing it; counting labels that look wrong. Does not
belong here: computing either.
"""

import operator
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from assay.checks.result import ExperimentFiles, TestResult, not_materialized, shortened, verdict
from assay.errors import unknown
from assay.metrics.registry import Metric, get_metric
from assay.spec.exptests import BeatsBaselineTest, MetricTest, SuspiciousLabelsTest

OPERATORS = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}


def check_metric(test: MetricTest, files: ExperimentFiles) -> TestResult:
    """Compare one value of ``analysis.parquet`` with the test's; the interval is shown but does not decide."""
    of_class = f" of class {test.class_name}" if test.class_name else ""
    expected = f"{test.metric}{of_class} {test.operator} {test.value:g} on {test.subset}"
    if files.analysis is None:
        return not_materialized(test, "analysis", expected)
    row = find_row(files.analysis, test.subset, test.metric, test.class_name)
    if isinstance(row, str):
        return verdict(test, False, row, measured="no such row", expected=expected)
    passed = row.value is not None and compares(row.value, test)
    description = f"{test.metric}{of_class} is {row.as_text()} on {test.subset}; expected {expected}."
    return verdict(test, passed, description, measured=row.as_text(), expected=expected)


def compares(value: float, test: MetricTest) -> bool:
    """Return whether a value meets the test; only ``=`` and ``==`` allow the test's tolerance, on either side."""
    if test.operator in ("=", "=="):
        return abs(value - test.value) <= test.tolerance
    return bool(OPERATORS[test.operator](value, test.value))


def check_beats_baseline(test: BeatsBaselineTest, files: ExperimentFiles) -> TestResult:
    """Compare a metric, or the worse end of its interval, with the baseline in the same row.

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
    if test.baseline == "simple":
        if row.simple_value is None:
            why = "No simple model was learned: analysis.result_analyzer.simple_models is false, or the task has none."
            return verdict(test, False, why, measured="no simple model", expected=expected)
        row = replace(row, baseline=row.simple_value, baseline_name=row.simple_model)
    passed = _beats(metric, row, test.confident)
    baseline = "not defined" if row.baseline is None else f"{row.baseline:.4g}"
    measured = f"{row.as_text()}; {row.baseline_name} {baseline}"
    description = f"{metric.label} on {test.subset} is {row.as_text()}; {row.baseline_name} alone gives {baseline}."
    if test.confident and row.value is not None and row.ci_low is None:
        description += " There are too few items for an interval: predict more, or set confident: false."
    elif not passed:
        description += " Look at the worst items for wrong labels, or train longer."
    return verdict(test, passed, description, measured=measured, expected=expected)


def check_suspicious_labels(test: SuspiciousLabelsTest, files: ExperimentFiles) -> TestResult:
    """Compare the share of items in the table ``suspicious_labels`` with the test's, and name the first ones."""
    expected = f"at most {test.most:.1%} of {test.subset}"
    if files.analysis is None:
        return not_materialized(test, "analysis", expected)
    path = files.analysis.with_name("suspicious_labels.parquet")
    counts = pl.read_parquet(files.analysis).filter((pl.col("subset") == test.subset) & (pl.col("class") == ""))
    if not path.is_file() or counts.is_empty():
        missing = f"items of {test.subset}" if path.is_file() else "table of suspicious labels"
        advice = "change predictions.datasets, or leave this test out"
        why = f"The analysis has no {missing}; only predicted subsets of a classification have some: {advice}."
        return verdict(test, False, why, measured="nothing", expected=expected)
    doubted, total = pl.read_parquet(path).filter(pl.col("subset") == test.subset), max(counts["count"].to_list())
    measured = f"{len(doubted)} of {total} items"
    described = [
        f"{row['item']} ({row['target_class']}, looks like {row['predicted_class']})" for row in doubted.to_dicts()
    ]
    description = f"{measured} of {test.subset} have a label that looks wrong: {shortened(described) or 'none'}."
    if described:
        item = shlex.quote(str(doubted.row(0, named=True).get("image") or doubted["item"][0]))
        description += f" Where one counts, how to mend it or leave it out: assay impact {item}"
    return verdict(test, len(doubted) <= test.most * total, description, measured=measured, expected=expected)


@dataclass(frozen=True)
class MetricRow:
    """One measured metric; None where it is not defined."""

    value: float | None
    ci_low: float | None
    ci_high: float | None
    baseline: float | None
    baseline_name: str
    unit: str
    simple_value: float | None = None
    simple_model: str = ""

    def as_text(self) -> str:
        """Return the value with its interval and unit."""
        if self.value is None:
            return "not defined"
        interval = "" if self.ci_low is None or self.ci_high is None else f" [{self.ci_low:.4g}, {self.ci_high:.4g}]"
        return f"{self.value:.4g}{interval}{f' {self.unit}' if self.unit else ''}"


def _beats(metric: Metric, row: MetricRow, confident: bool) -> bool:
    worse_end = row.ci_low if metric.higher_is_better else row.ci_high
    value = worse_end if confident else row.value
    return value is not None and row.baseline is not None and metric.beats(value, row.baseline)


def find_row(path: Path, subset: str, metric: str, class_name: str = "") -> MetricRow | str:
    """Return the row of a metric, or a sentence that names the missing value and the nearest existing one."""
    table = pl.read_parquet(path)
    for column, value in (("subset", subset), ("metric", metric), ("class", class_name)):
        choices = table[column].unique().to_list()
        if value not in choices:
            shown = [choice or "'' (all)" for choice in choices]
            return f"In the analysis, {unknown(column.capitalize(), value, shown)}"
        table = table.filter(pl.col(column) == value)
    row = table.row(0, named=True)
    return MetricRow(**{name: row[name] for name in MetricRow.__dataclass_fields__ if name in row})
