"""Acquiring a lock for a block, and reporting who holds it while waiting.

Belongs here: waiting, acquiring, releasing; the interface of a backend, and those that there are. Does not belong here:
listing holders, which backend a folder has (``holders``).
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from assay.errors import InUseError, StorageError
from assay.storage.bucket import Bucket
from assay.storage.locks.holders import NAMED, Heartbeat, describe, heartbeat_of, holder_file, holders
from assay.storage.locks.lease import Lease

if TYPE_CHECKING:
    # Imported where a lock is made: it brings asyncio, a tenth of the start of a command that takes none.
    from filelock import ReadWriteLock, SoftReadWriteLock

LockMode = Literal["read", "write"]
Waiting = Callable[[str], object]
"""Callback that gets a description of the holders, once, when a lock has to be waited for."""

PATIENCE_S = 0.2
"""Waits up to this long are not reported."""
SLICE_S = 0.5
"""Waiting in SQLite can't be interrupted, so it is done in slices of this length."""
WHOLE_S = 86400.0
"""Longest uninterrupted wait on a shared file system, where trying again would cost a waiting writer its turn."""
POLL_S = 0.25
"""Polling interval of a process that waits on a shared file system."""


@contextmanager
def hold(
    folder: Path,
    name: str,
    mode: LockMode,
    purpose: str = "",
    timeout_s: float = -1,
    waiting: Waiting | None = None,
) -> Iterator["LockBackend"]:
    """Hold a read or write lock on ``name`` for the block, which gets it; it is released however the block ends.

    Args:
        folder: The lock folder; its marker file chooses the backend.
        name: Name of the lock; may contain slashes.
        mode: ``read``, shared with other readers, or ``write``, exclusive.
        purpose: What the holder does; shown to others who wait.
        timeout_s: Longest wait in seconds; -1 waits without limit.
        waiting: Called once with a description of the holders if the lock is not free at once.

    Raises:
        InUseError: The lock was not free in time; the message names its holders.
        StorageError: It can't be made, or was lost while it was held: on a shared file system and in a bucket, a
            holder without heartbeats is replaced.
    """
    heartbeat = heartbeat_of(folder)
    path = folder / f"{name}.lock"
    lock = _open(path, heartbeat) if heartbeat is None or not heartbeat.s3 else _lease(folder, name, heartbeat, purpose)
    try:
        if not _acquired(lock, path, mode, timeout_s, lambda: waiting(_who(folder, name)) if waiting else None):
            message = f"The {mode} lock on {name} was not free within {timeout_s:g} s."
            raise InUseError(f"{message} Held by: {_who(folder, name)}.")
        with nullcontext() if isinstance(lock, Lease) else holder_file(path, mode, purpose, lock.lease()):
            if heartbeat_of(folder) != heartbeat:
                raise StorageError(f"How locks in {folder} are kept was changed just now. Run again.")
            yield lock
            _require_kept(path, lock)
    finally:
        lock.close()


class LockBackend(Protocol):
    """One way of keeping one lock; ``tests/unit/storage/locks/test_backends.py`` is what each of them must pass.

    Instances of several threads and processes exclude each other; one is used for one acquisition. Errors of the
    operating system and of SQLite become a ``StorageError`` outside.

    Attributes:
        longest_s: Longest time in seconds that one attempt may wait.
    """

    longest_s: float

    def acquire(self, mode: LockMode, timeout_s: float) -> bool:
        """Wait at most ``timeout_s`` seconds for the lock; returns whether it is held now."""

    def lease(self) -> dict[str, str | float]:
        """Return the keys of a holder file by which others see whether the holder lives; none: it stays locked."""

    def is_kept(self) -> bool:
        """Return whether the lock is still held, which nobody else may have taken over meanwhile."""

    def close(self) -> None:
        """Release the lock, if it is held."""


class _OfThisMachine:
    """A lock on an SQLite file: the operating system frees it however its holder ends."""

    longest_s = SLICE_S

    def __init__(self, path: Path) -> None:
        from filelock import ReadWriteLock

        # Not singletons: threads of one process must wait for each other as processes do.
        self._lock = ReadWriteLock(path, is_singleton=False)

    def acquire(self, mode: LockMode, timeout_s: float) -> bool:
        return _acquired_by_filelock(self._lock, mode, timeout_s)

    def lease(self) -> dict[str, str | float]:
        return {}

    def is_kept(self) -> bool:
        return True

    def close(self) -> None:
        self._lock.close()


class _OfMachines:
    """A lock on a shared file system: its holder writes a file at every heartbeat, and is replaced without."""

    longest_s = WHOLE_S

    def __init__(self, path: Path, heartbeat: Heartbeat) -> None:
        from filelock import SoftReadWriteLock

        self._path = path
        self._lock = SoftReadWriteLock(
            path,
            is_singleton=False,
            heartbeat_interval=heartbeat.heartbeat_s,
            stale_threshold=heartbeat.stale_after_s,
            poll_interval=min(POLL_S, heartbeat.heartbeat_s / 2),
        )

    def acquire(self, mode: LockMode, timeout_s: float) -> bool:
        return _acquired_by_filelock(self._lock, mode, timeout_s)

    def lease(self) -> dict[str, str | float]:
        # filelock makes a holder's token public only once the lock is lost.
        token = self._lock._hold.participant.token if self._lock._hold else ""
        return {"record": f"{self._path.name}.rw/holders/{token}", "stale_after_s": self._lock.stale_threshold}

    def is_kept(self) -> bool:
        try:
            # Opening asks the file server, whatever is cached here.
            (self._path.parent / str(self.lease()["record"])).open().close()
        except OSError:
            return False
        return True

    def close(self) -> None:
        self._lock.close()


def _acquired_by_filelock(lock: "ReadWriteLock | SoftReadWriteLock", mode: LockMode, timeout_s: float) -> bool:
    from filelock import Timeout

    acquire = lock.acquire_read if mode == "read" else lock.acquire_write
    try:
        acquire(timeout=timeout_s)
    except Timeout:
        return False
    return True


def _lease(folder: Path, name: str, heartbeat: Heartbeat, purpose: str) -> LockBackend:
    """Return a lock in the bucket that a lock folder stands for; its object holds what a holder file would."""
    within = f"{NAMED}/{name}" if folder.name == NAMED else name
    return Lease(Bucket.at(heartbeat.s3), within, heartbeat.heartbeat_s, heartbeat.stale_after_s, purpose)


def _open(path: Path, heartbeat: Heartbeat | None) -> LockBackend:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _OfThisMachine(path) if heartbeat is None else _OfMachines(path, heartbeat)
    except (OSError, sqlite3.OperationalError) as error:
        raise StorageError(f"The lock file {path} can't be made: {error}. Is the storage writable?") from error


def _acquired(
    lock: LockBackend, path: Path, mode: LockMode, timeout_s: float, in_the_way: Callable[[], object]
) -> bool:
    """Wait for a lock and return whether it was acquired in time; calls ``in_the_way`` once if it has to wait."""
    until = time.monotonic() + timeout_s if timeout_s >= 0 else float("inf")
    longest_s = PATIENCE_S
    while not _tried(lock, path, mode, max(min(until - time.monotonic(), longest_s), 0)):
        if time.monotonic() >= until:
            return False
        if longest_s == PATIENCE_S:
            in_the_way()
        longest_s = lock.longest_s
    return True


def _tried(lock: LockBackend, path: Path, mode: LockMode, timeout_s: float) -> bool:
    try:
        return lock.acquire(mode, timeout_s)
    except (OSError, RuntimeError, sqlite3.Error) as error:
        if isinstance(error, OSError) and "replaced while acquiring" in str(error):
            return False  # the lock was cleared by force: the next attempt takes its replacement
        raise StorageError(f"The lock {path} can't be taken: {error}.") from error


def _who(folder: Path, name: str) -> str:
    return "; ".join(describe(holder) for holder in holders(folder, name)) or "unknown holder"


def _require_kept(path: Path, lock: LockBackend) -> None:
    """Raise if the lock was lost while it was held.

    Raises:
        StorageError: This process sent no heartbeat for too long, or the lock was cleared by force.
    """
    if not lock.is_kept():
        why = "this process showed no sign of life for too long, or the lock was cleared by force"
        message = f"The lock {path} was lost while it was held: {why}."
        raise StorageError(f"{message} Others may have worked at the same time.")
