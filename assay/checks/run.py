"""Runs experiment tests by kind and writes ``exp_tests.csv``.

Belongs here: the list of kinds. Does not belong here: a test. An installed package adds a kind by an entry point in
the group ``assay.tests`` whose object is an ``assay.spec.exptests.TestKind``.
"""

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from assay.checks.files import check_files_exist, check_models_saved, check_no_missing_values
from assay.checks.metrics import check_beats_baseline, check_metric
from assay.checks.result import ExperimentFiles, TestResult
from assay.checks.split_leakage import check_split_leakage
from assay.spec.exptests import TEST_PLUGINS, TestKind, TestSection
from assay.spec.plugins import load_plugin
from assay.storage.files import write_text

BUILT_IN: dict[str, Callable[[Any, ExperimentFiles], TestResult]] = {
    "models_saved": check_models_saved,
    "no_missing_values": check_no_missing_values,
    "files_exist": check_files_exist,
    "split_leakage": check_split_leakage,
    "metric": check_metric,
    "beats_baseline": check_beats_baseline,
}

STAGES: dict[str, str] = {
    "models_saved": "trained_model",
    "no_missing_values": "predictions",
    "files_exist": "analysis",
    "split_leakage": "splits",
    "metric": "analysis",
    "beats_baseline": "analysis",
}
"""The earliest asset after which each kind can say something; kinds of installed packages run after ``analysis``."""


def run_test(test: TestSection, files: ExperimentFiles) -> TestResult:
    """Run one test. Nothing is written, and a missing result is a failure that says what to materialize."""
    if test.kind in BUILT_IN:
        return BUILT_IN[test.kind](test, files)
    kind: TestKind = load_plugin(TEST_PLUGINS, test.kind, TestKind)
    result: TestResult = kind.run(test, files)
    return result


def write_exp_tests_csv(results: Iterable[TestResult], path: Path) -> None:
    """Write one row per result, atomically."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(TestResult))
    writer.writerows(astuple(result) for result in results)
    write_text(path, text.getvalue())
