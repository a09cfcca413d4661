"""Runs a job for one experiment in this process: the work of ``assay run``.

Belongs here: selecting the assets that the experiment needs, the Dagster instance, output on the terminal. Does not
belong here: assets and jobs.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import dagster as dg

from assay.automation.reasons import REASON_TAG
from assay.errors import DataError, unknown
from assay.experiments.contents import outcome
from assay.experiments.last_run import FAILURE_TAG, PARTITION_TAG
from assay.experiments.specs import load_run_config
from assay.pipeline import STAGES, needed_stages
from assay.spec.experiment import ExperimentSpec
from assets.champion import compete
from assets.common import TRAINING_POOL
from assets.jobs import EXPERIMENT_JOBS
from partitions.experiments import add_experiment
from resources.defaults import default_store, resources_for
from resources.experiment_store import ExperimentStore
from resources.failures import is_interruption, reason_of_step
from resources.instance.home import local_instance
from resources.instance.run_process import RunFiles, claimed_by_terminal, free_abandoned_slots
from resources.instance.run_records import BACKFILL_TAG, SENSOR_TAG, give_up
from resources.progress import TerminalReporter, interrupts_kept, terminal

AT_WORK = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)

LONGEST_START_S = 60.0
"""Time after which a run that was to be started counts as one that never will, as in ``dagster.yaml``."""

SECONDS_BETWEEN_LOOKS = 0.5

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Keeps Dagster's log off the terminal; the instance still stores it for the UI."""


def run_experiment(
    build_defs: Callable[[Mapping[str, Any]], dg.Definitions],
    experiment_id: str,
    spec: ExperimentSpec,
    job_name: str,
    tells_outcome: bool = True,
) -> bool:
    """Materialize the assets of a job that the experiment needs; prints one line per stage.

    Args:
        build_defs: Returns the definitions with some resources replaced.
        experiment_id: ID of the experiment.
        spec: Its spec.
        job_name: Name of the job.
        tells_outcome: Whether to print what a run that succeeded found out; what went wrong is always printed.

    Returns:
        Whether everything succeeded, blocking tests included.

    Raises:
        DataError: No job of this name runs for an experiment.
        KeyboardInterrupt: Somebody stopped it, which is said already.
    """
    names = [job.name for job in EXPERIMENT_JOBS]
    if job_name not in names:
        raise DataError(f"--job: {unknown('Job of an experiment', job_name, names)}")
    terminal()
    with local_instance() as instance:
        add_experiment(instance, experiment_id)
        store = default_store(TerminalReporter())
        job = build_defs(resources_for(store)).resolve_job_def(job_name)
        keys, run_id = needed_asset_keys(job, spec), str(uuid4())
        assets = [key.path[-1] for key in keys]
        with claimed_by_terminal(instance, experiment_id, run_id, assets):
            if failed := failed_elsewhere(instance, store, experiment_id, spec):
                print(f"error: {failed}")
                return False
            give_up_queued(instance, experiment_id, run_id, assets)
            result = _executed(job, instance, experiment_id, run_id, keys)
            frozen = load_run_config(store.path, run_id, experiment_id)
            if not result.success and frozen is not None and frozen.as_dict() == spec.as_dict():
                give_up_queued(instance, experiment_id, run_id, assets, has_failed=True)
        if any(map(is_interruption, result.all_events)):
            # Not a failure, which automation would repeat after a change of the code.
            instance.report_run_canceled(result.dagster_run, message="Stopped by hand.")
            print(f"Stopped. What was finished stays; goes on with: assay run {experiment_id}")
            raise KeyboardInterrupt
        competing = spec.board if result.success and "analysis" in assets else None
        lines = compete(instance, store, experiment_id, competing) if competing else []
    print_outcome(result, store, experiment_id, tells_outcome)
    print("".join(f"{line}\n" for line in lines), end="")
    return result.success


def _executed(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    experiment_id: str,
    run_id: str,
    keys: Sequence[dg.AssetKey],
) -> dg.ExecuteInProcessResult:
    """Execute a run in this process, whose file is held so that the daemon notices when the process is killed."""
    with interrupts_kept(), _in_the_pool(instance, run_id), RunFiles.of(instance, run_id).held():
        return job.execute_in_process(
            instance=instance,
            partition_key=experiment_id,
            run_config=QUIET,
            asset_selection=keys,
            raise_on_error=False,
            run_id=run_id,
        )


def print_outcome(
    result: dg.ExecuteInProcessResult, store: ExperimentStore, experiment_id: str, tells_outcome: bool
) -> None:
    """Print which checks and steps failed, or else, if wanted, what was found out and where the files are."""
    for evaluation in result.get_asset_check_evaluations():
        if not evaluation.passed:
            print(f"check {evaluation.check_name} ({evaluation.severity.value}): {evaluation.description}")
    for event in result.all_events:
        if event.is_step_failure:
            print(f"error: {reason_of_step(event)}")
    if result.success and tells_outcome:
        print("\n".join(outcome(store.path, experiment_id)))


@contextmanager
def _in_the_pool(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Say whom the training will wait for, and leave no slot taken, whether or not there is a daemon to free it."""
    others = [instance.get_run_by_id(other) for other in free_abandoned_slots(instance, TRAINING_POOL)]
    if others:
        names = sorted(run.tags.get(PARTITION_TAG, run.run_id) for run in others if run is not None)
        print(f"Others train: {', '.join(names)}. A training here waits until the pool {TRAINING_POOL!r} has room.")
    try:
        yield
    finally:
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)


def needed_asset_keys(job: dg.JobDefinition, spec: ExperimentSpec) -> list[dg.AssetKey]:
    """Return the job's assets without the stages that this experiment does not need."""
    unused = set(STAGES) - set(needed_stages(spec))
    return [key for key in job.asset_layer.selected_asset_keys if key.path[-1] not in unused]


def failed_elsewhere(
    instance: dg.DagsterInstance, store: ExperimentStore, experiment_id: str, spec: ExperimentSpec
) -> str:
    """Wait for the run that is at work on an experiment, if there is one; return why it failed with the same spec.

    Another process is waited for even if it makes something else: there is one run per experiment at a time.
    """
    at_work = _alive(instance, experiment_id)
    if not at_work:
        return ""
    run = at_work[0]
    why = run.tags.get(REASON_TAG, "started by hand")
    print(f"Another run is at work on {experiment_id} ({why}): waiting for it. Ctrl-C ends only the waiting.")
    while run.run_id in {each.run_id for each in _alive(instance, experiment_id)}:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    ended = instance.get_run_by_id(run.run_id)
    frozen = load_run_config(store.path, run.run_id, experiment_id)
    is_same = frozen is not None and frozen.as_dict() == spec.as_dict()
    return ended.tags.get(FAILURE_TAG, "") if is_same and ended and ended.is_failure else ""


def _alive(instance: dg.DagsterInstance, experiment_id: str) -> list[dg.DagsterRun]:
    """Return the runs whose processes are at work on an experiment, or are just being started."""
    runs = instance.get_runs(dg.RunsFilter(statuses=AT_WORK, tags={PARTITION_TAG: experiment_id}))
    return [run for run in runs if RunFiles.of(instance, run.run_id).alive or _is_starting(instance, run)]


def _is_starting(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Return whether a run is about to get its process, and was not to get one so long ago that it never will."""
    record = instance.get_run_record_by_id(run.run_id) if run.status is dg.DagsterRunStatus.STARTING else None
    return record is not None and time.time() - record.create_timestamp.timestamp() < LONGEST_START_S


def give_up_queued(
    instance: dg.DagsterInstance, experiment_id: str, run_id: str, assets: Collection[str], has_failed: bool = False
) -> None:
    """Cancel runs that automation has requested and nobody has begun, if this one makes the same.

    Args:
        instance: The instance.
        experiment_id: The experiment.
        run_id: This run.
        assets: What this run makes.
        has_failed: Whether it failed. If so, those of a backfill are given up, too, which would fail in the same way;
            otherwise these are started later, find everything made, and count as done in their backfill.
    """
    waiting = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED], tags={PARTITION_TAG: experiment_id})
    for run in instance.get_runs(waiting):
        if SENSOR_TAG in run.tags or (has_failed and BACKFILL_TAG in run.tags):
            give_up(instance, run, run_id, assets)
