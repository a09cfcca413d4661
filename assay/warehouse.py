"""``warehouse.duckdb``: an index over the stored tables, for SQL and dashboards.

Belongs here: asking it, refreshing it. Does not belong here: how it is brought up to date (``warehouse_update``), the
files that it shows (``partition_files``).

Tables that are asked across all experiments are native in it; the others are views, patterns over their files. The
index holds nothing else and can be deleted at any time; runs never touch it. Every query compares it with the files
first, so that its answer is right, whether or not the index can be refreshed.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
from filelock import FileLock, Timeout

from assay.errors import AssayError, DataError, StorageError
from assay.stored_tables import TableFiles, find_tables
from assay.warehouse_difference import Changes
from assay.warehouse_file import HeldError, changing, open_index
from assay.warehouse_ledger import Ledger
from assay.warehouse_queries import fetch, may_read
from assay.warehouse_update import update

INDEX = "warehouse.duckdb"
NATIVE = frozenset({"experiments", "training_history", "predictions", "analysis"})
"""Tables with few columns that are asked across all experiments: 10 ms, and 3 s over 10,000 files (measured)."""

ATTEMPTS = 5
"""How often a query starts again because a file that it was about to read was replaced."""

WAIT_S = 20.0
"""How long a query waits for somebody else's refresh before it reads the files themselves."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RefreshReport:
    """What a refresh did.

    Attributes:
        changes: How many partitions came, changed and went.
        duration_s: How long it took.
        postponed: Why nothing was done; empty when the index is up to date.
    """

    changes: Changes
    duration_s: float
    postponed: str = ""


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
        ledger = _open_current(root, find_tables(root, wanted), wanted)
    if ledger is None and root.is_dir():
        ledger = _open_refreshed(root, wanted)
    if ledger is None:
        ledger = _views_only(root, wanted)
    with ledger.connection as connection:
        yield connection


def refresh(root: Path) -> RefreshReport:
    """Bring the whole index up to date, or leave it at once when somebody else does so or holds it.

    Cheap when nothing changed, so that it can be called every few seconds. No query needs it, it only spares the next
    one some work, and is how those who open the index with other tools get to see news.

    Raises:
        StorageError: The storage can't be read or written.
    """
    started = time.perf_counter()
    changes, postponed = Changes(), ""
    try:
        if root.is_dir():
            with FileLock(_lock(root), timeout=0):
                _, changes = _bring_up_to_date(root, lambda _: True)
    except Timeout:
        postponed = f"{root / INDEX} is being refreshed by another process."
    except HeldError as error:
        postponed = str(error)
    except (OSError, duckdb.Error) as error:
        raise StorageError(f"{root / INDEX} can't be refreshed: {error}") from error
    return RefreshReport(changes, time.perf_counter() - started, postponed)


def rebuild_warehouse(root: Path) -> list[str]:
    """Make the index anew from the files, atomically, one process at a time.

    Returns:
        The names of the tables.

    Raises:
        DataError: Somebody holds the index open for writing; the message names the process.
        StorageError: The storage can't be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(_lock(root)), changing(root / INDEX, anew=True) as ledger:
            shown, _ = update(ledger, find_tables(root), [], NATIVE)
            return [table.full_name for table in shown]
    except (OSError, duckdb.Error) as error:
        raise StorageError(f"{root / INDEX} can't be written: {error}") from error


def _lock(root: Path) -> Path:
    return root / f".{INDEX}.lock"


def _open_refreshed(root: Path, wanted: Callable[[str], bool]) -> Ledger | None:
    """Return the index after a refresh of the wanted tables; None when it can't be had."""
    try:
        with FileLock(_lock(root), timeout=WAIT_S):
            shown, _ = _bring_up_to_date(root, wanted)
            return _open_current(root, shown, wanted)
    except (AssayError, OSError, duckdb.Error) as error:
        log.warning("Reading the files themselves, which takes longer: %s", error)
        return None


def _bring_up_to_date(root: Path, wanted: Callable[[str], bool]) -> tuple[list[TableFiles], Changes]:
    """Refresh the wanted tables, under the lock; an index that is up to date is not even opened for writing."""
    tables = find_tables(root, wanted)
    ledger = _open_current(root, tables, wanted)
    if ledger is not None:
        ledger.connection.close()
        return tables, Changes()
    try:
        with changing(root / INDEX) as ledger:
            found = {table.full_name for table in tables}
            gone = [name for name in ledger.signatures() if wanted(name) and name not in found]
            return update(ledger, tables, gone, NATIVE)
    except duckdb.Error as error:
        log.warning("Making the index anew: %s", error)
        with changing(root / INDEX, anew=True) as ledger:
            return update(ledger, tables, [], NATIVE)


def _open_current(root: Path, tables: list[TableFiles], wanted: Callable[[str], bool]) -> Ledger | None:
    """Return the index if it shows exactly these among the wanted tables."""
    ledger = open_index(root / INDEX)
    if ledger is None:
        return None
    signatures = {name: signature for name, signature in ledger.signatures().items() if wanted(name)}
    if signatures == {table.full_name: table.signature for table in tables}:
        return ledger
    ledger.connection.close()
    return None


def _views_only(root: Path, wanted: Callable[[str], bool]) -> Ledger:
    """Return an index in memory, all views: always right, and slow over thousands of files."""
    ledger = Ledger(duckdb.connect())
    ledger.create()
    update(ledger, find_tables(root, wanted), [], native=())
    return ledger
