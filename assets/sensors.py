"""The sensors that follow spec files, users' data and code: they ask for exactly what is out of date.

Belongs here: handing a plan to Dagster. Does not belong here: making it (``assay.automation``).
"""

from collections.abc import Callable

import dagster as dg

from assay.automation.reconcile import TESTS, Plan, Reconciliation, Request
from assay.automation.state import StateFiles
from assay.automation.watch import code_digest
from assay.pipeline import STAGES, digest_of
from assay.spec.ids import is_id
from assay.storage.warehouse import refresh_warehouse
from assets.checks import TEST_CHECK_KEYS
from assets.common import tags_of
from assets.jobs import EXPERIMENT_KEYS, job_experiment
from partitions.experiments import experiments, known_experiments
from resources.experiment_store import ExperimentStore
from resources.instance.run_records import InstanceRunRecords

SECONDS_BETWEEN_LOOKS = 15

LONGEST_TAG = 200

CODE = code_digest(["assay", "partitions", "resources", "assets", "definitions"])
"""Of what this process runs; read when it is loaded, not when somebody edits it later."""

STAGE_VERSIONS = digest_of({name: stage.code_version for name, stage in STAGES.items()})


@dg.sensor(
    job=job_experiment,
    minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Follows experiments/<id>.yaml and the users' data: adds partitions, re-materializes what changed.",
)
def experiment_files(context: dg.SensorEvaluationContext, store: ExperimentStore) -> dg.SensorResult:
    """Look at the spec files and ask for one run per experiment that is out of date."""
    return follow(context, store, "experiment_files", lambda looking: looking.reconcile(CODE))


@dg.sensor(
    job=job_experiment,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Makes anew what an earlier code version of a stage made. Off until you wish it.",
)
def code_changes(context: dg.SensorEvaluationContext, store: ExperimentStore) -> dg.SensorResult:
    """Compare every experiment once after each change of a stage's code version."""
    return follow(context, store, "code_changes", lambda looking: looking.reconcile_all(STAGE_VERSIONS))


def follow(
    context: dg.SensorEvaluationContext, store: ExperimentStore, name: str, look: Callable[[Reconciliation], Plan]
) -> dg.SensorResult:
    """Look once, tell the plan in the tick's log, and return it in Dagster's words with the name of the new state."""
    states = StateFiles(store.path / "automation" / name)
    looking = Reconciliation(states.load(context.cursor), store.specs, InstanceRunRecords(context.instance))
    plan = look(looking)
    tell(context, plan)
    known = known_experiments(context.instance)
    names = [request.experiment_id for request in plan.requests] + [name for name in plan.problems if is_id(name)]
    new = [name for name in names if name not in known]
    return dg.SensorResult(
        run_requests=[run_request(request) for request in plan.requests],
        skip_reason=None if plan.requests else plan.summary,
        cursor=states.store(looking.state),
        dynamic_partitions_requests=[experiments.build_add_request(new)] if new else [],
        asset_events=[
            *(observation(name, problem) for name, problem in plan.problems.items() if is_id(name)),
            *(observation(name) for name in plan.recovered),
        ],
    )


def run_request(request: Request) -> dg.RunRequest:
    """Return the run for a request; when only the tests changed, they are run without making anything anew."""
    stages = [dg.AssetKey(name) for name in request.assets if "/" not in name]
    selection = [*EXPERIMENT_KEYS, *(key for key in stages if key not in EXPERIMENT_KEYS)]
    if dg.AssetKey("trained_model") in selection:
        selection.append(dg.AssetKey("training_history"))
    return dg.RunRequest(
        run_key=request.key,
        partition_key=request.experiment_id,
        asset_selection=selection,
        asset_check_keys=TEST_CHECK_KEYS if TESTS in request.assets else None,
        tags={**tags_of(request.spec), "assay/reason": "; ".join(request.reasons)[:LONGEST_TAG]},
    )


def tell(context: dg.SensorEvaluationContext, plan: Plan) -> None:
    """Write the plan into the tick's log."""
    for request in plan.requests:
        context.log.info(f"{request.experiment_id}: asks for {', '.join(request.assets)}")
        for reason in request.reasons:
            context.log.info(f"{request.experiment_id}: {reason}")
    for problem in plan.problems.values():
        context.log.error(problem)
    for note in plan.notes:
        context.log.info(note)


def observation(experiment_id: str, problem: str = "") -> dg.AssetObservation:
    """Return what is to be seen on the experiment itself, where no run tells it.

    Not an asset check: Dagster stores one evaluation without a run per check and partition, and fails on the second.
    """
    return dg.AssetObservation(
        asset_key="experiment",
        partition=experiment_id,
        description=problem or "The file can be used again.",
        metadata={"file_is_usable": not problem, **({"problem": dg.MetadataValue.md(problem)} if problem else {})},
    )


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Keeps the tables of all experiments in warehouse.duckdb up to date; starts no runs.",
)
def warehouse(store: ExperimentStore) -> dg.SkipReason:
    """Bring the tables of all experiments up to date."""
    if not store.path.is_dir():
        return dg.SkipReason("There are no results yet.")
    report = refresh_warehouse(store.path)
    if report.postponed:
        return dg.SkipReason(f"Later: {report.postponed}")
    came = f"{report.changes.new} new, {report.changes.changed} changed and {report.changes.removed} removed partitions"
    return dg.SkipReason(f"{came}, {report.duration_s:.1f} s.")
