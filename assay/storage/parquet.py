"""Tables on the disk: Parquet files, written by DuckDB, whole or absent, equal bytes for equal tables.

Belongs here: one file. Does not belong here: which file is whose (``partition_files``), queries (``warehouse``).

Reading is Polars' part: it opens a file of 500 x 100 numbers in 1.5 ms, DuckDB in 20 ms (measured), and lazily.
"""

import base64
import io
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from assay.errors import DataError, StorageError, unknown
from assay.storage.files import atomic_path

TYPES_KEY = "assay_types"
"""Key in the file's metadata under which the types that DuckDB does not keep are written down."""

# One thread and a fixed row group: neither the bytes nor the order of rows may depend on the machine.
COPY_OPTIONS = "FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 122880"


@dataclass(frozen=True)
class StoredTable:
    """A table that is a file already, never changed once written.

    Attributes:
        path: Its Parquet file.
        fingerprint: Names its content.
    """

    path: Path
    fingerprint: str

    @property
    def schema(self) -> pl.Schema:
        """Names and types of its columns; reads only the file's footer."""
        return self.scan().collect_schema()

    def scan(self) -> pl.LazyFrame:
        """Return the table as a lazy frame, which reads the file when collected."""
        return scan_parquet(self.path)

    def read(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the table, or only some of its columns."""
        return read_parquet(self.path, columns)


def write_parquet(frame: pl.DataFrame | pl.LazyFrame, path: Path) -> None:
    """Write a table atomically, rows and columns in their order; a typed table without rows stays one.

    Raises:
        DataError: A column has a name or a type that can't be stored.
        StorageError: The file can't be written.
    """
    table = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
    stored = storage_schema(table.schema)
    types = encode_types(table.schema, stored)
    try:
        with atomic_path(path) as temporary:
            _copy(table.cast(pl.Schema(stored)), temporary, types)
    except (OSError, duckdb.Error) as error:
        raise StorageError(f"{path} can't be written: {error}. Free space or make it writable, then retry.") from error


def _copy(table: pl.DataFrame, path: Path, types: str) -> None:
    metadata = f", KV_METADATA {{{TYPES_KEY}: {quote_literal(types)}}}" if types else ""
    connection = _engine.connection()
    connection.register("written", table)
    try:
        connection.execute(f"COPY written TO ? ({COPY_OPTIONS}{metadata})", [str(path)])
    finally:
        connection.unregister("written")


class _Engine(threading.local):
    """One DuckDB in memory per thread: opening one takes three times as long as writing a small table."""

    def __init__(self) -> None:
        self._opened: tuple[int, duckdb.DuckDBPyConnection] | None = None

    def connection(self) -> duckdb.DuckDBPyConnection:
        if self._opened is None or self._opened[0] != os.getpid():  # a forked child must not share its parent's
            self._opened = (os.getpid(), duckdb.connect(config={"threads": 1}))
        return self._opened[1]


_engine = _Engine()


def scan_parquet(path: Path) -> pl.LazyFrame:
    """Return a lazy frame over a file of ``write_parquet``, or any other Parquet file, in its original types.

    Raises:
        StorageError: There is no such file, or it is no Parquet file.
    """
    try:
        types = decode_types(pl.read_parquet_metadata(path).get(TYPES_KEY, ""))
        return pl.scan_parquet(path, glob=False).cast(types)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StorageError(f"{path} can't be read as a table: {error}") from error


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Return a table, or only the columns asked for, in the order asked for.

    Raises:
        DataError: A column does not exist.
        StorageError: There is no such file, or it is not a table.
    """
    frame = scan_parquet(path)
    try:
        return (frame if columns is None else select(frame, columns, str(path))).collect()
    except (OSError, pl.exceptions.ComputeError) as error:
        raise StorageError(f"{path} can't be read as a table: {error}") from error


def select(frame: pl.LazyFrame, columns: Sequence[str], where: str) -> pl.LazyFrame:
    """Return some columns of a table; ``where`` names the table in the message when one is missing."""
    existing = frame.collect_schema().names()
    for name in columns:
        if name not in existing:
            raise DataError(f"{where}: {unknown('Column', name, existing)}")
    return frame.select(columns)


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


def quote_identifier(name: str) -> str:
    """Return a name of a schema, table or column for SQL text."""
    if not name or "\0" in name:
        raise ValueError(f"{name!r} can't name anything in a database: it is empty or holds a NUL character.")
    return '"' + name.replace('"', '""') + '"'


def quote_literal(value: str) -> str:
    """Return a text value for SQL text."""
    if "\0" in value:
        raise ValueError(f"{value!r} can't be a value in SQL text: it holds a NUL character.")
    return "'" + value.replace("'", "''") + "'"


def escape_glob(path: str) -> str:
    """Return a path in which DuckDB's file patterns take every character for itself."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in path)
