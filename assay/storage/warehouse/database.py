"""What an index knows of each table: what it looks like there, and which version of which partition it shows.

Belongs here: the index's own bookkeeping. Does not belong here: the tables themselves (``update``).
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import polars as pl

from assay.storage.parquet import decode_types, encode_types, quote_literal
from assay.warehouse.shapes import Shape

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
class Ledger:
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
