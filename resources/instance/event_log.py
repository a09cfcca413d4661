"""Dagster's SQLite event log with cached engines, which saves a third of its time per run.

Dagster's own class creates an engine and opens the file for each of a run's 500 queries.

Belongs here: connections. Does not belong here: what is stored and where; both are Dagster's. Without the entry in
``dagster.yaml``, Dagster's own class uses the same files.
"""

import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool, QueuePool

KEPT_ENGINES = 16
"""Number of cached engines, with their compiled statements: one per recently used run, and one for the index."""

CLAIM_PAUSE_S = 1.0
"""Pause in seconds before a run asks again for a slot of a pool that is full."""


class LocalEventLog(SqliteEventLogStorage):
    """The event log in ``history/runs`` of the instance's own folder.

    The index, which all runs write to, stays open. A run's own database is closed after each event, because closing it
    modifies the file, and the web server watches these files for news.
    """

    def __init__(self, inst_data: Any = None, kept_engines: int = KEPT_ENGINES) -> None:
        self._inst_data = inst_data
        self._kept_engines = kept_engines
        self._engines: OrderedDict[str, Engine] = OrderedDict()

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

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _engine(self, shard: str) -> Engine:
        engine = self._engines.pop(shard, None) or _make_engine(self.conn_string_for_shard(shard), shard)
        self._engines[shard] = engine  # the latest comes last
        if len(self._engines) > self._kept_engines:
            self._engines.popitem(last=False)[1].dispose()
        return engine

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

    def wipe(self) -> None:
        """Delete all events."""
        self._close()
        super().wipe()

    def dispose(self) -> None:
        """Close all connections."""
        super().dispose()
        self._close()

    def _close(self) -> None:
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()


def _make_engine(address: str, shard: str) -> Engine:
    pool = QueuePool if shard == INDEX_SHARD_NAME else NullPool
    engine = create_engine(address, poolclass=pool, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})
    # A power cut may lose the latest events, but never the database; the next run finds their results again.
    sqlalchemy.event.listen(engine, "connect", lambda opened, _: opened.execute("PRAGMA synchronous=NORMAL"))
    return engine
