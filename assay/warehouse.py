"""``warehouse.duckdb``: an index over the stored tables, one view each, for SQL and dashboards.

Belongs here: making the index, asking it. Does not belong here: the files that it shows (``partition_files``).

The views are patterns over the files, so they show new partitions without being made anew. The index holds nothing
else and can be deleted at any time. It is built beside itself and renamed into place; runs never touch it.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import polars as pl
from filelock import FileLock

from assay.errors import AssayError, DataError, StorageError
from assay.files import TEMPORARY_PREFIX, atomic_path
from assay.sql_text import quote_identifier, quote_literal
from assay.stored_tables import TableFiles, find_tables, signature_of
from assay.warehouse_views import view_statements

INDEX = "warehouse.duckdb"
ATTEMPTS = 5
"""How often a query starts again because a file that it was about to read was replaced."""

log = logging.getLogger(__name__)


def query(root: Path, sql: str) -> pl.DataFrame:
    """Return the answer to a SQL query over all stored tables; the index is rebuilt first when it is not current.

    Raises:
        DataError: The query is wrong, changes something, or reads a table whose partitions don't go together.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with connect(root) as connection:
                return _fetch(connection, sql)
        except duckdb.IOException as error:
            if attempt == ATTEMPTS:
                raise DataError(f"The query failed: {error}") from error
        except duckdb.Error as error:
            raise DataError(f"The query failed: {error}") from error
    raise AssertionError("unreachable")


@contextmanager
def connect(root: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a connection whose views show every stored table; read-only, or in memory while the index is held."""
    tables = find_tables(root)
    wanted = signature_of(tables)
    connection = _open_current(root / INDEX, wanted)
    if connection is None and root.is_dir():
        with suppress(AssayError, OSError, duckdb.Error):
            connection = _refresh(root, wanted)
    if connection is None:
        connection = duckdb.connect()
        _fill(connection, tables)
    with connection:
        yield connection


def rebuild_warehouse(root: Path) -> list[str]:
    """Make the index anew from the files, atomically, one process at a time.

    Returns:
        The names of the views.

    Raises:
        DataError: Somebody holds the index open for writing; the message names the process.
        StorageError: The storage can't be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{INDEX}.lock"):
            return _build(root)
    except (OSError, duckdb.Error) as error:
        raise StorageError(f"{root / INDEX} can't be written: {error}") from error


def _refresh(root: Path, wanted: str) -> duckdb.DuckDBPyConnection | None:
    """Build the index unless somebody else did while this process waited for its turn."""
    with FileLock(root / f".{INDEX}.lock"):
        connection = _open_current(root / INDEX, wanted)
        if connection is None:
            _build(root)
            connection = _open_current(root / INDEX, wanted)
        return connection


def _build(root: Path) -> list[str]:
    path = root / INDEX
    _check_not_held(path)
    for leftover in root.glob(f"{TEMPORARY_PREFIX}*-{INDEX}*"):
        leftover.unlink(missing_ok=True)
    tables = find_tables(root)
    with atomic_path(path) as temporary:
        with duckdb.connect(temporary) as connection:
            _fill(connection, tables)
        # The log of a writer that died belongs to the index that is about to go.
        path.with_name(f"{INDEX}.wal").unlink(missing_ok=True)
    return [table.full_name for table in tables]


def _open_current(path: Path, signature: str) -> duckdb.DuckDBPyConnection | None:
    """Return a read-only connection to the index if it shows exactly these tables; None if it doesn't, or can't."""
    if not path.is_file():
        return None
    try:
        connection = duckdb.connect(path, read_only=True)
    except duckdb.Error as error:
        log.info("%s can't be used: %s", path, error)
        return None
    with suppress(duckdb.Error):
        if connection.sql("SELECT assay_signature()").fetchall() == [(signature,)]:
            return connection
    connection.close()
    return None


def _check_not_held(path: Path) -> None:
    """Replacing an index that a process writes to would give its log to a stranger."""
    if not path.is_file():
        return
    try:
        duckdb.connect(path, read_only=True).close()
    except duckdb.Error as error:
        who = _holder(error)
        if who is not None:
            message = f"{path} is open for writing in {who}; it is refreshed when that closes it."
            log.warning("%s", message)
            raise DataError(message) from error


def _holder(error: duckdb.Error) -> str | None:
    """Return who holds the index open, by DuckDB's message; None when it is broken instead."""
    if isinstance(error, duckdb.ConnectionException):
        return "this very process"
    if "lock" not in str(error):
        return None
    found = re.search(r"held in (.+?)\. ", str(error))
    return found.group(1) if found else "another process"


def _fill(connection: duckdb.DuckDBPyConnection, tables: list[TableFiles]) -> None:
    for table in tables:
        for statement in view_statements(table):
            connection.execute(statement)
    connection.execute(f"CREATE MACRO assay_signature() AS {quote_literal(signature_of(tables))}")


def _fetch(connection: duckdb.DuckDBPyConnection, sql: str) -> pl.DataFrame:
    answer = connection.sql(sql)
    if answer is None:
        raise DataError("That statement gives no table. Ask a question, such as: select * from analysis")
    # Polars can't read DuckDB's INTERVAL, not even nested.
    kinds = zip(answer.columns, answer.types, strict=True)
    names = [quote_identifier(name) for name, kind in kinds if "INTERVAL" in str(kind)]
    if names:
        answer = answer.select(f"* REPLACE ({', '.join(f'CAST({name} AS VARCHAR) AS {name}' for name in names)})")
    frame: pl.DataFrame = answer.pl()
    return frame
