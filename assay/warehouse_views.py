"""The SQL of one view of the index.

Belongs here: how DuckDB reads a table's files. Does not belong here: where the views are kept (``warehouse``).

DuckDB widens numbers of different types by its own rule: a whole number against a 32-bit float becomes a 32-bit float.
"""

import polars as pl

from assay.partition_files import CURRENT
from assay.sql_text import escape_glob, quote_identifier, quote_literal
from assay.stored_tables import TableFiles
from assay.widening import find_conflicts


def view_statements(table: TableFiles) -> list[str]:
    """Return the statements that make a table's schema and view.

    A table whose partitions don't go together gets a view that says so to whoever asks it, and to nobody else.
    """
    schema = quote_identifier(table.schema)
    name = f"{schema}.{quote_identifier(table.table)}"
    return [f"CREATE SCHEMA IF NOT EXISTS {schema}", f"CREATE VIEW {name} AS {_select(table)}"]


def _select(table: TableFiles) -> str:
    conflicts = find_conflicts(_schemas(table))
    if conflicts:
        message = f"The partitions of {table.full_name} don't go together: {'; '.join(conflicts)}"
        return f"SELECT error({quote_literal(message)}) AS problem"
    table_folder = escape_glob(str(next(iter(table.partitions.values())).table_folder))
    if not table.column:
        return f"SELECT * FROM read_parquet({quote_literal(f'{table_folder}/{CURRENT}/*.parquet')})"  # noqa: S608
    pattern = f"{table_folder}/{table.column}=*/{CURRENT}/*.parquet"
    # As text always: an ID such as 007 or 1e5 is a name. By name: else columns that the first file lacks are dropped.
    options = f"hive_types = {{{quote_literal(table.column)}: VARCHAR}}, hive_partitioning = true, union_by_name = true"
    return f"SELECT * FROM read_parquet({quote_literal(pattern)}, {options})"  # noqa: S608


def _schemas(table: TableFiles) -> dict[str, pl.Schema]:
    schemas = {key: partition.use(lambda stored: stored.schema) for key, partition in table.partitions.items()}
    return {key: schema for key, schema in schemas.items() if schema is not None}
