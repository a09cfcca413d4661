"""One table out of many partitions, each of which keeps its own columns.

Belongs here: which columns of different types go together. Does not belong here: where partitions are.

The rule: a column that a partition lacks is null there; numbers widen; text and a number under one name is an error.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from assay.errors import DataError
from assay.storage.parquet import select


def kind_of(dtype: pl.DataType) -> str:
    """Return what a column holds, in the words of a message; columns of one kind go together."""
    if dtype.is_numeric() or isinstance(dtype, pl.Duration):
        return "numbers"
    if isinstance(dtype, (pl.String, pl.Categorical, pl.Enum)):
        return "text"
    if isinstance(dtype, (pl.Date, pl.Datetime)):
        return "dates"
    return "nothing" if isinstance(dtype, pl.Null) else type(dtype).__name__


def find_conflicts(schemas: Mapping[str, pl.Schema]) -> list[str]:
    """Return a line per column that holds one thing in one partition and another in the next; names both."""
    first: dict[str, tuple[str, str]] = {}
    conflicts: dict[str, str] = {}
    for partition, schema in schemas.items():
        for column, dtype in schema.items():
            kind = kind_of(dtype)
            if kind == "nothing":
                continue
            other, known = first.setdefault(column, (partition, kind))
            if kind != known:
                line = f"column {column!r} holds {known} in partition {other!r} and {kind} in {partition!r}"
                conflicts.setdefault(column, line)
    return list(conflicts.values())


def widen(
    frames: Mapping[str, pl.LazyFrame], partition_column: str, columns: Sequence[str] | None, where: str
) -> pl.LazyFrame:
    """Return all partitions below each other, with a column that says which is which.

    Args:
        frames: The partitions by key.
        partition_column: Name of the column for the key.
        columns: Only these, in this order, and the partition column; None for all.
        where: Name of the table for messages.

    Raises:
        DataError: A column is text in one partition and a number in another, or exists in none.
    """
    schemas = {key: frame.collect_schema() for key, frame in frames.items()}
    conflicts = find_conflicts(schemas)
    if conflicts:
        raise DataError(f"The partitions of {where} don't go together.", conflicts)
    categories = _differing_categories(list(schemas.values()))
    labelled = [
        frame.cast({name: pl.String for name in categories if name in schemas[key]}).with_columns(
            pl.lit(key).alias(partition_column)
        )
        for key, frame in frames.items()
    ]
    whole = pl.concat(labelled, how="diagonal_relaxed")
    if columns is None:
        return whole
    return select(whole, list(dict.fromkeys([*columns, partition_column])), where)


def _differing_categories(schemas: Sequence[pl.Schema]) -> set[str]:
    """Return columns of categories that are not the same everywhere: those only go together as text."""
    seen: dict[str, set[pl.DataType]] = {}
    for schema in schemas:
        for name, dtype in schema.items():
            seen.setdefault(name, set()).add(dtype)
    categorical = (pl.Categorical, pl.Enum)
    return {
        name for name, types in seen.items() if len(types) > 1 and any(isinstance(each, categorical) for each in types)
    }
