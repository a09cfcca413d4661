"""An experiment's last run as the orchestrator's records have it, read from its SQLite files without importing it.

Importing Dagster takes a second; reading two rows takes a millisecond. A home whose records are elsewhere, or that has
none yet, counts as one that knows nothing.

Belongs here: the queries, and the tags by which a run says why it failed. Does not belong here: writing these tags
(``resources.failures``).
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from assay.experiments.profiles import keeps_records_elsewhere

FAILURE_TAG = "assay/failure"
"""Tag of a failed run with the reason in one sentence."""

STAGE_TAG = "assay/failed_stage"
"""Tag of a failed run with the asset that could not be made; a run that was killed has none."""

PARTITION_TAG = "dagster/partition"

RUNNING = ("STARTING", "STARTED", "CANCELING")

WAITING = ("QUEUED", "NOT_STARTED")


@dataclass(frozen=True)
class LastRun:
    """The last run of an experiment that was to make something.

    Attributes:
        run_id: The orchestrator's ID of the run.
        status: ``running``, ``waiting``, ``cancelled``, ``failed`` or ``done``.
        at: When it began, or ended if it is over; UTC.
        stage: The asset that could not be made, if it failed and said so; otherwise empty.
        failure: Why it failed, if it said so; otherwise empty.
    """

    run_id: str
    status: str
    at: datetime
    stage: str = ""
    failure: str = ""


def is_recorded(home: Path, experiment_id: str) -> bool:
    """Return whether the records have an analysis of the experiment."""
    return _is_made(home, "analysis", experiment_id)


def last_run(home: Path, experiment_id: str) -> LastRun | None:
    """Return the last run of an experiment; None if there is none, or if nobody knows.

    A failed run does not count any more once the asset that it could not make was made, by whatever run.
    """
    with _records(home, "history/runs.db") as records:
        row = records.execute(LATEST, {"id": experiment_id, "partition": PARTITION_TAG}).fetchone() if records else None
        if records is None or row is None:
            return None
        run_id, status, created, started, ended = row
        tags = dict(records.execute("SELECT key, value FROM run_tags WHERE run_id = ?", [run_id]))
    at = datetime.fromtimestamp(ended or started, UTC) if ended or started else _time(created)
    run = LastRun(run_id, _status(status), at, tags.get(STAGE_TAG, ""), tags.get(FAILURE_TAG, ""))
    is_mended = run.status == "failed" and bool(run.stage) and _is_made(home, run.stage, experiment_id, since=at)
    return LastRun(run_id, "done", at) if is_mended else run


LATEST = """
SELECT run_id, status, create_timestamp, start_time, end_time FROM runs
WHERE run_id IN (SELECT run_id FROM run_tags WHERE key = :partition AND value = :id)
AND run_id NOT IN (SELECT run_id FROM run_tags WHERE key = 'dagster/run_key' AND value LIKE :id || ':file:%')
ORDER BY id DESC LIMIT 1
"""
"""Runs that only check an experiment's file, which have a key of their own, make nothing."""

MADE = """
SELECT 1 FROM event_logs
WHERE asset_key = ? AND partition = ? AND dagster_event_type = 'ASSET_MATERIALIZATION' AND timestamp > ? LIMIT 1
"""


def _is_made(home: Path, asset: str, experiment_id: str, since: datetime | None = None) -> bool:
    after = since.strftime("%Y-%m-%d %H:%M:%S.%f") if since else ""
    with _records(home, "history/runs/index.db") as records:
        found = records.execute(MADE, [f'["{asset}"]', experiment_id, after]).fetchone() if records else None
    return found is not None


@contextmanager
def _records(home: Path, name: str) -> Iterator[sqlite3.Connection | None]:
    """Yield a connection that only reads; None if there is no such file, or if it is one of before another database."""
    path = home / name
    if not path.is_file() or keeps_records_elsewhere(home):
        yield None
        return
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as records:
        yield records


def _status(status: str) -> str:
    names = {"SUCCESS": "done", "FAILURE": "failed", "CANCELED": "cancelled"}
    return names.get(status, "running" if status in RUNNING else "waiting")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
