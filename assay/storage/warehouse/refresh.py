"""Keeping the index in step with the files: one process at a time, reading only what changed since the last time.

A partition that is replaced while it is read costs only one more listing of its table. What was read before is kept, so
that an update ends however busily others write; a table counts as unfinished until it shows every partition of one
listing.

Belongs here: when the index is updated, by whom, and in which steps. Does not belong here: what differs
(``tables``), the database file and its bookkeeping (``database``).
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
from assay.storage.warehouse.database import READING, Index, IndexInUseError, open_index, writable_index
from assay.storage.warehouse.tables import (
    Changes,
    Difference,
    alter,
    compare,
    create,
    delete_rows,
    drop,
    insert_rows,
    unreadable_difference,
)

INDEX = "warehouse.duckdb"

NATIVE = frozenset({"experiments", "training_history", "predictions", "analysis", "costs"})
"""Tables with few columns that are queried across all experiments: 10 ms as native tables, 3 s over 10,000 files."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RefreshReport:
    """The outcome of a refresh.

    Attributes:
        changes: How many partitions were added, changed and removed.
        duration_s: How long it took, in seconds.
        postponed: Why nothing was done; empty when the index is up to date.
    """

    changes: Changes
    duration_s: float
    postponed: str = ""


def refresh_warehouse(root: Path) -> RefreshReport:
    """Bring the whole index up to date, or return at once when another process refreshes it or has it open.

    It is cheap when nothing changed, so it can be called every few seconds. No query depends on it: it saves the next
    query some work, and keeps the index current for tools that open it directly.

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
    except IndexInUseError as error:
        postponed = str(error)
    except (OSError, duckdb.Error) as error:
        raise StorageError(f"{root / INDEX} can't be refreshed: {error}") from error
    return RefreshReport(changes, time.perf_counter() - started, postponed)


def rebuild_warehouse(root: Path) -> list[str]:
    """Rebuild the index from the files, atomically, one process at a time.

    Returns:
        The full names of the tables.

    Raises:
        DataError: Another process has the index open for writing; the message names it.
        StorageError: The storage can't be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(lock_of(root)):
            former = open_index(root / INDEX)
            if former is not None:
                former.connection.close()
            with writable_index(root / INDEX, keep=False) as index:
                shown, _ = update(index, find_tables(root), [], NATIVE)
                return [table.full_name for table in shown]
    except (OSError, duckdb.Error) as error:
        raise StorageError(f"{root / INDEX} can't be written: {error}") from error


def lock_of(root: Path) -> Path:
    """Return the path of the lock that every process holds while it changes the index."""
    return root / f".{INDEX}.lock"


def bring_up_to_date(root: Path, include: Callable[[str], bool]) -> tuple[list[TableFiles], Changes]:
    """Refresh the included tables; the caller holds the lock.

    An index that is up to date is not opened for writing.

    Returns:
        The tables as the index shows them now, and how much that changed.
    """
    tables = find_tables(root, include)
    found = open_index(root / INDEX)
    gone: set[str] = set()
    if found is not None:
        with found.connection:
            shown = found.signatures(include)
        if shown == signatures_of(tables):
            return tables, Changes()
        gone = shown.keys() - signatures_of(tables)
    try:
        with writable_index(root / INDEX, keep=found is not None) as index:
            return update(index, tables, gone, NATIVE)
    except duckdb.Error as error:
        log.warning("Rebuilding %s: %s", root / INDEX, error)
    # Not in the handler above, where the exception still holds the connection to the broken index.
    with writable_index(root / INDEX, keep=False) as index:
        return update(index, tables, [], NATIVE)


def open_current(root: Path, tables: list[TableFiles], include: Callable[[str], bool]) -> Index | None:
    """Return the index, open for queries, if its included tables show exactly the files of ``tables``; else None."""
    index = open_index(root / INDEX, READING)
    if index is None:
        return None
    if index.signatures(include) == signatures_of(tables):
        return index
    index.connection.close()
    return None


ATTEMPTS = 50
"""How often a table is listed again because a writer replaced one of its files; fewer are left to read each time."""

BATCH = 1000
"""Number of partitions that are read in one transaction."""


def update(
    index: Index, tables: Iterable[TableFiles], gone: Iterable[str], native: Collection[str], batch: int = BATCH
) -> tuple[list[TableFiles], Changes]:
    """Make the index show the listed files, or newer ones.

    Args:
        index: The index, open for writing.
        tables: The tables that exist, as listed.
        gone: Full names of tables in the index that no longer exist.
        native: Names of the tables whose rows the index holds itself.
        batch: Partitions that are read in one transaction.

    Returns:
        The tables as the index shows them now, and how much that changed.

    Raises:
        StorageError: A table keeps changing while it is read.
        duckdb.Error: The index can't be written.
    """
    total = Changes()
    for name in gone:
        total += _drop(index, name)
    shown: list[TableFiles] = []
    signatures = index.signatures()
    for table in tables:
        now: TableFiles | None = table
        if signatures.get(table.full_name) != table.signature:
            now, changes = _update_table(index, table, native, batch)
            total += changes
        shown += [now] if now else []
    return shown, total


def _update_table(
    index: Index, table: TableFiles, native: Collection[str], batch: int
) -> tuple[TableFiles | None, Changes]:
    total: Changes | None = None
    for _ in range(ATTEMPTS):
        try:
            with _transaction(index.connection):
                difference = compare(index, table, native)
                total = total or difference.changes
                _apply(index, table, difference, batch)
            return table, total
        except (StorageError, duckdb.IOException) as error:
            found, problem = find_table(table.folder), str(error)
        if found is None:
            return None, _drop(index, table.full_name)
        if found == table:
            with _transaction(index.connection):
                _apply(index, table, unreadable_difference(index, table, problem), batch)
            return table, Changes()
        table = found
    raise StorageError(f"{table.folder} was written {ATTEMPTS} times while it was read. Try again.")


def _apply(index: Index, table: TableFiles, difference: Difference, batch: int) -> None:
    """Apply a difference to the index; commits the caller's transaction after every ``batch`` partitions."""
    _prepare(index, table, difference)
    is_native, schemas = not difference.definition.select, index.schemas()
    for start in range(0, len(difference.unread), batch):
        if start:
            index.connection.commit()
            index.connection.begin()
        keys = difference.unread[start : start + batch]
        if is_native:
            insert_rows(index.connection, table, keys, {key: schemas[difference.schemas[key]] for key in keys})
        versions, schema_names = ([of[key] for key in keys] for of in (table.versions, difference.schemas))
        index.record_partitions(table.full_name, keys, versions, schema_names)
    index.record_table(table.full_name, table.column, difference.definition, table.signature)


def _prepare(index: Index, table: TableFiles, difference: Difference) -> None:
    """Create or alter a table and remove the rows of partitions that are no longer valid."""
    connection, name = index.connection, table.full_name
    if difference.remake:
        if difference.old:
            drop(connection, name, difference.old)
        create(connection, name, difference.definition)
    elif not difference.definition.select:
        if difference.old:
            alter(connection, name, difference.old, difference.definition)
        delete_rows(connection, table, difference.outdated)
    index.remove_partitions(name, difference.outdated)
    index.record_table(name, table.column, difference.definition)


def _drop(index: Index, name: str) -> Changes:
    with _transaction(index.connection):
        known = index.indexed_table(name)
        if known is None:
            return Changes()
        drop(index.connection, name, known.definition)
        index.remove_table(name)
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
