"""The job that copies experiments between locations: an op, since a copy is no result of an experiment.

Belongs here: the op, its configuration, what it shows. Does not belong here: copying (``assay.experiments.copying``).
"""

from collections.abc import Mapping

import dagster as dg
from pydantic import Field

from assay.experiments.copying import CopyReport, CopyRequest, copy_experiment
from assay.utils.concurrency import NO_VALUES, Progress
from assets.importing import enter
from resources.experiment_store import ExperimentStore
from resources.failures import as_failure
from resources.progress import Pause


class CopyConfig(dg.Config):
    """What to copy, from where to where."""

    experiment_id: str = Field(description="ID of the experiment.")
    input_loc_name: str = Field(
        default="experiments", description="Name of the location that has it: of locations.yaml, or of this storage."
    )
    output_loc_name: str = Field(
        description="Name of the location that gets it; one of this storage: it is imported, tables included."
    )
    delete_source: bool = Field(
        default=False, description="Delete it where it was, after every file of the copy was read back and compared."
    )


@dg.op
def copy_exp(context: dg.OpExecutionContext, config: CopyConfig, store: ExperimentStore) -> None:
    """Copy an experiment's folder to another location, every file compared by SHA-256; goes on where it was cut off."""
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
            "size_bytes": report.written.size_bytes,
            "duration_s": report.duration_s,
        }
    )


def _lines(context: dg.OpExecutionContext) -> Progress:
    """Return what writes a line into the run's log now and then."""
    pause = Pause(seconds=5)

    def progress(done: int, total: int, note: str = "", values: Mapping[str, float] = NO_VALUES) -> None:
        if pause.is_over():
            context.log.info(f"{done} of {total} {note}")

    return progress


def _observe(context: dg.OpExecutionContext, config: CopyConfig, report: CopyReport, store: ExperimentStore) -> None:
    """Note the copy on the experiment's page, where it has one here."""
    if store.folders.find(config.experiment_id) is not None:
        metadata = {"copied_to": config.output_loc_name, "folder": report.target}
        context.log_event(
            dg.AssetObservation("experiment", partition=config.experiment_id, description="Copied.", metadata=metadata)
        )


@dg.job(description="Copy an experiment from one location to another.", executor_def=dg.in_process_executor)
def job_copy_exp() -> None:
    """Copy one experiment."""
    copy_exp()
