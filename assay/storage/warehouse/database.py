"""What an index knows of each table: what it looks like there, and which version of which partition it shows.

Belongs here: the index's own bookkeeping. Does not belong here: the tables themselves (``update``).
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
"""No stored table can have this schema: its name would have no dash."""

FORMAT = "1"
"""Changes with the statements below: an index of another format is made anew."""

STATEMENTS = (
    'CREATE SCHEMA "assay-index"',
    'CREATE TABLE "assay-index".tables (name VARCHAR, partition_column VARCHAR, signature VARCHAR, looks VARCHAR)',
    'CREATE TABLE "assay-index".partitions (name VARCHAR, key VARCHAR, version VARCHAR, shape VARCHAR)',
    'CREATE TABLE "assay-index".shapes (shape VARCHAR, original VARCHAR, stored VARCHAR)',
    f'CREATE VIEW "assay-index".format AS SELECT {quote_literal(FORMAT)} AS format',
)


@dataclass(frozen=True)
class Looks:
    """What a table is in the index.

    Attributes:
        columns: Its columns and their types, in DuckDB's words.
        select: What its view selects; empty for a native table.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    select: str = ""


@dataclass(frozen=True)
class Known:
    """A table as the index has it.

    Attributes:
        column: Name of the partition column.
        looks: What it looks like.
        partitions: Version and name of the shape of every partition that it shows.
    """

    column: str
    looks: Looks
    partitions: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Shape:
    """Names and types of a partition's columns.

    Attributes:
        original: As the table had them when it was written.
        stored: As DuckDB reads them from the file, in its words.
    """

    original: pl.Schema
    stored: Mapping[str, str]


@dataclass(frozen=True)
class Index:
    """The bookkeeping of an open index."""

    connection: duckdb.DuckDBPyConnection

    def create(self) -> None:
        """Begin the books of an empty index."""
        for statement in STATEMENTS:
            self.connection.execute(statement)

    def is_readable(self) -> bool:
        """Whether this is an index, and one of this format."""
        try:
            return self._rows('SELECT format FROM "assay-index".format') == [(FORMAT,)]
        except duckdb.Error:
            return False

    def signatures(self, wanted: Callable[[str], bool] = lambda _: True) -> dict[str, str]:
        """Return which files each of the wanted tables shows, by its full name."""
        rows = self._rows('SELECT name, signature FROM "assay-index".tables')
        return {name: signature for name, signature in rows if wanted(name)}

    def known(self, name: str) -> Known | None:
        """Return what is known of a table."""
        found = self._rows('SELECT partition_column, looks FROM "assay-index".tables WHERE name = ?', name)
        if not found:
            return None
        rows = self._rows('SELECT key, version, shape FROM "assay-index".partitions WHERE name = ?', name)
        partitions = {key: (version, shape) for key, version, shape in rows}
        return Known(found[0][0], Looks(**json.loads(found[0][1])), partitions)

    def shapes(self) -> dict[str, Shape]:
        """Return every shape by its name."""
        rows = self._rows('SELECT shape, original, stored FROM "assay-index".shapes')
        return {name: Shape(decode_types(original), json.loads(stored)) for name, original, stored in rows}

    def add_shape(self, name: str, shape: Shape) -> None:
        """Write down a shape that no file had before."""
        original = encode_types(shape.original, dict.fromkeys(shape.original, pl.Unknown()))
        row = [name, original, json.dumps(shape.stored)]
        self.connection.execute('INSERT INTO "assay-index".shapes VALUES (?, ?, ?)', row)

    def note_table(self, name: str, column: str, looks: Looks, signature: str = "") -> None:
        """Write down what a table looks like; without a signature it counts as unfinished."""
        self._forget_name(name)
        text = json.dumps({"columns": looks.columns, "select": looks.select})
        self.connection.execute('INSERT INTO "assay-index".tables VALUES (?, ?, ?, ?)', [name, column, signature, text])

    def note_partitions(self, name: str, keys: Sequence[str], versions: Sequence[str], shapes: Sequence[str]) -> None:
        """Write down partitions that a table shows from now on."""
        values = [name, list(keys), list(versions), list(shapes)]
        self.connection.execute(
            'INSERT INTO "assay-index".partitions SELECT ?, unnest(?), unnest(?), unnest(?)', values
        )

    def forget_partitions(self, name: str, keys: Collection[str]) -> None:
        """Strike out partitions that a table no longer shows."""
        gone = 'DELETE FROM "assay-index".partitions WHERE name = ? AND key IN (SELECT unnest(?))'
        self.connection.execute(gone, [name, list(keys)])

    def forget_table(self, name: str) -> None:
        """Strike out a table and all its partitions."""
        self._forget_name(name)
        self.connection.execute('DELETE FROM "assay-index".partitions WHERE name = ?', [name])

    def _forget_name(self, name: str) -> None:
        self.connection.execute('DELETE FROM "assay-index".tables WHERE name = ?', [name])

    def _rows(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(statement, list(values)).fetchall()


class HeldError(DataError):
    """Somebody has the index open for writing; the message names the process."""


def open_index(path: Path) -> Index | None:
    """Return the books of the index, open for reading; None when it is missing, broken or of another format.

    Raises:
        HeldError: Somebody writes it.
    """
    if not path.is_file():
        return None
    try:
        ledger = Index(duckdb.connect(path, read_only=True))
    except duckdb.Error as error:
        who = _writer(error)
        if who is None:
            return None
        message = f"{path} is open for writing in {who}; it is refreshed when that closes it."
        raise HeldError(f"{message} To look at it: duckdb -readonly {path}") from error
    if ledger.is_readable():
        return ledger
    ledger.connection.close()
    return None


@contextmanager
def changing(path: Path, keep: bool) -> Iterator[Index]:
    """Give the books of the index open for writing, to a caller who holds the lock and found that nobody else writes.

    Args:
        path: The index.
        keep: Change what is there; it has to be readable. Otherwise an empty index takes its place.
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
            ledger = Index(connection)
            if not keep:
                ledger.create()
            yield ledger
        # The log of a writer that died belongs to the index that is about to go.
        path.with_name(f"{path.name}.wal").unlink(missing_ok=True)


def _connect(path: Path) -> duckdb.DuckDBPyConnection | None:
    """Return a connection for writing; None while somebody reads."""
    try:
        return duckdb.connect(path)
    except (duckdb.IOException, duckdb.ConnectionException):
        return None


def _writer(error: duckdb.Error) -> str | None:
    """Return who holds the index open, by DuckDB's message; None when it is broken instead."""
    if isinstance(error, duckdb.ConnectionException):
        return "this very process"
    if "lock" not in str(error):
        return None
    found = re.search(r"held in (.+?)\. ", str(error))
    return found.group(1) if found else "another process"


def name_of(schema: pl.Schema) -> str:
    """Return a short name that equal shapes share."""
    return hashlib.sha256(repr(schema).encode()).hexdigest()[:24]


def stored_columns(connection: duckdb.DuckDBPyConnection, file: StoredTable) -> dict[str, str]:
    """Return the columns of a file and their types as DuckDB reads them."""
    path = escape_glob(str(file.path))
    return _described(connection, "SELECT * FROM read_parquet(?, hive_partitioning = false)", [path])


def columns_of(connection: duckdb.DuckDBPyConnection, shapes: Iterable[Shape], partition: str) -> dict[str, str]:
    """Return the columns of a table whose partitions have these shapes, by DuckDB's own rule for reading them as one.

    Args:
        connection: Any connection.
        shapes: At least one.
        partition: Name of the partition column, which comes last and is always text; empty for none.
    """
    own = [(partition, "VARCHAR")] if partition else []
    selects = (
        ", ".join(
            f"CAST(NULL AS {kind}) AS {quote_identifier(name)}"
            for name, kind in [*without(shape.stored, partition).items(), *own]
        )
        for shape in shapes
    )
    columns = _described(connection, " UNION ALL BY NAME ".join(f"SELECT {select}" for select in selects))
    return without(columns, partition) | dict(own)


def without(columns: Mapping[str, str], partition: str) -> dict[str, str]:
    """Return columns but for the partition's, which the place of a file says."""
    return {name: kind for name, kind in columns.items() if name.lower() != partition.lower()}


def _described(connection: duckdb.DuckDBPyConnection, select: str, values: Iterable[str] = ()) -> dict[str, str]:
    rows = connection.execute(f"DESCRIBE {select}", list(values)).fetchall()
    return {name: kind for name, kind, *_ in rows}
