"""Dagster's records in PostgreSQL, over one connection that each process keeps; failed runs get their reasons as tags.

Dagster's own classes open a connection for every query, which takes 20 ms with a password, and a run makes hundreds.
Here all storages of a process share a pool: one connection that stays open, and more while several threads ask at once.
It is a module of its own because dagster-postgres belongs to the extra ``scale``.

Belongs here: the classes that the profile ``shared`` names. Does not belong here: tables and queries, which are
Dagster's; what is added to its event log (``event_log``).
"""

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Self

from dagster._core.storage.event_log.schema import ConcurrencyLimitsTable
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage
from dagster_postgres.utils import create_pg_engine, pg_url_from_config, set_pg_statement_timeout
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import InternalError

from resources.instance.event_log import AssayEventLog


class _Kept:
    """A storage of dagster-postgres, with the same configuration, on the process's connections."""

    postgres_url: str

    def __init__(self, postgres_url: str, should_autocreate_tables: bool = True, inst_data: Any = None) -> None:
        super().__init__(postgres_url, should_autocreate_tables, inst_data)  # type: ignore[call-arg]
        self._engine = _engine(postgres_url, os.getpid())

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
        """Let queries of the web server end after a time in ms; Dagster's own way forgets to try a kept connection."""
        self._engine = _engine(self.postgres_url, os.getpid(), statement_timeout)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> Self:
        """Return the storage that ``dagster.yaml`` describes."""
        return cls(pg_url_from_config(config_value), config_value.get("should_autocreate_tables", True), inst_data)


@lru_cache
def _engine(address: str, _pid: int, timeout_ms: int = 0) -> Engine:
    """Return the engine of this process: a forked one must not speak over its parent's connections.

    A connection is tried before it is used, because the database may have been restarted meanwhile.
    """
    options = {"pool_size": 1, "max_overflow": -1, "pool_pre_ping": True, "pool_recycle": 600}
    engine: Engine = create_pg_engine(address, isolation_level="AUTOCOMMIT", **options)
    if timeout_ms:
        event.listen(engine, "connect", lambda opened, _: set_pg_statement_timeout(opened, timeout_ms))
    return engine


class SharedRunStorage(_Kept, PostgresRunStorage):
    """Runs, their tags, backfills, heartbeats of daemons."""


class SharedScheduleStorage(_Kept, PostgresScheduleStorage):
    """State and ticks of sensors and schedules."""


class SharedEventLog(_Kept, AssayEventLog, PostgresEventLogStorage):
    """Events, materializations, partitions, slots of pools."""

    def initialize_concurrency_limit_to_default(self, concurrency_key: str) -> bool:
        """Give a pool the usual limit, also where another process does so at this moment, or another one was set.

        Dagster's own way is to insert, and to update after an error. PostgreSQL refuses everything in a transaction
        that had an error, so a run would fail when two are the first to train, and all after a change of the settings.
        """
        limit = self._instance.global_op_concurrency_default_limit
        if limit is not None and self._follow_default(concurrency_key, limit):
            return True
        try:
            return bool(super().initialize_concurrency_limit_to_default(concurrency_key))
        except InternalError:  # the update after the error: another process was faster, with the same settings
            return True

    def _follow_default(self, pool: str, limit: int) -> bool:
        """Give a pool that has the usual limit a new one; returns whether there is such a pool."""
        ours = (ConcurrencyLimitsTable.c.concurrency_key == pool) & ConcurrencyLimitsTable.c.using_default_limit
        with self.index_transaction() as connection:
            found = connection.execute(ConcurrencyLimitsTable.update().where(ours).values(limit=limit))
            if found.rowcount:
                self._allocate_concurrency_slots(connection, pool, limit)
        return bool(found.rowcount)
