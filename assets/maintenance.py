"""Jobs that maintain experiments: copying them between locations, clearing locks, registering imported ones.

They are ops rather than assets, because their outcome is not a result of an experiment. Belongs here: the ops, their
configuration, what they show in the UI, events without a run. Does not belong here: copying and importing
(``assay.experiments``), clearing (``assay.storage.locks``).
"""

from collections.abc import Callable, Mapping

import dagster as dg
from pydantic import Field

from assay.automation.reconcile import EXPERIMENT, TESTS
from assay.errors import StorageError, shorten, unknown
from assay.experiments.copying import CopyReport, CopyRequest, copy_experiment
from assay.experiments.importing import Imported
from assay.experiments.locks import lock_folders
from assay.pipeline import digest_of, stage_config
from assay.storage.locks.holders import describe
from assay.storage.locks.maintenance import clear
from assay.storage.results import Result
from assay.utils.concurrency import NO_VALUES, Progress
from assay.utils.text import escape_markdown, readable_size
from assets.common import metadata_of
from partitions.experiments import NAME as EXPERIMENTS
from partitions.experiments import add_experiment, known_experiments
from resources.experiment_store import ExperimentStore
from resources.failures import as_failure
from resources.instance.home import local_instance
from resources.instance.run_records import InstanceRunRecords, version_tags
from resources.progress import Pause


class CopyConfig(dg.Config):
    """Which experiment to copy, from where, and to where."""

    experiment_id: str = Field(description="ID of the experiment.")
    input_loc_name: str = Field(
        default="experiments", description="Location to copy from: one of locations.yaml or of this storage."
    )
    output_loc_name: str = Field(
        description="Location to copy to; a location of this storage imports the experiment, tables included."
    )
    delete_source: bool = Field(
        default=False, description="Delete the original once every file of the copy was read back and compared."
    )


@dg.op
def copy_exp(context: dg.OpExecutionContext, config: CopyConfig, store: ExperimentStore) -> None:
    """Copy an experiment's folder to another location and verify each file by SHA-256; resumes an interrupted copy."""
    request = CopyRequest(**config.model_dump())
    with as_failure(f"Experiment {config.experiment_id}"):
        report = copy_experiment(store.specs, store.locations, request, _lines(context))
    context.log.info(report.sentence)
    if report.imported is not None:
        context.log.info(enter(context.instance, report.imported))
    _observe(context, config, report, store)
    context.add_output_metadata(
        {
            "summary": report.sentence,
            "files": report.written.files,
            "copied": report.written.copied,
            "size": readable_size(report.written.size_bytes),
            "duration": f"{report.duration_s:.1f} s",
        }
    )


def _lines(context: dg.OpExecutionContext) -> Progress:
    """Return a progress callback that writes a line into the run's log every few seconds."""
    pause = Pause(seconds=5)

    def progress(done: int, total: int, note: str = "", values: Mapping[str, float] = NO_VALUES) -> None:
        if pause.is_over():
            context.log.info(f"{done} of {total} {note}")

    return progress


def _observe(context: dg.OpExecutionContext, config: CopyConfig, report: CopyReport, store: ExperimentStore) -> None:
    """Record the copy on the experiment's page, if the experiment is in this storage."""
    if store.folders.find(config.experiment_id) is not None:
        metadata = {"copied_to": config.output_loc_name, "folder": report.target}
        context.log_event(
            dg.AssetObservation("experiment", partition=config.experiment_id, description="Copied.", metadata=metadata)
        )


@dg.job(description="Copy an experiment from one location to another.", executor_def=dg.in_process_executor)
def job_copy_exp() -> None:
    """Copy one experiment."""
    copy_exp()


class ClearConfig(dg.Config):
    """Which locks to clear."""

    locks: list[str] = Field(
        default=[], description="Names or patterns such as named/*; empty: all locks whose holders have died."
    )
    location: str = Field(default="", description="A location shared by several machines; empty: the storage.")
    force: bool = Field(
        default=False,
        description="Also take named locks from living holders, which keep working alongside the next holder.",
    )


@dg.op
def clear_locks(context: dg.OpExecutionContext, config: ClearConfig, store: ExperimentStore) -> None:
    """Clear the locks of holders that have died; with names and force, also those of living holders."""
    with as_failure("Clearing locks"):
        folders = lock_folders(store.locations)
        if config.location not in folders:
            raise StorageError(unknown("Shared location", config.location, [name for name in folders if name]))
        cleared = clear(folders[config.location], config.locks, config.force)
    lines = [describe(holder) for holder in cleared]
    context.log.info("\n- ".join(["Cleared:", *lines]) if lines else "There was nothing to clear.")
    shown = "\n".join(f"- {escape_markdown(line)}" for line in lines) or "nothing"
    context.add_output_metadata({"count": len(cleared), "cleared": dg.MetadataValue.md(shown)})


@dg.job(
    description="Clear locks that dead processes left behind; the locks of living holders only if forced.",
    executor_def=dg.in_process_executor,
)
def job_clearlocks() -> None:
    """Clear locks."""
    clear_locks()


def enter(instance: dg.DagsterInstance, imported: Imported) -> str:
    """Add an imported experiment's partition and one materialization per result; return a line with the next step."""
    name = imported.experiment_id
    add_experiment(instance, name)
    versions = {
        EXPERIMENT: digest_of(imported.spec.as_dict()),
        TESTS: stage_config(imported.spec, name, "exptests").digest,
    }
    for asset, version in versions.items():
        instance.report_runless_asset_event(_event(name, asset, version_tags(version)))
    for stage, result in imported.results.items():
        instance.report_runless_asset_event(
            _event(name, stage, version_tags(result.fingerprint, result.manifest["code_version"]), result)
        )
    return f"Experiment {name} lives here now. Next: assay show {name}"


def enter_here(imported: Imported) -> str:
    """Add an imported experiment to the Dagster instance of this project; see ``enter``."""
    with local_instance() as instance:
        return enter(instance, imported)


def forget_here(name: str, delete: Callable[[], bool]) -> bool:
    """Delete an experiment, and its partition in this project's Dagster instance; returns whether there was anything.

    Args:
        name: ID of the experiment, or a partition that can be none.
        delete: Deletes its files, and returns whether there were any.

    Raises:
        StorageError: A run of it is queued or running, which would bring it back.
    """
    with local_instance() as instance:
        if InstanceRunRecords(instance).active([name]):
            raise StorageError(f"A run of {shorten(name)} is queued or running. Cancel it, or wait; then forget it.")
        was_known, was_partition = delete(), name in known_experiments(instance)
        if was_partition:
            instance.delete_dynamic_partition(EXPERIMENTS, name)
    return was_known or was_partition


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
