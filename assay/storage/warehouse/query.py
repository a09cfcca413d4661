"""SQL queries over all stored tables, answered from their files as they are at that moment.

A query is answered by the index once the index shows the current files of every table that the statement may read. When
it can't be refreshed, in-memory views over the files answer instead: blocking the index makes answers slow, never
wrong.

Belongs here: choosing what answers. Does not belong here: bringing the index up to date (``refresh``).
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
from assay.storage.warehouse.database import Index, IndexInUseError
from assay.storage.warehouse.refresh import INDEX, bring_up_to_date, lock_of, open_current, rebuild_warehouse, update

ATTEMPTS = 5
"""How often a query is repeated because a file that it was about to read was replaced."""

WAIT_S = 20.0
"""How long a query waits for another process's refresh before it reads the files directly."""

log = logging.getLogger(__name__)


def query(root: Path, sql: str) -> pl.DataFrame:
    """Return the result of a SQL query over all stored tables, as their files are now.

    Raises:
        DataError: The query is not valid, changes something, or reads a table whose partitions don't fit together.
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
        # Not in the handler above, where the exception still holds the connection to the broken index.
        if str(root / INDEX) in problem or "checksum" in problem:
            log.warning("Rebuilding the index: %s", problem)
            rebuild_warehouse(root)
    raise AssertionError("unreachable")


@contextmanager
def connect(root: Path, sql: str = "") -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection on which every table that a statement may read is up to date; all tables without one."""
    include = may_read(sql)
    index = None
    with suppress(IndexInUseError):  # most likely by another process's refresh, which is worth waiting for
        index = open_current(root, find_tables(root, include), include)
    if index is None and root.is_dir():
        index = _open_refreshed(root, include)
    if index is None:
        index = _views_only(root, include)
    with index.connection as connection:
        yield connection


def _open_refreshed(root: Path, include: Callable[[str], bool]) -> Index | None:
    """Return the index after a refresh of the included tables; None when it can't be refreshed."""
    try:
        with FileLock(lock_of(root), timeout=WAIT_S):
            shown, _ = bring_up_to_date(root, include)
            return open_current(root, shown, include)
    except (AssayError, OSError, duckdb.Error) as error:
        log.warning("Reading the files directly, which takes longer: %s", error)
        return None


def _views_only(root: Path, include: Callable[[str], bool]) -> Index:
    """Return an in-memory index of views only: always correct, but slow over thousands of files."""
    index = Index(duckdb.connect())
    index.create()
    update(index, find_tables(root, include), [], native=())
    return index


CATALOG_WORDS = ("information_schema", "duckdb_", "pg_", "sqlite_", "pragma", "show", "describe", "query")
"""A statement that contains one of these may read tables that it does not name."""


def may_read(statement: str) -> Callable[[str], bool]:
    """Return a predicate on a table's full name: whether the statement may read that table. In doubt, it may.

    Most statements name one table, and then only that table has to be checked and refreshed.
    """
    text = statement.lower()
    if not text or any(word in text for word in CATALOG_WORDS):
        return lambda _: True
    return lambda full_name: full_name.split(".")[-1].lower() in text


def fetch(connection: duckdb.DuckDBPyConnection, statement: str) -> pl.DataFrame:
    """Return the result of a statement as a frame.

    Raises:
        DataError: The statement returns no table.
        duckdb.Error: The statement is not valid, or fails.
    """
    answer = connection.sql(statement)
    if answer is None:
        raise DataError("That statement gives no table. Ask a question, such as: select * from analysis")
    # Polars can't read DuckDB's INTERVAL, also where it is nested.
    kinds = zip(answer.columns, answer.types, strict=True)
    names = [quote_identifier(name) for name, kind in kinds if "INTERVAL" in str(kind)]
    if names:
        answer = answer.select(f"* REPLACE ({', '.join(f'CAST({name} AS VARCHAR) AS {name}' for name in names)})")
    frame: pl.DataFrame = answer.pl()
    return frame
