"""Records of experiments in the Dagster instance: their runs, and the latest data version of each asset.

Belongs here: queries to the instance. Does not belong here: deciding what follows (``assay.automation``).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from assay.automation.reconcile import TESTS, WATCHED, Versions
from assay.experiments.last_run import PARTITION_TAG
from assay.pipeline import STAGES

ACTIVE = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
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

    def cancelled(self, experiment_ids: Collection[str]) -> Mapping[str, float]:
        """Return the experiments whose latest run was cancelled, with its creation time in seconds since the epoch."""
        found: set[str] = set()
        for ids in _batches(experiment_ids):
            filters = dg.RunsFilter(statuses=[dg.DagsterRunStatus.CANCELED], tags={PARTITION_TAG: ids})
            found |= {run.tags[PARTITION_TAG] for run in self._instance.get_runs(filters)}
        latest = {name: self._latest_run(name) for name in found}
        is_cancelled = dg.DagsterRunStatus.CANCELED
        return {
            name: record.create_timestamp.timestamp()
            for name, record in latest.items()
            if record.dagster_run.status is is_cancelled
        }

    def _latest_run(self, experiment_id: str) -> dg.RunRecord:
        filters = dg.RunsFilter(tags={PARTITION_TAG: experiment_id})
        return self._instance.get_run_records(filters, limit=1)[0]

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

    def materialized_after(self, storage_id: int) -> dict[str, int]:
        """Return the experiments with a stage materialized after an event, with the ID of their latest such event."""
        found: dict[str, int] = {}
        for name in STAGES:
            latest = self._instance.event_log_storage.get_latest_storage_id_by_partition(
                dg.AssetKey(name), MATERIALIZATION, after_cursor=storage_id
            )
            for experiment_id, event_id in latest.items():
                found[experiment_id] = max(event_id, found.get(experiment_id, 0))
        return found


def latest_versions(instance: dg.DagsterInstance, asset: str, experiment_ids: Sequence[str]) -> dict[str, str]:
    """Return the data version of an asset's latest materialization by experiment, in one query.

    Dagster's documented API takes one query per partition, at 5 ms each. This undocumented one is what Dagster's own
    staleness uses; a test fails when a new version of Dagster changes it.
    """
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        dg.AssetKey(asset.split("/")), MATERIALIZATION, [DATA_VERSION_TAG], list(experiment_ids)
    )
    return {name: values[DATA_VERSION_TAG] for name, values in tags.items() if DATA_VERSION_TAG in values}


def _batches(experiment_ids: Collection[str]) -> Iterator[list[str]]:
    ordered = sorted(experiment_ids)
    for start in range(0, len(ordered), IDS_PER_QUERY):
        yield ordered[start : start + IDS_PER_QUERY]
