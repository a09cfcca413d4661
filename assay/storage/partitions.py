"""Partitioned tables on the disk: each partition has exactly one valid file at any moment, whoever writes or dies.

The layout, for the partition ``ab12`` of the table ``analysis``::

    tables/main/analysis/experiment_id=ab12/current -> version-5f0c…        a symbolic link, replaced by rename
    tables/main/analysis/experiment_id=ab12/version-5f0c…/<fingerprint>.parquet

A version is complete, and on the disk, before ``current`` points to it; one rename makes it valid and the previous one
invalid. Files are never changed, so a reader sees one version or the other, or finds that its file is gone and tries
again. A killed writer leaves a version folder that ``current`` does not name; the partition's next writer removes it.

Listing a table reads one folder and one symbolic link per partition, but no file: ten thousand partitions take 40 ms.
It works on text relative to the open folder, because making a ``Path`` costs more than reading a link.

Belongs here: replacing and finding partitions. Does not belong here: the content of the files (``parquet``), queries
over them (``warehouse``).
"""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import polars as pl
from filelock import FileLock, Timeout

from assay.errors import DataError, StorageError
from assay.spec.ids import validate_id
from assay.storage.files import fsync_path, link_or_copy
from assay.storage.parquet import StoredTable, write_parquet

CURRENT = "current"

LOCK = ".lock"

ATTEMPTS = 50
"""How often a reader tries again because a writer replaced the file; each attempt means one more completed write."""

WAIT_S = 120.0
"""Longest wait for another writer of the same partition, in seconds."""

PLAIN_NAME = re.compile(r"[A-Za-z0-9_]{1,120}")

HASH_LENGTH = 24
"""Hex digits of a fingerprint made from content: 96 bits."""

FINGERPRINT = re.compile(r"[A-Za-z0-9_-]{1,120}")

Found = TypeVar("Found")


@dataclass(frozen=True)
class Partition:
    """One partition of a table, or a whole table without partitions.

    Attributes:
        table_folder: Folder of the table.
        column: Name of the partition column; empty for a table without partitions.
        key: Partition key; empty for a table without partitions.
    """

    table_folder: Path
    column: str = ""
    key: str = ""

    @property
    def folder(self) -> Path:
        """The partition's folder, named as in Hive partitioning, which DuckDB reads."""
        return self.table_folder / f"{self.column}={self.key}" if self.column else self.table_folder

    def current(self) -> StoredTable | None:
        """Return the current file; None if the partition was never written."""
        for _ in range(ATTEMPTS):
            try:
                version = self.folder / (self.folder / CURRENT).readlink()
            except FileNotFoundError:
                return None
            for path in version.glob("*.parquet"):
                return StoredTable(path, path.stem)
        raise StorageError(f"{self.folder / CURRENT} points to nothing. Materialize the asset again.")

    def use(self, read: Callable[[StoredTable], Found]) -> Found | None:
        """Return ``read(current file)``, tried again while writers replace the file; None if there is none."""
        for _ in range(ATTEMPTS):
            table = self.current()
            if table is None:
                return None
            try:
                return read(table)
            except StorageError:
                if table.path.exists():
                    raise
        raise StorageError(f"{self.folder} was replaced {ATTEMPTS} times while it was read. Try again.")

    def write(self, table: pl.DataFrame | pl.LazyFrame | StoredTable) -> StoredTable:
        """Make ``table`` the content of the partition; a stored table is linked, not copied.

        Returns:
            The new current file, named by the stored table's fingerprint or by the hash of its bytes.

        Raises:
            DataError: The table can't be stored, or its partition column holds another key.
            StorageError: The disk can't be written.
        """
        self._check_key(table)
        try:
            with self._new_version() as version:
                if isinstance(table, StoredTable):
                    return _link(table, version)
                return _store(table, version)
        except OSError as error:
            hint = "Free space or make it writable, then run again."
            raise StorageError(f"{self.folder} can't be written: {error.strerror or error}. {hint}") from error

    @contextmanager
    def _new_version(self) -> Iterator[Path]:
        """Yield an empty folder that becomes the current version after the block, unless the block fails."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with _locked(self.folder / LOCK):
            version = self.folder / f"version-{uuid4().hex[:12]}"
            version.mkdir()
            try:
                yield version
                fsync_path(version)
                _point(self.folder, version.name)
            finally:
                self._remove_old_versions()

    def _remove_old_versions(self) -> None:
        """Remove all versions but the current one; the caller holds the lock, so no other writer is making one."""
        link = self.folder / CURRENT
        current = os.readlink(link) if link.is_symlink() else ""  # noqa: PTH115
        for path in self.folder.glob("version-*"):
            if path.is_symlink():
                path.unlink()
            elif path.name != current:
                shutil.rmtree(path)

    def _check_key(self, table: pl.DataFrame | pl.LazyFrame | StoredTable) -> None:
        frame = table.scan() if isinstance(table, StoredTable) else table.lazy()
        if self.column and self.column in frame.collect_schema():
            column = pl.col(self.column)
            others = frame.select(column.filter(column.cast(pl.String).ne_missing(self.key)).unique()).collect()
            if len(others):
                shown = ", ".join(repr(value) for value in others[self.column].to_list()[:3])
                problem = f"its column {self.column!r} also holds {shown}"
                raise DataError(f"The table of partition {self.key!r} belongs elsewhere.", [problem])


def place_of(root: Path, schema: str, table: str, column: str = "", key: str = "") -> Partition:
    """Return a partition of a table; its folder is always below ``root``.

    Raises:
        IdError: The key is not a valid ID.
        DataError: A name contains characters other than letters, digits and underscores.
    """
    names = {"schema": schema, "table": table, "partition column": column or "none"}
    problems = [f"{what} {name[:80]!r}" for what, name in names.items() if not PLAIN_NAME.fullmatch(name)]
    if problems:
        raise DataError("Names of stored tables have up to 120 letters, digits and underscores; not so:", problems)
    return Partition(root / "tables" / schema / table, column, validate_id(key) if column else "")


def _point(folder: Path, version: str) -> None:
    link = folder / f"{version}.link"
    link.symlink_to(version)
    link.replace(folder / CURRENT)
    fsync_path(folder)
    fsync_path(folder.parent)


def _store(frame: pl.DataFrame | pl.LazyFrame, version: Path) -> StoredTable:
    path = version / "table.parquet"
    write_parquet(frame, path)
    with path.open("rb") as file:
        fingerprint = hashlib.file_digest(file, "sha256").hexdigest()[:HASH_LENGTH]
    return StoredTable(path.rename(version / f"{fingerprint}.parquet"), fingerprint)


def _link(table: StoredTable, version: Path) -> StoredTable:
    """Link a stored table into a version folder, or copy it where the file system can't link."""
    if not FINGERPRINT.fullmatch(table.fingerprint):
        raise DataError(f"The fingerprint {table.fingerprint[:80]!r} can't name a file.")
    path = version / f"{table.fingerprint}.parquet"
    link_or_copy(table.path, path)
    return StoredTable(path, table.fingerprint)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a partition's writers, which the operating system frees when its holder dies."""
    try:
        with FileLock(path, timeout=WAIT_S):
            yield
    except Timeout:
        raise StorageError(f"Another process has been writing {path.parent} for {WAIT_S:g} s. Try again.") from None


@dataclass(frozen=True)
class TableFiles:
    """The files of one stored table, as listed at one moment.

    Attributes:
        folder: Absolute path of the table's folder.
        column: Name of the partition column; empty for a table without partitions.
        versions: Name of the current version folder by partition key, sorted; the key of a table without partitions is
            empty.
    """

    folder: Path
    column: str
    versions: Mapping[str, str]

    @property
    def schema(self) -> str:
        """Name of the schema: the folder below ``tables/``."""
        return self.folder.parent.name

    @property
    def table(self) -> str:
        """Name of the table: the folder below the schema's."""
        return self.folder.name

    @property
    def full_name(self) -> str:
        """``schema.table``."""
        return f"{self.schema}.{self.table}"

    @cached_property
    def signature(self) -> str:
        """Hash of the table's location and current versions; it changes with every write."""
        versions = "\0".join(f"{key}={version}" for key, version in self.versions.items())
        return hashlib.sha256(f"{self.folder}\0{self.column}\0{versions}".encode()).hexdigest()

    def file(self, key: str) -> StoredTable:
        """Return a partition's file.

        Raises:
            StorageError: It is gone; most likely a writer has replaced it since the table was listed.
        """
        place = f"{self.column}={key}/" if self.column else ""
        version = f"{self.folder}/{place}{self.versions[key]}"
        with suppress(OSError):
            for name in os.listdir(version):  # noqa: PTH208
                if name.endswith(".parquet"):
                    return StoredTable(Path(f"{version}/{name}"), name.removesuffix(".parquet"))
        raise StorageError(f"{version} holds no table. Materialize the asset again.")


def find_tables(root: Path, include: Callable[[str], bool] = lambda _: True) -> list[TableFiles]:
    """Return the tables with at least one stored partition, sorted by schema and name.

    Args:
        root: Storage root.
        include: Whether a table of this full name is listed.
    """
    folders = sorted((root.absolute() / "tables").glob("*/*"))
    named = [folder for folder in folders if PLAIN_NAME.fullmatch(folder.name) and folder.is_dir()]
    found = (find_table(folder) for folder in named if include(f"{folder.parent.name}.{folder.name}"))
    return [table for table in found if table is not None]


def signatures_of(tables: Iterable[TableFiles]) -> dict[str, str]:
    """Return the signature of each table, by its full name."""
    return {table.full_name: table.signature for table in tables}


def find_table(folder: Path) -> TableFiles | None:
    """Return the table in a folder; None if it has no stored partition.

    If the table's asset gained or lost its partitions, the files of both kinds exist; then the partitions count.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        by_column, whole = _partitions_in(descriptor), _current("", descriptor)
    finally:
        os.close(descriptor)
    if by_column:
        column = max(by_column, key=lambda name: len(by_column[name]))
        return TableFiles(folder, column, by_column[column])
    return None if whole is None else TableFiles(folder, "", {"": whole})


def _partitions_in(descriptor: int) -> dict[str, dict[str, str]]:
    """Return the current versions by partition column and key; ``descriptor`` is the table's open folder."""
    found: dict[str, dict[str, str]] = {}
    for name in sorted(os.listdir(descriptor)):
        column, equals, key = name.partition("=")
        version = _current(f"{name}/", descriptor) if equals else None
        if version is not None:
            found.setdefault(column, {})[key] = version
    return {column: versions for column, versions in found.items() if PLAIN_NAME.fullmatch(column)}


def _current(folder: str, descriptor: int) -> str | None:
    try:
        return os.readlink(f"{folder}{CURRENT}", dir_fd=descriptor)
    except OSError:  # it was never written, or is being removed
        return None
