"""The sensor that keeps ``warehouse.duckdb`` fresh for other tools; no run and no query needs it.

Belongs here: when to refresh. Does not belong here: how (``assay.storage.warehouse``).
"""

import dagster as dg

from assay.storage.warehouse import refresh
from resources.experiment_store import ExperimentStore


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Keeps the tables of all experiments in warehouse.duckdb up to date; starts no runs.",
)
def warehouse(store: ExperimentStore) -> dg.SkipReason:
    """Bring the tables of all experiments up to date."""
    if not store.path.is_dir():
        return dg.SkipReason("There are no results yet.")
    report = refresh(store.path)
    if report.postponed:
        return dg.SkipReason(f"Later: {report.postponed}")
    came = f"{report.changes.new} new, {report.changes.changed} changed and {report.changes.removed} removed partitions"
    return dg.SkipReason(f"{came}, {report.duration_s:.1f} s.")
