"""Tables on the disk: Parquet files, written by DuckDB, whole or absent, equal bytes for equal tables.

Belongs here: one file. Does not belong here: which file is whose (``partition_files``), queries (``warehouse``).

Reading is Polars' part: it opens a file of 500 x 100 numbers in 1.5 ms, DuckDB in 20 ms (measured), and lazily.
"""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl

from assay.column_types import decode_types, encode_types, storage_schema
from assay.errors import DataError, StorageError, unknown
from assay.sql_text import quote_literal
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
