"""Records of experiments in the Dagster instance: their runs, and the latest data version of each asset.

Belongs here: queries to the instance. Does not belong here: deciding what follows (``assay.automation``).
"""

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import dagster as dg
from dagster._core.definitions.data_version import CODE_VERSION_TAG, DATA_VERSION_TAG
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from assay.automation.reconcile import TESTS, WATCHED, EndedRun, Versions
from assay.experiments.last_run import FAILURE_TAG, FILE_RUN, PARTITION_TAG, STAGE_TAG, VERIFIES_TAG
from assay.pipeline import STAGES

ACTIVE = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
UNSUCCESSFUL = (dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.FAILURE)

WHOLE_JOBS = ("job_experiment", "job_eval")
"""The jobs that make every asset of an experiment."""

SUPERSEDED_TAG = "assay/superseded_by"
"""Tag of a queued run that was given up because a run in a terminal does its work; its value is that run's ID."""

SENSOR_TAG = "dagster/sensor_name"

SCHEDULE_TAG = "dagster/schedule_name"

BACKFILL_TAG = "dagster/backfill"

REPOSITORY_TAG = ".dagster/repository"
"""Hidden tag by which the UI finds the runs of a code location's jobs."""

RUN_KEY_TAG = "dagster/run_key"

CODE_LOCATION = "definitions"
"""Dagster's name of the code location, after the module in ``pyproject.toml``."""

RUNS_LOOKED_AT = 10
"""Number of an experiment's latest runs among which one is that was to make something."""

MATERIALIZATION = dg.DagsterEventType.ASSET_MATERIALIZATION

FORMER_NAMES = {TESTS: "spec/exptests"}
"""Names that version 0.1.0 gave to watched assets."""

IDS_PER_QUERY = 500
"""SQLite accepts at most 999 values in one statement."""


class InstanceRunRecords:
    """The run records that automation needs; implements ``assay.automation.reconcile.RunRecords``."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    def active(self, experiment_ids: Collection[str]) -> set[str]:
        """Return the experiments that have a queued or running run."""
        found: set[str] = set()
        for ids in _batches(experiment_ids):
            runs = self._instance.get_runs(dg.RunsFilter(statuses=ACTIVE, tags={PARTITION_TAG: ids}))
            found |= {run.tags[PARTITION_TAG] for run in runs}
        return found

    def active_count(self) -> int:
        """Return the number of queued and running runs."""
        return self._instance.get_runs_count(dg.RunsFilter(statuses=ACTIVE))

    def unsuccessful(self, experiment_ids: Collection[str]) -> Mapping[str, EndedRun]:
        """Return the experiments whose latest run was cancelled or failed, with this run."""
        found: set[str] = set()
        for ids in _batches(experiment_ids):
            filters = dg.RunsFilter(statuses=[*UNSUCCESSFUL], tags={PARTITION_TAG: ids})
            found |= {run.tags[PARTITION_TAG] for run in self._instance.get_runs(filters)}
        latest = {name: self._latest_run(name) for name in found}
        return {
            name: _ended(record)
            for name, record in latest.items()
            if record is not None and record.dagster_run.status in UNSUCCESSFUL
        }

    def _latest_run(self, experiment_id: str) -> dg.RunRecord | None:
        """Return the latest run that was to make something itself."""
        filters = dg.RunsFilter(tags={PARTITION_TAG: experiment_id})
        latest = self._instance.get_run_records(filters, limit=RUNS_LOOKED_AT)
        return next((record for record in latest if _makes_something(record.dagster_run)), None)

    def recorded(self, experiment_ids: Collection[str]) -> Mapping[str, Versions]:
        """Return the latest data version of every watched asset, by experiment."""
        found: dict[str, dict[str, str]] = {experiment_id: {} for experiment_id in experiment_ids}
        for name in WATCHED:
            for ids in _batches(experiment_ids):
                for experiment_id, version in self._versions(name, ids).items():
                    found[experiment_id][name] = version
        return found

    def _versions(self, asset: str, ids: list[str]) -> dict[str, str]:
        """Return the versions of an asset, also those that were recorded under its former name."""
        former = FORMER_NAMES.get(asset)
        before = latest_versions(self._instance, former, ids) if former else {}
        return before | latest_versions(self._instance, asset, ids)

    def materialized_after(self, storage_id: int, assets: Collection[str] = tuple(STAGES)) -> dict[str, int]:
        """Return the experiments with an asset materialized after an event, with the ID of their latest such event.

        Args:
            storage_id: ID of the event.
            assets: The assets; all stages if not given.
        """
        found: dict[str, int] = {}
        for name in assets:
            latest = self._instance.event_log_storage.get_latest_storage_id_by_partition(
                dg.AssetKey(name), MATERIALIZATION, after_cursor=storage_id
            )
            for experiment_id, event_id in latest.items():
                found[experiment_id] = max(event_id, found.get(experiment_id, 0))
        return found


def give_up(instance: dg.DagsterInstance, run: dg.DagsterRun, other_id: str, assets: Collection[str]) -> bool:
    """Cancel a run that nobody has begun, if another one makes all of its assets; returns whether it does.

    The reason why the other one failed, if it did, becomes that of this one: lists of backfills show it.
    """
    if not run.asset_selection or not {key.path[-1] for key in run.asset_selection} <= set(assets):
        return False
    other = instance.get_run_by_id(other_id)
    failure = {FAILURE_TAG: other.tags[FAILURE_TAG]} if other is not None and FAILURE_TAG in other.tags else {}
    instance.add_run_tags(run.run_id, {SUPERSEDED_TAG: other_id, **failure})
    instance.report_run_canceled(run, message="Given up: 'assay run' in a terminal makes the same.")
    return True


def list_with_job(instance: dg.DagsterInstance, run_id: str) -> None:
    """Let the UI list a run that no code server has requested, as ``assay run``'s, on the page of its job and in time.

    It is never retried, as if it still had no origin: whoever started it in a terminal sees it fail.
    """
    run = instance.get_run_by_id(run_id)
    if run is None or run.remote_job_origin is not None or run.job_name.startswith("__"):
        return
    target = LoadableTargetOrigin(
        executable_path=sys.executable, module_name=CODE_LOCATION, working_directory=str(Path.cwd())
    )
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, CODE_LOCATION)
    origin = RemoteRepositoryOrigin(location, "__repository__").get_job_origin(run.job_name)
    tags = {REPOSITORY_TAG: origin.repository_origin.get_label(), "dagster/max_retries": "0"}
    instance.add_run_tags(run_id, tags)
    instance.run_storage.replace_job_origin(run.with_tags({**run.tags, **tags}), origin)


def file_run_key(experiment_id: str) -> str:
    """Return how the key of a run begins that only reads an experiment's file."""
    return f"{experiment_id}{FILE_RUN}"


def is_file_run(run: dg.DagsterRun) -> bool:
    """Return whether a run only reads an experiment's file, so that the UI shows whether it can be used."""
    return run.tags.get(RUN_KEY_TAG, "").startswith(file_run_key(run.tags.get(PARTITION_TAG, "")))


def is_automatic(run: dg.DagsterRun) -> bool:
    """Return whether a sensor or a schedule requested a run."""
    return SENSOR_TAG in run.tags or SCHEDULE_TAG in run.tags


def _makes_something(run: dg.DagsterRun) -> bool:
    """Return whether a run does more than to read a file or to check, and was not given up for one in a terminal."""
    is_check = (run.asset_selection is not None and not run.asset_selection) or VERIFIES_TAG in run.tags
    return not is_check and not is_file_run(run) and SUPERSEDED_TAG not in run.tags


def _ended(record: dg.RunRecord) -> EndedRun:
    run = record.dagster_run
    names = None if run.asset_selection is None else frozenset(key.path[-1] for key in run.asset_selection)
    if names is None and run.job_name not in WHOLE_JOBS:
        names = frozenset()  # of one of the other jobs, whose assets are not listed: those that automation never starts
    is_cancelled = run.status is dg.DagsterRunStatus.CANCELED
    stage = run.tags.get(STAGE_TAG, "")
    return EndedRun(run.run_id, record.create_timestamp.timestamp(), is_cancelled, stage, names)


def latest_versions(instance: dg.DagsterInstance, asset: str, experiment_ids: Sequence[str]) -> dict[str, str]:
    """Return the data version of an asset's latest materialization by experiment, in one query.

    Dagster's documented API takes one query per partition, at 5 ms each. This undocumented one is what Dagster's own
    staleness uses; a test fails when a new version of Dagster changes it.
    """
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        dg.AssetKey(asset.split("/")), MATERIALIZATION, [DATA_VERSION_TAG], list(experiment_ids)
    )
    return {name: values[DATA_VERSION_TAG] for name, values in tags.items() if DATA_VERSION_TAG in values}


def version_tags(data_version: str, code_version: str = "") -> dict[str, str]:
    """Return the tags by which a materialization that no step yields has versions, as one that a step yields has."""
    return {DATA_VERSION_TAG: data_version, **({CODE_VERSION_TAG: code_version} if code_version else {})}


def _batches(experiment_ids: Collection[str]) -> Iterator[list[str]]:
    ordered = sorted(experiment_ids)
    for start in range(0, len(ordered), IDS_PER_QUERY):
        yield ordered[start : start + IDS_PER_QUERY]
