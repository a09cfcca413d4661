"""SQL queries over all stored tables, answered from their files as they are at that moment.

A query is answered by the index once the index shows the current files of every table that the statement may read. When
it can't be refreshed, in-memory views over the files answer instead: blocking the index makes answers slow, never
wrong.

A query is a question: one statement that changes nothing. It reads the stored tables, and other files only where its
caller allows that.

Belongs here: choosing what answers. Does not belong here: bringing the index up to date (``refresh``).
"""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import polars as pl
from filelock import FileLock

from assay.errors import AssayError, DataError
from assay.storage.parquet import escape_glob, quote_identifier, quote_literal
from assay.storage.partitions import TABLES, find_tables
from assay.storage.warehouse.database import READING, Index, IndexInUseError
from assay.storage.warehouse.refresh import INDEX, bring_up_to_date, lock_of, open_current, rebuild_warehouse, update

ATTEMPTS = 5
"""How often a query is repeated because a file that it was about to read was replaced."""

WAIT_S = 20.0
"""How long a query waits for another process's refresh before it reads the files directly."""

log = logging.getLogger(__name__)


def query(root: Path, sql: str, files: bool = False) -> pl.DataFrame:
    """Return the result of a SQL query over all stored tables, as their files are now.

    Args:
        root: Storage root.
        sql: One statement.
        files: Whether it may read any file that this user can read, such as by ``read_csv``.

    Raises:
        DataError: The query is not valid, changes something, reads a table whose partitions don't fit together, or
            another file without permission.
        StorageError: The storage can't be read.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with connect(root, sql, files) as connection:
                return fetch(connection, sql)
        except duckdb.PermissionException as error:
            raise DataError(f"The query failed: {error}\n{ONLY_TABLES}") from error
        except duckdb.CatalogException as error:
            is_table = "Table with name" in str(error)  # whose nearest name is then one of DuckDB's own
            told = f"{str(error).splitlines()[0]}\n{WHICH_TABLES}" if is_table else str(error)
            raise DataError(f"The query failed: {told}") from error
        except duckdb.Error as error:
            if attempt == ATTEMPTS or not isinstance(error, duckdb.IOException):
                raise DataError(f"The query failed: {error}") from error
            problem = str(error)
        # Not in the handler above, where the exception still holds the connection to the broken index.
        if str(root / INDEX) in problem or "checksum" in problem:
            log.warning("Rebuilding the index: %s", problem)
            rebuild_warehouse(root)
    raise AssertionError("unreachable")


WHICH_TABLES = (
    "assay sql without a query lists the tables. Other tables of an experiment, such as worst_items and "
    "suspicious_labels, are files in its folder: "
    "assay sql --files \"from '$(assay path ID)/analysis/worst_items.parquet'\""
)

ONLY_TABLES = (
    "A query reads the stored tables and nothing else: no other files, no addresses, no extensions. "
    "To read other files of yours as well: assay sql --files QUERY"
)


@contextmanager
def connect(root: Path, sql: str = "", files: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection on which every table that a statement may read is up to date; all tables without one.

    Args:
        root: Storage root.
        sql: The statement; empty for any.
        files: Whether statements may open other files than the stored tables.
    """
    include = may_read(sql)
    index = None
    with suppress(IndexInUseError):  # most likely by another process's refresh, which is worth waiting for
        index = open_current(root, find_tables(root, include), include)
    if index is None and root.is_dir():
        index = _open_refreshed(root, include)
    if index is None:
        index = _views_only(root, include)
    with index.connection as connection:
        _restrict(connection, root, files)
        yield connection


def _restrict(connection: duckdb.DuckDBPyConnection, root: Path, files: bool) -> None:
    """Forbid access to other files, unless it is allowed, and any change of the settings.

    Connections to the same database share their settings, so another thread may have done it already.
    """
    if connection.execute("SELECT current_setting('lock_configuration')").fetchone() == (True,):
        return
    if not files:
        folder = str(root.absolute() / TABLES)
        allowed = f"{quote_literal(folder)}, {quote_literal(escape_glob(folder))}"  # as files, and as views name them
        connection.execute(f"SET allowed_directories = [{allowed}]")
        connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


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
    index = Index(duckdb.connect(config=READING))
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


NO_QUESTION = "Ask a question, such as: select * from analysis"

EXPLAIN = re.compile(r"\s*explain\s+(analy[sz]e\s+)?(?!\s*\()", re.IGNORECASE)


LOGGING = re.compile(r"\benable_logging\b", re.IGNORECASE)


def require_question(sql: str) -> None:
    """Check that text is one statement that can only read.

    DuckDB's own protection is not enough: a database that is open for reading still writes files, by ``COPY``.

    Raises:
        DataError: It is another statement, several, or none.
        duckdb.Error: It is not valid SQL.
    """
    statements = duckdb.extract_statements(sql)
    if not statements:
        raise DataError(f"That statement gives no table. {NO_QUESTION}")
    if len(statements) > 1:
        raise DataError(f"Those are {len(statements)} statements; expected one. {NO_QUESTION}")
    if LOGGING.search(sql):  # a function that writes files, which DuckDB before 2.0 allows in a question
        raise DataError(f"A query changes nothing, and writes no log. {NO_QUESTION}")
    if not _only_reads(statements[0]):
        allowed = "SELECT, FROM, WITH, VALUES, PIVOT, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN of these"
        raise DataError(f"A query changes nothing: expected {allowed}, got {statements[0].type.name}. {NO_QUESTION}")


def _only_reads(statement: duckdb.Statement) -> bool:
    text = statement.query.strip().rstrip(";")
    if statement.type == duckdb.StatementType.EXPLAIN:  # with ANALYZE, it runs what it explains
        explained = EXPLAIN.sub("", text, count=1)
        inner = duckdb.extract_statements(explained) if explained != text else []
        return len(inner) == 1 and inner[0].type != statement.type and _only_reads(inner[0])
    if statement.type == duckdb.StatementType.MULTI:  # contains PIVOT, as COPY may; but COPY can't be a subquery
        try:
            return len(duckdb.extract_statements(f"FROM (\n{text}\n)")) == 1
        except duckdb.ParserException:
            return False
    return bool(statement.type == duckdb.StatementType.SELECT)


def fetch(connection: duckdb.DuckDBPyConnection, statement: str) -> pl.DataFrame:
    """Return the result of a statement as a frame.

    Raises:
        DataError: The statement is no question.
        duckdb.Error: The statement is not valid, or fails.
    """
    require_question(statement)
    answer = connection.sql(statement)
    if answer is None:
        raise DataError(f"That statement gives no table. {NO_QUESTION}")
    # Polars can't read DuckDB's INTERVAL, also where it is nested.
    kinds = zip(answer.columns, answer.types, strict=True)
    names = [quote_identifier(name) for name, kind in kinds if "INTERVAL" in str(kind)]
    if names:
        answer = answer.select(f"* REPLACE ({', '.join(f'CAST({name} AS VARCHAR) AS {name}' for name in names)})")
    frame: pl.DataFrame = answer.pl()
    return frame
