"""Tells Dagster of an experiment that was made elsewhere: its partition, and what it has.

Belongs here: events without a run. Does not belong here: importing (``assay.experiments.importing``).
"""

import dagster as dg
from dagster._core.definitions.data_version import CODE_VERSION_TAG, DATA_VERSION_TAG

from assay.automation.reconcile import EXPERIMENT, TESTS
from assay.experiments.importing import Imported
from assay.pipeline import digest_of, slice_of
from assay.storage.results import Result
from assets.metadata import metadata_of
from partitions.experiments import add_experiment
from resources.dagster_home import local_instance


def enter(instance: dg.DagsterInstance, imported: Imported) -> str:
    """Add the experiment's partition and one materialization per result that came with it; returns what to do next."""
    name = imported.experiment_id
    add_experiment(instance, name)
    versions = {
        EXPERIMENT: digest_of(imported.spec.as_dict()),
        TESTS: slice_of(imported.spec, name, "exptests").digest,
    }
    for asset, version in versions.items():
        instance.report_runless_asset_event(_event(name, asset, {DATA_VERSION_TAG: version}))
    for stage, result in imported.results.items():
        instance.report_runless_asset_event(_event(name, stage, _tags(result), result))
    return f"Experiment {name} lives here now. Next: assay show {name}"


def enter_here(imported: Imported) -> str:
    """Do so in this project's Dagster home."""
    with local_instance() as instance:
        return enter(instance, imported)


def _tags(result: Result) -> dict[str, str]:
    return {DATA_VERSION_TAG: result.fingerprint, CODE_VERSION_TAG: result.manifest["code_version"]}


def _event(
    experiment_id: str, asset: str, tags: dict[str, str], result: Result | None = None
) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        asset_key=dg.AssetKey(asset.split("/")),
        partition=experiment_id,
        description="Imported from another storage.",
        metadata=metadata_of(result) if result else {},
        tags=tags,
    )
