"""Experiment tests as asset checks: one check per kind of test, on the asset whose result it tests.

Belongs here: which asset a kind of test belongs to. Does not belong here: the tests themselves (``assay.checks``).
"""

from typing import Any

import dagster as dg

from assay.checks.result import TestResult
from assay.experiments.checks import FURTHER_TESTS
from assay.pipeline import StageConfig
from assay.spec.exptests import ExptestsSection
from assets.common import SECTION_KEYS, SECTION_TYPE
from partitions.experiments import experiments
from resources.experiment_store import ExperimentStore

DESCRIPTIONS = {
    "split_leakage": "No file, no visually identical image and no group is in two subsets.",
    "models_saved": "The saved models can be loaded, and all their weights are finite.",
    "files_exist": "The experiment's folder contains every required file.",
    "no_missing_values": "No table or file of the experiment has missing values.",
    "metric": "Metrics are within the limits that the spec sets.",
    "beats_baseline": "The model is better than a trivial baseline.",
    FURTHER_TESTS: "Tests that installed packages add.",
}


def _check(kind: str, asset: str, blocking: bool = False) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset,
        name=kind,
        description=DESCRIPTIONS[kind],
        blocking=blocking,
        partitions_def=experiments,
        additional_ins={"tests": dg.AssetIn(SECTION_KEYS["exptests"], dagster_type=SECTION_TYPE)},
    )
    def check(
        context: dg.AssetCheckExecutionContext, tests: StageConfig[ExptestsSection], store: ExperimentStore
    ) -> dg.AssetCheckResult:
        return _combined(store.run_tests(context, asset, kind, tests.section.tests or ()), blocking)

    return check


def _combined(results: list[TestResult], blocking: bool) -> dg.AssetCheckResult:
    """Return one check result for all tests of a kind.

    Dagster blocks on the severity ERROR, so a blocking check reports the failure of a test that must not block as WARN.
    """
    failed = [result for result in results if not result.passed]
    serious = any(result.blocking if blocking else result.severity == "error" for result in failed)
    metadata: dict[str, Any] = {result.name: result.description for result in results}
    return dg.AssetCheckResult(
        passed=not failed,
        severity=dg.AssetCheckSeverity.ERROR if serious else dg.AssetCheckSeverity.WARN,
        description="; ".join(result.description for result in failed or results) or "The spec asks for no such test.",
        metadata=metadata,
    )


split_leakage = _check("split_leakage", "splits", blocking=True)
models_saved = _check("models_saved", "trained_model")
no_missing_values = _check("no_missing_values", "analysis")
files_exist = _check("files_exist", "analysis")
metric = _check("metric", "analysis")
beats_baseline = _check("beats_baseline", "analysis")
further_tests = _check(FURTHER_TESTS, "analysis")

TEST_CHECKS = [
    key
    for check in (
        split_leakage,
        models_saved,
        no_missing_values,
        files_exist,
        metric,
        beats_baseline,
        further_tests,
    )
    for key in check.check_keys
]
"""Keys of all checks that run the tests of the spec."""
