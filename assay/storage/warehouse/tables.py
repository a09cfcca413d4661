"""The tables and views of an index, and the rows of those that are native.

Belongs here: statements that change an index's tables. Does not belong here: which, and when (``update``).
"""

from collections.abc import Collection, Mapping

import duckdb

from assay.storage.parquet import escape_glob, find_conflicts, quote_identifier, quote_literal
from assay.storage.partitions import CURRENT, TableFiles
from assay.storage.warehouse.database import Looks, Shape, columns_of, without


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


def quoted_name(full_name: str) -> str:
    """Return a table's full name for SQL text."""
    return ".".join(quote_identifier(part) for part in full_name.split("."))


def problem_looks(problem: str, columns: Mapping[str, str]) -> Looks:
    """Return a view that says what is wrong to whoever asks it, for whichever columns, and to nobody else."""
    shown = {**columns, "problem": "VARCHAR"}
    select = ", ".join(f"CAST(NULL AS {kind}) AS {quote_identifier(name)}" for name, kind in shown.items())
    return Looks(shown, f"SELECT {select} WHERE error({quote_literal(problem)}) IS NULL")


def looks_of(
    connection: duckdb.DuckDBPyConnection, table: TableFiles, shapes: Mapping[str, Shape], native: Collection[str]
) -> Looks:
    """Return what a table has to look like; one whose partitions don't go together only says so.

    Args:
        connection: Any connection.
        table: The table.
        shapes: Every shape of its partitions, by the first partition that has it.
        native: Names of tables whose rows the index holds itself, if they have partitions.
    """
    columns = columns_of(connection, shapes.values(), table.column)
    conflicts = find_conflicts({key: shape.original for key, shape in shapes.items()})
    if conflicts:
        return problem_looks(f"The partitions of {table.full_name} don't go together: {'; '.join(conflicts)}", columns)
    if table.column and table.table in native:
        return Looks(columns)
    return Looks(columns, _over_files(table))


def read_partitions(column: str) -> str:
    """Return a call that reads files, given as its parameter, with the partition's key in a column."""
    return f"read_parquet(?, {_hive(column)})"


def _over_files(table: TableFiles) -> str:
    folder = escape_glob(str(table.folder))
    if not table.column:
        return f"SELECT * FROM read_parquet({quote_literal(f'{folder}/{CURRENT}/*.parquet')})"  # noqa: S608
    pattern = quote_literal(f"{folder}/{table.column}=*/{CURRENT}/*.parquet")
    # By name: else columns that the first file lacks are dropped.
    return f"SELECT * FROM read_parquet({pattern}, {_hive(table.column)}, union_by_name = true)"  # noqa: S608


def _hive(column: str) -> str:
    # As text always: an ID such as 007 or 1e5 is a name.
    return f"hive_types = {{{quote_literal(column)}: VARCHAR}}, hive_partitioning = true"
