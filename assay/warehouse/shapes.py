"""Names and types of a partition's columns, and the columns of one table out of many such.

Belongs here: what a file's columns are, and how DuckDB widens them. Does not belong here: whether columns go together
at all (``widening``).

Ten thousand partitions have a handful of shapes, so that a table's columns are found without opening their files again.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import duckdb
import polars as pl

from assay.storage.parquet import StoredTable, escape_glob, quote_identifier


@dataclass(frozen=True)
class Shape:
    """Names and types of a partition's columns.

    Attributes:
        original: As the table had them when it was written.
        stored: As DuckDB reads them from the file, in its words.
    """

    original: pl.Schema
    stored: Mapping[str, str]


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
