"""Asset ``experiment``: reads the spec, freezes it for the run, and gives each section a data version of its own.

Its check ``spec_is_valid`` is part of the same step, so that a file that can't be used makes the check, the partition
and the run red at once, and a valid one costs no step of its own.

Belongs here: the start of the asset graph. Does not belong here: validating specs (``assay.spec``).
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import dagster as dg
import polars as pl

from assay.automation.reconcile import NOT_NEEDED
from assay.errors import SpecError, StorageError
from assay.experiments.folders import ExperimentFolder, experiment_row
from assay.experiments.specs import removal_notice, store_run_config
from assay.pipeline import STAGES, digest_of, stage_config, why_not_needed
from assay.spec.experiment import ExperimentSpec
from assay.spec.ids import validate_id
from assay.spec.yaml_text import to_yaml
from assay.utils.text import code_block, escape_markdown
from assets.common import BY_EXPERIMENT, OWNERS, SECTION_KEYS, STORES_TABLE, lineage, tags_of
from assets.launchpad import spec_field
from partitions.experiments import experiments
from resources.experiment_store import ExperimentStore
from resources.failures import as_failure
from resources.instance.run_records import is_automatic, latest_versions, version_tags

SPEC_CHECK_KEY = dg.AssetCheckKey(dg.AssetKey("experiment"), "spec_is_valid")
"""The check of the experiment's file."""


@dg.multi_asset(
    name="experiment",
    outs={
        "experiment": dg.AssetOut(
            io_manager_key="tables",
            group_name="experiment",
            kinds={"yaml"},
            owners=OWNERS,
            tags=STORES_TABLE,
            metadata={**BY_EXPERIMENT, "table": "experiments"},
        ),
        **{
            key.path[-1]: dg.AssetOut(
                key=key,
                io_manager_key="sections",
                group_name="spec",
                kinds={"yaml"},
                owners=OWNERS,
                description=f"Section `{name}` of the experiment's spec; its data version is a hash of its content.",
            )
            for name, key in SECTION_KEYS.items()
        },
    },
    internal_asset_deps={
        "experiment": set(),
        **{key.path[-1]: {dg.AssetKey("experiment")} for key in SECTION_KEYS.values()},
    },
    check_specs=[
        dg.AssetCheckSpec(
            SPEC_CHECK_KEY.name,
            asset="experiment",
            description="The experiment's file is there, can be read and is valid, also with what was set in the "
            "Launchpad; the reason stands in the result.",
            partitions_def=experiments,
        )
    ],
    config_schema={"spec": spec_field()},
    partitions_def=experiments,
)
def experiment(
    context: dg.AssetExecutionContext, store: ExperimentStore
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """The experiment's spec: its file, or the template of its task, with the changes made in the Launchpad.

    One partition per experiment. To add one, save a file `experiments/ID.yaml` (worked examples are in
    `experiments/examples/`), or choose **Materialize** and *Add a partition*. In a new project, the partition `example`
    is there to try.
    """
    experiment_id = context.partition_key
    try:
        spec, folder = _opened(context, store)
    except dg.Failure as failure:
        yield file_check(experiment_id, failure.description or "")
        raise
    yield file_check(experiment_id)
    context.instance.add_run_tags(context.run.run_id, tags_of(spec))
    log_not_needed(context, spec)
    yield from _results(experiment_id, spec, folder)


def _results(experiment_id: str, spec: ExperimentSpec, folder: ExperimentFolder) -> Iterator[dg.MaterializeResult[Any]]:
    """Yield the whole spec, with its row of the table of experiments, and each of its sections."""
    values = spec.as_dict()
    yield dg.MaterializeResult(
        asset_key="experiment",
        value=pl.DataFrame([experiment_row(experiment_id, spec, folder)]),
        data_version=dg.DataVersion(digest_of(values)),
        metadata={
            "spec": dg.MetadataValue.md(code_block(to_yaml(values), "yaml")),
            "folder": dg.MetadataValue.path(str(folder.path)),
            **lineage(spec.found),
        },
    )
    for name, key in SECTION_KEYS.items():
        part = stage_config(spec, experiment_id, name)
        yield dg.MaterializeResult(
            asset_key=key,
            value=part,
            data_version=dg.DataVersion(part.digest),
            metadata={"section": dg.MetadataValue.md(code_block(to_yaml(values[name]), "yaml"))},
        )


def _opened(context: dg.AssetExecutionContext, store: ExperimentStore) -> tuple[ExperimentSpec, ExperimentFolder]:
    experiment_id = context.partition_key
    with as_failure(f"Experiment {experiment_id}"):
        store.begin(validate_id(experiment_id), partial(store.reporter.wait, context, "experiment"))
        overrides = context.op_execution_context.op_config["spec"]
        spec = _read_spec(store, context.run, validate_id(experiment_id), overrides)
        return spec, store.folders.open(experiment_id, spec)


def file_check(experiment_id: str, problem: str = "") -> dg.AssetCheckResult:
    """Return the outcome of ``spec_is_valid``; it names the experiment, since the UI's overview shows the latest one's.

    Args:
        experiment_id: The partition.
        problem: Why the experiment can't be used; empty if it can.
    """
    return dg.AssetCheckResult(
        check_name=SPEC_CHECK_KEY.name,
        asset_key=SPEC_CHECK_KEY.asset_key,
        passed=not problem,
        description=escape_markdown(problem or f"{experiment_id}: the file is valid."),
        metadata={"problem": dg.MetadataValue.md(code_block(problem))} if problem else {},
    )


def log_not_needed(context: dg.AssetExecutionContext, spec: ExperimentSpec) -> None:
    """Record the stages that nothing in the experiment reads as finished, so that they don't count as missing.

    Those that were made by hand before, or are part of the run, are left alone.
    """
    name = context.partition_key
    selected = context.run.asset_selection or context.job_def.asset_layer.selected_asset_keys
    for stage in [name for name in STAGES if dg.AssetKey(name) not in selected]:
        reason = why_not_needed(spec, stage)
        if reason and not latest_versions(context.instance, stage, [name]):
            tags, metadata = version_tags(NOT_NEEDED), {"summary": reason}
            context.log_event(dg.AssetMaterialization(stage, partition=name, metadata=metadata, tags=tags))


def require_fitting(job: str, evaluated: Any) -> None:
    """Check that a run of ``job_eval`` has an experiment to evaluate.

    Raises:
        SpecError: The spec's ``existing_experiment`` is empty.
    """
    if job == "job_eval" and not evaluated:
        problem = "existing_experiment is null, but job_eval evaluates a model; set it to an ID or to 'latest'"
        raise SpecError("the spec", [problem])


def _read_spec(
    store: ExperimentStore, run: dg.DagsterRun, experiment_id: str, overrides: dict[str, Any]
) -> ExperimentSpec:
    """Return the frozen spec, after writing overrides, or the template for a missing file, to the experiment's file."""
    is_there = store.specs.exists(experiment_id)
    if not is_there and is_automatic(run):
        raise StorageError(removal_notice(experiment_id))  # only people create experiments
    if overrides or not is_there:
        values = store.specs.overridden(experiment_id, overrides)
        require_fitting(run.job_name, values.get("existing_experiment"))  # before its file is written
        store.specs.store(experiment_id, values)
    spec = store.specs.load(experiment_id)
    require_fitting(run.job_name, spec.existing_experiment)
    return store_run_config(store.path, run.run_id, experiment_id, spec)
