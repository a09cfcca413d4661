"""Locks that the operating system frees when their holder dies, and that tell who holds them.

Belongs here: taking, listing and clearing locks. Does not belong here: what is locked and why.
The locks themselves are filelock's; beside each lies one small file per holder that says who and since when. Its holder
keeps it locked too: a process ID alone may be somebody else's by now, or that of a process that nobody has buried yet.
"""

import fcntl
import json
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TextIO
from uuid import uuid4

from filelock import ReadWriteLock, Timeout

from assay.errors import StorageError
from assay.files import atomic_path

LockMode = Literal["read", "write"]


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, or waits for the operating system to notice that it died.

    Attributes:
        lock: Name of what is locked, such as ``crops/3f2a…``.
        mode: ``read`` or ``write``.
        host: Name of the machine.
        pid: Process ID on that machine.
        since: UTC time, ISO 8601.
        purpose: What the holder is doing.
        alive: Whether the process still lives; None when it is on another machine.
        path: The file that says so.
    """

    lock: str
    mode: str
    host: str
    pid: int
    since: str
    purpose: str
    alive: bool | None
    path: Path


@contextmanager
def hold(folder: Path, name: str, mode: LockMode, purpose: str = "", timeout_s: float = -1) -> Iterator[None]:
    """Hold a read or write lock on ``name`` for the block; waits up to ``timeout_s`` (-1: for ever).

    Raises:
        StorageError: The lock was not free in time; the message names its holders.
    """
    path = folder / f"{name}.lock"
    lock = _open(path)
    acquire = lock.acquire_read if mode == "read" else lock.acquire_write
    try:
        acquire(timeout=timeout_s)
    except Timeout:
        lock.close()
        held = "; ".join(describe(holder) for holder in holders(folder) if holder.lock == name) or "unknown"
        message = f"The {mode} lock on {name} was not free within {timeout_s:g} s. Held by: {held}."
        raise StorageError(message) from None
    note = path.with_name(f"{path.name}.{uuid4().hex[:12]}.holder")
    try:
        with _noted(note, _holder_note(mode, purpose)):
            yield
    finally:
        lock.release()
        lock.close()


@contextmanager
def _noted(path: Path, note: dict[str, str | int]) -> Iterator[None]:
    """Keep a locked file with ``note`` for the block; it appears whole and locked."""
    with atomic_path(path) as temporary:
        file = temporary.open("w")
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump(note, file)
        file.flush()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()


def _open(path: Path) -> ReadWriteLock:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not a singleton: threads of one process must wait for each other as processes do.
        return ReadWriteLock(path, is_singleton=False)
    except (OSError, sqlite3.OperationalError) as error:
        raise StorageError(f"The lock file {path} can't be made: {error}. Is the storage writable?") from error


def _holder_note(mode: str, purpose: str) -> dict[str, str | int]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"mode": mode, "host": socket.gethostname(), "pid": os.getpid(), "since": now, "purpose": purpose}


def holders(folder: Path) -> list[Holder]:
    """Return everyone who holds a lock below ``folder``, sorted by lock."""
    found = []
    for path in sorted(folder.rglob("*.lock.*.holder")):
        try:
            with path.open() as file:
                note, alive = json.load(file), _locked(file)
        except (FileNotFoundError, json.JSONDecodeError):
            continue  # released while we looked
        lock = path.relative_to(folder).as_posix().rsplit(".lock.", 1)[0]
        here = note["host"] == socket.gethostname()
        found.append(Holder(lock=lock, alive=alive if here else None, path=path, **note))
    return found


def _locked(file: TextIO) -> bool:
    """Return whether a process keeps an open file locked."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def clear_dead(folder: Path) -> list[Holder]:
    """Remove the notes of holders that died; their locks are already free. Returns who was removed."""
    dead = [holder for holder in holders(folder) if holder.alive is False]
    for holder in dead:
        holder.path.unlink(missing_ok=True)
    return dead


def describe(holder: Holder) -> str:
    """Return one line about a holder."""
    state = {True: "running", False: "dead", None: "on another machine"}[holder.alive]
    doing = f", {holder.purpose}" if holder.purpose else ""
    where = f"process {holder.pid} on {holder.host} since {holder.since}"
    return f"{holder.mode} lock on {holder.lock} by {where}{doing} ({state})"
