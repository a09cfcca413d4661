"""The tables and views of an index, and the rows of those that are native.

Belongs here: statements that change an index's tables. Does not belong here: which, and when (``update``).
"""

from collections.abc import Collection, Mapping

import duckdb

from assay.storage.parquet import escape_glob, quote_identifier
from assay.storage.partitions import TableFiles
from assay.storage.warehouse.database import Looks
from assay.warehouse.shapes import Shape, without
from assay.warehouse.views import quoted_name, read_partitions


def create(connection: duckdb.DuckDBPyConnection, full_name: str, looks: Looks) -> None:
    """Make a view, or a native table without rows."""
    schema, _ = full_name.split(".")
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote_identifier(schema)}")
    if looks.select:
        connection.execute(f"CREATE VIEW {quoted_name(full_name)} AS {looks.select}")
    else:
        columns = ", ".join(f"{quote_identifier(name)} {kind}" for name, kind in looks.columns.items())
        connection.execute(f"CREATE TABLE {quoted_name(full_name)} ({columns})")


def drop(connection: duckdb.DuckDBPyConnection, full_name: str, looks: Looks) -> None:
    """Take a table or view out of the index."""
    connection.execute(f"DROP {'VIEW' if looks.select else 'TABLE'} IF EXISTS {quoted_name(full_name)}")


def alter(connection: duckdb.DuckDBPyConnection, full_name: str, old: Looks, new: Looks) -> None:
    """Give a native table the columns that it lacks, and take those that no partition has any more."""
    before, after = ({name.lower() for name in looks.columns} for looks in (old, new))
    for name, kind in new.columns.items():
        if name.lower() not in before:
            connection.execute(f"ALTER TABLE {quoted_name(full_name)} ADD COLUMN {quote_identifier(name)} {kind}")
    for name in old.columns:
        if name.lower() not in after:
            connection.execute(f"ALTER TABLE {quoted_name(full_name)} DROP COLUMN {quote_identifier(name)}")


def delete_rows(connection: duckdb.DuckDBPyConnection, table: TableFiles, keys: Collection[str]) -> None:
    """Take the rows of some partitions out of a native table."""
    column = quote_identifier(table.column)
    statement = f"DELETE FROM {quoted_name(table.full_name)} WHERE {column} IN (SELECT unnest(?))"  # noqa: S608
    connection.execute(statement, [list(keys)])


def insert_rows(
    connection: duckdb.DuckDBPyConnection, table: TableFiles, keys: Collection[str], shapes: Mapping[str, Shape]
) -> None:
    """Read the rows of some partitions into a native table.

    Partitions of one shape are read together, so that each value is cast once, from the type that its file has.

    Args:
        connection: A connection to the index.
        table: The table.
        keys: The partitions.
        shapes: The shape of each.

    Raises:
        FileNotFoundError, duckdb.IOException: A file was replaced since the look.
    """
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for key in keys:
        path = escape_glob(str(table.file(key).path))
        alike.setdefault(tuple(shapes[key].stored.items()), []).append(path)
    for columns, paths in alike.items():
        chosen = ", ".join(quote_identifier(name) for name in (*without(dict(columns), table.column), table.column))
        statement = f"INSERT INTO {quoted_name(table.full_name)} BY NAME SELECT {chosen} FROM "  # noqa: S608
        connection.execute(statement + read_partitions(table.column), [paths])
