"""Holders of locks: who holds one, since when, and whether that process is still alive.

Each holder writes one small file beside the lock and keeps it locked itself: a process ID alone may have been given to
another process, or be that of a zombie. On a shared file system, the holder file names the file of its holder's
heartbeat instead. A marker file in the lock folder chooses the backend for every machine.

Belongs here: writing and reading holder files, heartbeats and the marker. Does not belong here: acquiring locks
(``acquire``), clearing them and changing the backend (``maintenance``).
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
from typing import Annotated, Any, TextIO
from uuid import uuid4

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator

from assay.errors import FileError, SpecError, StorageError, shorten
from assay.spec.base import Section
from assay.spec.loading import explain
from assay.spec.yaml_text import read_value
from assay.storage.bucket import Bucket
from assay.storage.files import TEMPORARY_PREFIX, temporary_sibling
from assay.storage.locks.lease import entries, entry_path
from assay.storage.records import InnerName, Record, parse_stored
from assay.utils.reading import read_text


@dataclass(frozen=True)
class Holder:
    """A process that holds a lock, or held it when it died.

    Attributes:
        lock: Name of the lock, such as ``crops/3f2a…``.
        mode: ``read`` or ``write``.
        host: Host name of its machine.
        pid: Process ID on that machine.
        since: Time of acquiring, UTC, ISO 8601.
        purpose: What the holder does.
        alive: Whether it still holds the lock; None if unknown, because it is on another machine.
        path: The holder file.
        silent_s: Seconds since its last heartbeat; None with the operating system's backend, and when the heartbeat
            file was removed because another process took the lock over.
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
    """Return all holders of locks below ``folder``, or of the lock ``name``, sorted by lock and time."""
    found: list[Holder | None]
    bucket = bucket_of(folder)
    if bucket is not None:
        prefix = f"{NAMED}/" if folder.name == NAMED else ""
        found = [_leaseholder(folder, each) for each in entries(bucket, None if name is None else f"{prefix}{name}")]
    else:
        clock = ServerClock(folder)
        paths = holder_files_below(folder) if name is None else holder_files_of(folder / f"{name}.lock")
        found = [_holder(folder, path, clock) for path in paths]
    return sorted((each for each in found if each is not None), key=lambda each: (each.lock, each.since, each.pid))


def _holder(folder: Path, path: Path, clock: "ServerClock") -> Holder | None:
    file = read_holder_file(path)
    if file is None:
        return None
    here = socket.gethostname()
    defaults = {
        "mode": "unknown",
        "host": here,
        "pid": 0,
        "since": file.written,
        "purpose": "a note that can't be read",
    }
    values: dict[str, Any] = {key: file.content.get(key, default) for key, default in defaults.items()}
    silent_s, alive = None, file.locked if values["host"] == here else None
    if "record" in file.content:
        silent_s = clock.age(path.parent / file.content["record"])
        alive = silent_s is not None and silent_s < file.content["stale_after_s"]
    lock = path.relative_to(folder).as_posix().rsplit(".lock.", 1)[0]
    return Holder(lock=lock, alive=alive, path=path, silent_s=silent_s, **values)


def _leaseholder(folder: Path, entry: Mapping[str, Any]) -> Holder:
    """Return a holder of a lock in a bucket; of several readers, one that lives keeps all of them alive here."""
    values = {key: entry[key] for key in ("lock", "mode", "host", "pid", "since", "purpose")}
    alive = entry["age_s"] < entry["stale_after_s"]
    return Holder(alive=alive, path=entry_path(folder, entry), silent_s=entry["age_s"], **values)


class ServerClock:
    """The clock of the file server, which dates the heartbeats; it is read once, when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def age(self, path: Path) -> float | None:
        """Return how long ago a file was written, in seconds; None if it does not exist."""
        try:
            with path.open("rb") as file:  # opening it makes a network file system refresh its cache
                written = os.fstat(file.fileno()).st_mtime
        except FileNotFoundError:
            return None
        return max(0.0, time.time() + self._ahead_s - written)

    @cached_property
    def _ahead_s(self) -> float:
        """Seconds by which the server's clock is ahead of this machine's; 0 if it can't be read."""
        try:
            with tempfile.NamedTemporaryFile(prefix=TEMPORARY_PREFIX, dir=self.folder) as probe:
                return os.fstat(probe.fileno()).st_mtime - time.time()
        except OSError:
            return 0.0


def describe(holder: Holder) -> str:
    """Return one line about a holder, for messages."""
    doing = f", {holder.purpose}" if holder.purpose else ""
    where = f"process {holder.pid} on {holder.host} for {age_of(holder)}"
    return f"{holder.mode} lock on {holder.lock} by {where}{doing} ({state_of(holder)})"


def age_of(holder: Holder, now: datetime | None = None) -> str:
    """Return how long a lock has been held, such as ``3 min``."""
    since = datetime.fromisoformat(holder.since)
    return _duration(((now or datetime.now(UTC)) - since).total_seconds())


def state_of(holder: Holder) -> str:
    """Return whether a holder is alive, as far as this machine can know."""
    if holder.silent_s is not None and not holder.alive:
        return f"no heartbeat for {_duration(holder.silent_s)}"
    return {True: "running", False: "dead", None: "on another machine"}[holder.alive]


UNITS: Mapping[str, int] = {"days": 86400, "h": 3600, "min": 60}


def _duration(seconds: float) -> str:
    for unit, size in UNITS.items():
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


MOST_CHARACTERS = 100_000
"""Longest holder file that is read."""

ENDING = ".holder"
"""Extension of holder files."""


@contextmanager
def holder_file(path: Path, mode: str, purpose: str, lease: dict[str, str | float]) -> Iterator[None]:
    """Keep a holder file beside a lock for the block; it appears complete and locked.

    Args:
        path: The lock file.
        mode: How the lock is held.
        purpose: What the holder does.
        lease: ``record``, the file with the holder's heartbeat, relative to the lock's folder, and ``stale_after_s``;
            empty with the operating system's backend.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    content = {"mode": mode, "host": socket.gethostname(), "pid": os.getpid(), "since": now, "purpose": purpose}
    target = path.with_name(f"{path.name}.{uuid4().hex[:12]}{ENDING}")
    file = _write_holder_file(target, json.dumps({**content, **lease}), keep_locked=not lease)
    try:
        yield
    finally:
        target.unlink(missing_ok=True)
        file.close()


def _write_holder_file(target: Path, text: str, keep_locked: bool) -> TextIO:
    """Write a file atomically and return it open; it is not fsynced, because after a power cut no lock is held."""
    temporary = temporary_sibling(target)
    file = temporary.open("x")
    try:
        if keep_locked:
            fcntl.flock(file, fcntl.LOCK_EX)
        file.write(text)
        file.flush()
        if not keep_locked:
            file.close()  # closing makes a network file system send it to the server
        temporary.rename(target)
    except BaseException:
        file.close()
        temporary.unlink(missing_ok=True)
        raise
    return file


def holder_files_below(folder: Path) -> Iterator[Path]:
    """Yield the holder files of all locks in a folder and its subfolders."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if not each.endswith(".lock.rw")]
        yield from (Path(parent, each) for each in names if _is_holder_file(each))


def holder_files_of(path: Path) -> Iterator[Path]:
    """Yield the holder files of one lock."""
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
    """The content of a holder file, and whether a process keeps it locked.

    Attributes:
        content: The values written by ``holder_file``; empty if they were lost in a power cut.
        locked: Whether a process keeps the file locked.
        written: Modification time, UTC, ISO 8601.
    """

    content: dict[str, Any]
    locked: bool
    written: str


class _Note(Record):
    """What a holder file says; on a shared file system, any machine may have written it."""

    mode: str
    host: str
    pid: int
    since: Annotated[str, AfterValidator(lambda text: text if datetime.fromisoformat(text).tzinfo else _no_zone())]
    purpose: str
    record: InnerName = ""
    stale_after_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)


def _no_zone() -> str:
    raise ValueError("has no time zone")


def read_holder_file(path: Path) -> HolderFile | None:
    """Return a holder file; None if its holder has just removed it."""
    try:
        # A pipe of that name would let everybody wait who looks.
        with open(path, encoding="utf-8", opener=_without_waiting) as file:
            content, locked, written_s = _content(file), _locked(file), os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    return HolderFile(content, locked, datetime.fromtimestamp(written_s, UTC).isoformat(timespec="seconds"))


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _content(file: TextIO) -> dict[str, Any]:
    try:
        return parse_stored(file.read(MOST_CHARACTERS).encode(), str(file.name), _Note)
    except (StorageError, UnicodeDecodeError, OSError):
        return {}


def _locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a shared file system without such locks, where holder files name heartbeats
        return False
    return False


MARKER = "shared.yaml"
"""Marker file in a lock folder whose locks use the heartbeat backend."""

NAMED = "named"
"""Subfolder of a storage's lock folder, with the locks on locations that users name."""

UNFINISHED = "# being changed\n"
"""Content of the marker while another process makes sure that no lock of the other backend is held."""


class Heartbeat(Section):
    """How a holder on a shared file system shows that it is alive."""

    heartbeat_s: float = Field(default=5.0, ge=0.1, le=3600)
    """Time between two heartbeats of a holder, in seconds."""
    stale_after_s: float = Field(default=20.0, le=86400)
    """Time without a heartbeat, in seconds, after which a waiting process takes over a holder's lock."""
    s3: str = ""
    """The bucket and prefix with the locks, if they are not in this folder: ``s3://BUCKET/PREFIX``."""

    @field_validator("stale_after_s")
    @classmethod
    def _forgives_a_late_one(cls, stale_after_s: float, info: ValidationInfo) -> float:
        heartbeat_s = info.data.get("heartbeat_s", 0.0)
        if stale_after_s < 2 * heartbeat_s:
            expected = f"at least twice heartbeat_s ({heartbeat_s:g}), or one late heartbeat would cost a lock"
            raise ValueError(f"got {stale_after_s:g}; expected {expected}")
        return stale_after_s


def heartbeat_of(folder: Path) -> Heartbeat | None:
    """Return the heartbeat in a lock folder's marker; None if the operating system's backend is used.

    Locks on named locations use the backend of the surrounding lock folder unless their folder has its own marker.

    Raises:
        StorageError: The marker is not valid, or the backend is being changed at this moment.
    """
    for candidate in (folder, folder.parent) if folder.name == NAMED else (folder,):
        if not candidate.is_dir():
            continue
        try:
            text = read_text(candidate / MARKER)
        except FileNotFoundError:
            continue
        except FileError as error:
            raise StorageError(str(error)) from error
        return _read(text, candidate / MARKER)
    return None


def bucket_of(folder: Path) -> Bucket | None:
    """Return the bucket with the locks that a lock folder stands for; None if they are in the folder itself."""
    try:
        heartbeat = heartbeat_of(folder)
    except StorageError:  # a damaged marker, or one that is being changed: of a folder
        return None
    return Bucket.at(heartbeat.s3) if heartbeat is not None and heartbeat.s3 else None


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
