"""Partitioned tables on the disk: each partition has exactly one valid file at any moment, whoever writes or dies.

The layout, for the partition ``ab12`` of the table ``analysis``::

    tables/main/analysis/experiment_id=ab12/current -> version-5f0c…        a symbolic link, replaced by rename
    tables/main/analysis/experiment_id=ab12/version-5f0c…/<fingerprint>.parquet

A version is complete, and on the disk, before ``current`` points to it; one rename makes it valid and the previous one
invalid. Files are never changed, so a reader sees one version or the other, or finds that its file is gone and tries
again. A killed writer leaves a version folder that ``current`` does not name; the partition's next writer removes it.
Beside its file a version holds a seal: size, time and hash of the file as it was stored, by which ``require_unchanged``
knows a file that was changed by hand.

A key may be any text of reasonable length: what can't be in a folder's name is written as ``%2F``, as in Hive.

Listing a table reads one folder and one symbolic link per partition, but no file: ten thousand partitions take 40 ms.
It works on text relative to the open folder, because making a ``Path`` costs more than reading a link.

Belongs here: replacing and finding partitions. Does not belong here: the content of the files (``parquet``), queries
over them (``warehouse``).
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote
from uuid import uuid4

import polars as pl
from filelock import FileLock, Timeout

from assay.errors import DataError, FileError, StorageError, shorten
from assay.spec.ids import validate_id
from assay.storage.files import fsync_path, link_or_copy, sha256_of
from assay.storage.parquet import StoredTable, write_parquet
from assay.utils.reading import read_record

TABLES = "tables"
"""The folder below the storage root that holds all tables."""

CURRENT = "current"

SEAL = "seal.json"

EXPERIMENT_COLUMN = "experiment_id"
"""Partition column of the experiments' tables; its keys are IDs, which have rules of their own."""

MOST_KEY_BYTES = 180
"""Longest key as part of a folder's name; file systems allow 255 bytes for the whole."""

LOCK = ".lock"

ATTEMPTS = 50
"""How often a reader tries again because a writer replaced the file; each attempt means one more completed write."""

WAIT_S = 120.0
"""Longest wait for another writer of the same partition, in seconds."""

PLAIN_NAME = re.compile(r"[A-Za-z0-9_]{1,120}")

HASH_LENGTH = 24
"""Hex digits of a fingerprint made from content: 96 bits."""

VERSION = re.compile(r"version-[0-9a-f]{12}")
"""What ``current`` may point to: a folder beside it."""

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
        return self.table_folder / f"{self.column}={_quoted(self.key)}" if self.column else self.table_folder

    def current(self) -> StoredTable | None:
        """Return the current file; None if the partition was never written.

        Raises:
            StorageError: ``current`` is damaged, or points elsewhere.
        """
        for _ in range(ATTEMPTS):
            version = _current(f"{self.folder}/")
            if version is None:
                return None
            for path in _version_folder(self.folder, version).glob("*.parquet"):
                return StoredTable(path, path.stem)
        raise StorageError(f"{self.folder / CURRENT} points to nothing. Materialize the asset again.")

    def checked(self) -> StoredTable | None:
        """Return the current file, which is as it was stored; None if the partition was never written.

        A file that is another name of a stage's result is returned under that name, where no writer of the partition
        removes it while it is read.

        Raises:
            StorageError: The file was changed since.
        """
        return self.use(require_unchanged)

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
            if isinstance(table, StoredTable) and (same := self._same_as(table)):
                return same
            with self._new_version() as version:
                if isinstance(table, StoredTable):
                    return _link(table, version)
                return _store(table, version)
        except OSError as error:
            hint = "Free space or make it writable, then run again."
            raise StorageError(f"{self.folder} can't be written: {error.strerror or error}. {hint}") from error

    def _same_as(self, table: StoredTable) -> StoredTable | None:
        """Return the current file if it is this very table, which needs no other link then."""
        current = self.current()
        if current is None or current.fingerprint != table.fingerprint or not current.path.exists():
            return None
        seal = _read_seal(current.path.parent)
        is_sealed = seal is not None and seal.stamp == _stamp(current.path)
        return current if is_sealed and table.path.exists() and current.path.samefile(table.path) else None

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

    def remove_old_versions(self) -> bool:
        """Remove what killed writers left, unless somebody is writing now; returns whether there was anything."""
        with suppress(Timeout), FileLock(self.folder / LOCK, timeout=0):
            return self._remove_old_versions()
        return False

    def _remove_old_versions(self) -> bool:
        """Remove all versions but the current one; the caller holds the lock, so no other writer is making one."""
        current = _current(f"{self.folder}/")
        old = [path for path in self.folder.glob("version-*") if path.name != current]
        for path in old:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        return bool(old)

    def _check_key(self, table: pl.DataFrame | pl.LazyFrame | StoredTable) -> None:
        frame = table.scan() if isinstance(table, StoredTable) else table.lazy()
        if self.column:
            require_key(frame, self.column, self.key)


def require_key(table: pl.DataFrame | pl.LazyFrame, column: str, key: str) -> None:
    """Check that a table may be the partition ``key``: a column of that name, if it has one, holds nothing else.

    Raises:
        DataError: It holds another key.
    """
    frame = table.lazy()
    if column in frame.collect_schema():
        of_column = pl.col(column)
        others = frame.select(of_column.filter(of_column.cast(pl.String).ne_missing(key)).unique()).collect()
        if len(others):
            shown = ", ".join(repr(value) for value in others[column].to_list()[:3])
            raise DataError(
                f"The table of partition {key!r} belongs elsewhere.", [f"its column {column!r} also holds {shown}"]
            )


@dataclass(frozen=True)
class Seal:
    """What is known of a stored file.

    Attributes:
        stamp: Size in bytes, modification time in ns and inode; while these are the same, so is the file.
        sha256: Hash of its bytes.
        source: Another name of the same file, relative to its folder; empty if there is none.
    """

    stamp: tuple[int, int, int]
    sha256: str
    source: str = ""

    def write(self, version: Path) -> None:
        """Write the seal of the file in a version folder."""
        text = json.dumps({"stamp": list(self.stamp), "sha256": self.sha256, "source": self.source})
        (version / SEAL).write_text(text, encoding="utf-8")  # nobody sees the folder yet
        fsync_path(version / SEAL)


def _read_seal(version: Path) -> Seal | None:
    """Return the seal in a version folder; None where an earlier release wrote none."""
    try:
        values = read_record(version / SEAL)
        size, mtime_ns, inode = map(int, values["stamp"])
        return Seal((size, mtime_ns, inode), str(values["sha256"]), str(values["source"]))
    except FileNotFoundError:
        return None
    except (FileError, KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{version / SEAL} is damaged ({error}). Materialize the asset again.") from error


def require_unchanged(table: StoredTable) -> StoredTable:
    """Return a stored file that is as it was stored, under a name that stays.

    Size, time and inode tell most often; where they differ, as in a copied storage, the bytes do.

    Raises:
        StorageError: The file was changed by something else than Assay.
    """
    version = table.path.parent
    try:
        stamp, seal = _stamp(table.path), _read_seal(version)
        if seal is None:
            return table
        if stamp != seal.stamp and sha256_of(table.path) != seal.sha256:
            raise StorageError(
                f"{table.path} was changed after it was stored. Nothing is computed from it: materialize "
                f"{version.parent.parent.name} again, which puts the stored table back; to use other rows, give them "
                "as data of an experiment (source.kind: table)."
            )
    except FileNotFoundError:
        raise StorageError(f"{table.path} is gone. Materialize the asset again.") from None
    source = version / seal.source
    if seal.source and source.is_file() and source.samefile(table.path):
        return StoredTable(Path(os.path.normpath(source)), table.fingerprint, seal.sha256)
    return StoredTable(table.path, table.fingerprint, seal.sha256)


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def place_of(root: Path, schema: str, table: str, column: str = "", key: str = "") -> Partition:
    """Return a partition of a table; its folder is always below ``root``.

    Raises:
        IdError: The key of an experiment's table is not a valid ID.
        DataError: A name contains characters other than letters, digits and underscores, or the key is too long.
    """
    names = {"schema": schema, "table": table, "partition column": column or "none"}
    problems = [f"{what} {name[:80]!r}" for what, name in names.items() if not PLAIN_NAME.fullmatch(name)]
    if problems:
        raise DataError("Names of stored tables have up to 120 letters, digits and underscores; not so:", problems)
    if column == EXPERIMENT_COLUMN:
        validate_id(key)
    elif column and len(_quoted(key)) > MOST_KEY_BYTES:
        raise DataError(f"The partition key {key[:80]!r}… is too long; expected at most {MOST_KEY_BYTES} bytes.")
    return Partition(root / "tables" / schema / table, column, key if column else "")


def _quoted(key: str) -> str:
    """Return a partition key as part of a folder's name; a valid ID is its own name."""
    return quote(key, safe="")


def _point(folder: Path, version: str) -> None:
    link = folder / f"{version}.link"
    link.symlink_to(version)
    link.replace(folder / CURRENT)
    fsync_path(folder)
    fsync_path(folder.parent)


def _store(frame: pl.DataFrame | pl.LazyFrame, version: Path) -> StoredTable:
    path = version / "table.parquet"
    write_parquet(frame, path)
    sha256 = sha256_of(path)
    stored = path.rename(version / f"{sha256[:HASH_LENGTH]}.parquet")
    Seal(_stamp(stored), sha256).write(version)
    return StoredTable(stored, stored.stem, sha256)


def _link(table: StoredTable, version: Path) -> StoredTable:
    """Link a stored table into a version folder, or copy it where the file system can't link.

    Raises:
        StorageError: The table was changed since it was made.
    """
    if not FINGERPRINT.fullmatch(table.fingerprint):
        raise DataError(f"The fingerprint {table.fingerprint[:80]!r} can't name a file.")
    path = version / f"{table.fingerprint}.parquet"
    link_or_copy(table.path, path)
    sha256 = sha256_of(path)
    if table.sha256 and sha256 != table.sha256:
        raise StorageError(
            f"{table.path} was changed after it was made. Delete its folder, or set clear_folder: true in its section, "
            "and materialize it again."
        )
    Seal(_stamp(path), sha256, os.path.relpath(table.path, version)).write(version)
    return StoredTable(path, table.fingerprint, sha256)


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
        place = f"{self.folder}/{self.column}={_quoted(key)}" if self.column else f"{self.folder}"
        version = str(_version_folder(Path(place), self.versions[key]))
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
    folders = sorted((root.absolute() / TABLES).glob("*/*"))
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
        is_ours = equals and _quoted(unquote(key)) == key
        version = _current(f"{name}/", descriptor) if is_ours else None
        if version is not None:
            found.setdefault(column, {})[unquote(key)] = version
    return {column: versions for column, versions in found.items() if PLAIN_NAME.fullmatch(column)}


def _current(folder: str, descriptor: int | None = None) -> str | None:
    """Return what ``current`` points to, empty if it is no link; None if it was never written, or is being removed."""
    try:
        return os.readlink(f"{folder}{CURRENT}", dir_fd=descriptor)
    except OSError as error:
        return "" if error.errno == errno.EINVAL else None


def _version_folder(partition: Path, version: str) -> Path:
    if not VERSION.fullmatch(version):
        points = f"points to {shorten(version)}" if version else "is no link"
        expected = "expected a link to a version beside it"
        raise StorageError(f"{partition / CURRENT} {points}; {expected}. Materialize the asset again.")
    return partition / version
