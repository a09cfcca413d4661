"""Runs a job for one experiment in this process: the work of ``assay run``.

Belongs here: selecting the assets that the experiment needs, the Dagster instance, output on the terminal. Does not
belong here: assets and jobs.
"""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import dagster as dg

from assay.errors import DataError, unknown
from assay.experiments.contents import outcome
from assay.pipeline import STAGES, needed_stages
from assay.spec.experiment import ExperimentSpec
from assets.jobs import EXPERIMENT_JOBS
from partitions.experiments import add_experiment
from resources.defaults import default_store, resources_for
from resources.failures import is_interruption, reason_of_step
from resources.instance.home import local_instance
from resources.instance.run_process import RunFiles
from resources.progress import TerminalReporter, terminal

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Keeps Dagster's log off the terminal; the instance still stores it for the UI."""


def run_experiment(
    build_defs: Callable[[Mapping[str, Any]], dg.Definitions], experiment_id: str, spec: ExperimentSpec, job_name: str
) -> bool:
    """Materialize the assets of a job that the experiment needs; prints one line per stage.

    Args:
        build_defs: Returns the definitions with some resources replaced.
        experiment_id: ID of the experiment.
        spec: Its spec.
        job_name: Name of the job.

    Returns:
        Whether everything succeeded, blocking tests included.

    Raises:
        DataError: No job of this name runs for an experiment.
    """
    names = [job.name for job in EXPERIMENT_JOBS]
    if job_name not in names:
        raise DataError(f"--job: {unknown('Job of an experiment', job_name, names)}")
    terminal()
    with local_instance() as instance:
        add_experiment(instance, experiment_id)
        store = default_store(TerminalReporter())
        job = build_defs(resources_for(store)).resolve_job_def(job_name)
        run_id = str(uuid4())
        with RunFiles.of(instance, run_id).held():  # so that the daemon notices when this process is killed
            result = job.execute_in_process(
                instance=instance,
                partition_key=experiment_id,
                run_config=QUIET,
                asset_selection=needed_asset_keys(job, spec),
                raise_on_error=False,
                run_id=run_id,
            )
        failures = [event for event in result.all_events if event.is_step_failure]
        if any(map(is_interruption, failures)):
            # Not a failure, which automation would repeat after a change of the code.
            instance.report_run_canceled(result.dagster_run, message="Stopped by hand.")
            print(f"Stopped. What was finished stays; goes on with: assay run {experiment_id}")
            return False
    for evaluation in result.get_asset_check_evaluations():
        if not evaluation.passed:
            print(f"check {evaluation.check_name} ({evaluation.severity.value}): {evaluation.description}")
    for event in failures:
        print(f"error: {reason_of_step(event)}")
    if result.success:
        print("\n".join(outcome(store.path, experiment_id)))
    return result.success


def needed_asset_keys(job: dg.JobDefinition, spec: ExperimentSpec) -> list[dg.AssetKey]:
    """Return the job's assets without the stages that this experiment does not need."""
    unused = set(STAGES) - set(needed_stages(spec))
    return [key for key in job.asset_layer.selected_asset_keys if key.path[-1] not in unused]
