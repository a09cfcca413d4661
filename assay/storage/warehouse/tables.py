"""The tables and views of an index, and the rows of its native tables.

Belongs here: the statements that define, fill and drop them. Does not belong here: which of them run, and when
(``refresh``).
"""

from collections.abc import Collection, Mapping

import duckdb

from assay.storage.parquet import escape_glob, find_conflicts, quote_identifier, quote_literal
from assay.storage.partitions import CURRENT, TableFiles
from assay.storage.warehouse.database import PartitionSchema, TableDefinition, columns_of, without_partition_column


def create(connection: duckdb.DuckDBPyConnection, full_name: str, definition: TableDefinition) -> None:
    """Create a view, or a native table without rows."""
    schema, _ = full_name.split(".")
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote_identifier(schema)}")
    if definition.select:
        connection.execute(f"CREATE VIEW {quoted_name(full_name)} AS {definition.select}")
    else:
        columns = ", ".join(f"{quote_identifier(name)} {kind}" for name, kind in definition.columns.items())
        connection.execute(f"CREATE TABLE {quoted_name(full_name)} ({columns})")


def drop(connection: duckdb.DuckDBPyConnection, full_name: str, definition: TableDefinition) -> None:
    """Drop a table or view from the index."""
    connection.execute(f"DROP {'VIEW' if definition.select else 'TABLE'} IF EXISTS {quoted_name(full_name)}")


def alter(connection: duckdb.DuckDBPyConnection, full_name: str, old: TableDefinition, new: TableDefinition) -> None:
    """Add the columns that a native table lacks, and drop those that no partition has any more."""
    before, after = ({name.lower() for name in definition.columns} for definition in (old, new))
    for name, kind in new.columns.items():
        if name.lower() not in before:
            connection.execute(f"ALTER TABLE {quoted_name(full_name)} ADD COLUMN {quote_identifier(name)} {kind}")
    for name in old.columns:
        if name.lower() not in after:
            connection.execute(f"ALTER TABLE {quoted_name(full_name)} DROP COLUMN {quote_identifier(name)}")


def delete_rows(connection: duckdb.DuckDBPyConnection, table: TableFiles, keys: Collection[str]) -> None:
    """Delete the rows of some partitions from a native table."""
    column = quote_identifier(table.column)
    statement = f"DELETE FROM {quoted_name(table.full_name)} WHERE {column} IN (SELECT unnest(?))"  # noqa: S608
    connection.execute(statement, [list(keys)])


def insert_rows(
    connection: duckdb.DuckDBPyConnection,
    table: TableFiles,
    keys: Collection[str],
    schemas: Mapping[str, PartitionSchema],
) -> None:
    """Read the rows of some partitions into a native table.

    Partitions with equal schemas are read together, so that each value is cast once, from the type that its file has.

    Args:
        connection: A connection to the index.
        table: The table.
        keys: Keys of the partitions.
        schemas: Schema of each partition, by key.

    Raises:
        StorageError, duckdb.IOException: A file was replaced since the table was listed.
    """
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for key in keys:
        path = escape_glob(str(table.file(key).path))
        alike.setdefault(tuple(schemas[key].stored.items()), []).append(path)
    for columns, paths in alike.items():
        chosen = ", ".join(
            quote_identifier(name) for name in (*without_partition_column(dict(columns), table.column), table.column)
        )
        statement = f"INSERT INTO {quoted_name(table.full_name)} BY NAME SELECT {chosen} FROM "  # noqa: S608
        connection.execute(statement + read_partitions(table.column), [paths])


def quoted_name(full_name: str) -> str:
    """Return a table's full name for SQL text."""
    return ".".join(quote_identifier(part) for part in full_name.split("."))


def problem_definition(problem: str, columns: Mapping[str, str]) -> TableDefinition:
    """Return a view that raises ``problem`` when it is queried, whichever of ``columns`` the query names."""
    shown = {**columns, "problem": "VARCHAR"}
    select = ", ".join(f"CAST(NULL AS {kind}) AS {quote_identifier(name)}" for name, kind in shown.items())
    return TableDefinition(shown, f"SELECT {select} WHERE error({quote_literal(problem)}) IS NULL")


def definition_of(
    connection: duckdb.DuckDBPyConnection,
    table: TableFiles,
    schemas: Mapping[str, PartitionSchema],
    native: Collection[str],
) -> TableDefinition:
    """Return the definition of a table; where its partitions don't fit together, that of a view that says so.

    Args:
        connection: Any connection.
        table: The table.
        schemas: Every schema that occurs, by the key of the first partition that has it.
        native: Names of the tables whose rows the index holds itself, if they have partitions.
    """
    columns = columns_of(connection, schemas.values(), table.column)
    conflicts = find_conflicts({key: schema.original for key, schema in schemas.items()})
    if conflicts:
        return problem_definition(
            f"The partitions of {table.full_name} don't go together: {'; '.join(conflicts)}", columns
        )
    if table.column and table.table in native:
        return TableDefinition(columns)
    return TableDefinition(columns, _over_files(table))


def read_partitions(column: str) -> str:
    """Return the call that reads a list of files, its one parameter, with the partition key as a column."""
    return f"read_parquet(?, {_hive(column)})"


def _over_files(table: TableFiles) -> str:
    folder = escape_glob(str(table.folder))
    if not table.column:
        return f"SELECT * FROM read_parquet({quote_literal(f'{folder}/{CURRENT}/*.parquet')})"  # noqa: S608
    pattern = quote_literal(f"{folder}/{table.column}=*/{CURRENT}/*.parquet")
    # By name: otherwise columns that the first file lacks are dropped.
    return f"SELECT * FROM read_parquet({pattern}, {_hive(table.column)}, union_by_name = true)"  # noqa: S608


def _hive(column: str) -> str:
    # Always as text: an ID such as 007 or 1e5 is a name.
    return f"hive_types = {{{quote_literal(column)}: VARCHAR}}, hive_partitioning = true"
