"""All experiments that ever ran, as they are now.

Belongs here: finding out what changed, and reading only that. Does not belong here: choosing some (``filters``).
"""

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import polars as pl

from assay.comparison.tables import READ, Tables
from assay.dashboard.experiments import Experiment, read_experiments
from assay.dashboard.file_tables import FileTables
from assay.errors import StorageError
from assay.stored_tables import TableFiles, find_tables

FEW = 100
"""Up to so many changed experiments are read from their own files, more from the warehouse."""

ATTEMPTS = 20
"""How often a look starts again because a run replaced a file meanwhile."""

Found = TypeVar("Found")


@dataclass(frozen=True)
class _Look:
    """What the last look at a storage found: which files, and the experiments that they tell of."""

    versions: Mapping[str, tuple[str | None, ...]]
    experiments: tuple[Experiment, ...]


_last_looks: dict[Path, _Look] = {}

_ONE_AT_A_TIME = threading.Lock()
"""Two pages must not read the same, nor open the index at once: DuckDB lets a process read or write a file."""


def load_catalogue(root: Path, few: int = FEW, looks: dict[Path, _Look] = _last_looks) -> tuple[Experiment, ...]:
    """Return all experiments that ever ran, the newest first; reads only what changed since the last look.

    Args:
        root: The storage.
        few: Up to so many changed experiments are read from their own files, more from the warehouse.
        looks: What is remembered of the last look at each storage; becomes that of this one.

    Raises:
        StorageError, DataError: The storage can't be read.
    """
    with _ONE_AT_A_TIME:
        return _again_when_replaced(lambda: _look(root, few, looks))


def load_history(root: Path, ids: Collection[str]) -> pl.DataFrame:
    """Return what was measured of some experiments in every epoch, sorted by epoch.

    Raises:
        StorageError: The storage can't be read.
    """
    return _again_when_replaced(lambda: FileTables(_find_tables(root), ids).history())


def _again_when_replaced(read: Callable[[], Found]) -> Found:
    for _ in range(ATTEMPTS - 1):
        try:
            return read()
        except StorageError:  # most likely a run has replaced a file since the look
            continue
    return read()


def _look(root: Path, few: int, looks: dict[Path, _Look]) -> tuple[Experiment, ...]:
    tables = _find_tables(root)
    versions, known = _versions(tables), looks.get(root, _Look({}, ()))
    if versions == known.versions:
        return known.experiments
    changed = {name for name, version in versions.items() if known.versions.get(name) != version}
    if len(changed) > few:
        found = read_experiments(root, Tables(root))
    else:
        kept = [each for each in known.experiments if each.experiment_id in versions.keys() - changed]
        found = kept + read_experiments(root, FileTables(tables, changed))
    looks[root] = _Look(versions, _newest_first(found))
    return looks[root].experiments


def _find_tables(root: Path) -> dict[str, TableFiles]:
    return {found.table: found for found in find_tables(root, READ.__contains__)}


def _versions(tables: Mapping[str, TableFiles]) -> dict[str, tuple[str | None, ...]]:
    """Return which files tell of each experiment that ran; they change with every write."""
    if "experiments" not in tables:
        return {}
    found = [table.versions for table in tables.values()]
    return {name: tuple(versions.get(name) for versions in found) for name in tables["experiments"].versions}


def _newest_first(experiments: Iterable[Experiment]) -> tuple[Experiment, ...]:
    oldest = datetime.min.replace(tzinfo=UTC)
    by_name = sorted(experiments, key=lambda each: each.experiment_id)
    return tuple(sorted(by_name, key=lambda each: each.started or oldest, reverse=True))
