"""Dagster's SQLite event log, a third cheaper per run: it keeps what Dagster's own makes anew for each of 500 queries.

Belongs here: connections. Does not belong here: what is stored, and where; both are Dagster's, and deleting the entry
in ``dagster.yaml`` gives the same files back to Dagster's own class.
"""

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
from dagster._serdes import ConfigurableClassData
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool, QueuePool

KEPT_ENGINES = 16
"""Databases whose engine is kept: one per run that is looked at, and the index. An engine knows compiled statements."""


class LocalEventLog(SqliteEventLogStorage):
    """The event log in ``history/runs`` of the instance's own folder.

    The index, which all runs write to, stays open. A run's own database is closed after each event: closing it touches
    the file, by which the web server notices that there is something new to show.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None, kept_engines: int = KEPT_ENGINES) -> None:
        self._inst_data = inst_data
        self._kept_engines = kept_engines
        self._engines: OrderedDict[str, Engine] = OrderedDict()

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return the keys of the entry's ``config``: none."""
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "LocalEventLog":
        """Return the log of an instance that is told later."""
        return cls(inst_data)

    def register_instance(self, instance: dg.DagsterInstance) -> None:
        """Open, or make, the log in the folder of the instance that it belongs to."""
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

    def wipe(self) -> None:
        """Delete everything."""
        self._close()
        super().wipe()

    def dispose(self) -> None:
        """Close everything."""
        super().dispose()
        self._close()

    def _close(self) -> None:
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()


def _make_engine(address: str, shard: str) -> Engine:
    pool = QueuePool if shard == INDEX_SHARD_NAME else NullPool
    engine = create_engine(address, poolclass=pool, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})
    # A power cut may cost the last events, never the database; their results are found again by the next run.
    sqlalchemy.event.listen(engine, "connect", lambda opened, _: opened.execute("PRAGMA synchronous=NORMAL"))
    return engine
