"""Test kind ``metric``: a measured metric compares with a number.

Belongs here: comparing. Does not belong here: computing metrics.
"""

import operator

from assay.checks.result import ExperimentFiles, TestResult, not_materialized, verdict
from assay.exptests.analysis_rows import find_row
from assay.spec.exptest_kinds import MetricTest

ORDER = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}


def check_metric(test: MetricTest, files: ExperimentFiles) -> TestResult:
    """Compare one value of ``analysis.parquet``; the interval is shown but does not decide."""
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
    """Return whether a value meets the test; ``=`` allows the test's tolerance on either side, the others none."""
    if test.operator in ("=", "=="):
        return abs(value - test.value) <= test.tolerance
    return bool(ORDER[test.operator](value, test.value))
