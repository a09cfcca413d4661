"""The tables and views of an index, the rows of its native tables, and what a table's files have that it does not show.

Belongs here: comparing, and the statements that define, fill and drop. Does not belong here: which of them run, and
when (``refresh``).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from assay.storage.parquet import escape_glob, find_conflicts, quote_identifier, quote_literal
from assay.storage.partitions import CURRENT, TableFiles
from assay.storage.warehouse.database import (
    Index,
    IndexedTable,
    PartitionSchema,
    TableDefinition,
    columns_of,
    schema_name,
    stored_columns,
    without_partition_column,
)


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


@dataclass(frozen=True)
class Changes:
    """Number of partitions that are new, have a new version, or no longer exist."""

    new: int = 0
    changed: int = 0
    removed: int = 0

    def __add__(self, other: "Changes") -> "Changes":
        return Changes(self.new + other.new, self.changed + other.changed, self.removed + other.removed)


@dataclass(frozen=True)
class Difference:
    """The changes that make the index show a table as its files are.

    Attributes:
        old: Definition of the table in the index; None when it is not there.
        definition: The definition that it needs.
        remake: Whether the table must be dropped and created again, because column types changed, or a view became a
            native table or the other way round.
        outdated: Keys of partitions that the index has in another than the current version.
        unread: Keys of partitions whose current version the index does not have.
        schemas: Schema name of every stored partition, by key.
        changes: How many partitions differ.
    """

    old: TableDefinition | None
    definition: TableDefinition
    remake: bool
    outdated: Sequence[str]
    unread: Sequence[str]
    schemas: Mapping[str, str]
    changes: Changes


def compare(index: Index, table: TableFiles, native: Collection[str]) -> Difference:
    """Compare a table with the index; reads the columns of partitions that the index does not have.

    Args:
        index: The index, open for writing.
        table: The table's files.
        native: Names of the tables whose rows the index holds itself.

    Raises:
        StorageError, duckdb.IOException: A file can't be read, or was replaced since the table was listed.
    """
    known = index.indexed_table(table.full_name) or IndexedTable("", TableDefinition(), {})
    held = known.partitions if known.column == table.column else {}
    outdated = [key for key, (version, _) in held.items() if table.versions.get(key) != version]
    fresh = {key for key, version in table.versions.items() if key not in held or held[key][0] != version}
    schemas = {key: held[key][1] for key in table.versions if key not in fresh} | _read_schemas(index, table, fresh)
    definition = definition_of(index.connection, table, _first_of_each(index, table, schemas), native)
    remake = known.column != table.column or not _fits(known.definition, definition)
    removed = sum(key not in table.versions for key in outdated)
    return Difference(
        old=known.definition if known.definition.columns else None,
        definition=definition,
        remake=remake,
        outdated=list(held) if remake else outdated,
        unread=list(table.versions) if remake else [key for key in table.versions if key in fresh],
        schemas=schemas,
        changes=Changes(len(fresh) - len(outdated) + removed, len(outdated) - removed, removed),
    )


def unreadable_difference(index: Index, table: TableFiles, problem: str) -> Difference:
    """Return the difference to a view that raises ``problem`` when it is queried."""
    known = index.indexed_table(table.full_name) or IndexedTable("", TableDefinition(), {})
    definition = problem_definition(problem, known.definition.columns or {table.column or "problem": "VARCHAR"})
    old = known.definition if known.definition.columns else None
    return Difference(
        old, definition, remake=True, outdated=list(known.partitions), unread=[], schemas={}, changes=Changes()
    )


def _read_schemas(index: Index, table: TableFiles, keys: Iterable[str]) -> dict[str, str]:
    """Return the schema names of partitions; a file that several partitions share is read once."""
    known, by_fingerprint, schemas = set(index.schemas()), dict[str, str](), dict[str, str]()
    for key in keys:
        file = table.file(key)
        if file.fingerprint not in by_fingerprint:
            original = file.schema
            name = by_fingerprint[file.fingerprint] = schema_name(original)
            if name not in known:
                index.add_schema(name, PartitionSchema(original, stored_columns(index.connection, file)))
                known.add(name)
        schemas[key] = by_fingerprint[file.fingerprint]
    return schemas


def _first_of_each(index: Index, table: TableFiles, schemas: Mapping[str, str]) -> dict[str, PartitionSchema]:
    """Return the different schemas of a table, each by the key of the first partition that has it."""
    first: dict[str, str] = {}
    for key in table.versions:
        first.setdefault(schemas[key], key)
    known = index.schemas()
    return {key: known[name] for name, key in first.items()}


def _fits(old: TableDefinition, new: TableDefinition) -> bool:
    """Return whether a table can be kept: the same view, or a native table whose columns keep their types."""
    if old.select or new.select or not old.columns:
        return old == new
    before = {name.lower(): kind for name, kind in old.columns.items()}
    return all(before.get(name.lower(), kind) == kind for name, kind in new.columns.items())
