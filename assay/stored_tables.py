"""Which tables the storage holds, and what makes two looks at it the same.

Belongs here: finding tables and their partitions. Does not belong here: writing them (``partition_files``).
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from assay.partition_files import CURRENT, PLAIN_NAME, Partition


@dataclass(frozen=True)
class TableFiles:
    """One table of the storage.

    Attributes:
        schema: Folder below ``tables/``.
        table: Folder below the schema's.
        column: Name of the partition column; empty for a table without partitions.
        partitions: Every stored partition by key, sorted; one with an empty key for a table without partitions.
    """

    schema: str
    table: str
    column: str
    partitions: Mapping[str, Partition]

    @property
    def full_name(self) -> str:
        """Schema and table as one word."""
        return f"{self.schema}.{self.table}"


def find_tables(root: Path) -> list[TableFiles]:
    """Return every table with at least one stored partition, sorted by schema and name."""
    folders = sorted(path for path in (root.absolute() / "tables").glob("*/*") if path.is_dir())
    named = (folder for folder in folders if PLAIN_NAME.fullmatch(folder.name))
    return [table for folder in named for table in _tables_in(folder)]


def _tables_in(folder: Path) -> list[TableFiles]:
    """A table whose asset got or lost its partitions keeps the files of both; the partitions are what is shown."""
    by_column: dict[str, dict[str, Partition]] = {}
    for path in sorted(folder.iterdir()):
        column, equals, key = path.name.partition("=")
        if equals and PLAIN_NAME.fullmatch(column) and (path / CURRENT).is_symlink():
            by_column.setdefault(column, {})[key] = Partition(folder, column, key)
    if by_column:
        column = max(by_column, key=lambda name: len(by_column[name]))
        return [TableFiles(folder.parent.name, folder.name, column, by_column[column])]
    if (folder / CURRENT).is_symlink():
        return [TableFiles(folder.parent.name, folder.name, "", {"": Partition(folder)})]
    return []


def signature_of(tables: list[TableFiles]) -> str:
    """Return a hash of which files there are; it changes with every write."""
    digest = hashlib.sha256()
    for table in tables:
        for key, partition in table.partitions.items():
            version = os.readlink(partition.folder / CURRENT)  # noqa: PTH115
            digest.update(f"{partition.folder}\0{table.column}\0{key}\0{version}\n".encode())
    return digest.hexdigest()
