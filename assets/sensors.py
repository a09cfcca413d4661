"""The sensors and the schedule: they request runs for experiments, and keep the warehouse up to date.

Belongs here: turning a plan into Dagster's run requests, partitions and observations. Does not belong here: making the
plan (``assay.automation``), refreshing the warehouse (``assay.storage.warehouse``).
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import dagster as dg

from assay.automation.reasons import REASON_TAG, as_tag
from assay.automation.reconcile import TESTS, Plan, Reconciliation, Request
from assay.automation.state import StateFiles
from assay.automation.watch import code_digest, code_since
from assay.errors import AssayError, shorten
from assay.experiments.boards import Boards
from assay.pipeline import STAGES, digest_of
from assay.spec.experiment import ExperimentSpec
from assay.spec.ids import is_id
from assay.storage.warehouse import refresh_warehouse
from assay.utils.text import code_block, escape_markdown, pluralize
from assets.checks import TEST_CHECK_KEYS
from assets.common import tags_of
from assets.experiment import SPEC_CHECK_KEY
from assets.jobs import EXPERIMENT_KEYS, job_champion, job_eval, job_experiment
from partitions.experiments import add_experiment, experiments, known_experiments
from resources.experiment_store import ExperimentStore
from resources.instance.home import FORMER_SENSORS
from resources.instance.run_records import InstanceRunRecords, file_run_key

SECONDS_BETWEEN_LOOKS = 15

MOST_CHECKS = 20
"""Runs that only read a file, in one look; of further files the log and their experiments' events tell."""

PACKAGES = ("assay", "partitions", "resources", "assets", "definitions")

CODE = code_digest(PACKAGES)
"""Digest of the code that this process runs, taken when it is loaded: later edits don't affect the process."""

CODE_SINCE = code_since(PACKAGES)

STAGE_VERSIONS = digest_of({name: stage.code_version for name, stage in STAGES.items()})


@dg.sensor(
    job=job_experiment,
    minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Follows the files in experiments/ and your own data: adds partitions, makes what has changed anew.",
)
def follow_files(context: dg.SensorEvaluationContext, store: ExperimentStore) -> dg.SensorResult:
    """Check the spec files and request one run per experiment that is out of date."""
    return evaluate_sensor(context, store, "follow_files", lambda reconciliation: reconciliation.reconcile(CODE))


@dg.sensor(
    job=job_experiment,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Follows the code: makes anew what an earlier code version made. Off until you switch it on.",
)
def follow_code(context: dg.SensorEvaluationContext, store: ExperimentStore) -> dg.SensorResult:
    """Compare every experiment once after each change of a stage's code version."""
    return evaluate_sensor(
        context, store, "follow_code", lambda reconciliation: reconciliation.reconcile_all(STAGE_VERSIONS)
    )


@dg.schedule(
    job=job_eval,
    cron_schedule="0 2 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every night at 2:00 UTC, evaluates the models that experiments evaluate on their data of that night; "
    "what has not changed is found. Off until you switch it on.",
)
def nightly_evaluation(
    context: dg.ScheduleEvaluationContext, store: ExperimentStore
) -> list[dg.RunRequest] | dg.SkipReason:
    """Request a run of each experiment with an ``existing_experiment`` that can be used and is not at work already.

    Data that nothing watches, such as those of a source of an installed package, are looked at in this way.
    """
    found = dict(_evaluations(store, context.log.warning))
    busy = InstanceRunRecords(context.instance).active(found)
    requests = []
    for name, spec in found.items():
        if name not in busy:
            add_experiment(context.instance, name)
            tags = {**tags_of(spec), "assay/reason": "nightly evaluation"}
            key = f"{name}:{context.scheduled_execution_time.isoformat()}"
            requests.append(dg.RunRequest(run_key=key, partition_key=name, tags=tags))
    idle = "All evaluations are at work already." if found else "No experiment evaluates a model."
    return requests or dg.SkipReason(idle)


def _evaluations(store: ExperimentStore, warn: Callable[[str], None]) -> Iterator[tuple[str, ExperimentSpec]]:
    for name in store.specs.ids():
        try:
            spec = store.specs.load(name)
        except AssayError as error:
            warn(f"{name}: {error}")
            continue
        if spec.existing_experiment is not None:
            yield name, spec


MOST_LOOKED_AT = 200
"""Experiments whose specs are read in one look for their boards, at 2 ms each; the others wait for the next."""


@dg.sensor(
    job=job_champion,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Follows finished experiments whose specs name a board: lets them compete to be its champion.",
)
def follow_boards(context: dg.SensorEvaluationContext, store: ExperimentStore) -> dg.SensorResult:
    """Request one run for all boards on which an experiment has a new spec or analysis, and no run that may fail it."""
    state = json.loads(context.cursor or '{"seen": 0, "waiting": []}')
    records = InstanceRunRecords(context.instance)
    changed = records.materialized_after(state["seen"], ("experiment", "analysis"))
    candidates = sorted(changed.keys() | set(state["waiting"]))
    busy = records.active(candidates) if candidates else set()
    looked = [name for name in candidates if name not in busy][:MOST_LOOKED_AT]
    found = {name: board for name in looked if (board := _board_to_win(store, name, context.log.warning))}
    seen = max([state["seen"], *changed.values()])
    cursor = json.dumps({"seen": seen, "waiting": sorted(set(candidates) - set(looked))})
    if not found:
        return dg.SensorResult(skip_reason="No experiment that competes for a board was finished.", cursor=cursor)
    reason = as_tag([f"{name} was finished, on board {board}" for name, board in found.items()])
    request = dg.RunRequest(run_key=f"boards:{digest_of([seen, looked])}", tags={REASON_TAG: reason})
    return dg.SensorResult(run_requests=[request], cursor=cursor)


def _board_to_win(store: ExperimentStore, name: str, warn: Callable[[str], None]) -> str:
    """Return the board for which an experiment competes; empty if it does for none, or is its champion already."""
    try:
        board = store.specs.load(name).board if is_id(name) and store.specs.exists(name) else None
        if board is None:
            return ""
        boards = Boards(store.path)
        state = boards.state(board.name)
    except AssayError as error:
        warn(f"{name}: {error}")
        return ""
    champion = state.champion if state else None
    is_champion = champion is not None and champion.experiment_id == name and boards.is_present(champion)
    return "" if is_champion else board.name


def evaluate_sensor(
    context: dg.SensorEvaluationContext, store: ExperimentStore, name: str, look: Callable[[Reconciliation], Plan]
) -> dg.SensorResult:
    """Make a plan, log it, and return it as a sensor result whose cursor is the name of the new state."""
    states = StateFiles(_state_folder(store, name))
    reconciliation = Reconciliation(
        states.load(context.cursor), store.specs, InstanceRunRecords(context.instance), code_since=CODE_SINCE
    )
    plan = look(reconciliation)
    log_plan(context, plan)
    names = [request.experiment_id for request in plan.requests] + [name for name in plan.problems if is_id(name)]
    known = known_experiments(context.instance) if names or plan.gone else set()
    new = [name for name in names if name not in known]
    gone = sorted(known.intersection(plan.gone))
    requests = [*(run_request(request) for request in plan.requests), *check_requests(plan)]
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else plan.summary,
        cursor=states.store(reconciliation.state),
        dynamic_partitions_requests=[
            *([experiments.build_add_request(new)] if new else []),
            *([experiments.build_delete_request(gone)] if gone else []),
        ],
        asset_events=[
            *(observation(name, problem) for name, problem in plan.problems.items() if is_id(name)),
            *(observation(name) for name in plan.recovered),
        ],
    )


def _state_folder(store: ExperimentStore, name: str) -> Path:
    """Return the folder of a sensor's states; the one that was named like the sensor before is taken over."""
    folder = store.path / "automation" / name
    if not folder.exists():
        with suppress(FileNotFoundError):
            folder.with_name(FORMER_SENSORS[name]).rename(folder)
    return folder


def run_request(request: Request) -> dg.RunRequest:
    """Return the run for a request; if only the tests have changed, they run on the existing results."""
    stages = [dg.AssetKey(name) for name in request.assets if name != TESTS]
    selection = [*EXPERIMENT_KEYS, *(key for key in stages if key not in EXPERIMENT_KEYS)]
    if dg.AssetKey("trained_model") in selection:
        selection.append(dg.AssetKey("training_history"))
    return dg.RunRequest(
        run_key=request.key,
        partition_key=request.experiment_id,
        asset_selection=selection,
        asset_check_keys=[SPEC_CHECK_KEY, *TEST_CHECK_KEYS] if TESTS in request.assets else None,
        tags={**tags_of(request.spec), REASON_TAG: as_tag(request.reasons)},
    )


def check_requests(plan: Plan) -> list[dg.RunRequest]:
    """Return runs that only read a file: one that can't be used turns its partition red in the UI, and its end green.

    Neither a check nor a failed partition can be recorded without a run: Dagster keeps one such evaluation per check
    and fails on the second.
    """
    moment = time.time_ns()
    return [
        dg.RunRequest(
            run_key=f"{file_run_key(name)}{moment}",
            partition_key=name,
            asset_selection=list(EXPERIMENT_KEYS),
            tags={REASON_TAG: as_tag([reason.partition("\n")[0]])},
        )
        for name, reason in list(_to_mark(plan).items())[:MOST_CHECKS]
    ]


def _to_mark(plan: Plan) -> dict[str, str]:
    """Return the experiments whose files changed between usable and not, sorted by ID, with what to say of them."""
    asked = {request.experiment_id for request in plan.requests}
    recovered = {name: "the file can be used again" for name in plan.recovered if name not in asked}
    reasons = {name: problem for name, problem in plan.problems.items() if is_id(name)} | recovered
    return dict(sorted(reasons.items()))


def log_plan(context: dg.SensorEvaluationContext, plan: Plan) -> None:
    """Write the plan into the tick's log."""
    for request in plan.requests:
        context.log.info(f"{request.experiment_id}: asks for {', '.join(request.assets)}")
        for reason in request.reasons:
            context.log.info(f"{request.experiment_id}: {reason}")
    for problem in plan.problems.values():
        context.log.error(problem)
    for note in plan.notes:
        context.log.info(note)
    if (left := len(_to_mark(plan)) - MOST_CHECKS) > 0:
        context.log.warning(
            f"Besides the {MOST_CHECKS} experiments whose partitions this look marks, {pluralize(left, 'more file')} "
            "turned from valid to not valid, or back; they are marked by their next run only. All that are not valid: "
            "assay validate"
        )


def observation(experiment_id: str, problem: str = "") -> dg.AssetObservation:
    """Return an observation of the experiment for a problem that appears without a run, or its end."""
    shown = {"problem": dg.MetadataValue.md(code_block(problem))} if problem else {}
    return dg.AssetObservation(
        asset_key="experiment",
        partition=experiment_id,
        description=escape_markdown(problem) or "The file can be used again.",
        metadata={"file_is_usable": not problem, **shown},
    )


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Refreshes warehouse.duckdb, the tables of all experiments, for SQL and other tools; starts no runs.",
)
def update_warehouse(context: dg.SensorEvaluationContext, store: ExperimentStore) -> dg.SensorResult:
    """Refresh the tables of all experiments, and drop partitions that can be none; the reason says what has changed."""
    ghosts = sorted(name for name in known_experiments(context.instance) if not is_id(name))
    for name in ghosts:
        context.log.warning(f"The partition {shorten(name)} is dropped: no experiment can have this ID.")
    drop = [experiments.build_delete_request(ghosts)] if ghosts else []
    return dg.SensorResult(skip_reason=_refreshed(store), dynamic_partitions_requests=drop)


def _refreshed(store: ExperimentStore) -> dg.SkipReason:
    if not store.path.is_dir():
        return dg.SkipReason("There are no results yet.")
    report = refresh_warehouse(store.path)
    if report.postponed:
        return dg.SkipReason(f"Later: {report.postponed}")
    came = (
        f"{report.changes.new} new, {report.changes.changed} changed and "
        f"{pluralize(report.changes.removed, 'removed partition')}"
    )
    return dg.SkipReason(f"{came}, {report.duration_s:.1f} s.")
