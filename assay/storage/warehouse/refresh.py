"""Keeping the index in step with the files, by one process at a time that nobody has to wait for.

Belongs here: when it is brought up to date, and by whom. Does not belong here: how (``update``), its file (``file``).
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
from filelock import FileLock, Timeout

from assay.errors import StorageError
from assay.storage.partitions import TableFiles, find_table, find_tables, signatures_of
from assay.storage.warehouse.database import HeldError, Index, changing, open_index
from assay.storage.warehouse.diff import Changes, Difference, compare, unreadable
from assay.storage.warehouse.tables import alter, create, delete_rows, drop, insert_rows

INDEX = "warehouse.duckdb"

NATIVE = frozenset({"experiments", "training_history", "predictions", "analysis"})
"""Tables with few columns that are asked across all experiments: 10 ms, and 3 s over 10,000 files (measured)."""

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


def refresh_warehouse(root: Path) -> RefreshReport:
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
            with FileLock(lock_of(root), timeout=0):
                _, changes = bring_up_to_date(root, lambda _: True)
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
        with FileLock(lock_of(root)):
            former = open_index(root / INDEX)
            if former is not None:
                former.connection.close()
            with changing(root / INDEX, keep=False) as ledger:
                shown, _ = update(ledger, find_tables(root), [], NATIVE)
                return [table.full_name for table in shown]
    except (OSError, duckdb.Error) as error:
        raise StorageError(f"{root / INDEX} can't be written: {error}") from error


def lock_of(root: Path) -> Path:
    """Return the lock that whoever changes the index holds."""
    return root / f".{INDEX}.lock"


def bring_up_to_date(root: Path, wanted: Callable[[str], bool]) -> tuple[list[TableFiles], Changes]:
    """Refresh the wanted tables, under the lock; an index that is up to date is not even opened for writing."""
    tables = find_tables(root, wanted)
    found = open_index(root / INDEX)
    gone: set[str] = set()
    if found is not None:
        with found.connection:
            shown = found.signatures(wanted)
        if shown == signatures_of(tables):
            return tables, Changes()
        gone = shown.keys() - signatures_of(tables)
    try:
        with changing(root / INDEX, keep=found is not None) as ledger:
            return update(ledger, tables, gone, NATIVE)
    except duckdb.Error as error:
        log.warning("Making %s anew: %s", root / INDEX, error)
    # Not above: there the error still keeps the connection to the broken index.
    with changing(root / INDEX, keep=False) as ledger:
        return update(ledger, tables, [], NATIVE)


def open_current(root: Path, tables: list[TableFiles], wanted: Callable[[str], bool]) -> Index | None:
    """Return the index if it shows exactly these among the wanted tables."""
    ledger = open_index(root / INDEX)
    if ledger is None:
        return None
    if ledger.signatures(wanted) == signatures_of(tables):
        return ledger
    ledger.connection.close()
    return None


ATTEMPTS = 50
"""How often a table is looked at again because a writer replaced one of its files; each time fewer are left to read."""

BATCH = 1000
"""Partitions that are read in one transaction."""


def update(
    ledger: Index, tables: Iterable[TableFiles], gone: Iterable[str], native: Collection[str]
) -> tuple[list[TableFiles], Changes]:
    """Make the index show the files that a look found, or newer ones.

    Args:
        ledger: The books of the index, open for writing.
        tables: What the look found.
        gone: Full names of tables in the index that it did not find.
        native: Names of tables whose rows the index holds itself.

    Returns:
        The tables as they are shown now, and how much that changed.

    Raises:
        StorageError: A table never stays the same for as long as it takes to read it.
        duckdb.Error: The index can't be written.
    """
    total = Changes()
    for name in gone:
        total += _drop(ledger, name)
    shown: list[TableFiles] = []
    signatures = ledger.signatures()
    for table in tables:
        now: TableFiles | None = table
        if signatures.get(table.full_name) != table.signature:
            now, changes = _update_table(ledger, table, native)
            total += changes
        shown += [now] if now else []
    return shown, total


def _update_table(ledger: Index, table: TableFiles, native: Collection[str]) -> tuple[TableFiles | None, Changes]:
    total: Changes | None = None
    for _ in range(ATTEMPTS):
        try:
            with _transaction(ledger.connection):
                difference = compare(ledger, table, native)
                total = total or difference.changes
                _agree(ledger, table, difference)
            return table, total
        except (StorageError, duckdb.IOException) as error:
            found, problem = find_table(table.folder), str(error)
        if found is None:
            return None, _drop(ledger, table.full_name)
        if found == table:
            with _transaction(ledger.connection):
                _agree(ledger, table, unreadable(ledger, table, problem))
            return table, Changes()
        table = found
    raise StorageError(f"{table.folder} was written {ATTEMPTS} times while it was read. Try again.")


def _agree(ledger: Index, table: TableFiles, difference: Difference) -> None:
    """Make the index show a table as it is, within a transaction that it commits now and then."""
    _prepare(ledger, table, difference)
    is_native, shapes = not difference.looks.select, ledger.shapes()
    for start in range(0, len(difference.unread), BATCH):
        if start:
            ledger.connection.commit()
            ledger.connection.begin()
        keys = difference.unread[start : start + BATCH]
        if is_native:
            insert_rows(ledger.connection, table, keys, {key: shapes[difference.shapes[key]] for key in keys})
        versions, named = ([of[key] for key in keys] for of in (table.versions, difference.shapes))
        ledger.note_partitions(table.full_name, keys, versions, named)
    ledger.note_table(table.full_name, table.column, difference.looks, table.signature)


def _prepare(ledger: Index, table: TableFiles, difference: Difference) -> None:
    """Give a table its columns and take out what is not valid any more."""
    connection, name = ledger.connection, table.full_name
    if difference.remake:
        if difference.old:
            drop(connection, name, difference.old)
        create(connection, name, difference.looks)
    elif not difference.looks.select:
        if difference.old:
            alter(connection, name, difference.old, difference.looks)
        delete_rows(connection, table, difference.outdated)
    ledger.forget_partitions(name, difference.outdated)
    ledger.note_table(name, table.column, difference.looks)


def _drop(ledger: Index, name: str) -> Changes:
    with _transaction(ledger.connection):
        known = ledger.known(name)
        if known is None:
            return Changes()
        drop(ledger.connection, name, known.looks)
        ledger.forget_table(name)
    return Changes(removed=len(known.partitions))


@contextmanager
def _transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    connection.begin()
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
