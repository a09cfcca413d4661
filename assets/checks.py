"""Experiment tests as asset checks: one check per kind of test.

Belongs here: how a check becomes Dagster's. Does not belong here: which checks there are and on which asset
(``assay.checks.registry``), what they look at (``assay.checks``), the check of an experiment's file
(``assets.experiment``).
"""

from typing import Any

import dagster as dg

from assay.checks.registry import CHECKS
from assay.checks.result import TestResult
from assay.pipeline import StageConfig
from assay.spec.exptests import ExptestsSection
from assay.utils.text import escape_markdown
from assets.common import SECTION_KEYS, SECTION_TYPE
from partitions.experiments import experiments
from resources.experiment_store import ExperimentStore


def _check(kind: str) -> dg.AssetChecksDefinition:
    spec = CHECKS[kind]

    @dg.asset_check(
        asset=spec.asset,
        name=kind,
        description=spec.description,
        blocking=spec.blocking,
        partitions_def=experiments,
        additional_ins={"tests": dg.AssetIn(SECTION_KEYS["exptests"], dagster_type=SECTION_TYPE)},
    )
    def check(
        context: dg.AssetCheckExecutionContext, tests: StageConfig[ExptestsSection], store: ExperimentStore
    ) -> dg.AssetCheckResult:
        return _combined(store.run_tests(context, spec.asset, kind, tests.section.tests or ()), spec.blocking)

    return check


def _combined(results: list[TestResult], blocking: bool) -> dg.AssetCheckResult:
    """Return one check result for all tests of a kind.

    Dagster blocks on the severity ERROR, so a blocking check reports the failure of a test that must not block as WARN.
    """
    failed = [result for result in results if not result.passed]
    serious = any(result.blocking if blocking else result.severity == "error" for result in failed)
    metadata: dict[str, Any] = {result.name: result.description for result in results}
    found = "; ".join(result.description for result in failed or results)  # shown as Markdown by the UI
    return dg.AssetCheckResult(
        passed=not failed,
        severity=dg.AssetCheckSeverity.ERROR if serious else dg.AssetCheckSeverity.WARN,
        description=escape_markdown(found) or "The spec asks for no such test.",
        metadata=metadata,
    )


TEST_CHECKS = [_check(kind) for kind in CHECKS]
"""All checks that run the tests of the spec."""

TEST_CHECK_KEYS = [key for check in TEST_CHECKS for key in check.check_keys]
