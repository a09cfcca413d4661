"""Who holds a lock, since when, and whether that process still lives.

Belongs here: what notes and heartbeats tell, in values and in words. Does not belong here: the files (``notes``).
"""

import os
import socket
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from assay.locks.notes import notes_below, notes_of, read_note
from assay.storage.files import TEMPORARY_PREFIX


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, or held it until it died.

    Attributes:
        lock: Name of what is locked, such as ``crops/3f2a…``.
        mode: ``read`` or ``write``.
        host: Name of the machine.
        pid: Process ID on that machine.
        since: UTC time, ISO 8601.
        purpose: What the holder is doing.
        alive: Whether it still holds the lock; None when that can't be told, as it is on another machine.
        path: The note that says so.
        silent_s: Seconds since its last heartbeat; None where the operating system keeps the lock, and when the
            heartbeat was removed because somebody else took the lock over.
    """

    lock: str
    mode: str
    host: str
    pid: int
    since: str
    purpose: str
    alive: bool | None
    path: Path
    silent_s: float | None = None


def holders(folder: Path, name: str | None = None) -> list[Holder]:
    """Return everyone who holds a lock below ``folder``, or the one lock ``name``, sorted by lock and time."""
    clock = ServerClock(folder)
    paths = notes_below(folder) if name is None else notes_of(folder / f"{name}.lock")
    found = [_holder(folder, path, clock) for path in paths]
    return sorted((each for each in found if each is not None), key=lambda each: (each.lock, each.since, each.pid))


def _holder(folder: Path, path: Path, clock: "ServerClock") -> Holder | None:
    note = read_note(path)
    if note is None:
        return None
    here = socket.gethostname()
    unknown = {"mode": "unknown", "host": here, "pid": 0, "since": note.written, "purpose": "a note that can't be read"}
    said = {key: note.content.get(key, value) for key, value in unknown.items()}
    silent_s, alive = None, note.locked if said["host"] == here else None
    if "record" in note.content:
        silent_s = clock.age(path.parent / note.content["record"])
        alive = silent_s is not None and silent_s < note.content["stale_after_s"]
    lock = path.relative_to(folder).as_posix().rsplit(".lock.", 1)[0]
    return Holder(lock=lock, alive=alive, path=path, silent_s=silent_s, **said)


class ServerClock:
    """The time of the file server, by which heartbeats are dated; asked once, and only when there is one to date."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def age(self, path: Path) -> float | None:
        """Return how long ago a file was written, in seconds; None when it is gone."""
        try:
            with path.open("rb") as file:  # opening it makes a network file system look anew
                written = os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return None
        return max(0.0, time.time() + self._ahead_s - written)

    @cached_property
    def _ahead_s(self) -> float:
        """By how many seconds the server is ahead of this machine; 0 when it can't be asked."""
        try:
            with tempfile.NamedTemporaryFile(prefix=TEMPORARY_PREFIX, dir=self.folder) as probe:
                return os.fstat(probe.fileno()).st_mtime - time.time()
        except OSError:
            return 0.0


def describe(holder: Holder) -> str:
    """Return one line about a holder."""
    doing = f", {holder.purpose}" if holder.purpose else ""
    where = f"process {holder.pid} on {holder.host} for {age_of(holder)}"
    return f"{holder.mode} lock on {holder.lock} by {where}{doing} ({state_of(holder)})"


def age_of(holder: Holder, now: datetime | None = None) -> str:
    """Return how long a lock has been held, such as ``3 min``."""
    since = datetime.fromisoformat(holder.since)
    return _words(((now or datetime.now(UTC)) - since).total_seconds())


def state_of(holder: Holder) -> str:
    """Return whether a holder lives, as far as can be told from here."""
    if holder.silent_s is not None and not holder.alive:
        return f"no heartbeat for {_words(holder.silent_s)}"
    return {True: "running", False: "dead", None: "on another machine"}[holder.alive]


UNITS: Mapping[str, int] = {"days": 86400, "h": 3600, "min": 60}


def _words(seconds: float) -> str:
    for unit, size in UNITS.items():
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
