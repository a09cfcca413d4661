"""Dagster's SQLite event log with cached engines, which saves a third of its time per run, and reasons of failed runs.

Dagster's own class creates an engine and opens the file for each of a run's 500 queries. All failures pass by here,
whoever started the run and before anybody sees it as failed: it gets the reason as a tag, which lists of runs show.

Belongs here: connections, and when tags are set. Does not belong here: what is stored and where; both are
Dagster's. Without the entry in ``dagster.yaml``, Dagster's own class uses the same files.
"""

import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.tags import TAGS_TO_MAYBE_OMIT_ON_RETRY
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool, QueuePool

from assay.experiments.last_run import FAILURE_TAG, STAGE_TAG
from resources.failures import failure_tags
from resources.instance.run_records import BACKFILL_TAG, list_with_job

_log = logging.getLogger(__name__)

OTHERS_TAG = "assay/all_failures"
"""Tag of a failed run of a backfill with the command that lists every failure of the backfill."""

# A run that repeats another one gets its tags, and would be said to have failed before it began.
TAGS_TO_MAYBE_OMIT_ON_RETRY.update((FAILURE_TAG, STAGE_TAG, OTHERS_TAG))

KEPT_ENGINES = 16
"""Number of cached engines, with their compiled statements: one per recently used run, and one for the index."""

CLAIM_PAUSE_S = 1.0
"""Pause in seconds before a run asks again for a slot of a pool that is full."""


SPARED = frozenset(
    {
        dg.DagsterEventType.STEP_INPUT,
        dg.DagsterEventType.LOADED_INPUT,
        dg.DagsterEventType.HANDLED_OUTPUT,
    }
)
"""Events that are not stored, two of five in a run: that a step got an input or an output was kept, which its other
events say as well. Nothing in Dagster reads them again, but the log of a run."""

FIRST = dg.DagsterEventType.RUN_START

LAST = frozenset({dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED})


def event_kind(event: dg.EventLogEntry) -> dg.DagsterEventType | None:
    """Return the type of one of Dagster's events; None of a line of a log."""
    return event.dagster_event_type if event.is_dagster_event else None


class AssayEventLog(SqlEventLogStorage):
    """What every event log of ours adds to Dagster's, whatever database it is in: base of the classes in settings."""

    def store_event(self, event: dg.EventLogEntry) -> None:
        """Store an event that says something; one that ends a failed run, after its status and tags with the reason."""
        kind = event_kind(event)
        if kind in SPARED:
            return
        if kind is FIRST:
            list_with_job(self._instance, event.run_id)
        if kind is dg.DagsterEventType.RUN_FAILURE:
            self._record_failure(event)
        super().store_event(event)

    def _record_failure(self, event: dg.EventLogEntry) -> None:
        """Give a run its tags and its status before its failure can be seen in the log.

        Dagster sets the status after the event. A daemon that looks in between takes the run for a living one, goes on
        behind the event and never tries the run again.
        """
        run_id = event.run_id
        try:
            self._tell_failure(run_id)
        except Exception:  # the run failed, which must be recorded, whether or not it can be told why
            _log.exception("Run %s got no tag that says why it failed.", run_id)
        ended = datetime.fromtimestamp(event.timestamp, UTC)
        self._instance.run_storage.handle_run_event(run_id, event.get_dagster_event(), ended)

    def _tell_failure(self, run_id: str) -> None:
        kinds = (dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        failures, checks = (
            [entry.get_dagster_event() for entry in self.get_logs_for_run(run_id, of_type=kind)] for kind in kinds
        )
        if tags := failure_tags(failures, checks):
            run = self._instance.get_run_by_id(run_id)
            backfill_id = run.tags.get(BACKFILL_TAG) if run else None
            others = {OTHERS_TAG: f"assay backfills {backfill_id}"} if backfill_id else {}
            self._instance.add_run_tags(run_id, {**tags, **others})

    def claim_concurrency_slot(
        self, concurrency_key: str, run_id: str, step_key: str, priority: int | None = None
    ) -> Any:
        """Ask for a slot of a pool; if there is none, answer after a second in which the run may be cancelled.

        Dagster's executor asks in a loop that never pauses and hears no interruption: a run that waits would take a
        core from those that it waits for, and Ctrl-C would do nothing.
        """
        status = super().claim_concurrency_slot(concurrency_key, run_id, step_key, priority)
        if status.is_claimed:
            return status
        with dg.raise_execution_interrupts():
            time.sleep(CLAIM_PAUSE_S)
        return status.with_sleep_interval(0.0)


class LocalEventLog(AssayEventLog, SqliteEventLogStorage):
    """The event log in ``history/runs`` of the instance's own folder.

    The index, which all runs write to, stays open, and so does the database of a run in the process that executes it.
    The web server watches the files for news, but SQLite writes to another file first, until the database is closed:
    its time is therefore set after each event. All other processes close the databases of runs at once.
    """

    def __init__(self, inst_data: Any = None, kept_engines: int = KEPT_ENGINES) -> None:
        self._inst_data = inst_data
        self._kept_engines = kept_engines
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._executed: set[str] = set()
        self._schema: set[tuple[str, str]] = set()
        self._partitions: set[tuple[str, str]] = set()

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return the keys of the entry's ``config``: none."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> "LocalEventLog":
        """Return the event log; its instance is registered later."""
        return cls(inst_data)

    def register_instance(self, instance: dg.DagsterInstance) -> None:
        """Open, or create, the log in the folder of its instance."""
        super().__init__(str(Path(instance.root_directory) / "history" / "runs"), self._inst_data)
        super().register_instance(instance)

    def store_event(self, event: dg.EventLogEntry) -> None:
        """Store an event, see ``AssayEventLog``, and tell the web server of it."""
        kind, run_id = event_kind(event), event.run_id
        if kind is FIRST:
            self._forget_engine(run_id)
            self._executed.add(run_id)
        if kind is dg.DagsterEventType.STEP_START or kind in LAST:
            self._partitions.clear()
        super().store_event(event)
        if run_id in self._executed and kind not in SPARED:
            os.utime(self.path_for_shard(run_id))
            if kind in LAST:
                self._executed.discard(run_id)
                self._forget_engine(run_id)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _is_there(self, kind: str, name: str, look: Callable[[], bool]) -> bool:
        """Return whether a part of the schema exists, after looking only until it does: a run asks 300 times."""
        if (kind, name) not in self._schema and look():
            self._schema.add((kind, name))
        return (kind, name) in self._schema

    def has_table(self, table_name: str) -> bool:
        """Return whether a table exists."""
        return self._is_there("table", table_name, partial(super().has_table, table_name))

    def has_secondary_index(self, name: str) -> bool:
        """Return whether a migration of Dagster's is complete."""
        return self._is_there("migration", name, partial(super().has_secondary_index, name))

    def has_asset_key_col(self, column_name: str) -> bool:
        """Return whether the table of assets has a column."""
        return self._is_there("column", column_name, partial(super().has_asset_key_col, column_name))

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        look = partial(super()._has_asset_key_col_on_connection, conn, column_name)
        return self._is_there("column", column_name, look)

    def has_dynamic_partition(self, partitions_def_name: str, partition_key: str) -> bool:
        """Return whether a partition exists; a step that is executed here asks for it ten times, and looks once."""
        asked = (partitions_def_name, partition_key)
        if asked in self._partitions:
            return True
        found = super().has_dynamic_partition(partitions_def_name, partition_key)
        if found and self._executed:
            self._partitions.add(asked)
        return found

    def delete_dynamic_partition(self, partitions_def_name: str, partition_key: str) -> None:
        """Delete a partition, which is gone for a step at work here, too."""
        self._partitions.discard((partitions_def_name, partition_key))
        super().delete_dynamic_partition(partitions_def_name, partition_key)

    def _forget_engine(self, shard: str) -> None:
        with self._db_lock:
            if engine := self._engines.pop(shard, None):
                engine.dispose()

    def _engine(self, shard: str) -> Engine:
        stays_open = shard == INDEX_SHARD_NAME or shard in self._executed
        engine = self._engines.pop(shard, None) or _make_engine(self.conn_string_for_shard(shard), stays_open)
        self._engines[shard] = engine  # the latest comes last
        if len(self._engines) > self._kept_engines:
            self._engines.popitem(last=False)[1].dispose()
        return engine

    def wipe(self) -> None:
        """Delete all events."""
        self._close()
        self._schema.clear()
        self._partitions.clear()
        super().wipe()

    def dispose(self) -> None:
        """Close all connections."""
        super().dispose()
        self._close()

    def _close(self) -> None:
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()


def _make_engine(address: str, stays_open: bool) -> Engine:
    pool = QueuePool if stays_open else NullPool
    engine = create_engine(address, poolclass=pool, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})
    # A power cut may lose the latest events, but never the database; the next run finds their results again.
    sqlalchemy.event.listen(engine, "connect", lambda opened, _: opened.execute("PRAGMA synchronous=NORMAL"))
    return engine
