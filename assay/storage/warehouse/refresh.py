"""Keeping the index in step with the files, by one process at a time that nobody has to wait for.

Belongs here: when it is brought up to date, and by whom. Does not belong here: how (``update``), its file (``file``).
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
from filelock import FileLock, Timeout

from assay.errors import StorageError
from assay.storage.partitions import TableFiles, find_tables, signatures_of
from assay.storage.warehouse.database import Ledger
from assay.storage.warehouse.diff import Changes
from assay.warehouse.file import HeldError, changing, open_index
from assay.warehouse.update import update

INDEX = "warehouse.duckdb"
NATIVE = frozenset({"experiments", "training_history", "predictions", "analysis"})
"""Tables with few columns that are asked across all experiments: 10 ms, and 3 s over 10,000 files (measured)."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RefreshReport:
    """What a refresh did.

    Attributes:
        changes: How many partitions came, changed and went.
        duration_s: How long it took.
        postponed: Why nothing was done; empty when the index is up to date.
    """

    changes: Changes
    duration_s: float
    postponed: str = ""


def refresh(root: Path) -> RefreshReport:
    """Bring the whole index up to date, or leave it at once when somebody else does so or holds it.

    Cheap when nothing changed, so that it can be called every few seconds. No query needs it, it only spares the next
    one some work, and is how those who open the index with other tools get to see news.

    Raises:
        StorageError: The storage can't be read or written.
    """
    started = time.perf_counter()
    changes, postponed = Changes(), ""
    try:
        if root.is_dir():
            with FileLock(lock_of(root), timeout=0):
                _, changes = bring_up_to_date(root, lambda _: True)
    except Timeout:
        postponed = f"{root / INDEX} is being refreshed by another process."
    except HeldError as error:
        postponed = str(error)
    except (OSError, duckdb.Error) as error:
        raise StorageError(f"{root / INDEX} can't be refreshed: {error}") from error
    return RefreshReport(changes, time.perf_counter() - started, postponed)


def rebuild_warehouse(root: Path) -> list[str]:
    """Make the index anew from the files, atomically, one process at a time.

    Returns:
        The names of the tables.

    Raises:
        DataError: Somebody holds the index open for writing; the message names the process.
        StorageError: The storage can't be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(lock_of(root)):
            former = open_index(root / INDEX)
            if former is not None:
                former.connection.close()
            with changing(root / INDEX, keep=False) as ledger:
                shown, _ = update(ledger, find_tables(root), [], NATIVE)
                return [table.full_name for table in shown]
    except (OSError, duckdb.Error) as error:
        raise StorageError(f"{root / INDEX} can't be written: {error}") from error


def lock_of(root: Path) -> Path:
    """Return the lock that whoever changes the index holds."""
    return root / f".{INDEX}.lock"


def bring_up_to_date(root: Path, wanted: Callable[[str], bool]) -> tuple[list[TableFiles], Changes]:
    """Refresh the wanted tables, under the lock; an index that is up to date is not even opened for writing."""
    tables = find_tables(root, wanted)
    found = open_index(root / INDEX)
    gone: set[str] = set()
    if found is not None:
        with found.connection:
            shown = found.signatures(wanted)
        if shown == signatures_of(tables):
            return tables, Changes()
        gone = shown.keys() - signatures_of(tables)
    try:
        with changing(root / INDEX, keep=found is not None) as ledger:
            return update(ledger, tables, gone, NATIVE)
    except duckdb.Error as error:
        log.warning("Making %s anew: %s", root / INDEX, error)
    # Not above: there the error still keeps the connection to the broken index.
    with changing(root / INDEX, keep=False) as ledger:
        return update(ledger, tables, [], NATIVE)


def open_current(root: Path, tables: list[TableFiles], wanted: Callable[[str], bool]) -> Ledger | None:
    """Return the index if it shows exactly these among the wanted tables."""
    ledger = open_index(root / INDEX)
    if ledger is None:
        return None
    if ledger.signatures(wanted) == signatures_of(tables):
        return ledger
    ledger.connection.close()
    return None
