"""Answers to SQL over all stored tables, as their files are at the moment of asking.

Belongs here: which index answers. Does not belong here: bringing it up to date (``refreshing``).

The index answers once it shows the files that the statement may read. When it can't be brought so far, views in memory
answer instead: somebody who keeps the index from its refresh makes answers slow, never wrong.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import polars as pl
from filelock import FileLock

from assay.errors import AssayError, DataError
from assay.storage.parquet import quote_identifier
from assay.storage.partitions import find_tables
from assay.storage.warehouse.database import HeldError, Index
from assay.storage.warehouse.refresh import INDEX, bring_up_to_date, lock_of, open_current, rebuild_warehouse, update

ATTEMPTS = 5
"""How often a query starts again because a file that it was about to read was replaced."""

WAIT_S = 20.0
"""How long a query waits for somebody else's refresh before it reads the files themselves."""

log = logging.getLogger(__name__)


def query(root: Path, sql: str) -> pl.DataFrame:
    """Return the answer to a SQL query over all stored tables, as their files are now.

    Raises:
        DataError: The query is wrong, changes something, or reads a table whose partitions don't go together.
        StorageError: The storage can't be read.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with connect(root, sql) as connection:
                return fetch(connection, sql)
        except duckdb.Error as error:
            if attempt == ATTEMPTS or not isinstance(error, duckdb.IOException):
                raise DataError(f"The query failed: {error}") from error
            problem = str(error)
        # Not above: there the error still keeps the connection to the broken index.
        if str(root / INDEX) in problem or "checksum" in problem:
            log.warning("Making the index anew: %s", problem)
            rebuild_warehouse(root)
    raise AssertionError("unreachable")


@contextmanager
def connect(root: Path, sql: str = "") -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection on which the tables that a statement may read, or all of them, are up to date."""
    wanted = may_read(sql)
    ledger = None
    with suppress(HeldError):  # by somebody's refresh, as likely as not: then it's worth waiting
        ledger = open_current(root, find_tables(root, wanted), wanted)
    if ledger is None and root.is_dir():
        ledger = _open_refreshed(root, wanted)
    if ledger is None:
        ledger = _views_only(root, wanted)
    with ledger.connection as connection:
        yield connection


def _open_refreshed(root: Path, wanted: Callable[[str], bool]) -> Index | None:
    """Return the index after a refresh of the wanted tables; None when it can't be had."""
    try:
        with FileLock(lock_of(root), timeout=WAIT_S):
            shown, _ = bring_up_to_date(root, wanted)
            return open_current(root, shown, wanted)
    except (AssayError, OSError, duckdb.Error) as error:
        log.warning("Reading the files themselves, which takes longer: %s", error)
        return None


def _views_only(root: Path, wanted: Callable[[str], bool]) -> Index:
    """Return an index in memory, all views: always right, and slow over thousands of files."""
    ledger = Index(duckdb.connect())
    ledger.create()
    update(ledger, find_tables(root, wanted), [], native=())
    return ledger


CATALOG_WORDS = ("information_schema", "duckdb_", "pg_", "sqlite_", "pragma", "show", "describe", "query")
"""A statement with one of these may ask about tables that it does not name."""


def may_read(statement: str) -> Callable[[str], bool]:
    """Return whether a statement may read a table, given the table's full name; when in doubt, it may.

    Most statements name one table, and looking whether that is up to date is all that they have to wait for.
    """
    text = statement.lower()
    if not text or any(word in text for word in CATALOG_WORDS):
        return lambda _: True
    return lambda full_name: full_name.split(".")[-1].lower() in text


def fetch(connection: duckdb.DuckDBPyConnection, statement: str) -> pl.DataFrame:
    """Return the answer to a statement.

    Raises:
        DataError: It gives no table.
        duckdb.Error: It is wrong, or can't be answered.
    """
    answer = connection.sql(statement)
    if answer is None:
        raise DataError("That statement gives no table. Ask a question, such as: select * from analysis")
    # Polars can't read DuckDB's INTERVAL, not even nested.
    kinds = zip(answer.columns, answer.types, strict=True)
    names = [quote_identifier(name) for name, kind in kinds if "INTERVAL" in str(kind)]
    if names:
        answer = answer.select(f"* REPLACE ({', '.join(f'CAST({name} AS VARCHAR) AS {name}' for name in names)})")
    frame: pl.DataFrame = answer.pl()
    return frame
