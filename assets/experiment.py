"""Asset ``experiment``: reads the spec, freezes it for the run, and gives each section a data version of its own.

Belongs here: the start of the asset graph. Does not belong here: validating specs (``assay.spec``).
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from assay.automation.reconcile import NOT_NEEDED
from assay.errors import SpecError
from assay.experiments.folders import experiment_row
from assay.experiments.specs import store_run_config
from assay.pipeline import STAGES, digest_of, stage_config, why_not_needed
from assay.spec.experiment import ExperimentSpec
from assay.spec.ids import validate_id
from assay.spec.yaml_text import to_yaml
from assay.utils.text import code_block
from assets.common import BY_EXPERIMENT, OWNERS, SECTION_KEYS, STORES_TABLE, lineage, tags_of
from assets.launchpad import spec_field
from partitions.experiments import experiments
from resources.experiment_store import ExperimentStore
from resources.failures import as_failure
from resources.instance.run_records import latest_versions, version_tags


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
    config_schema={"spec": spec_field()},
    partitions_def=experiments,
)
def experiment(context: dg.AssetExecutionContext, store: ExperimentStore) -> Iterator[dg.MaterializeResult[Any]]:
    """The experiment's spec: its file, or the template of its task, with the changes made in the Launchpad.

    One partition per experiment. To add one, save a file `experiments/ID.yaml` (worked examples are in
    `experiments/examples/`), or choose **Materialize** and *Add a partition*. In a new project, the partition `example`
    is there to try.
    """
    experiment_id, overrides = context.partition_key, context.op_execution_context.op_config["spec"]
    with as_failure(f"Experiment {experiment_id}"):
        spec = _read_spec(store, context.run, validate_id(experiment_id), overrides)
        folder = store.folders.open(experiment_id, spec)
    context.instance.add_run_tags(context.run.run_id, tags_of(spec))
    values = spec.as_dict()
    log_not_needed(context, spec)
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
    if overrides or not store.specs.exists(experiment_id):
        values = store.specs.overridden(experiment_id, overrides)
        require_fitting(run.job_name, values.get("existing_experiment"))  # before its file is written
        store.specs.store(experiment_id, values)
    spec = store.specs.load(experiment_id)
    require_fitting(run.job_name, spec.existing_experiment)
    return store_run_config(store.path, run.run_id, experiment_id, spec)
