"""The database file of the index: opening it, and its bookkeeping of tables, partitions and their versions.

DuckDB lets either one process write a file or several read it. An update happens in place while nobody reads. While
somebody does, it happens in a copy that then replaces the file, and readers keep the file that they opened. Only a
process that has the index open for writing, as a DuckDB shell does by default, blocks updates.

Ten thousand partitions have a handful of schemas. Each schema is stored once, so that the columns of a table are known
without opening its files again.

Belongs here: opening ``warehouse.duckdb``, its schema ``assay-index``. Does not belong here: the tables of the index
(``tables``), bringing it up to date (``refresh``).
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from assay.errors import DataError
from assay.storage.files import TEMPORARY_PREFIX, atomic_path
from assay.storage.parquet import StoredTable, decode_types, encode_types, escape_glob, quote_identifier, quote_literal

SCHEMA = "assay-index"
"""Schema of the bookkeeping. No stored table can be in it: names of stored schemas have no dash."""

FORMAT = "1"
"""Raised together with the statements below; an index of another format is rebuilt."""

STATEMENTS = (
    'CREATE SCHEMA "assay-index"',
    'CREATE TABLE "assay-index".tables (name VARCHAR, partition_column VARCHAR, signature VARCHAR, looks VARCHAR)',
    'CREATE TABLE "assay-index".partitions (name VARCHAR, key VARCHAR, version VARCHAR, shape VARCHAR)',
    'CREATE TABLE "assay-index".shapes (shape VARCHAR, original VARCHAR, stored VARCHAR)',
    f'CREATE VIEW "assay-index".format AS SELECT {quote_literal(FORMAT)} AS format',
)
"""``looks`` holds a ``TableDefinition`` as JSON, ``shape`` the name of a ``PartitionSchema``."""


@dataclass(frozen=True)
class TableDefinition:
    """How a table is defined in the index.

    Attributes:
        columns: DuckDB type of each column, by name.
        select: The query of its view; empty for a native table.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    select: str = ""


@dataclass(frozen=True)
class IndexedTable:
    """A table as recorded in the index.

    Attributes:
        column: Name of the partition column.
        definition: Its columns, or the query of its view.
        partitions: Version and schema name of every partition that it shows, by partition key.
    """

    column: str
    definition: TableDefinition
    partitions: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class PartitionSchema:
    """Names and types of a partition's columns.

    Attributes:
        original: Polars types of the table that was written.
        stored: DuckDB types as read from the file, by column name.
    """

    original: pl.Schema
    stored: Mapping[str, str]


@dataclass(frozen=True)
class Index:
    """An open index and its bookkeeping."""

    connection: duckdb.DuckDBPyConnection

    def create(self) -> None:
        """Create the bookkeeping tables in an empty database."""
        for statement in STATEMENTS:
            self.connection.execute(statement)

    def is_readable(self) -> bool:
        """Return whether the database is an index of the current format."""
        try:
            return self._rows('SELECT format FROM "assay-index".format') == [(FORMAT,)]
        except duckdb.Error:
            return False

    def signatures(self, include: Callable[[str], bool] = lambda _: True) -> dict[str, str]:
        """Return the signature of the files that each table shows, by full name.

        Args:
            include: Whether a table of this full name is wanted.
        """
        rows = self._rows('SELECT name, signature FROM "assay-index".tables')
        return {name: signature for name, signature in rows if include(name)}

    def indexed_table(self, name: str) -> IndexedTable | None:
        """Return a table by its full name; None when the index does not have it."""
        found = self._rows('SELECT partition_column, looks FROM "assay-index".tables WHERE name = ?', name)
        if not found:
            return None
        rows = self._rows('SELECT key, version, shape FROM "assay-index".partitions WHERE name = ?', name)
        partitions = {key: (version, shape) for key, version, shape in rows}
        return IndexedTable(found[0][0], TableDefinition(**json.loads(found[0][1])), partitions)

    def schemas(self) -> dict[str, PartitionSchema]:
        """Return all recorded schemas by name."""
        rows = self._rows('SELECT shape, original, stored FROM "assay-index".shapes')
        return {name: PartitionSchema(decode_types(original), json.loads(stored)) for name, original, stored in rows}

    def add_schema(self, name: str, schema: PartitionSchema) -> None:
        """Record a schema that no partition had before."""
        original = encode_types(schema.original, dict.fromkeys(schema.original, pl.Unknown()))
        row = [name, original, json.dumps(schema.stored)]
        self.connection.execute('INSERT INTO "assay-index".shapes VALUES (?, ?, ?)', row)

    def record_table(self, name: str, column: str, definition: TableDefinition, signature: str = "") -> None:
        """Record the definition of a table; without a signature, the table counts as unfinished."""
        self._remove_name(name)
        text = json.dumps({"columns": definition.columns, "select": definition.select})
        self.connection.execute('INSERT INTO "assay-index".tables VALUES (?, ?, ?, ?)', [name, column, signature, text])

    def record_partitions(
        self, name: str, keys: Sequence[str], versions: Sequence[str], schemas: Sequence[str]
    ) -> None:
        """Record the partitions that were added to a table."""
        values = [name, list(keys), list(versions), list(schemas)]
        self.connection.execute(
            'INSERT INTO "assay-index".partitions SELECT ?, unnest(?), unnest(?), unnest(?)', values
        )

    def remove_partitions(self, name: str, keys: Collection[str]) -> None:
        """Delete the records of partitions that a table no longer shows."""
        gone = 'DELETE FROM "assay-index".partitions WHERE name = ? AND key IN (SELECT unnest(?))'
        self.connection.execute(gone, [name, list(keys)])

    def remove_table(self, name: str) -> None:
        """Delete the records of a table and all its partitions."""
        self._remove_name(name)
        self.connection.execute('DELETE FROM "assay-index".partitions WHERE name = ?', [name])

    def _remove_name(self, name: str) -> None:
        self.connection.execute('DELETE FROM "assay-index".tables WHERE name = ?', [name])

    def _rows(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(statement, list(values)).fetchall()


Settings = dict[str, str | bool | int | float | list[str]]

READING: Settings = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
}
"""DuckDB's settings of every connection that answers queries: no extensions from the network or the home folder, and no
variables of this program as tables."""


class IndexInUseError(DataError):
    """Another process has the index open for writing; the message names it."""


def open_index(path: Path, settings: Settings | None = None) -> Index | None:
    """Open the index for reading; None when it is missing, broken or of another format.

    Args:
        path: The index.
        settings: DuckDB's; all connections of one process to one database must have the same.

    Raises:
        IndexInUseError: Another process has it open for writing, or this one with other settings.
    """
    if not path.is_file():
        return None
    try:
        index = Index(duckdb.connect(path, read_only=True, config=settings or {}))
    except duckdb.Error as error:
        who = _writer(error)
        if who is None:
            return None
        message = f"{path} is open for writing in {who}; it is refreshed when that closes it."
        raise IndexInUseError(f"{message} To look at it: duckdb -readonly {path}") from error
    if index.is_readable():
        return index
    index.connection.close()
    return None


@contextmanager
def writable_index(path: Path, keep: bool) -> Iterator[Index]:
    """Open the index for writing; the caller holds its lock and has checked that no other process writes it.

    Args:
        path: The index.
        keep: Change the existing index, which must be readable; otherwise an empty one replaces it.
    """
    for leftover in path.parent.glob(f"{TEMPORARY_PREFIX}*-{path.name}*"):
        leftover.unlink(missing_ok=True)
    in_place = _connect(path) if keep else None
    if in_place is not None:
        with in_place:
            yield Index(in_place)
        return
    with atomic_path(path) as temporary:
        if keep:
            shutil.copyfile(path, temporary)
        with duckdb.connect(temporary) as connection:
            index = Index(connection)
            if not keep:
                index.create()
            yield index
        # The write-ahead log of a writer that died belongs to the file that is about to be replaced.
        path.with_name(f"{path.name}.wal").unlink(missing_ok=True)


def _connect(path: Path) -> duckdb.DuckDBPyConnection | None:
    """Return a connection for writing; None while another process reads."""
    try:
        return duckdb.connect(path)
    except (duckdb.IOException, duckdb.ConnectionException):
        return None


def _writer(error: duckdb.Error) -> str | None:
    """Return which process has the index open, as DuckDB's message says; None for any other error."""
    if isinstance(error, duckdb.ConnectionException):
        return "this very process"
    if "lock" not in str(error):
        return None
    found = re.search(r"held in (.+?)\. ", str(error))
    return found.group(1) if found else "another process"


def schema_name(schema: pl.Schema) -> str:
    """Return a short name made from the content: equal schemas have equal names."""
    return hashlib.sha256(repr(schema).encode()).hexdigest()[:24]


def stored_columns(connection: duckdb.DuckDBPyConnection, file: StoredTable) -> dict[str, str]:
    """Return the columns of a file and their types as DuckDB reads them."""
    path = escape_glob(str(file.path))
    return _describe(connection, "SELECT * FROM read_parquet(?, hive_partitioning = false)", [path])


def columns_of(
    connection: duckdb.DuckDBPyConnection, schemas: Iterable[PartitionSchema], partition: str
) -> dict[str, str]:
    """Return the columns of a table whose partitions have these schemas, by DuckDB's own rule for unions.

    Args:
        connection: Any connection.
        schemas: At least one.
        partition: Name of the partition column, which comes last and is always text; empty for none.

    Returns:
        DuckDB type by column name. DuckDB widens numbers of different types by a rule of its own: a whole number and a
        32-bit float become a 32-bit float.
    """
    own = [(partition, "VARCHAR")] if partition else []
    selects = (
        ", ".join(
            f"CAST(NULL AS {kind}) AS {quote_identifier(name)}"
            for name, kind in [*without_partition_column(schema.stored, partition).items(), *own]
        )
        for schema in schemas
    )
    columns = _describe(connection, " UNION ALL BY NAME ".join(f"SELECT {select}" for select in selects))
    return without_partition_column(columns, partition) | dict(own)


def without_partition_column(columns: Mapping[str, str], partition: str) -> dict[str, str]:
    """Return the columns without the partition column, whose value is in the file's path."""
    return {name: kind for name, kind in columns.items() if name.lower() != partition.lower()}


def _describe(connection: duckdb.DuckDBPyConnection, select: str, values: Iterable[str] = ()) -> dict[str, str]:
    rows = connection.execute(f"DESCRIBE {select}", list(values)).fetchall()
    return {name: kind for name, kind, *_ in rows}
