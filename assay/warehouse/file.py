"""The file of the index: reading it, changing it, and who keeps us from it.

Belongs here: opening ``warehouse.duckdb``. Does not belong here: what is in it (``update``).

DuckDB lets one process write a file, or several read it. An update happens in place while nobody reads. While somebody
does, it happens in a copy that then takes the file's place: readers keep what they opened. Only somebody who has it
open for writing, as a DuckDB shell does unless told otherwise, keeps it as it is.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from assay.errors import DataError
from assay.storage.files import TEMPORARY_PREFIX, atomic_path
from assay.storage.warehouse.database import Ledger


class HeldError(DataError):
    """Somebody has the index open for writing; the message names the process."""


def open_index(path: Path) -> Ledger | None:
    """Return the books of the index, open for reading; None when it is missing, broken or of another format.

    Raises:
        HeldError: Somebody writes it.
    """
    if not path.is_file():
        return None
    try:
        ledger = Ledger(duckdb.connect(path, read_only=True))
    except duckdb.Error as error:
        who = _writer(error)
        if who is None:
            return None
        message = f"{path} is open for writing in {who}; it is refreshed when that closes it."
        raise HeldError(f"{message} To look at it: duckdb -readonly {path}") from error
    if ledger.is_readable():
        return ledger
    ledger.connection.close()
    return None


@contextmanager
def changing(path: Path, keep: bool) -> Iterator[Ledger]:
    """Give the books of the index open for writing, to a caller who holds the lock and found that nobody else writes.

    Args:
        path: The index.
        keep: Change what is there; it has to be readable. Otherwise an empty index takes its place.
    """
    for leftover in path.parent.glob(f"{TEMPORARY_PREFIX}*-{path.name}*"):
        leftover.unlink(missing_ok=True)
    in_place = _connect(path) if keep else None
    if in_place is not None:
        with in_place:
            yield Ledger(in_place)
        return
    with atomic_path(path) as temporary:
        if keep:
            shutil.copyfile(path, temporary)
        with duckdb.connect(temporary) as connection:
            ledger = Ledger(connection)
            if not keep:
                ledger.create()
            yield ledger
        # The log of a writer that died belongs to the index that is about to go.
        path.with_name(f"{path.name}.wal").unlink(missing_ok=True)


def _connect(path: Path) -> duckdb.DuckDBPyConnection | None:
    """Return a connection for writing; None while somebody reads."""
    try:
        return duckdb.connect(path)
    except (duckdb.IOException, duckdb.ConnectionException):
        return None


def _writer(error: duckdb.Error) -> str | None:
    """Return who holds the index open, by DuckDB's message; None when it is broken instead."""
    if isinstance(error, duckdb.ConnectionException):
        return "this very process"
    if "lock" not in str(error):
        return None
    found = re.search(r"held in (.+?)\. ", str(error))
    return found.group(1) if found else "another process"
