"""The difference between a table's files and what the index shows of it.

Belongs here: comparing. Does not belong here: changing the index (``refresh``), except for recording the schemas of
files that are read for the first time.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from assay.storage.partitions import TableFiles
from assay.storage.warehouse.database import (
    Index,
    IndexedTable,
    PartitionSchema,
    TableDefinition,
    schema_name,
    stored_columns,
)
from assay.storage.warehouse.tables import definition_of, problem_definition


@dataclass(frozen=True)
class Changes:
    """Number of partitions that are new, have a new version, or no longer exist."""

    new: int = 0
    changed: int = 0
    removed: int = 0

    def __add__(self, other: "Changes") -> "Changes":
        return Changes(self.new + other.new, self.changed + other.changed, self.removed + other.removed)


@dataclass(frozen=True)
class Difference:
    """The changes that make the index show a table as its files are.

    Attributes:
        old: Definition of the table in the index; None when it is not there.
        definition: The definition that it needs.
        remake: Whether the table must be dropped and created again, because column types changed, or a view became a
            native table or the other way round.
        outdated: Keys of partitions that the index has in another than the current version.
        unread: Keys of partitions whose current version the index does not have.
        schemas: Schema name of every stored partition, by key.
        changes: How many partitions differ.
    """

    old: TableDefinition | None
    definition: TableDefinition
    remake: bool
    outdated: Sequence[str]
    unread: Sequence[str]
    schemas: Mapping[str, str]
    changes: Changes


def compare(index: Index, table: TableFiles, native: Collection[str]) -> Difference:
    """Compare a table with the index; reads the columns of partitions that the index does not have.

    Args:
        index: The index, open for writing.
        table: The table's files.
        native: Names of the tables whose rows the index holds itself.

    Raises:
        StorageError, duckdb.IOException: A file can't be read, or was replaced since the table was listed.
    """
    known = index.indexed_table(table.full_name) or IndexedTable("", TableDefinition(), {})
    held = known.partitions if known.column == table.column else {}
    outdated = [key for key, (version, _) in held.items() if table.versions.get(key) != version]
    fresh = {key for key, version in table.versions.items() if key not in held or held[key][0] != version}
    schemas = {key: held[key][1] for key in table.versions if key not in fresh} | _read_schemas(index, table, fresh)
    definition = definition_of(index.connection, table, _first_of_each(index, table, schemas), native)
    remake = known.column != table.column or not _fits(known.definition, definition)
    removed = sum(key not in table.versions for key in outdated)
    return Difference(
        old=known.definition if known.definition.columns else None,
        definition=definition,
        remake=remake,
        outdated=list(held) if remake else outdated,
        unread=list(table.versions) if remake else [key for key in table.versions if key in fresh],
        schemas=schemas,
        changes=Changes(len(fresh) - len(outdated) + removed, len(outdated) - removed, removed),
    )


def unreadable_difference(index: Index, table: TableFiles, problem: str) -> Difference:
    """Return the difference to a view that raises ``problem`` when it is queried."""
    known = index.indexed_table(table.full_name) or IndexedTable("", TableDefinition(), {})
    definition = problem_definition(problem, known.definition.columns or {table.column or "problem": "VARCHAR"})
    old = known.definition if known.definition.columns else None
    return Difference(
        old, definition, remake=True, outdated=list(known.partitions), unread=[], schemas={}, changes=Changes()
    )


def _read_schemas(index: Index, table: TableFiles, keys: Iterable[str]) -> dict[str, str]:
    """Return the schema names of partitions; a file that several partitions share is read once."""
    known, by_fingerprint, schemas = set(index.schemas()), dict[str, str](), dict[str, str]()
    for key in keys:
        file = table.file(key)
        if file.fingerprint not in by_fingerprint:
            original = file.schema
            name = by_fingerprint[file.fingerprint] = schema_name(original)
            if name not in known:
                index.add_schema(name, PartitionSchema(original, stored_columns(index.connection, file)))
                known.add(name)
        schemas[key] = by_fingerprint[file.fingerprint]
    return schemas


def _first_of_each(index: Index, table: TableFiles, schemas: Mapping[str, str]) -> dict[str, PartitionSchema]:
    """Return the different schemas of a table, each by the key of the first partition that has it."""
    first: dict[str, str] = {}
    for key in table.versions:
        first.setdefault(schemas[key], key)
    known = index.schemas()
    return {key: known[name] for name, key in first.items()}


def _fits(old: TableDefinition, new: TableDefinition) -> bool:
    """Return whether a table can be kept: the same view, or a native table whose columns keep their types."""
    if old.select or new.select or not old.columns:
        return old == new
    before = {name.lower(): kind for name, kind in old.columns.items()}
    return all(before.get(name.lower(), kind) == kind for name, kind in new.columns.items())
