"""Parquet files: written atomically by DuckDB with equal bytes for equal tables, read lazily by Polars.

Polars opens a file of 500 x 100 numbers in 1.5 ms, DuckDB in 20 ms (measured). Types that DuckDB does not preserve are
recorded in the file's metadata and restored on reading. Partitions of one table may have different columns: missing
ones are null, numbers widen, and text against numbers under one name is an error.

Belongs here: single files, column types, the union of schemas, quoting for SQL. Does not belong here: which file
belongs to which partition (``partitions``), queries (``warehouse``).
"""

import base64
import io
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from assay.errors import DataError, StorageError, unknown
from assay.storage.files import atomic_path

TYPES_KEY = "assay_types"
"""Key of the file's metadata with the column types that DuckDB does not preserve."""

# One thread and a fixed row group: neither the bytes nor the order of rows depends on the machine.
COPY_OPTIONS = "FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE 122880"


@dataclass(frozen=True)
class StoredTable:
    """A table in an immutable Parquet file.

    Attributes:
        path: The file.
        fingerprint: Identifies its content.
        sha256: Hash of the file's bytes as they were written; empty if it is not known.
    """

    path: Path
    fingerprint: str
    sha256: str = field(default="", compare=False)

    @property
    def schema(self) -> pl.Schema:
        """Names and types of its columns; reads only the file's footer."""
        return self.scan().collect_schema()

    def scan(self) -> pl.LazyFrame:
        """Return a lazy frame over the file."""
        return scan_parquet(self.path)

    def read(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Read the table, or only the given columns."""
        return read_parquet(self.path, columns)


_TABLE = "_assay_table"


def stored_frame(table: StoredTable) -> pl.LazyFrame:
    """Return a lazy frame over a stored table that knows its table; frames derived from it do not."""
    frame = table.scan()
    setattr(frame, _TABLE, table)
    return frame


def table_of(frame: pl.DataFrame | pl.LazyFrame) -> StoredTable | None:
    """Return the stored table that a frame is, as it is; None for every other frame."""
    return getattr(frame, _TABLE, None)


def write_parquet(frame: pl.DataFrame | pl.LazyFrame, path: Path) -> None:
    """Write a table atomically; it keeps the order of rows and columns, and its types also without rows.

    Raises:
        DataError: The name or type of a column can't be stored.
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
    """One in-memory DuckDB per thread: opening one takes three times as long as writing a small table."""

    def __init__(self) -> None:
        self._opened: tuple[int, duckdb.DuckDBPyConnection] | None = None

    def connection(self) -> duckdb.DuckDBPyConnection:
        if self._opened is None or self._opened[0] != os.getpid():  # a forked child must not share its parent's
            self._opened = (os.getpid(), duckdb.connect(config={"threads": 1}))
        return self._opened[1]


_engine = _Engine()


def scan_parquet(path: Path) -> pl.LazyFrame:
    """Return a lazy frame over a Parquet file, with the types that ``write_parquet`` was given.

    Raises:
        StorageError: The file does not exist, or is not a Parquet file.
    """
    try:
        types = decode_types(pl.read_parquet_metadata(path).get(TYPES_KEY, ""))
        return pl.scan_parquet(path, glob=False).cast(types)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StorageError(f"{path} can't be read as a table: {error}") from error


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Read a table, or only the given columns in the given order.

    Raises:
        DataError: A column does not exist.
        StorageError: The file does not exist, or is not a table.
    """
    frame = scan_parquet(path)
    try:
        return (frame if columns is None else select(frame, columns, str(path))).collect()
    except (OSError, pl.exceptions.ComputeError) as error:
        raise StorageError(f"{path} can't be read as a table: {error}") from error


def select(frame: pl.LazyFrame, columns: Sequence[str], where: str) -> pl.LazyFrame:
    """Return the given columns of a table.

    Raises:
        DataError: A column does not exist; ``where`` names the table in the message.
    """
    existing = frame.collect_schema().names()
    for name in columns:
        if name not in existing:
            raise DataError(f"{where}: {unknown('Column', name, existing)}")
    return frame.select(columns)


PLAIN = (
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.Float32, pl.Float64),
    *(pl.Boolean, pl.String, pl.Binary, pl.Date, pl.Time, pl.Decimal),
)
"""Types that are stored as they are."""


def storage_type(dtype: pl.DataType) -> pl.DataType:
    """Return the type in which a column is stored: the same, or another one that holds the same values.

    Durations become integers (Polars can't read DuckDB's INTERVAL), categories text, arrays of fixed size lists, and
    times with a time zone UTC.

    Raises:
        TypeError: There is no type that would preserve the values.
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
    """Return the stored type of a time: DuckDB has nanoseconds only without a time zone, and no milliseconds."""
    if dtype.time_unit == "ns":
        return pl.Datetime("ns")
    return pl.Datetime("us", "UTC" if dtype.time_zone else None)


def _inner_type(dtype: Any) -> pl.DataType:
    # Polars uses a class for an inner type without arguments: pl.Int8 instead of pl.Int8().
    instance: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    if isinstance(instance, pl.Null):
        raise TypeError("nothing but nulls inside a nested type")
    return storage_type(instance)


def storage_schema(schema: pl.Schema) -> dict[str, pl.DataType]:
    """Return the stored type of every column.

    Raises:
        DataError: Some columns can't be stored; lists each by name.
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
    """Return the types that differ from the stored ones, as base64 text; empty if none does."""
    changed = {name: dtype for name, dtype in schema.items() if dtype != stored[name]}
    if not changed:
        return ""
    buffer = io.BytesIO()
    pl.DataFrame(schema=changed).write_ipc(buffer, compression="uncompressed")
    return base64.b64encode(buffer.getvalue()).decode()


def decode_types(text: str) -> pl.Schema:
    """Return the types that ``encode_types`` encoded."""
    return pl.read_ipc(io.BytesIO(base64.b64decode(text))).schema if text else pl.Schema()


def kind_of_values(dtype: pl.DataType) -> str:
    """Return the kind of values in a column, as messages name it; columns of one kind can be united."""
    if dtype.is_numeric() or isinstance(dtype, pl.Duration):
        return "numbers"
    if isinstance(dtype, (pl.String, pl.Categorical, pl.Enum)):
        return "text"
    if isinstance(dtype, (pl.Date, pl.Datetime)):
        return "dates"
    return "nothing" if isinstance(dtype, pl.Null) else type(dtype).__name__


def find_conflicts(schemas: Mapping[str, pl.Schema]) -> list[str]:
    """Return one line per column that holds different kinds of values in two partitions; each names both."""
    first: dict[str, tuple[str, str]] = {}
    conflicts: dict[str, str] = {}
    for partition, schema in schemas.items():
        for column, dtype in schema.items():
            kind = kind_of_values(dtype)
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
    """Concatenate partitions whose columns may differ, with the partition key as a column.

    Args:
        frames: The partitions by key.
        partition_column: Name of the column for the key; empty for none.
        columns: Return only these, in this order, and the partition column; None for all.
        where: Name of the table in messages.

    Raises:
        DataError: A column is text in one partition and a number in another, or exists in none.
    """
    schemas = {key: frame.collect_schema() for key, frame in frames.items()}
    conflicts = find_conflicts(schemas)
    if conflicts:
        raise DataError(f"The partitions of {where} don't go together.", conflicts)
    categories = _differing_categories(list(schemas.values()))
    own = [partition_column] if partition_column else []
    labelled = [
        frame.cast({name: pl.String for name in categories if name in schemas[key]}).with_columns(
            pl.lit(key).alias(name) for name in own
        )
        for key, frame in frames.items()
    ]
    whole = pl.concat(labelled, how="diagonal_relaxed")
    if columns is None:
        return whole
    return select(whole, list(dict.fromkeys([*columns, *own])), where)


def _differing_categories(schemas: Sequence[pl.Schema]) -> set[str]:
    """Return the categorical columns whose categories differ between partitions; these can be united only as text."""
    seen: dict[str, set[pl.DataType]] = {}
    for schema in schemas:
        for name, dtype in schema.items():
            seen.setdefault(name, set()).add(dtype)
    categorical = (pl.Categorical, pl.Enum)
    return {
        name for name, types in seen.items() if len(types) > 1 and any(isinstance(each, categorical) for each in types)
    }


def quote_identifier(name: str) -> str:
    """Return the name of a schema, table or column, quoted for SQL."""
    if not name or "\0" in name:
        raise ValueError(f"{name!r} can't name anything in a database: it is empty or holds a NUL character.")
    return '"' + name.replace('"', '""') + '"'


def quote_literal(value: str) -> str:
    """Return a text value, quoted for SQL; for statements such as DDL, in which DuckDB takes no parameters."""
    if "\0" in value:
        raise ValueError(f"{value!r} can't be a value in SQL text: it holds a NUL character.")
    return "'" + value.replace("'", "''") + "'"


def escape_glob(path: str) -> str:
    """Return a path in which DuckDB's file patterns take every character literally."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in path)
