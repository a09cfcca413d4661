"""Who holds a lock, since when, and whether that process still lives.

Belongs here: what notes and heartbeats tell, in values and in words. Does not belong here: the files (``notes``).
"""

import fcntl
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TextIO
from uuid import uuid4

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from assay.errors import SpecError, StorageError
from assay.spec.base import Section
from assay.spec.ids import shorten
from assay.spec.loading import explain
from assay.spec.yaml_text import read_value
from assay.storage.files import TEMPORARY_PREFIX, temporary_sibling


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
    paths = holder_files_below(folder) if name is None else holder_files_of(folder / f"{name}.lock")
    found = [_holder(folder, path, clock) for path in paths]
    return sorted((each for each in found if each is not None), key=lambda each: (each.lock, each.since, each.pid))


def _holder(folder: Path, path: Path, clock: "ServerClock") -> Holder | None:
    note = read_holder_file(path)
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


ENDING = ".holder"
"""How the names of notes end."""


@contextmanager
def holder_file(path: Path, mode: str, purpose: str, lease: dict[str, str | float]) -> Iterator[None]:
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


def holder_files_below(folder: Path) -> Iterator[Path]:
    """Return the notes on all locks in a folder and those below it."""
    for place, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if not each.endswith(".lock.rw")]
        yield from (Path(place, each) for each in names if _is_holder_file(each))


def holder_files_of(path: Path) -> Iterator[Path]:
    """Return the notes on one lock."""
    names: list[str] = []
    with suppress(FileNotFoundError), os.scandir(path.parent) as entries:
        names = [each.name for each in entries]
    yield from (
        path.with_name(each) for each in names if _is_holder_file(each) and each.rpartition(".lock.")[0] == path.stem
    )


def _is_holder_file(name: str) -> bool:
    return name.endswith(ENDING) and not name.startswith(TEMPORARY_PREFIX)


@dataclass(frozen=True)
class HolderFile:
    """What a note says, and whether somebody keeps it locked.

    Attributes:
        content: As written by ``holder_file``; empty when a power cut took it.
        locked: Whether a process keeps the note locked.
        written: When it was written, UTC, ISO 8601.
    """

    content: dict[str, Any]
    locked: bool
    written: str


def read_holder_file(path: Path) -> HolderFile | None:
    """Return a note; None when its holder has just removed it."""
    try:
        with path.open() as file:
            content, locked, written_s = _content(file), _locked(file), os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    return HolderFile(content, locked, datetime.fromtimestamp(written_s, UTC).isoformat(timespec="seconds"))


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


MARKER = "shared.yaml"
"""In a lock folder: its locks are kept by heartbeats."""

NAMED = "named"
"""Folder, in a storage's lock folder, of the locks on locations that users name."""

UNFINISHED = "# being changed\n"
"""Content of a marker while somebody makes sure that no lock of the other flavour is held."""


class Heartbeat(Section):
    """How a holder on a shared file system shows that it lives."""

    heartbeat_s: float = Field(default=5.0, ge=0.1, le=3600)
    """Time between two signs of life of a holder, in seconds."""
    stale_after_s: float = Field(default=20.0, le=86400)
    """How long a waiting process watches a holder without a sign of life before it takes its place, in seconds."""

    @field_validator("stale_after_s")
    @classmethod
    def _forgives_a_late_one(cls, stale_after_s: float, info: ValidationInfo) -> float:
        heartbeat_s = info.data.get("heartbeat_s", 0.0)
        if stale_after_s < 2 * heartbeat_s:
            wanted = f"at least twice heartbeat_s ({heartbeat_s:g}), or one late heartbeat would cost a lock"
            raise ValueError(f"got {stale_after_s:g}; expected {wanted}")
        return stale_after_s


def heartbeat_of(folder: Path) -> Heartbeat | None:
    """Return the heartbeat that a lock folder's marker asks for; None when its locks are of this machine alone.

    Locks on named locations are of the flavour of the folder around them, unless theirs has a marker of its own.

    Raises:
        StorageError: The marker is not valid, or the flavour is being changed at this moment.
    """
    for place in (folder, folder.parent) if folder.name == NAMED else (folder,):
        try:
            text = (place / MARKER).read_text()
        except (FileNotFoundError, NotADirectoryError):
            continue
        return _read(text, place / MARKER)
    return None


@lru_cache
def _read(text: str, marker: Path) -> Heartbeat:
    if text == UNFINISHED:
        next_step = "Run again in a moment; if this message stays, run 'assay locks --shared' or '--local' again"
        raise StorageError(f"{marker}: somebody is changing how locks are kept. {next_step}.")
    try:
        values = read_value(text)
    except SpecError as error:
        raise StorageError(f"{marker}: {error}.") from None
    if not isinstance(values, dict | None):
        raise StorageError(f"{marker}: got {shorten(values)}; expected keys such as 'heartbeat_s: 5', or nothing.")
    try:
        return Heartbeat.model_validate(values or {})
    except ValidationError as error:
        raise StorageError("\n".join(f"{marker}: {line}" for line in explain(error, Heartbeat))) from None
