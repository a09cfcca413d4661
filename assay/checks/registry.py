"""The table of checks, running one test of a spec, and ``exp_tests.csv``.

Belongs here: which checks there are, and the asset of each. Does not belong here: what a check looks at (one function
each, in the modules beside this one); the keys of a test (``assay.spec.exptests``, whose union of kinds pydantic needs;
a test keeps both equal). An installed package adds a kind of test through an entry point in the group ``assay.tests``
whose object is an ``assay.spec.exptests.TestKind``.
"""

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from assay.checks.files import check_files_exist, check_models_saved, check_no_missing_values
from assay.checks.metrics import check_beats_baseline, check_metric, check_suspicious_labels
from assay.checks.result import ExperimentFiles, TestResult
from assay.checks.split_leakage import check_split_leakage
from assay.errors import AssayError
from assay.spec.exptests import TestKind, TestSection
from assay.spec.extensions import guarded
from assay.spec.plugins import TESTS, load_plugin
from assay.storage.files import update_text

FURTHER_TESTS = "further_tests"
"""Name of the check for all kinds of test that installed packages add."""


@dataclass(frozen=True)
class Check:
    """One check of an asset, which runs all tests of one kind.

    Attributes:
        run: Takes a test and the experiment's files; returns the verdict.
        asset: The asset that it belongs to: the last one whose result it looks at.
        description: What must hold, for the UI.
        blocking: Whether a failed test with ``blocking: true`` stops the assets downstream.
    """

    run: Callable[[Any, ExperimentFiles], TestResult]
    asset: str
    description: str
    blocking: bool = False


def _run_plugin(test: TestSection, files: ExperimentFiles) -> TestResult:
    kind: TestKind = load_plugin(TESTS, test.kind, TestKind)
    result = guarded(TESTS, test.kind, kind.run)(test, files)
    if not isinstance(result, TestResult):
        wanted = "assay.checks.result.verdict"
        raise AssayError(f"The experiment test {test.kind!r} returned a {type(result).__name__}; expected {wanted}(…).")
    return result


CHECKS: dict[str, Check] = {
    "split_leakage": Check(
        check_split_leakage,
        "splits",
        "No file, no visually identical image and no group is in two subsets.",
        blocking=True,
    ),
    "models_saved": Check(
        check_models_saved, "trained_model", "The saved models can be loaded, and all their weights are finite."
    ),
    # It looks at every table and file of an experiment, those of the analysis included.
    "no_missing_values": Check(
        check_no_missing_values, "analysis", "No table or file of the experiment has missing values."
    ),
    "files_exist": Check(check_files_exist, "analysis", "The experiment's folder contains every required file."),
    "metric": Check(check_metric, "analysis", "Metrics are within the limits that the spec sets."),
    "beats_baseline": Check(check_beats_baseline, "analysis", "The model is better than a trivial baseline."),
    "suspicious_labels": Check(
        check_suspicious_labels, "analysis", "Few labels look wrong to the model: less than the spec allows."
    ),
    FURTHER_TESTS: Check(_run_plugin, "analysis", "Tests that installed packages add."),
}
"""By name: the kind of test that they run, or ``further_tests``."""


def check_of(kind: str) -> str:
    """Return the name of the check that runs tests of a kind."""
    return kind if kind in CHECKS else FURTHER_TESTS


def run_test(test: TestSection, files: ExperimentFiles) -> TestResult:
    """Run one test. Nothing is written; a missing result is a failure that says what to materialize."""
    return CHECKS[check_of(test.kind)].run(test, files)


def write_exp_tests_csv(results: Iterable[TestResult], path: Path) -> None:
    """Write one row per result, atomically, unless the file holds these rows already."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(TestResult))
    writer.writerows(astuple(result) for result in results)
    update_text(path, text.getvalue())
