"""What a stored table looks like in the index: rows of its own, a view over its files, or one that says what's wrong.

Belongs here: how DuckDB reads a table's files. Does not belong here: when (``update``).

DuckDB widens numbers of different types by its own rule: a whole number against a 32-bit float becomes a 32-bit float.
"""

from collections.abc import Collection, Mapping

import duckdb

from assay.storage.parquet import escape_glob, find_conflicts, quote_identifier, quote_literal
from assay.storage.partitions import CURRENT, TableFiles
from assay.storage.warehouse.database import Looks
from assay.warehouse.shapes import Shape, columns_of


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
