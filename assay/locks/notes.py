"""The notes beside a lock: one small file per holder, written and removed by that holder only.

Belongs here: writing, finding and reading them. Does not belong here: what they say about a holder (``holders``).
The holder keeps its note locked, too: a process ID alone may be somebody else's by now, or that of a process that
nobody has buried yet. On a shared file system a note names the file of its holder's heartbeat instead.
"""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO
from uuid import uuid4

from assay.files import TEMPORARY_PREFIX, temporary_sibling

ENDING = ".holder"
"""How the names of notes end."""


@contextmanager
def noted(path: Path, mode: str, purpose: str, lease: dict[str, str | float]) -> Iterator[None]:
    """Keep a note on a lock for the block; it appears whole and locked.

    Args:
        path: The lock.
        mode: How it is held.
        purpose: What the holder is doing.
        lease: ``record``, the file with the holder's heartbeat, seen from the lock's folder, and ``stale_after_s``;
            empty where the operating system keeps the lock.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    note = {"mode": mode, "host": socket.gethostname(), "pid": os.getpid(), "since": now, "purpose": purpose, **lease}
    place = path.with_name(f"{path.name}.{uuid4().hex[:12]}{ENDING}")
    file = _written(place, json.dumps(note), keep_locked=not lease)
    try:
        yield
    finally:
        place.unlink(missing_ok=True)
        file.close()


def _written(place: Path, text: str, keep_locked: bool) -> TextIO:
    """Write a file that appears at once as a whole; not fsynced, because after a power cut nobody holds anything."""
    temporary = temporary_sibling(place)
    file = temporary.open("x")
    try:
        if keep_locked:
            fcntl.flock(file, fcntl.LOCK_EX)
        file.write(text)
        file.flush()
        if not keep_locked:
            file.close()  # which makes a network file system send it to the others
        temporary.rename(place)
    except BaseException:
        file.close()
        temporary.unlink(missing_ok=True)
        raise
    return file


def notes_below(folder: Path) -> Iterator[Path]:
    """Return the notes on all locks in a folder and those below it."""
    for place, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if not each.endswith(".lock.rw")]
        yield from (Path(place, each) for each in names if _is_note(each))


def notes_of(path: Path) -> Iterator[Path]:
    """Return the notes on one lock."""
    names: list[str] = []
    with suppress(FileNotFoundError), os.scandir(path.parent) as entries:
        names = [each.name for each in entries]
    yield from (path.with_name(each) for each in names if _is_note(each) and each.rpartition(".lock.")[0] == path.stem)


def _is_note(name: str) -> bool:
    return name.endswith(ENDING) and not name.startswith(TEMPORARY_PREFIX)


@dataclass(frozen=True)
class Note:
    """What a note says, and whether somebody keeps it locked.

    Attributes:
        content: As written by ``noted``; empty when a power cut took it.
        locked: Whether a process keeps the note locked.
        written: When it was written, UTC, ISO 8601.
    """

    content: dict[str, Any]
    locked: bool
    written: str


def read_note(path: Path) -> Note | None:
    """Return a note; None when its holder has just removed it."""
    try:
        with path.open(encoding="utf-8") as file:
            content, locked, written_s = _content(file), _locked(file), os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    return Note(content, locked, datetime.fromtimestamp(written_s, UTC).isoformat(timespec="seconds"))


def _content(file: TextIO) -> dict[str, Any]:
    try:
        content = json.load(file)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a shared file system without such locks, where notes name heartbeats
        return False
    return False
