"""An experiment's last run as the orchestrator's records have it, read from its database without importing it.

Importing Dagster takes a second; reading two rows of an SQLite file takes a millisecond, and of PostgreSQL 50. A home
that has no records yet, or whose database can't be reached, counts as one that knows nothing.

Belongs here: the queries, and the tags by which a run says why it failed. Does not belong here: writing these tags
(``resources.failures``).
"""

import fcntl
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from assay.errors import StorageError
from assay.experiments.profiles import database_url, keeps_records_elsewhere, open_database, settings_of

FAILURE_TAG = "assay/failure"
"""Tag of a failed run with the reason in one sentence."""

STAGE_TAG = "assay/failed_stage"
"""Tag of a failed run with the asset that could not be made; a run that was killed has none."""

VERIFIES_TAG = "assay/verifies"
"""Tag of a run that makes nothing of the experiment, but verifies its results."""

PARTITION_TAG = "dagster/partition"

FILE_RUN = ":file:"
"""Follows the ID in the key of a run that only reads an experiment's file."""

RUNNING = ("STARTING", "STARTED", "CANCELING")

WAITING = ("QUEUED", "NOT_STARTED")


@dataclass(frozen=True)
class LastRun:
    """The last run of an experiment that was to make something.

    Attributes:
        run_id: The orchestrator's ID of the run.
        status: ``running``, ``waiting``, ``cancelled``, ``killed``, ``failed`` or ``done``.
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
    values = {
        "id": experiment_id,
        "partition": PARTITION_TAG,
        "files": f"{experiment_id}{FILE_RUN}%",
        "verifies": VERIFIES_TAG,
    }
    with _records(home, "history/runs.db") as ask:
        rows = ask(LATEST, values)
        if not rows:
            return None
        run_id, status, created, started, ended = rows[0]
        tags = dict(ask("SELECT key, value FROM run_tags WHERE run_id = :run_id", {"run_id": run_id}))
    at = datetime.fromtimestamp(ended or started, UTC) if ended or started else _time(created)
    state = "killed" if status in RUNNING and _is_killed(home, run_id) else _status(status)
    run = LastRun(run_id, state, at, tags.get(STAGE_TAG, ""), tags.get(FAILURE_TAG, ""))
    is_mended = run.status == "failed" and bool(run.stage) and _is_made(home, run.stage, experiment_id, since=at)
    return LastRun(run_id, "done", at) if is_mended else run


def _is_killed(home: Path, run_id: str) -> bool:
    """Return whether a run's process ended without a word, which the records learn from a daemon only.

    It keeps its file (``resources.instance.run_process``) locked for as long as it lives, and removes it at its end.
    """
    if keeps_records_elsewhere(home):
        return False
    try:
        with (home / "processes" / f"{run_id}.process").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # there is none, or it is locked
        return False
    return True


LATEST = """
SELECT run_id, status, create_timestamp, start_time, end_time FROM runs
WHERE run_id IN (SELECT run_id FROM run_tags WHERE key = :partition AND value = :id)
AND run_id NOT IN (SELECT run_id FROM run_tags WHERE key = 'dagster/run_key' AND value LIKE :files)
AND run_id NOT IN (SELECT run_id FROM run_tags WHERE key = :verifies)
ORDER BY id DESC LIMIT 1
"""
"""Runs that only read an experiment's file, which have a key of their own, or its results, make nothing."""

FAILED = """
SELECT runs.run_id, end_time, names.value, reasons.value FROM runs
JOIN run_tags AS names ON names.run_id = runs.run_id AND names.key = :partition
LEFT JOIN run_tags AS reasons ON reasons.run_id = runs.run_id AND reasons.key = :failure
WHERE runs.status = 'FAILURE' AND end_time > :since AND EXISTS (
  SELECT 1 FROM run_tags WHERE run_id = runs.run_id AND key IN ('dagster/sensor_name', 'dagster/schedule_name'))
AND NOT EXISTS (
  SELECT 1 FROM run_tags WHERE run_id = runs.run_id AND key = 'dagster/run_key' AND value LIKE :files)
ORDER BY end_time DESC LIMIT 100
"""


def failed_by_automation(home: Path, since: float) -> list[tuple[str, LastRun]]:
    """Return the latest runs that automation started and that failed, oldest first, each with its experiment.

    Args:
        home: The orchestrator's home.
        since: Time in seconds since the epoch; runs that ended before don't count.
    """
    values = {"since": since, "failure": FAILURE_TAG, "partition": PARTITION_TAG, "files": f"%{FILE_RUN}%"}
    found: list[Any] = []
    with _records(home, "history/runs.db") as ask, suppress(sqlite3.Error):  # such as: being created just now
        found = ask(FAILED, values)
    return [
        (name, LastRun(run_id, "failed", datetime.fromtimestamp(ended, UTC), failure=reason or ""))
        for run_id, ended, name, reason in reversed(found)
    ]


MADE = """
SELECT 1 FROM event_logs
WHERE asset_key = :asset AND partition = :id AND dagster_event_type = 'ASSET_MATERIALIZATION' AND timestamp > :after
LIMIT 1
"""


LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def _is_made(home: Path, asset: str, experiment_id: str, since: datetime = LONG_AGO) -> bool:
    values = {"asset": f'["{asset}"]', "id": experiment_id, "after": since.strftime("%Y-%m-%d %H:%M:%S.%f")}
    with _records(home, "history/runs/index.db") as ask:
        return bool(ask(MADE, values))


Ask = Callable[[str, Mapping[str, Any]], list[Any]]
"""Returns the rows that answer a query, whose values are named ``:name``."""


@contextmanager
def _records(home: Path, name: str) -> Iterator[Ask]:
    """Yield what answers queries: the home's database, or else its SQLite file of this name; nothing of none."""
    if keeps_records_elsewhere(home):
        with _database_of(home) as ask:
            yield ask
        return
    path = home / name
    if not path.is_file():
        yield lambda query, values: []
        return
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as records:
        yield lambda query, values: records.execute(query, values).fetchall()


@contextmanager
def _database_of(home: Path) -> Iterator[Ask]:
    opened = None
    with suppress(StorageError):  # whoever runs something is told
        address = database_url(settings_of(home) or {})
        opened = open_database(address) if address else None
    if opened is None:
        yield lambda query, values: []
        return

    import psycopg2  # of the extra `scale`, with which it was opened

    def ask(query: str, values: Mapping[str, Any]) -> list[Any]:
        try:
            with opened.cursor() as cursor:
                cursor.execute(re.sub(r":(\w+)", r"%(\1)s", query), values)
                return list(cursor.fetchall())
        except psycopg2.Error:  # there are no tables before the first run
            return []

    with closing(opened):
        yield ask


def _status(status: str) -> str:
    names = {"SUCCESS": "done", "FAILURE": "failed", "CANCELED": "cancelled"}
    return names.get(status, "running" if status in RUNNING else "waiting")


def _time(created: str | datetime) -> datetime:
    return (datetime.fromisoformat(created) if isinstance(created, str) else created).replace(tzinfo=UTC)
