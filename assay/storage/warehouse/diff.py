"""What a look at a table's files found, against what the index has of it.

Belongs here: comparing. Does not belong here: changing the index, but for the shapes of files read for the first time.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from assay.storage.partitions import TableFiles
from assay.storage.warehouse.database import Index, Known, Looks, Shape, name_of, stored_columns
from assay.storage.warehouse.tables import looks_of, problem_looks


@dataclass(frozen=True)
class Changes:
    """How many partitions are new, have another version, or are stored no more."""

    new: int = 0
    changed: int = 0
    removed: int = 0

    def __add__(self, other: "Changes") -> "Changes":
        return Changes(self.new + other.new, self.changed + other.changed, self.removed + other.removed)


@dataclass(frozen=True)
class Difference:
    """What it takes to make the index show a table as it is.

    Attributes:
        old: What the table is in the index; None when it is not there.
        looks: What it has to look like.
        remake: Whether it has to be made anew, because its columns have other types or it is another kind of thing.
        outdated: Partitions that the index has, but not in the valid version.
        unread: Partitions whose valid version the index does not have.
        shapes: Shape of every stored partition.
        changes: How much this is.
    """

    old: Looks | None
    looks: Looks
    remake: bool
    outdated: Sequence[str]
    unread: Sequence[str]
    shapes: Mapping[str, str]
    changes: Changes


def compare(ledger: Index, table: TableFiles, native: Collection[str]) -> Difference:
    """Return what differs; reads the columns of partitions that the index does not have.

    Raises:
        StorageError, duckdb.IOException: A file can't be read, or was replaced since the look.
    """
    known = ledger.known(table.full_name) or Known("", Looks(), {})
    held = known.partitions if known.column == table.column else {}
    outdated = [key for key, (version, _) in held.items() if table.versions.get(key) != version]
    fresh = {key for key, version in table.versions.items() if key not in held or held[key][0] != version}
    shapes = {key: held[key][1] for key in table.versions if key not in fresh} | _read_shapes(ledger, table, fresh)
    looks = looks_of(ledger.connection, table, _first_of_each(ledger, table, shapes), native)
    remake = known.column != table.column or not _fits(known.looks, looks)
    removed = sum(key not in table.versions for key in outdated)
    return Difference(
        old=known.looks if known.looks.columns else None,
        looks=looks,
        remake=remake,
        outdated=list(held) if remake else outdated,
        unread=list(table.versions) if remake else [key for key in table.versions if key in fresh],
        shapes=shapes,
        changes=Changes(len(fresh) - len(outdated) + removed, len(outdated) - removed, removed),
    )


def unreadable(ledger: Index, table: TableFiles, problem: str) -> Difference:
    """Return the difference to a table that only says what is wrong with its files."""
    known = ledger.known(table.full_name) or Known("", Looks(), {})
    looks = problem_looks(problem, known.looks.columns or {table.column or "problem": "VARCHAR"})
    old = known.looks if known.looks.columns else None
    return Difference(old, looks, remake=True, outdated=list(known.partitions), unread=[], shapes={}, changes=Changes())


def _read_shapes(ledger: Index, table: TableFiles, keys: Iterable[str]) -> dict[str, str]:
    """Return the shapes of partitions; those that share a result share its file, which is read once."""
    known, by_fingerprint, shapes = set(ledger.shapes()), dict[str, str](), dict[str, str]()
    for key in keys:
        file = table.file(key)
        if file.fingerprint not in by_fingerprint:
            original = file.schema
            name = by_fingerprint[file.fingerprint] = name_of(original)
            if name not in known:
                ledger.add_shape(name, Shape(original, stored_columns(ledger.connection, file)))
                known.add(name)
        shapes[key] = by_fingerprint[file.fingerprint]
    return shapes


def _first_of_each(ledger: Index, table: TableFiles, shapes: Mapping[str, str]) -> dict[str, Shape]:
    first: dict[str, str] = {}
    for key in table.versions:
        first.setdefault(shapes[key], key)
    known = ledger.shapes()
    return {key: known[name] for name, key in first.items()}


def _fits(old: Looks, new: Looks) -> bool:
    """Whether the table can stay: the same view, or rows whose columns keep their types."""
    if old.select or new.select or not old.columns:
        return old == new
    before = {name.lower(): kind for name, kind in old.columns.items()}
    return all(before.get(name.lower(), kind) == kind for name, kind in new.columns.items())
