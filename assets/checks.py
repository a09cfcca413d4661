"""Experiment tests as asset checks: one check per kind of test.

Belongs here: how a check becomes Dagster's. Does not belong here: which checks there are and on which asset
(``assay.checks.registry``), what they look at (``assay.checks``), the check of an experiment's file
(``assets.experiment``).
"""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from assay.checks.registry import CHECKS
from assay.checks.result import TestResult
from assay.errors import AssayError
from assay.experiments.last_run import VERIFIES_TAG
from assay.experiments.verification import StageVerdict, repeat_and_compare
from assay.spec.exptests import ExptestsSection
from assay.spec.ids import validate_id
from assay.utils.text import escape_markdown
from assets.common import SECTION_KEYS
from partitions.experiments import experiments
from resources.experiment_store import ExperimentStore
from resources.failures import as_failure


def _tests_of(asset: str) -> dg.AssetChecksDefinition:
    """Return the checks of one asset, as one step of a run: each of them alone costs more than most tests take."""
    kinds = [kind for kind, each in CHECKS.items() if each.asset == asset]

    @dg.multi_asset_check(
        name=f"{asset}_tests",
        specs=[_spec_of(kind) for kind in kinds],
        ins={"tests": dg.AssetIn(SECTION_KEYS["exptests"])},
        can_subset=len(kinds) > 1,
    )
    def checks_of_asset(
        context: dg.AssetCheckExecutionContext,
        tests: Any,  # StageConfig[ExptestsSection], which Dagster can't interpret; an input named in specs has no type
        store: ExperimentStore,
    ) -> Iterator[dg.AssetCheckResult]:
        section: ExptestsSection = tests.section
        chosen = {key.name for key in context.selected_asset_check_keys}
        results, errors = store.run_tests(
            context, asset, [kind for kind in kinds if kind in chosen], section.tests or ()
        )
        for kind, found in results.items():
            yield _combined(kind, found)
        if errors:
            raise errors[0]

    return checks_of_asset


def _spec_of(kind: str) -> dg.AssetCheckSpec:
    check = CHECKS[kind]
    return dg.AssetCheckSpec(
        kind,
        asset=check.asset,
        description=check.description,
        blocking=check.blocking,
        additional_deps=[SECTION_KEYS["exptests"]],
        partitions_def=experiments,
    )


def _combined(kind: str, results: list[TestResult]) -> dg.AssetCheckResult:
    """Return one check result for all tests of a kind.

    Dagster blocks on the severity ERROR, so a blocking check reports the failure of a test that must not block as WARN.
    """
    check = CHECKS[kind]
    failed = [result for result in results if not result.passed]
    serious = any(result.blocking if check.blocking else result.severity == "error" for result in failed)
    metadata: dict[str, Any] = {result.name: result.description for result in results}
    found = "; ".join(result.description for result in failed or results)  # shown as Markdown by the UI
    return dg.AssetCheckResult(
        passed=not failed,
        check_name=kind,
        asset_key=dg.AssetKey(check.asset),
        severity=dg.AssetCheckSeverity.ERROR if serious else dg.AssetCheckSeverity.WARN,
        description=escape_markdown(found) or "The spec asks for no such test.",
        metadata=metadata,
    )


VERIFIED = dg.AssetCheckKey(dg.AssetKey("analysis"), "verified")

TOLERANCE = 1e-3
"""Largest relative difference of numbers in tables that another kind of processor may explain."""


@dg.multi_asset_check(
    name="verified",
    can_subset=True,
    specs=[
        dg.AssetCheckSpec(
            VERIFIED.name,
            asset=VERIFIED.asset_key,
            partitions_def=experiments,
            description="Made again in an empty storage, all results of the experiment have the same bytes. Takes as "
            "long as the experiment did, so it runs only on request: by its own Execute button, or by job_verify.",
        )
    ],
)
def verified(context: dg.AssetCheckExecutionContext, store: ExperimentStore) -> Iterator[dg.AssetCheckResult]:
    """Whether the experiment's results can be made again; does nothing in a run that makes them for the first time."""
    if VERIFIED.asset_key in (context.run.asset_selection or ()):  # "Materialize" takes all checks of its assets along
        return
    experiment_id = validate_id(context.partition_key)
    if not context.run.asset_selection:  # its own button starts a run without the tag of job_verify
        context.instance.add_run_tags(context.run.run_id, {VERIFIES_TAG: "true"})
    with as_failure(f"Experiment {experiment_id}"):
        verdicts = repeat_and_compare(store.path, experiment_id, store.specs.load(experiment_id))
    yield _verification(verdicts)


def _verification(verdicts: Sequence[StageVerdict]) -> dg.AssetCheckResult:
    """Return a warning where another kind of processor may be the reason, an error where nothing explains it."""
    differ = [each for each in verdicts if each.problem]
    serious = not all(each.is_within(TOLERANCE) for each in differ)
    found = "; ".join(f"{each.stage}: {each}" for each in differ)
    files = {each.stage: list(each.differing[:MOST_FILES]) for each in differ}
    return dg.AssetCheckResult(
        passed=not differ,
        check_name=VERIFIED.name,
        asset_key=VERIFIED.asset_key,
        severity=dg.AssetCheckSeverity.ERROR if serious else dg.AssetCheckSeverity.WARN,
        description=escape_markdown(found) or "Made again, the results of all stages have the same bytes.",
        metadata={
            **{each.stage: str(each) for each in verdicts},
            **({"files_that_differ": dg.MetadataValue.json(files)} if differ else {}),
        },
    )


MOST_FILES = 50
"""Names of files per stage that the check's metadata list."""


with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.PreviewWarning)  # partitions of checks; what they do is held by our own tests
    EXPORT_PARITY = dg.AssetCheckSpec(
        "export_parity",
        asset="trained_model",
        partitions_def=experiments,
        description="Exported to ONNX, the model gives the trained one's numbers within 1e-4 and its decisions, on up "
        "to 256 test items. Takes seconds, so runs that train leave it out: run job_export_parity.",
    )


@dg.multi_asset_check(name="export_parity", specs=[EXPORT_PARITY], can_subset=True)
def export_parity(context: dg.AssetCheckExecutionContext, store: ExperimentStore) -> Iterator[dg.AssetCheckResult]:
    """Whether an export of the model may be used in its place; gives no result in a run that makes the model."""
    op = context.op_execution_context
    if EXPORT_PARITY.asset_key in op.job_def.asset_layer.selected_asset_keys:
        context.log.info("Left out where the model is made, because it takes seconds. Next: job_export_parity")
        return
    folder = store.folders.find(op.partition_key)
    yield _parity_of(folder.path if folder else op.partition_key)


def _parity_of(name: str | Path) -> dg.AssetCheckResult:
    """Return the result for a model; what can't be exported, or not here, is a warning with the reason."""
    from assay.inference.export import check_export  # torch: only here
    from assay.inference.model import open_model
    from assay.inference.stored import note_on_precision

    warn = dg.AssetCheckSeverity.WARN
    try:
        model = open_model(name)
        parity = check_export(model)
    except AssayError as error:
        return dg.AssetCheckResult(
            passed=False, severity=warn, description=escape_markdown(f"Not checked: {error}"), metadata={"items": 0}
        )
    told = " ".join(filter(None, [parity.sentence, note_on_precision(model.stored)]))
    return dg.AssetCheckResult(
        passed=parity.passed, description=escape_markdown(told), metadata={**parity.as_dict(), "format": "onnx"}
    )


TEST_CHECKS = [_tests_of(asset) for asset in dict.fromkeys(each.asset for each in CHECKS.values())]
"""All checks that run the tests of the spec, by asset."""

TEST_CHECK_KEYS = [key for check in TEST_CHECKS for key in check.check_keys]
