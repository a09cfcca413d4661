"""Brings an index up to date with the files: only what is new, changed or gone since the last time is read.

Belongs here: in which steps the index and its books change. Does not belong here: what differs
(``difference``), the index's own file (``file``).

A partition replaced while it is read only costs another look. What was read before stays, so that an update comes to
its end however busily others write; a table counts as unfinished until it shows every partition of one look.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

import duckdb

from assay.errors import StorageError
from assay.stored_tables import TableFiles, find_table
from assay.warehouse.difference import Changes, Difference, compare, unreadable
from assay.warehouse.ledger import Ledger
from assay.warehouse.rows import alter, create, delete_rows, drop, insert_rows

ATTEMPTS = 50
"""How often a table is looked at again because a writer replaced one of its files; each time fewer are left to read."""

BATCH = 1000
"""Partitions that are read in one transaction."""


def update(
    ledger: Ledger, tables: Iterable[TableFiles], gone: Iterable[str], native: Collection[str], batch: int = BATCH
) -> tuple[list[TableFiles], Changes]:
    """Make the index show the files that a look found, or newer ones.

    Args:
        ledger: The books of the index, open for writing.
        tables: What the look found.
        gone: Full names of tables in the index that it did not find.
        native: Names of tables whose rows the index holds itself.
        batch: Partitions that are read in one transaction.

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
            now, changes = _update_table(ledger, table, native, batch)
            total += changes
        shown += [now] if now else []
    return shown, total


def _update_table(
    ledger: Ledger, table: TableFiles, native: Collection[str], batch: int
) -> tuple[TableFiles | None, Changes]:
    total: Changes | None = None
    for _ in range(ATTEMPTS):
        try:
            with _transaction(ledger.connection):
                difference = compare(ledger, table, native)
                total = total or difference.changes
                _agree(ledger, table, difference, batch)
            return table, total
        except (StorageError, duckdb.IOException) as error:
            found, problem = find_table(table.folder), str(error)
        if found is None:
            return None, _drop(ledger, table.full_name)
        if found == table:
            with _transaction(ledger.connection):
                _agree(ledger, table, unreadable(ledger, table, problem), batch)
            return table, Changes()
        table = found
    raise StorageError(f"{table.folder} was written {ATTEMPTS} times while it was read. Try again.")


def _agree(ledger: Ledger, table: TableFiles, difference: Difference, batch: int) -> None:
    """Make the index show a table as it is, within a transaction that it commits now and then."""
    _prepare(ledger, table, difference)
    is_native, shapes = not difference.looks.select, ledger.shapes()
    for start in range(0, len(difference.unread), batch):
        if start:
            ledger.connection.commit()
            ledger.connection.begin()
        keys = difference.unread[start : start + batch]
        if is_native:
            insert_rows(ledger.connection, table, keys, {key: shapes[difference.shapes[key]] for key in keys})
        versions, named = ([of[key] for key in keys] for of in (table.versions, difference.shapes))
        ledger.note_partitions(table.full_name, keys, versions, named)
    ledger.note_table(table.full_name, table.column, difference.looks, table.signature)


def _prepare(ledger: Ledger, table: TableFiles, difference: Difference) -> None:
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


def _drop(ledger: Ledger, name: str) -> Changes:
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
