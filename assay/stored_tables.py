"""Which tables the storage holds, which version of every partition is valid, and what makes two looks at it the same.

Belongs here: finding tables and their partitions. Does not belong here: writing them (``partition_files``).

A look reads one folder per table and one symbolic link per partition, no file: ten thousand partitions take 40 ms. It
works on plain text, because making a ``Path`` costs more than reading a link.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from assay.errors import StorageError
from assay.partition_files import CURRENT, PLAIN_NAME
from assay.tables import StoredTable


@dataclass(frozen=True)
class TableFiles:
    """One table of the storage, as one look found it.

    Attributes:
        folder: Absolute folder of the table.
        column: Name of the partition column; empty for a table without partitions.
        versions: Folder of the valid version by partition key, sorted; the key of a table without partitions is empty.
    """

    folder: Path
    column: str
    versions: Mapping[str, str]

    @property
    def schema(self) -> str:
        """Folder below ``tables/``."""
        return self.folder.parent.name

    @property
    def table(self) -> str:
        """Folder below the schema's."""
        return self.folder.name

    @property
    def full_name(self) -> str:
        """Schema and table as one word."""
        return f"{self.schema}.{self.table}"

    @cached_property
    def signature(self) -> str:
        """A hash of which files there are, and where; it changes with every write."""
        versions = "\0".join(f"{key}={version}" for key, version in self.versions.items())
        return hashlib.sha256(f"{self.folder}\0{self.column}\0{versions}".encode()).hexdigest()

    def file(self, key: str) -> StoredTable:
        """Return a partition's file.

        Raises:
            StorageError: It is gone; most likely a writer has replaced it since the look.
        """
        place = f"{self.column}={key}/" if self.column else ""
        version = f"{self.folder}/{place}{self.versions[key]}"
        with suppress(OSError):
            for name in os.listdir(version):  # noqa: PTH208
                if name.endswith(".parquet"):
                    return StoredTable(Path(f"{version}/{name}"), name.removesuffix(".parquet"))
        raise StorageError(f"{version} holds no table. Materialize the asset again.")


def find_tables(root: Path, wanted: Callable[[str], bool] = lambda _: True) -> list[TableFiles]:
    """Return the tables with at least one stored partition, sorted by schema and name.

    Args:
        root: Root of the storage.
        wanted: Says by its full name whether a table is looked at.
    """
    folders = sorted((root.absolute() / "tables").glob("*/*"))
    named = [folder for folder in folders if PLAIN_NAME.fullmatch(folder.name) and folder.is_dir()]
    found = (find_table(folder) for folder in named if wanted(f"{folder.parent.name}.{folder.name}"))
    return [table for table in found if table is not None]


def signatures_of(tables: Iterable[TableFiles]) -> dict[str, str]:
    """Return which files there are of each table, by its full name."""
    return {table.full_name: table.signature for table in tables}


def find_table(folder: Path) -> TableFiles | None:
    """Return the table in a folder; None without a stored partition.

    A table whose asset got or lost its partitions keeps the files of both; the partitions are what is shown.
    """
    by_column: dict[str, dict[str, str]] = {}
    for name in sorted(os.listdir(folder)) if folder.is_dir() else []:  # noqa: PTH208
        column, equals, key = name.partition("=")
        version = _current(f"{folder}/{name}") if equals and PLAIN_NAME.fullmatch(column) else None
        if version is not None:
            by_column.setdefault(column, {})[key] = version
    if by_column:
        column = max(by_column, key=lambda name: len(by_column[name]))
        return TableFiles(folder, column, by_column[column])
    version = _current(str(folder))
    return None if version is None else TableFiles(folder, "", {"": version})


def _current(partition: str) -> str | None:
    try:
        return os.readlink(f"{partition}/{CURRENT}")  # noqa: PTH115
    except OSError:  # nothing was ever written, or it is being removed
        return None
