"""Which column types survive a Parquet file written by DuckDB, and how the others are stored and restored.

Belongs here: types of columns. Does not belong here: files.
"""

import base64
import io
from collections.abc import Mapping
from typing import Any

import polars as pl

from assay.errors import DataError

PLAIN = (
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.Float32, pl.Float64),
    *(pl.Boolean, pl.String, pl.Binary, pl.Date, pl.Time, pl.Decimal),
)
"""Types that come back as they were."""


def storage_type(dtype: pl.DataType) -> pl.DataType:
    """Return the type in which a column is stored: the same, or one that holds the same values.

    Durations become whole numbers (Polars can't read DuckDB's INTERVAL), categories text, fixed arrays lists, times
    with a zone UTC.

    Raises:
        TypeError: No stored type would give the values back.
    """
    if isinstance(dtype, (pl.List, pl.Array)):
        return pl.List(_inner_type(dtype.inner))
    if isinstance(dtype, pl.Struct) and dtype.fields:
        return pl.Struct({field.name: _inner_type(field.dtype) for field in dtype.fields})
    if isinstance(dtype, pl.Datetime):
        return _datetime_storage(dtype)
    if isinstance(dtype, pl.Duration):
        return pl.Int64()
    if isinstance(dtype, (pl.Categorical, pl.Enum)):
        return pl.String()
    if isinstance(dtype, pl.Null):
        return pl.Int32()
    if isinstance(dtype, PLAIN):
        return dtype
    raise TypeError(f"type {dtype}")


def _datetime_storage(dtype: pl.Datetime) -> pl.Datetime:
    """DuckDB has nanoseconds only without a time zone, and no milliseconds."""
    if dtype.time_unit == "ns":
        return pl.Datetime("ns")
    return pl.Datetime("us", "UTC" if dtype.time_zone else None)


def _inner_type(dtype: Any) -> pl.DataType:
    # Polars gives a class where a nested type has no arguments: pl.Int8 for pl.Int8().
    instance: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    if isinstance(instance, pl.Null):
        raise TypeError("nothing but nulls inside a nested type")
    return storage_type(instance)


def storage_schema(schema: pl.Schema) -> dict[str, pl.DataType]:
    """Return the stored type of every column.

    Raises:
        DataError: Columns that can't be stored, each by name.
    """
    problems = _name_problems(schema.names())
    stored: dict[str, pl.DataType] = {}
    for name, dtype in schema.items():
        try:
            stored[name] = storage_type(dtype)
        except TypeError as error:
            problems.append(f"column {name!r} has {error}; cast it, for example to Int64, Float64 or String")
    if problems:
        raise DataError("The table can't be stored as Parquet by DuckDB.", problems)
    return stored


def _name_problems(names: list[str]) -> list[str]:
    if not names:
        return ["it has no columns"]
    problems = []
    seen: dict[str, str] = {}
    for name in names:
        if not name or "\0" in name:
            problems.append(f"a column is named {name!r}; give it a name")
        first = seen.setdefault(name.lower(), name)
        if first is not name:
            problems.append(f"columns {first!r} and {name!r} have the same name but for case; rename one")
    return problems


def encode_types(schema: pl.Schema, stored: Mapping[str, pl.DataType]) -> str:
    """Return the types that differ from the stored ones, as text; empty when none does."""
    changed = {name: dtype for name, dtype in schema.items() if dtype != stored[name]}
    if not changed:
        return ""
    buffer = io.BytesIO()
    pl.DataFrame(schema=changed).write_ipc(buffer, compression="uncompressed")
    return base64.b64encode(buffer.getvalue()).decode()


def decode_types(text: str) -> pl.Schema:
    """Return the types that ``encode_types`` wrote down."""
    return pl.read_ipc(io.BytesIO(base64.b64decode(text))).schema if text else pl.Schema()
